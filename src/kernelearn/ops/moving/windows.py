"""Windows of an array, and other content for one."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, combined, emit
from kernelearn.ops._shapes import known_shape, one
from kernelearn.tracing import Symbolic, Traced, fixed


@operation
def slice(inputs: Value, start_indices: Any, shape: Any) -> Any:
    """A window that starts at `start_indices` and has this shape.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.slice(np.arange(6).reshape(2, 3), (0, 1), (2, 2)).tolist()
    [[1, 2], [4, 5]]
    """
    x, old = _window_of(inputs, start_indices, shape)
    ends = [start + size for start, size in zip(start_indices, shape)]
    bounds = [
        None if (lo, hi) == (0, s) else (int(lo), int(hi)) for lo, hi, s in zip(start_indices, ends, old)
    ]
    return emit("slice", x, bounds=tuple(bounds)) if any(bounds) else x


@operation
def slice_update(inputs: Value, start_indices: Any, updates: Value) -> Any:
    """The array with other content in a window that starts at `start_indices`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.slice_update(np.zeros(4), (1,), np.array([5.0, 6.0])).tolist()
    [0.0, 5.0, 6.0, 0.0]
    """
    x, updates = (fixed(v) for v in combined(inputs, updates))
    x, old = _window_of(x, start_indices, updates.shape)
    return _updated(x, updates, [int(start) for start in start_indices], old, 0)


def _window_of(inputs: Any, starts: Any, shape: Any) -> tuple[Value, tuple[int, ...]]:
    """The array, and its sizes; checks that the window lies inside."""
    if isinstance(starts, Traced | Symbolic) or any(isinstance(s, Traced | Symbolic) for s in starts):
        raise ArgumentError(
            "start_indices must be plain numbers: where a window starts decides which code is made. Choose "
            "by computed numbers with ops.take or ops.take_along_axis."
        )
    x, old = known_shape(one(inputs))
    fits = len(starts) == len(shape) == len(old) and all(
        lo >= 0 and size >= 1 and lo + size <= s for lo, size, s in zip(starts, shape, old)
    )
    if not fits:
        raise ShapeError(f"A window of shape {tuple(shape)} from {tuple(starts)} does not lie in {old}.")
    return x, old


def _updated(x: Value, updates: Value, starts: list[int], sizes: tuple[int, ...], axis: int) -> Value:
    """What lies before and behind the window on this axis, and between them the rest of the axes updated."""
    while axis < len(sizes) and updates.shape[axis] == sizes[axis]:
        axis += 1
    if axis == len(sizes):
        return updates
    lo, hi = starts[axis], starts[axis] + int(updates.shape[axis])

    def band(first: int, end: int) -> Value:
        return emit("slice", x, bounds=tuple((first, end) if i == axis else None for i in range(x.ndim)))

    inside = band(lo, hi)
    rows = (*inside.shape[: axis + 1], *sizes[axis + 1 :])
    parts = [band(0, lo)] if lo else []
    parts.append(_updated(inside, updates, starts, rows, axis + 1))
    if hi < sizes[axis]:
        parts.append(band(hi, sizes[axis]))
    return emit("concatenate", *parts, axis=axis)
