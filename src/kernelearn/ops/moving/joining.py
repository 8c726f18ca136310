"""Arrays joined along axes, and cut into parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, combined, emit
from kernelearn.ops._shapes import (
    axis_of,
    one,
    window,
)
from kernelearn.ops.moving.shaping import atleast_1d, atleast_2d, expand_dims, ravel, shape, squeeze
from kernelearn.tracing import fixed


@operation
def concatenate(xs: Sequence[Value], axis: int = 0) -> Any:
    """Arrays joined along an axis; they agree on all others.

    >>> from kernelearn import ops
    >>> ops.concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    parts = combined(*_several(xs, "concatenate"))
    place = axis_of(axis, parts[0].ndim, "concatenate")
    return emit("concatenate", *parts, axis=place) if len(parts) > 1 else parts[0]


def _several(xs: Any, what: str) -> list[Any]:
    if not isinstance(xs, list | tuple | np.ndarray) or not len(xs):
        raise ArgumentError(f"{what} takes a list of arrays, got {xs!r}.")
    return list(xs)


@operation
def stack(x: Sequence[Value], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis.

    >>> from kernelearn import ops
    >>> ops.stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    parts = combined(*_several(x, "stack"))
    return concatenate([expand_dims(part, axis) for part in parts], axis)


@operation
def hstack(xs: Sequence[Value]) -> Any:
    """Joined along the second axis, or the only one."""
    parts = [atleast_1d(x) for x in _several(xs, "hstack")]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1)


@operation
def vstack(xs: Sequence[Value]) -> Any:
    """Joined along the first axis; rows are made of single axes."""
    return concatenate([atleast_2d(x) for x in _several(xs, "vstack")], 0)


@operation
def unstack(x: Value, num: int | None = None, axis: int = 0) -> Any:
    """The entries along an axis, as a list.

    Args:
        num: how many there are; checked.
    """
    x = one(x)
    place = axis_of(axis, x.ndim, "unstack")
    x = fixed(x) if place == 0 else x
    count = int(x.shape[place])
    if num not in (None, count):
        raise ShapeError(f"unstack got num={num}, but axis {axis} of {x.shape} has {count} entries.")
    return [squeeze(window(x, place, i, i + 1), place) for i in range(count)]


@operation
def split(x: Value, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts along an axis, as a list: so many equal ones, or cut before these entries.

    >>> from kernelearn import ops
    >>> [part.tolist() for part in ops.split([1, 2, 3, 4, 5], [1, 3])]
    [[1], [2, 3], [4, 5]]
    """
    x = one(x)
    place = axis_of(axis, x.ndim, "split")
    x = fixed(x) if place == 0 else x
    length = int(x.shape[place])
    if isinstance(indices_or_sections, int | np.integer):
        count = int(indices_or_sections)
        if count < 1 or length % count:
            raise ShapeError(
                f"split cannot cut {length} entries (axis {axis} of {x.shape}) into {count} equal parts."
            )
        cuts = list(range(0, length, length // count))[1:]
    else:
        cuts = [int(cut) for cut in indices_or_sections]
    ends = [slice(None, cut).indices(length)[1] for cut in cuts]
    return [window(x, place, lo, hi) for lo, hi in zip([0, *ends], [*ends, length])]


@operation
def array_split(x: Value, indices_or_sections: Any, axis: int = 0) -> Any:
    """As `split`; where parts cannot be equal, the first ones are longer by one."""
    x = one(x)
    place = axis_of(axis, x.ndim, "array_split")
    if not isinstance(indices_or_sections, int | np.integer):
        return split(x, indices_or_sections, axis)
    x = fixed(x) if place == 0 else x
    short, longer = divmod(int(x.shape[place]), int(indices_or_sections))
    sizes = [short + (i < longer) for i in range(int(indices_or_sections))]
    return split(x, np.cumsum(sizes)[:-1].tolist(), axis)


@operation
def append(x1: Value, x2: Value, axis: int | None = None) -> Any:
    """x2 behind x1, along an axis; None: both in a row."""
    if axis is None:
        x1, x2, axis = ravel(x1), ravel(x2), 0
    return concatenate([x1, x2], axis)


@operation
def dstack(xs: Sequence[Value]) -> Any:
    """Joined along the third axis, which is made where it is missing."""
    parts = []
    for x in _several(xs, "dstack"):
        flat = atleast_2d(x)
        parts.append(expand_dims(flat, -1) if flat.ndim == 2 else flat)
    return concatenate(parts, 2)


@operation
def hsplit(x: Value, indices_or_sections: Any) -> Any:
    """Parts along the second axis, or the only one; see `split`."""
    return split(x, indices_or_sections, 0 if len(shape(x)) == 1 else 1)


@operation
def vsplit(x: Value, indices_or_sections: Any) -> Any:
    """Parts along the first axis; see `split`."""
    return split(x, indices_or_sections, 0)


@operation
def dsplit(x: Value, indices_or_sections: Any) -> Any:
    """Parts along the third axis; see `split`."""
    return split(x, indices_or_sections, 2)
