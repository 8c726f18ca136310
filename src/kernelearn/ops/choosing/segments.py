"""Sums, extremes and counts of the entries that share a number."""

from __future__ import annotations

import builtins
from typing import Any

from kernelearn.engine import dtypes
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, values
from kernelearn.ops._shapes import (
    check_whole,
    counted,
    one,
    open_shape,
    reshaped_to,
)
from kernelearn.tracing import Traced, program_of


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


@operation
def segment_min(
    data: Value, segment_ids: Value, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """Smallest of the entries along the first axis that have the same number; see `segment_max`."""
    return -segment_max(-one(data), segment_ids, num_segments)


@operation
def bincount(x: Value, weights: Value | None = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each whole number occurs in x, or the sum of its weights.

    Args:
        minlength: least length of the result; in a program its length, because numbers are not known there.

    >>> from kernelearn import ops
    >>> ops.bincount([0, 2, 2]).tolist()
    [1, 0, 2]
    """
    if sparse:
        raise ArgumentError("bincount(sparse=True): kernelearn has no sparse arrays; leave it out.")
    x = reshaped_to(one(x), (-1,))
    check_whole(x, "bincount", "numbers")
    is_known = program_of([x, weights]) is None
    if not is_known and not minlength:
        raise ArgumentError("bincount in a program needs minlength: the length of its result.")
    length = builtins.max(int(minlength), int(x.max(initial=-1)) + 1) if is_known else int(minlength)
    counted = emit("fill_like", x, value=1, dtype=dtypes.INDEX) if weights is None else weights
    flat = reshaped_to(values(counted, x)[0], (-1,))
    return emit("scatter_add", flat, x, axis=0, shape=(length,))


def _segments(data: Any, ids: Any, count: int | None, what: str) -> tuple[Value, Value, int]:
    data, ids = values(data, ids)
    check_whole(ids, what)
    if count is None and isinstance(ids, Traced):
        raise ArgumentError(f"{what} in a program needs num_segments: the size of its result.")
    found = int(ids.max()) + 1 if count is None else int(count)
    data, ids = counted(data, ids)
    if open_shape(ids) != open_shape(data)[:1]:
        raise ShapeError(f"{what} wants one number for each entry of {data.shape}; got {ids.shape}.")
    return data, ids, found
