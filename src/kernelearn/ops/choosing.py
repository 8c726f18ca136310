"""Choosing entries by their numbers, sorting, and adding up what belongs together.

Numbers of entries count from 0, negative ones from the end. One that is no entry is an error; where a program
computes it, the result is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn.engine import dtypes
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, emit, moved, values
from kernelearn.ops._shapes import alike, axis_of, dtype_name, known_shape, one, reshaped_to
from kernelearn.ops.shaping import expand_dims
from kernelearn.tracing import Traced, fixed, program_of

# --- by numbers


@operation
def take(x: Value, indices: Value, axis: int | None = None) -> Any:
    """Entries along an axis by their numbers, which may have any shape; None: of all numbers in a row.

    Rows of a table for every image are an embedding; its gradient adds rows up in the order of the images.

    >>> from kernelearn import ops
    >>> ops.take([10, 20, 30], [[2, 0]]).tolist()
    [[30, 10]]
    """
    x, indices = values(x, indices)
    _check_whole(indices, "take")
    if axis is None:
        return emit("gather", reshaped_to(x, (-1,)), indices, axis=0)
    return emit("gather", x, indices, axis=axis_of(axis, x.ndim, "take"))


@operation
def take_along_axis(x: Value, indices: Value, axis: int | None = -1) -> Any:
    """One entry along an axis for every index; the other axes of both are broadcast.

    >>> from kernelearn import ops
    >>> ops.take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1).tolist()
    [[2], [3]]
    """
    x, indices = values(x, indices)
    _check_whole(indices, "take_along_axis")
    if axis is None:
        x, axis = reshaped_to(x, (-1,)), 0
    if x.ndim != indices.ndim:
        raise ShapeError(
            f"take_along_axis wants as many axes of indices as of x; got {indices.shape} for {x.shape}."
        )
    place = axis_of(axis, x.ndim, "take_along_axis")
    return emit("gather_along", *_spread(x, indices, place), axis=place)


def _spread(x: Value, indices: Value, axis: int) -> tuple[Value, Value]:
    """Both with the same sizes on all axes but one."""
    pairs = list(zip(_sizes(x), _sizes(indices)))
    whole = [b if a == 1 else a for a, b in pairs]
    shapes = [
        [pair[i] if n == axis else size for n, (pair, size) in enumerate(zip(pairs, whole))] for i in (0, 1)
    ]
    found = []
    for value, other, shape in ((x, indices, shapes[0]), (indices, x, shapes[1])):
        same = tuple(shape) == _sizes(value)
        like = (other,) if shape[:1] == [None] else ()
        found.append(value if same else emit("broadcast_to", value, *like, shape=tuple(shape)))
    return found[0], found[1]


def _sizes(x: Value) -> tuple[int | None, ...]:
    return x.buffer.shape if isinstance(x, Traced) else x.shape


def _check_whole(indices: Value, what: str, of: str = "indices") -> None:
    """Raises: ArgumentError for indices that are no whole numbers."""
    if not dtype_name(indices).startswith(("int", "uint")):
        raise ArgumentError(f"{what} takes integer {of}, got type {dtype_name(indices)}; cast them first.")


@operation
def one_hot(x: Value, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Class numbers as rows of zeros with one 1, along a new axis. A number that is no class gives zeros.

    Args:
        dtype: of the result; None: the default float.
        sparse: there are no sparse arrays here.

    >>> from kernelearn import ops
    >>> ops.one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if sparse:
        raise ArgumentError("one_hot(sparse=True): kernelearn has no sparse arrays; leave it out.")
    x = one(x)
    _check_whole(x, "one_hot", "class numbers")
    kind = config.floatx() if dtype is None else dtypes.checked(dtype)
    graph = program_of([x])
    kind = graph.dtype if graph is not None and dtype is None else kind
    found = emit("one_hot", x, depth=int(num_classes), dtype=kind)
    return moved(found, -1, axis_of(axis, found.ndim, "one_hot"))


@operation
def scatter(indices: Value, values: Value, shape: Sequence[int]) -> Any:
    """Zeros of this shape, with values added at the given places.

    Args:
        indices: (k, axes) places along the first axes of the result; values at the same place are added.
        values: (k, ...) rows of the remaining axes.

    >>> from kernelearn import ops
    >>> ops.scatter([[0], [2], [0]], [1.0, 2.0, 3.0], (3,)).tolist()
    [4.0, 0.0, 2.0]
    """
    places, rows = _pair(indices, values)
    whole = tuple(int(s) for s in shape)
    numbers, count, rest = _row_numbers(places, whole, "scatter")
    flat = reshaped_to(rows, (-1, *rest))
    return reshaped_to(emit("scatter_add", flat, numbers, axis=0, shape=(count, *rest)), whole)


@operation
def scatter_update(inputs: Value, indices: Value, updates: Value) -> Any:
    """An array with other rows at the given places; of equal places the last one holds.

    Args:
        indices: (k, axes) places along the first axes of inputs.
        updates: (k, ...) rows of the remaining axes.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.scatter_update(np.zeros(3), [[1]], [5.0]).tolist()
    [0.0, 5.0, 0.0]
    """
    x, updates = alike(inputs, updates)
    x, whole = known_shape(x)
    places, rows = _pair(indices, updates)
    numbers, count, rest = _row_numbers(places, whole, "scatter_update")
    flat = emit("scatter_set", reshaped_to(x, (count, *rest)), numbers, reshaped_to(fixed(rows), (-1, *rest)))
    return reshaped_to(flat, whole)


def _pair(indices: Any, rows: Any) -> list[Value]:
    return [fixed(value) for value in values(indices, rows)]


def _row_numbers(indices: Value, shape: tuple[int, ...], what: str) -> tuple[Value, int, tuple[int, ...]]:
    """Places along the first axes as numbers of rows; how many rows there are, and the shape of one."""
    _check_whole(indices, what)
    axes = int(indices.shape[-1]) if indices.ndim == 2 else 0
    if not 1 <= axes <= len(shape):
        raise ShapeError(
            f"{what} takes indices (k, axes), as many places each in an array of shape {shape}; "
            f"got {indices.shape}."
        )
    columns = [indices[:, axis] for axis in range(axes)]
    numbers = emit("flat_index", *columns, sizes=shape[:axes]) if axes > 1 else columns[0]
    return numbers, math.prod(shape[:axes]), shape[axes:]


# --- what belongs together


@operation
def segment_sum(
    data: Value, segment_ids: Value, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """Sums of the entries along the first axis that have the same number.

    Args:
        segment_ids: one number for each entry.
        num_segments: of the result; None: the largest number plus one, of arrays only.
        sorted: the ids are in order; without effect here.

    >>> from kernelearn import ops
    >>> ops.segment_sum([1.0, 2.0, 3.0], [0, 1, 0], 2).tolist()
    [4.0, 2.0]
    """
    data, ids, count = _segments(data, segment_ids, num_segments, "segment_sum")
    return emit("scatter_add", data, ids, axis=0, shape=(count, *data.shape[1:]))


@operation
def segment_max(
    data: Value, segment_ids: Value, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """Largest of the entries along the first axis that have the same number; see `segment_sum`.

    A number that no entry has gives the least number of the type: -inf for floats.
    """
    data, ids, count = _segments(data, segment_ids, num_segments, "segment_max")
    return emit("segment_max", data, ids, count=count)


def _segments(data: Any, ids: Any, count: int | None, what: str) -> tuple[Value, Value, int]:
    data, ids = values(data, ids)
    _check_whole(ids, what)
    if count is None and isinstance(ids, Traced):
        raise ArgumentError(f"{what} in a program needs num_segments: the size of its result.")
    found = int(ids.max()) + 1 if count is None else int(count)
    if _sizes(ids) != _sizes(data)[:1]:
        raise ShapeError(f"{what} wants one number for each entry of {data.shape}; got {ids.shape}.")
    return data, ids, found


# --- order


@operation
def argsort(x: Value, axis: int | None = -1) -> Any:
    """Numbers of the entries in ascending order; equal entries keep theirs. None: of all numbers in a row.

    >>> from kernelearn import ops
    >>> ops.argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    x = one(x)
    if axis is None:
        x, axis = reshaped_to(x, (-1,)), 0
    return emit("argsort", x, axis=axis_of(axis, x.ndim, "argsort"))


