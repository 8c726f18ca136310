"""Arrays repeated along axes, and with borders around them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, values
from kernelearn.ops._shapes import (
    axis_of,
    is_open,
    means_images,
    one,
    open_shape,
    reshaped_to,
    sizes_of,
    window,
    with_count,
)
from kernelearn.ops.moving.shaping import expand_dims
from kernelearn.tracing import fixed
from kernelearn.tracing.count import ImageCount


@operation
def broadcast_to(x: Value, shape: Any) -> Any:
    """Repeated along axes of size 1 and along new ones in front.

    >>> from kernelearn import ops
    >>> ops.broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    x, sizes = one(x), sizes_of(shape)
    if is_open(x) and len(sizes) == x.ndim and means_images(sizes[0], x):
        return emit("broadcast_to", x, shape=(None, *[int(s) for s in sizes[1:]]))
    sizes = with_count(sizes)
    if sizes and isinstance(sizes[0], ImageCount):
        x, like = values(x, sizes[0].value)
        return emit("broadcast_to", x, like, shape=(None, *[int(s) for s in sizes[1:]]))
    return emit("broadcast_to", fixed(x), shape=tuple(int(s) for s in sizes))


@operation
def repeat(x: Value, repeats: Any, axis: int | None = None) -> Any:
    """Every entry along an axis several times; None: of all numbers in a row.

    Args:
        repeats: how often, one number or one for each entry.

    >>> from kernelearn import ops
    >>> ops.repeat([1, 2], 2).tolist()
    [1, 1, 2, 2]
    """
    x = one(x)
    if axis is None:
        x, axis = reshaped_to(x, (-1,)), 0
    place = axis_of(axis, x.ndim, "repeat")
    x = fixed(x) if place == 0 else x
    if np.ndim(repeats) and np.size(repeats) > 1:
        chosen = np.repeat(np.arange(x.shape[place]), np.asarray(repeats))
        return emit("gather", x, chosen, axis=place)
    count = int(np.reshape(repeats, ()))
    sizes = list(open_shape(x))
    spread = [*sizes[: place + 1], count, *sizes[place + 1 :]]
    wide = emit("broadcast_to", expand_dims(x, place + 1), shape=tuple(spread))
    return reshaped_to(wide, [*sizes[:place], int(x.shape[place]) * count, *sizes[place + 1 :]])


@operation
def tile(x: Value, repeats: Any) -> Any:
    """The whole array several times along each axis; numbers for the last axes, as in NumPy.

    >>> from kernelearn import ops
    >>> ops.tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    x = one(x)
    counts = [int(r) for r in np.atleast_1d(repeats)]
    counts = [1] * (x.ndim - len(counts)) + counts
    if len(counts) > x.ndim or counts[:1] != [1]:
        x = fixed(x)
    sizes = [*[1] * (len(counts) - x.ndim), *open_shape(x)]
    if sizes[:1] == [None]:
        pairs = [(1, s) for s in sizes[1:]]
        lead: list[Any] = [None]
        shown = counts[1:]
    else:
        pairs, lead, shown = [(1, s) for s in sizes], [], counts
    apart = reshaped_to(x, [*lead, *[size for pair in pairs for size in pair]])
    wide = [*lead, *[size for count, (_, s) in zip(shown, pairs) for size in (count, s)]]
    made = emit("broadcast_to", apart, shape=tuple(wide))
    return reshaped_to(made, [*lead, *[count * int(s or 0) for count, (_, s) in zip(shown, pairs)]])


@operation
def meshgrid(*x: Value, indexing: str = "xy") -> Any:
    """Coordinates of all points of a grid, one array for each of the given rows.

    Args:
        indexing: "xy": the first row runs along the second axis; "ij": along the first.
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'indexing must be "xy" or "ij", got {indexing!r}.')
    rows = [fixed(row) for row in values(*x)]
    rows = [reshaped_to(row, (-1,)) for row in rows]
    order = list(range(len(rows)))
    if indexing == "xy" and len(rows) > 1:
        order[0], order[1] = 1, 0
    lengths = [int(row.shape[0]) for row in rows]
    whole = tuple(lengths[order.index(axis)] for axis in range(len(rows)))
    found = []
    for row, axis in zip(rows, order):
        placed = reshaped_to(row, [-1 if i == axis else 1 for i in range(len(rows))])
        found.append(emit("broadcast_to", placed, shape=whole))
    return found


