"""The microscope in a notebook cell: a live widget, and the single-file page where no kernel runs any more.

A widget in a saved notebook is blank without its kernel. So the cell's output holds both: the widget for a
notebook that runs, and an <iframe> with the whole page in it for everything that shows saved outputs.
"""

from __future__ import annotations

import html
from functools import cache
from typing import Any

from kernelearn._optional import require
from kernelearn.view.page.exporting import collect, file_text, library_of
from kernelearn.view.page.frontend import STATIC, WIDGET, modules, style

_MOST_BYTES = 6_000_000
_HEIGHT = 760


def widget(
    runs: Any, steps: int = 12, ledgers: int = 3, max_bytes: int = _MOST_BYTES, height: int = _HEIGHT
) -> Any:
    """The microscope over recorded runs, for the last line of a notebook cell.

    Args:
        runs: folder of a recorded run or training, a `recording.Run`, or several.
        steps, ledgers, max_bytes: what the cell holds at most, see `exporting.export`.
        height: of the page in a saved notebook, in pixels.
    Returns: an anywidget whose output also is HTML; without the package anywidget the HTML alone.
    Raises: as `exporting.export`.
    """
    library = library_of(runs)
    answers, words = collect(library, steps, ledgers, max_bytes)
    frame = iframe(file_text(answers), height, words)
    try:
        kind = _widget_class()
    except ImportError:
        return Page(frame)
    return kind(_sources=modules(), _style=style(), _answers=answers, frame=frame)


def iframe(text: str, height: int, words: str = "") -> str:
    """A page inside another: it runs its own scripts and reaches nothing around it."""
    title = html.escape(f"Microscope: {words}" if words else "Microscope", quote=True)
    content = html.escape(text, quote=True)
    return (
        f'<iframe sandbox="allow-scripts" title="{title}" srcdoc="{content}" width="100%" '
        f'height="{int(height)}" style="border:0"></iframe>'
    )


class Page:
    """The page of a saved notebook by itself."""

    def __init__(self, frame: str) -> None:
        self.frame = frame

    def _repr_html_(self) -> str:
        return self.frame


@cache
def _widget_class() -> Any:
    """The widget's class, made when anywidget is there.

    Raises: MissingDependencyError, which is an ImportError, without it.
    """
    anywidget = require("anywidget", "the microscope as a widget")
    traitlets = require("traitlets", "the microscope as a widget")

    class MicroscopeWidget(anywidget.AnyWidget):  # type: ignore[misc,name-defined]
        """The page in a cell."""

        _esm = (STATIC / f"{WIDGET}.js").read_text(encoding="utf-8")
        _sources = traitlets.Dict().tag(sync=True)
        _style = traitlets.Unicode().tag(sync=True)
        _answers = traitlets.Dict().tag(sync=True)
        _address = traitlets.Unicode("").tag(sync=True)

        def __init__(self, frame: str, **traits: Any) -> None:
            super().__init__(**traits)
            self.frame = frame

        def _repr_mimebundle_(self, **options: Any) -> Any:
            found = super()._repr_mimebundle_(**options)
            data, about = found if isinstance(found, tuple) else (found, {})
            return {**(data or {}), "text/html": self.frame}, about

    return MicroscopeWidget
