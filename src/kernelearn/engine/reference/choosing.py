"""Choosing entries by their numbers, and sums and maxima of entries that share a number.

Numbers count from 0; negative ones count from the end. One that is no entry is an error here; where a kernel
cannot raise, it answers with NaN.
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array, Shape, Sizes
from kernelearn.engine.dtypes import INDEX
from kernelearn.errors import ArgumentError


def checked_indices(indices: Array, size: int) -> Array:
    """The indices counted from the front.

    Raises: ArgumentError for one outside of [-size, size).
    """
    wrong = (indices < -size) | (indices >= size)
    if wrong.any():
        raise ArgumentError(
            f"Index {indices[wrong].flat[0]} is out of bounds for an axis of {size} entries; indices must "
            f"lie in [{-size}, {size})."
        )
    return np.where(indices < 0, indices + size, indices)


def flat_index(*indices: Array, sizes: Sizes) -> Array:
    """Numbers of entries in one row, from their numbers along each of several axes of these sizes."""
    total, *rest = [checked_indices(index, size) for index, size in zip(indices, sizes)]
    for index, size in zip(rest, sizes[1:]):
        total = total * size + index
    return np.asarray(total, indices[0].dtype)


def gather(x: Array, indices: Array, *, axis: int) -> Array:
    """y[a.., i.., b..] = x[a.., indices[i..], b..]."""
    return np.take(x, checked_indices(indices, x.shape[axis]), axis=axis)


def scatter_add(values: Array, indices: Array, *, axis: int, shape: Shape) -> Array:
    """The adjoint of `gather`: x[a.., j, b..] = sum of values[a.., i.., b..] over i with indices[i..] = j."""
    x = np.zeros([values.shape[0] if s is None else s for s in shape], values.dtype)
    chosen: Any = (*[slice(None)] * axis, checked_indices(indices, x.shape[axis]))
    np.add.at(x, chosen, values)
    return x


def gather_along(x: Array, indices: Array, *, axis: int) -> Array:
    """y[a.., i, b..] = x[a.., indices[a.., i, b..], b..]."""
    return np.take_along_axis(x, checked_indices(indices, x.shape[axis]), axis=axis)


def scatter_add_along(values: Array, indices: Array, *, axis: int, size: int) -> Array:
    """The adjoint of `gather_along`, of `size` entries along the axis."""
    x = np.zeros((*values.shape[:axis], size, *values.shape[axis + 1 :]), values.dtype)
    places: list[Any] = list(np.indices(values.shape, sparse=True))
    places[axis] = checked_indices(indices, size)
    np.add.at(x, tuple(places), values)
    return x


def scatter_set(x: Array, indices: Array, values: Array) -> Array:
    """x with x[indices[i]] = values[i] along the first axis; of equal indices the last one holds."""
    y = x.copy()
    y[checked_indices(indices, len(x))] = values
    return y


def is_last(indices: Array, *, size: int, dtype: str) -> Array:
    """1 for every index that does not come again, else 0: `scatter_set` keeps the values of these."""
    found = checked_indices(indices, size)
    last = np.full(size, -1)
    last[found] = np.arange(len(found))
    return (last[found] == np.arange(len(found))).astype(dtype)


def segment_max(x: Array, segments: Array, *, count: int) -> Array:
    """y[s] = the largest x[i] with segments[i] = s; the least number of the type where there is none."""
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = np.full((count, *x.shape[1:]), least, x.dtype)
    np.maximum.at(y, checked_indices(segments, count), x)
    return y


def one_hot(indices: Array, *, depth: int, dtype: str) -> Array:
    """(...) -> (..., depth): 1 at the index, 0 elsewhere; a number that is no class gives zeros."""
    return np.asarray(indices[..., None] == np.arange(depth)).astype(dtype)


def argsort(x: Array, *, axis: int, descending: bool) -> Array:
    """Indices that sort an axis; of equal entries the first comes first. NaN counts as largest."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable").astype(INDEX)
    back = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return (x.shape[axis] - 1 - np.flip(back, axis)).astype(INDEX)


def searchsorted(edges: Array, values: Array, *, side: str) -> Array:
    """Where each value would be put into the sorted row `edges`: before ("left") or behind its equals."""
    return np.searchsorted(edges, values, side=side).astype(INDEX)  # type: ignore[call-overload]


def fill_like(x: Array, *, value: float, dtype: str) -> Array:
    """An array of the shape of x, the same number everywhere."""
    return np.full(x.shape, value, dtype)
