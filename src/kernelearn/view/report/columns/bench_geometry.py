"""Where the numbers of a layer's columns lie: slices of its kernel, positions, cuts of large maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.explain.passes.columns import Columns


def slice_count(every: Columns) -> int:
    """Input channels of one filter."""
    return every.kernel.shape[-1 if every.kind == "conv_transpose" else -2]


def filter_kernel(one: Columns, number: int) -> np.ndarray:
    """(*taps, slices) of a convolution's filter."""
    return np.asarray(one.kernel[..., number, :] if one.kind == "conv_transpose" else one.kernel[..., number])


def geometry_of(one: Columns) -> dict[str, list[int]]:
    rank = one.x.ndim - 2
    if one.kind == "dense":
        return {"stride": [], "dilation": [], "before": []}
    given = {"stride": one.attrs["stride"], "dilation": one.attrs.get("dilation") or [1] * rank}
    before = [int(pair[0]) for pair in one.attrs["padding"]]
    return {**{name: [int(v) for v in values] for name, values in given.items()}, "before": before}


def position_of(one: Columns, place: tuple[int, int, int]) -> list[int]:
    """Where the weight has its largest term in the first image; where the sum is largest without errors."""
    tap, channel, number = place
    column = one.columns[0]
    values = column.values[0, ..., number] if column.errors is None else column.errors[0, ..., number]
    if not values.ndim:
        return []
    terms = np.array(values)
    if column.errors is not None and one.kind == "conv":
        taps = np.unravel_index(tap, one.kernel.shape[:-2])
        terms = terms * _inputs_of_tap(one, [int(t) for t in taps], channel, number, values.shape)
    return [int(i) for i in np.unravel_index(np.abs(terms).argmax(), terms.shape)]


def _inputs_of_tap(
    one: Columns, taps: list[int], channel: int, number: int, shape: tuple[int, ...]
) -> np.ndarray:
    """(*positions) what a tap of a convolution reads at each position of the first image."""
    geometry = geometry_of(one)
    groups = int(one.attrs.get("groups", 1))
    c = number // (one.columns[0].values.shape[-1] // groups) * slice_count(one) + channel
    read = one.x[0, ..., c]
    for axis, (count, t) in enumerate(zip(shape, taps)):
        stride, step, before = (geometry[name][axis] for name in ("stride", "dilation", "before"))
        pixels = np.arange(count) * stride + t * step - before
        inside = (pixels >= 0) & (pixels < read.shape[axis])
        read = np.take(read, np.clip(pixels, 0, read.shape[axis] - 1), axis=axis)
        read = read * inside.reshape([-1 if a == axis else 1 for a in range(read.ndim)])
    return read


def window_of(one: Columns, position: list[int], side: int, keys: Sequence[str]) -> dict[str, Any]:
    """(start, stop) of what is cut out of x and of each column, around a position."""
    sizes = one.columns[0].values.shape[1:-1]
    start = [max(0, min(p - side // 2, n - side)) for p, n in zip(position, sizes)]
    stop = [min(n, s + side) for s, n in zip(start, sizes)]
    found: dict[str, Any] = {key: (start, stop) for key in keys}
    geometry = geometry_of(one)
    axes = list(zip(geometry["stride"], geometry["dilation"], geometry["before"], one.kernel.shape))
    low = [s * stride - before for s, (stride, _, before, _) in zip(start, axes)]
    high = [(e - 1) * stride - before + (k - 1) * d + 1 for e, (stride, d, before, k) in zip(stop, axes)]
    limits = one.x.shape[1:-1]
    found["x"] = ([max(0, v) for v in low], [min(n, v) for v, n in zip(high, limits)])
    pool = one.column("p")
    if pool is not None and "p" in keys:
        strides = list(pool.attrs.get("stride") or sizes)
        counts = pool.values.shape[1:-1]
        ends = [min(n, -(-e // s)) for e, s, n in zip(stop, strides, counts)]
        later = keys[keys.index("p") :]
        found.update({key: ([b // s for b, s in zip(start, strides)], ends) for key in later})
    return found
