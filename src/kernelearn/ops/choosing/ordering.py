"""Entries in order: sorting, the largest ones, places in sorted rows."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, combined, emit, values
from kernelearn.ops._shapes import (
    axis_of,
    check_whole,
    one,
    open_shape,
    reshaped_to,
)
from kernelearn.ops.choosing.entries import take_along_axis
from kernelearn.ops.moving.shaping import expand_dims
from kernelearn.tracing import fixed


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
    check_whole(targets, "in_top_k")
    if predictions.ndim != targets.ndim + 1:
        raise ShapeError(
            f"in_top_k wants predictions (n, classes) for targets (n,); got {predictions.shape}."
        )
    own = take_along_axis(predictions, expand_dims(targets, -1), -1)
    higher = emit(
        "sum_to", cast_to(predictions > own, "int32"), axes=(targets.ndim,), shape=open_shape(targets)
    )
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
    edges, places = combined(sorted_sequence, values)
    return emit("searchsorted", edges, places, side=side)


@operation
def argpartition(x: Value, kth: int, axis: int | None = -1) -> Any:
    """Numbers of the entries, the `kth` smallest at place kth and smaller ones before it (here in order)."""
    found = argsort(x, axis)
    axis_of(kth, int(found.shape[-1 if axis is None else axis]), "argpartition")
    return found


@operation
def digitize(x: Value, bins: Value) -> Any:
    """The number of the bin of each entry, bins[i - 1] <= x < bins[i].

    >>> from kernelearn import ops
    >>> ops.digitize([0.5, 3.0], [1.0, 2.0]).tolist()
    [0, 2]
    """
    return searchsorted(bins, x, side="right")


@operation
def isin(x1: Value, x2: Value, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each entry of x1 is one of x2.

    Args:
        assume_unique: without effect here; invert: whether it is none of them.
    """
    first, second = combined(x1, x2)
    rows = expand_dims(first, -1) == reshaped_to(second, (1,) * first.ndim + (-1,))
    found = emit("reduce_max", rows, axes=(first.ndim,))
    return ~found if invert else found