@operation
def sort(x: Value, axis: int | None = -1) -> Any:
    """Entries in ascending order along an axis; the gradient goes back to where they were.

    >>> from kernelearn import ops
    >>> ops.sort([3, 1, 2]).tolist()
    [1, 2, 3]
    """
    x = one(x)
    if axis is None:
        x, axis = reshaped_to(x, (-1,)), 0
    place = axis_of(axis, x.ndim, "sort")
    x = fixed(x) if place == 0 else x
    return emit("gather_along", x, emit("argsort", x, axis=place), axis=place)


@operation
def top_k(x: Value, k: int, sorted: bool = True) -> Any:
    """The k largest entries along the last axis and their numbers, the largest first; of equals the first.

    Args:
        sorted: they are always in order here.

    >>> from kernelearn import ops
    >>> values, numbers = ops.top_k([1, 3, 2], 2)
    >>> values.tolist(), numbers.tolist()
    ([3, 2], [1, 2])
    """
    x = one(x)
    if x.ndim < 1:
        raise ShapeError("top_k takes at least one axis, got a single number.")
    x = fixed(x) if x.ndim == 1 else x
    if not 1 <= k <= int(x.shape[-1]):
        raise ArgumentError(f"top_k takes k from 1 to the {x.shape[-1]} entries of the last axis, got {k!r}.")
    order = emit("argsort", x, axis=x.ndim - 1, descending=True)
    if k < int(x.shape[-1]):
        order = emit("slice", order, bounds=(*[None] * (x.ndim - 1), (0, int(k))))
    return emit("gather_along", x, order, axis=x.ndim - 1), order


