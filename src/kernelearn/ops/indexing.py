"""Choosing parts of a value by their places."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, reshaped, values
from kernelearn.tracing import Traced, fixed


@operation
def get_item(x: Value, key: Any) -> Any:
    """x[key], for whole numbers, slices, None and `...`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.get_item(np.arange(4.0), slice(1, 3))
    array([1., 2.])
    """
    (x,) = values(x)
    if not isinstance(x, Traced):
        return x[key]
    parts = _whole_key(key if isinstance(key, tuple) else (key,), x)
    axes = [part for part in parts if part is not None]
    if axes and axes[0] != slice(None):
        x = fixed(x)
    bounds, shape = [], []
    for axis, part in enumerate(axes):
        bounds.append(_bounds(part, x.shape[axis]))
    sizes = iter(zip(axes, bounds, x.buffer.shape))
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        kept, bound, size = next(sizes)
        if isinstance(kept, slice):
            shape.append(size if bound is None else bound[1] - bound[0])
    if any(bound is not None for bound in bounds):
        x = emit("slice", x, bounds=tuple(bounds))
    if None in shape[1:]:
        x, shape = fixed(x), [x.graph.batch if size is None else size for size in shape]
    return reshaped(x, shape) if tuple(shape) != x.buffer.shape else x


def _whole_key(key: tuple[Any, ...], x: Value) -> list[Any]:
    """One part for each axis, and None for each new one."""
    given = sum(part is not None and part is not Ellipsis for part in key)
    if given > x.ndim:
        raise ShapeError(f"{given} indices for a value of shape {x.shape}.")
    at = next((i for i, part in enumerate(key) if part is Ellipsis), len(key))
    rest = [slice(None)] * (x.ndim - given)
    return [*key[:at], *rest, *key[at + 1 :]]


def _bounds(part: Any, size: int | None) -> tuple[int, int] | None:
    """Start and end of what is kept; None for all of the axis."""
    if isinstance(part, slice):
        if part == slice(None):
            return None
        start, stop, step = part.indices(int(size or 0))
        if step != 1:
            raise ArgumentError(f"A slice of a traced value goes forward one by one; got {part}.")
        return None if (start, stop) == (0, size) else (start, stop)
    place = range(int(size or 0))[part]
    return place, place + 1