_MODES = ("constant", "reflect", "symmetric", "edge", "wrap")


@operation
def pad(x: Value, pad_width: Any, mode: str = "constant", constant_values: float | None = None) -> Any:
    """A border around an array.

    Args:
        pad_width: entries before and behind: ((before, behind), ...) for each axis, (before, behind) or one
            number for all.
        mode: "constant", "reflect" (mirrored, without the last entry), "symmetric" (with it), "edge" (the
            last entry repeated) or "wrap" (from the other end).
        constant_values: what a constant border holds; 0 by default.

    >>> from kernelearn import ops
    >>> ops.pad([1, 2, 3], (2, 1), mode="reflect").tolist()
    [3, 2, 1, 2, 3, 2]
    """
    x = one(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if mode not in _MODES:
        raise ArgumentError(f"mode of pad must be one of {', '.join(_MODES)}; got {mode!r}.")
    if constant_values is not None and mode != "constant":
        raise ArgumentError(f'constant_values belong to mode="constant"; the mode is {mode!r}.')
    if any(not isinstance(w, int) or w < 0 for pair in widths for w in pair):
        raise ArgumentError(f"pad_width holds whole numbers that are not negative, got {pad_width!r}.")
    if mode == "constant":
        padding = tuple((lo, hi) for lo, hi in widths)
        value = float(constant_values or 0)
        return emit("pad", x, padding=padding, value=value) if any(map(any, padding)) else x
    for axis, (lo, hi) in enumerate(widths):
        if lo or hi:
            x = _bordered(fixed(x) if axis == 0 else x, axis, lo, hi, mode)
    return x


def _bordered(x: Value, axis: int, lo: int, hi: int, mode: str) -> Value:
    """One axis with a border that is made of its own entries."""
    length = int(x.shape[axis])
    if mode == "edge":
        parts = [_edge(x, axis, 0, lo), x, _edge(x, axis, length - 1, hi)]
    elif mode == "wrap" and max(lo, hi) <= length:
        parts = [_run(x, axis, length - lo, lo, 1), x, _run(x, axis, 0, hi, 1)]
    elif mode in ("reflect", "symmetric") and max(lo, hi) <= length - (mode == "reflect"):
        skipped = int(mode == "reflect")
        parts = [_run(x, axis, lo - 1 + skipped, lo, -1), x, _run(x, axis, length - 1 - skipped, hi, -1)]
    else:
        return emit("gather", x, _folded(np.arange(-lo, length + hi), length, mode), axis=axis)
    there = [part for part in parts if part is not None]
    return emit("concatenate", *there, axis=axis)


def _run(x: Value, axis: int, start: int, count: int, step: int) -> Value | None:
    """So many entries of an axis, forwards or backwards; None for none."""
    if not count:
        return None
    return emit(
        "strided_slice", x, places=tuple((start, count, step) if i == axis else None for i in range(x.ndim))
    )


def _edge(x: Value, axis: int, place: int, count: int) -> Value | None:
    """One entry of an axis so many times; None for none."""
    if not count:
        return None
    shape = tuple(count if i == axis else s for i, s in enumerate(open_shape(x)))
    return emit("broadcast_to", window(x, axis, place, place + 1), shape=shape)


def _folded(places: NDArray[Any], length: int, mode: str) -> NDArray[Any]:
    """The entries that stand at any places: a border wider than the axis goes to and fro."""
    if mode == "wrap":
        return places % length
    period = 2 * length if mode == "symmetric" else max(2 * length - 2, 1)
    inside = places % period
    return np.where(inside < length, inside, (period if mode == "reflect" else period - 1) - inside)
