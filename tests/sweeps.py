"""Which cells of a grid every change is tested with; the others are run by the slow sweeps.

@pytest.mark.parametrize("unit", some(UNITS, quick=(1e-8, 1e5)))
@pytest.mark.parametrize("name", some(NETWORKS, quick=6))
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def some(values: Iterable[Any], quick: int | Collection[Any] | Callable[[Any], bool]) -> list[Any]:
    """Values of which some are always tested, and the others marked as slow.

    Args:
        values: of a parameter; a tuple is one cell of several parameters.
        quick: how many are always tested, spread over all; or which; or a rule that says so.
    """
    cells = list(values)
    if isinstance(quick, int):
        places = {round(i * (len(cells) - 1) / max(quick - 1, 1)) for i in range(quick)}
        is_quick = [i in places for i in range(len(cells))]
    elif callable(quick):
        is_quick = [quick(cell) for cell in cells]
    else:
        is_quick = [cell in quick for cell in cells]
        assert sum(is_quick) == len(quick), f"{quick} are not all among {cells}"
    return [cell if always else _slow(cell) for cell, always in zip(cells, is_quick)]


def _slow(cell: Any) -> Any:
    return pytest.param(*(cell if isinstance(cell, tuple) else (cell,)), marks=pytest.mark.slow)