@operation
def in_top_k(targets: Value, predictions: Value, k: int) -> Any:
    """Whether each target class is among the k highest predictions (n, classes); ties count as among them.

    >>> from kernelearn import ops
    >>> ops.in_top_k([1, 0], [[0.1, 0.7, 0.2], [0.2, 0.5, 0.3]], 1).tolist()
    [True, False]
    """
    targets, predictions = values(targets, predictions)
    _check_whole(targets, "in_top_k")
    if predictions.ndim != targets.ndim + 1:
        raise ShapeError(
            f"in_top_k wants predictions (n, classes) for targets (n,); got {predictions.shape}."
        )
    own = take_along_axis(predictions, expand_dims(targets, -1), -1)
    higher = emit("sum_to", cast_to(predictions > own, "int32"), axes=(targets.ndim,), shape=_sizes(targets))
    return higher < k


@operation
def searchsorted(sorted_sequence: Value, values: Value, side: str = "left") -> Any:
    """Where each value would be put into a sorted row: before ("left") or behind ("right") its equals.

    >>> from kernelearn import ops
    >>> ops.searchsorted([1.0, 2.0, 3.0], [2.0, 2.5]).tolist()
    [1, 2]
    """
    if side not in ("left", "right"):
        raise ArgumentError(f'side must be "left" or "right", got {side!r}.')
    edges, places = alike(sorted_sequence, values)
    return emit("searchsorted", edges, places, side=side)


@operation
def nonzero(x: Value) -> Any:
    """Places of the entries that are not zero, one array for each axis; of arrays only.

    Raises: ArgumentError for traced and symbolic values: the size of the result depends on numbers.
    """
    if program_of([x]) is not None:
        raise ArgumentError(
            "nonzero has a result whose size depends on numbers, which a program cannot have. Use "
            "ops.where(condition, x, 0), or multiply by the condition."
        )
    return tuple(np.asarray(places, dtypes.INDEX) for places in np.nonzero(np.asarray(x)))
