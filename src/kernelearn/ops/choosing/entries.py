"""Choosing entries by their numbers, and other entries in their places.

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
from kernelearn.ops._run import Value, cast_to, combined, emit, moved, values
from kernelearn.ops._shapes import (
    axis_of,
    check_whole,
    counted,
    dtype_name,
    known_shape,
    one,
    open_shape,
    reshaped_to,
)
from kernelearn.ops.entrywise.conditions import where
from kernelearn.tracing import Traced, fixed, program_of


@operation
def take(x: Value, indices: Value, axis: int | None = None) -> Any:
    """Entries along an axis by their numbers, which may have any shape; None: of all numbers in a row.

    Rows of a table for every image are an embedding; its gradient adds rows up in the order of the images.

    >>> from kernelearn import ops
    >>> ops.take([10, 20, 30], [[2, 0]]).tolist()
    [[30, 10]]
    """
    x, indices = values(x, indices)
    check_whole(indices, "take")
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
    check_whole(indices, "take_along_axis")
    if axis is None:
        x, axis = reshaped_to(x, (-1,)), 0
    if x.ndim != indices.ndim:
        raise ShapeError(
            f"take_along_axis wants as many axes of indices as of x; got {indices.shape} for {x.shape}."
        )
    place = axis_of(axis, x.ndim, "take_along_axis")
    return emit("gather_along", *_spread(*counted(x, indices), place), axis=place)


def _spread(x: Value, indices: Value, axis: int) -> tuple[Value, Value]:
    """Both with the same sizes on all axes but one."""
    pairs = list(zip(open_shape(x), open_shape(indices)))
    whole = [b if a == 1 else a for a, b in pairs]
    shapes = [
        [pair[i] if n == axis else size for n, (pair, size) in enumerate(zip(pairs, whole))] for i in (0, 1)
    ]
    found = []
    for value, other, shape in ((x, indices, shapes[0]), (indices, x, shapes[1])):
        same = tuple(shape) == open_shape(value)
        like = (other,) if shape[:1] == [None] else ()
        found.append(value if same else emit("broadcast_to", value, *like, shape=tuple(shape)))
    return found[0], found[1]


@operation
def one_hot(x: Value, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Class numbers as rows of zeros with one 1, along a new axis. A number that is no class gives zeros.

    Args:
        x: whole numbers, of a float type too: losses get class numbers so.
        dtype: of the result; None: the default float.
        sparse: there are no sparse arrays here.

    >>> from kernelearn import ops
    >>> ops.one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if sparse:
        raise ArgumentError("one_hot(sparse=True): kernelearn has no sparse arrays; leave it out.")
    x = _class_numbers(one(x))
    kind = config.floatx() if dtype is None else dtypes.checked(dtype)
    graph = program_of([x])
    kind = graph.dtype if graph is not None and dtype is None else kind
    found = emit("one_hot", x, depth=int(num_classes), dtype=kind)
    return moved(found, -1, axis_of(axis, found.ndim, "one_hot"))


def _class_numbers(x: Value) -> Value:
    """Whole numbers in a type for them. Raises: ArgumentError for arrays of others."""
    if not dtypes.is_float(dtype_name(x)):
        check_whole(x, "one_hot", "class numbers")
        return x
    if not isinstance(x, Traced) and not np.array_equal(x, np.rint(x)):
        raise ArgumentError("one_hot takes class numbers; these are not whole. Round or cast them first.")
    return cast_to(x, dtypes.INDEX)


@operation
def select(condlist: Sequence[Value], choicelist: Sequence[Value], default: Any = 0) -> Any:
    """Entry by entry the first of the choices whose condition holds.

    >>> from kernelearn import ops
    >>> x = ops.arange(4)
    >>> ops.select([x < 1, x < 3], [x + 10, x + 20], -1).tolist()
    [10, 21, 22, -1]
    """
    if len(condlist) != len(choicelist) or not condlist:
        raise ArgumentError(
            f"select wants as many conditions as choices, got {len(condlist)} and {len(choicelist)}."
        )
    found: Any = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        found = where(condition, choice, found)
    return found


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
    x, updates = combined(inputs, updates)
    x, whole = known_shape(x)
    places, rows = _pair(indices, updates)
    numbers, count, rest = _row_numbers(places, whole, "scatter_update")
    flat = emit("scatter_set", reshaped_to(x, (count, *rest)), numbers, reshaped_to(fixed(rows), (-1, *rest)))
    return reshaped_to(flat, whole)


def _pair(indices: Any, rows: Any) -> list[Value]:
    return [fixed(value) for value in values(indices, rows)]


def _row_numbers(indices: Value, shape: tuple[int, ...], what: str) -> tuple[Value, int, tuple[int, ...]]:
    """Places along the first axes as numbers of rows; how many rows there are, and the shape of one."""
    check_whole(indices, what)
    axes = int(indices.shape[-1]) if indices.ndim == 2 else 0
    if not 1 <= axes <= len(shape):
        raise ShapeError(
            f"{what} takes indices (k, axes), as many places each in an array of shape {shape}; "
            f"got {indices.shape}."
        )
    columns = [indices[:, axis] for axis in range(axes)]
    numbers = emit("flat_index", *columns, sizes=shape[:axes]) if axes > 1 else columns[0]
    return numbers, math.prod(shape[:axes]), shape[axes:]


@operation
def unravel_index(indices: Value, shape: Sequence[int]) -> Any:
    """Places along each axis of an array of this shape, from numbers of entries in one row.

    >>> from kernelearn import ops
    >>> [int(place) for place in ops.unravel_index(5, (2, 3))]
    [1, 2]
    """
    numbers = one(indices)
    check_whole(numbers, "unravel_index")
    places: list[Value] = []
    for size in reversed([int(s) for s in shape]):
        places.insert(0, numbers % size)
        numbers = numbers // size
    return tuple(places)


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


@operation
def extract_sequences(x: Value, sequence_length: int, sequence_stride: int) -> Any:
    """Windows of the last axis, as an axis more: (..., windows, sequence_length).

    >>> from kernelearn import ops
    >>> ops.extract_sequences([1, 2, 3, 4, 5], 3, 2).tolist()
    [[1, 2, 3], [3, 4, 5]]
    """
    x = one(x)
    last = (fixed(x) if x.ndim == 1 else x).shape[-1]
    count = 1 + (int(last) - int(sequence_length)) // int(sequence_stride)
    if count < 1 or sequence_length < 1:
        raise ShapeError(
            f"Sequences of {sequence_length} entries do not fit into the last axis of {x.shape}."
        )
    places = np.arange(count)[:, None] * int(sequence_stride) + np.arange(int(sequence_length))
    return take(x, places, x.ndim - 1)
