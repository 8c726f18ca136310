"""Some examples of a batch, where several processes train together and each reads its own.

Targets and sample weights are small and every process has those of the whole batch; examples are read, and
pictures decoded, where they are computed with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# (number of a batch in its pass, its rows) -> the rows of it that are to be read here; they may be none.
Choice = Callable[[int, int], slice]


@dataclass(frozen=True)
class Part:
    """Examples of a batch whose other examples are elsewhere.

    Attributes:
        x: their arrays; with no row where none are here.
        first: row of the batch that is the first one here.
        rows: examples in the whole batch.
    """

    x: Any
    first: int
    rows: int


def chosen(part: slice | Any, rows: slice) -> slice | Any:
    """Some rows of a batch that is a slice of the examples, or their numbers."""
    if not isinstance(part, slice):
        return part[rows]
    return slice(part.start + rows.start, part.start + rows.stop)
