"""Small matrices as tables: every cell has its number, the hue of its family, and text that is read on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernelearn.view.families import EXPONENT, FAMILIES, Family, crossing
from kernelearn.view.report.decimals import MINUS
from kernelearn.view.report.markup import Html, tag

# Kernels up to so many numbers a side show them.
NUMBERED = 7


def cell_text(value: float, places: int = 3) -> str:
    """A number with so many decimals and a true minus; the script writes the same."""
    return f"{float(value):z.{places}f}".replace("-", MINUS)


def cell_class(value: float, limit: float, family: Family) -> str:
    """The hue, and on which page the text is of the other of black and white than on zero."""
    share = min(abs(float(value)) / limit, 1.0) if np.isfinite(value) else 0.0
    is_plus = bool(value >= 0)
    marks = [name for name, dark in (("l", False), ("d", True)) if share >= crossing(family, is_plus, dark)]
    return " ".join([family.tokens[0 if is_plus else 1], *marks])


def cell_style(value: float, limit: float) -> str:
    """How deep the hue is; a number that is not finite has none."""
    share = min(abs(float(value)) / limit, 1.0) if np.isfinite(value) else 0.0
    return f"--t:{100 * share**EXPONENT:.0f}%"


def number_table(
    slices: Sequence[np.ndarray], limit: float, family: Family, places: int = 3, is_narrow: bool = False
) -> Html:
    """Matrices below each other as one table; with their numbers where these are few."""
    is_small = max(max(one.shape) for one in slices) <= NUMBERED
    bodies = [tag("tbody", *(_row(row, limit, family, is_small, places) for row in one)) for one in slices]
    name = "kernel dense" if not is_small else "kernel narrow" if is_narrow else "kernel"
    return tag("table", *bodies, class_=name)


def _row(row: np.ndarray, limit: float, family: Family, is_small: bool, places: int) -> Html:
    cells = [
        tag(
            "td",
            cell_text(v, places) if is_small else "",
            class_=cell_class(v, limit, family),
            style=cell_style(v, limit),
        )
        for v in row
    ]
    return tag("tr", *cells)


def crossings() -> dict[str, list[float]]:
    """For the script: token -> share from which on the text turns, on a light page and on a dark one."""
    return {
        token: [crossing(family, number == 0, is_dark) for is_dark in (False, True)]
        for family in FAMILIES
        for number, token in enumerate(family.tokens)
    }
