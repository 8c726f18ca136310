"""The figure that all drawings are made in: no window, texts as they are, and a picture in notebooks."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

from kernelearn._optional import require


def new_figure(size: tuple[float, float], dpi: int = 120) -> Any:
    """A white figure of this size in inches that no window shows.

    Names of layers and classes are text: a `$` in them begins no formula.

    Raises: MissingDependencyError without matplotlib.
    """
    return _figure_class()(figsize=size, dpi=dpi, layout="constrained", facecolor="white")


@cache
def _figure_class() -> Any:
    """Matplotlib is loaded with the first figure."""
    base: Any = require("matplotlib.figure", "drawing figures").Figure
    matplotlib = require("matplotlib", "drawing figures")
    text = require("matplotlib.text", "drawing figures")

    class PlainFigure(base):
        """A figure whose texts are never read as formulas."""

        def draw(self, renderer: Any) -> None:
            with matplotlib.rc_context({"text.parse_math": False}):  # for labels that drawing makes
                for one in self.findobj(text.Text):
                    one.set_parse_math(False)
                super().draw(renderer)

        def _repr_png_(self) -> bytes:
            """The picture, for notebooks."""
            file = BytesIO()
            self.savefig(file, format="png")
            return file.getvalue()

    PlainFigure.__name__ = PlainFigure.__qualname__ = "Figure"
    return PlainFigure
