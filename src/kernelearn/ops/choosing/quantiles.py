"""Quantiles along axes, by sorting; and differences of neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, floats
from kernelearn.ops._shapes import axes_of, axis_of, one, open_shape, reshaped_to, window
from kernelearn.ops.choosing.ordering import sort
from kernelearn.ops.moving.joining import stack
from kernelearn.ops.moving.shaping import moveaxis
from kernelearn.tracing import Symbolic, Traced, fixed

METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


@operation
def quantile(
    x: Value,
    q: Any,
    axis: int | Sequence[int] | None = None,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    """The number that a share q of the entries along axes does not exceed.

    Args:
        q: in [0, 1], one plain number or a row of them, which becomes the first axis of the result.
        axis: None: all of them.
        method: between two entries: "linear", "lower", "higher", "midpoint" or "nearest".

    >>> from kernelearn import ops
    >>> float(ops.quantile([1.0, 2.0, 4.0], 0.75))
    3.0
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if isinstance(q, Traced | Symbolic):
        raise ArgumentError("q of a quantile must be plain numbers: they decide which entries are read.")
    shares = np.asarray(q, "float64")
    if shares.ndim > 1 or (shares < 0).any() or (shares > 1).any():
        raise ArgumentError(f"q must be one number or a row of numbers in [0, 1], got {q!r}.")
    (x,) = floats(x)
    axes = tuple(range(x.ndim)) if axis is None else axes_of(axis, x.ndim, "quantile")
    x = fixed(x) if 0 in axes else x
    kept = [1 if i in axes else s for i, s in enumerate(open_shape(x)) if keepdims or i not in axes]
    moved = moveaxis(x, axes, tuple(range(-len(axes), 0)))
    rest = open_shape(moved)[: x.ndim - len(axes)]
    rows = sort(reshaped_to(moved, [*rest, math.prod(int(x.shape[a]) for a in axes)]), -1)
    found = [reshaped_to(_between(rows, share, method), kept) for share in shares.reshape(-1).tolist()]
    return found[0] if shares.ndim == 0 else stack(found, 0)


def _between(rows: Value, share: float, method: str) -> Value:
    """The entry at a share of the last, sorted axis."""
    place = share * (int(rows.shape[-1]) - 1)
    low, high = math.floor(place), math.ceil(place)
    if method == "nearest":
        low = high = round(place)
    low, high = {"lower": (low, low), "higher": (high, high)}.get(method, (low, high))
    lower = _entry(rows, low)
    if low == high:
        return lower
    part = 0.5 if method == "midpoint" else place - low
    return lower + (_entry(rows, high) - lower) * part


def _entry(rows: Value, place: int) -> Value:
    return reshaped_to(window(rows, rows.ndim - 1, place, place + 1), open_shape(rows)[:-1])


@operation
def percentile(
    x: Value, q: Any, axis: int | Sequence[int] | None = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """`quantile` with q in [0, 100]."""
    return quantile(x, np.asarray(q, "float64") / 100, axis, method, keepdims)


@operation
def median(x: Value, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The number in the middle of the sorted entries; of an even count the mean of both.

    >>> from kernelearn import ops
    >>> float(ops.median([5.0, 1.0, 2.0, 4.0]))
    3.0
    """
    return quantile(x, 0.5, axis, "linear", keepdims)


@operation
def diff(a: Value, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along an axis, n times.

    >>> from kernelearn import ops
    >>> ops.diff([1, 4, 9]).tolist()
    [3, 5]
    """
    x = one(a)
    place = axis_of(axis, x.ndim, "diff")
    x = fixed(x) if place == 0 else x
    for _ in range(n):
        length = int(x.shape[place])
        x = emit("subtract", window(x, place, 1, length), window(x, place, 0, length - 1))
    return x
