"""Pooling: windows that slide, and windows that share a map between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch.fx import Node

from kernelearn.engine.arrays import known
from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.arithmetic import scaled
from kernelearn.torch.translation.convolution import every
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten

Pairs = tuple[tuple[int, int], ...]


def _borders(
    sizes: Sequence[int],
    outputs: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
) -> Pairs:
    """The padding with which windows that begin at multiples of the stride give so many outputs.

    With `ceil_mode` the last window may lie partly beyond the padding that was asked for.
    """
    ends = [(o - 1) * s + k - n - p for n, o, k, s, p in zip(sizes, outputs, window, stride, padding)]
    return tuple((p, max(p, end)) for p, end in zip(padding, ends))


@rule(aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
def max_pool(
    region: Region,
    node: Node,
    x: Node,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
) -> Value:
    """The largest number of each window; nothing beyond the border counts."""
    if set(every(dilation, 1)) != {1}:
        return Value.images(_with_holes(region, x, _sizes(node), size, stride, padding, dilation))
    return Value.images(_max_pool(region, x, _sizes(node), size, stride, padding))


@rule(aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def max_pool_with_indices(
    region: Region,
    node: Node,
    x: Node,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
) -> tuple[Value | None, ...]:
    """The same; the places are of use to PyTorch only."""
    return max_pool(region, node, x, size, stride, padding, dilation, ceil), None


def _sizes(node: Node) -> tuple[int, ...]:
    """The sizes of the maps that an operator gives, in its first result."""
    value = node.meta["val"]
    return tuple((value[0] if isinstance(value, tuple | list) else value).shape[2:])


def _max_pool(
    region: Region,
    x: Node,
    outputs: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
) -> Buffer:
    images = region.images(x)
    count = len(images.shape) - 2
    window, steps = every(size, count), every(stride or size, count)
    sizes = [known(size) for size in images.shape[1:-1]]
    pads = _borders(sizes, outputs, window, steps, every(padding, count))
    found: Buffer = region.add("max_pool", images, size=window, stride=steps, padding=pads)[0]
    return found


def _with_holes(
    region: Region,
    x: Node,
    outputs: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Buffer:
    """Max pooling tap by tap: of equal numbers the first one counts, and what is no number wins."""
    images = region.images(x)
    count = len(images.shape) - 2
    window, steps, pads = every(size, count), every(stride or size, count), every(padding, count)
    holes = every(dilation, count)
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(outputs, steps, window, holes)]
    borders = [(p, max(0, r - known(n) - p)) for p, r, n in zip(pads, reach, images.shape[1:-1])]
    if any(map(any, borders)):
        images = region.add("pad", images, padding=((0, 0), *borders, (0, 0)), value=-math.inf)
    best: Buffer | None = None
    for tap in itertools.product(*map(range, window)):
        places = tuple((t * d, o, s) for t, d, o, s in zip(tap, holes, outputs, steps))
        taken: Buffer = region.add("strided_slice", images, places=(None, *places, None))
        if best is None:
            best = taken
            continue
        wins = region.add("logical_or", region.add("greater", taken, best), region.add("isnan", taken))
        best = region.add("where", wins, taken, best)
    assert best is not None
    return best


@rule(aten.avg_pool1d.default)
def avg_pool1d(
    region: Region,
    node: Node,
    x: Node,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil: bool,
    count_include_pad: bool,
) -> Value:
    """The mean of each window."""
    return avg_pool(region, node, x, size, stride, padding, ceil, count_include_pad, None)


@rule(aten.avg_pool2d.default, aten.avg_pool3d.default)
def avg_pool(
    region: Region,
    node: Node,
    x: Node,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Value:
    """The mean of each window: of the numbers that are there, or with the zeros of the border among them."""
    images = region.images(x)
    count = len(images.shape) - 2
    window, steps, zeros = every(size, count), every(stride or size, count), every(padding, count)
    sizes = [known(size) for size in images.shape[1:-1]]
    pads = _borders(sizes, _sizes(node), window, steps, zeros)
    if not count_include_pad and divisor is None:
        return Value.images(region.add("average_pool", images, size=window, stride=steps, padding=pads))
    if any(high > zero for (_, high), zero in zip(pads, zeros)) and divisor is None:
        return _partly_beyond(region, images, window, steps, zeros, pads)
    entries = 1
    for k in window:
        entries *= k
    summed = _whole_windows(region, images, window, steps, pads)
    return Value.images(summed if divisor is None else scaled(region, summed, entries / divisor))


def _whole_windows(
    region: Region, images: Buffer, window: Sequence[int], stride: Sequence[int], pads: Pairs
) -> Buffer:
    """The mean of windows with zeros in the border."""
    if any(map(any, pads)):
        images = region.add("pad", images, padding=((0, 0), *pads, (0, 0)))
    none = ((0, 0),) * len(window)
    found: Buffer = region.add("average_pool", images, size=tuple(window), stride=tuple(stride), padding=none)
    return found


def _partly_beyond(
    region: Region,
    images: Buffer,
    window: Sequence[int],
    stride: Sequence[int],
    zeros: Sequence[int],
    pads: Pairs,
) -> Value:
    """The zeros that were asked for count, what the last windows have beyond them does not."""
    if any(zeros):
        images = region.add("pad", images, padding=((0, 0), *((p, p) for p in zeros), (0, 0)))
    beyond = tuple((0, high - zero) for (_, high), zero in zip(pads, zeros))
    return Value.images(
        region.add("average_pool", images, size=tuple(window), stride=tuple(stride), padding=beyond)
    )


@rule(aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool3d.default)
def adaptive_avg_pool(region: Region, node: Node, x: Node, size: Sequence[int]) -> Value:
    """The means of as many windows as asked for."""
    images, outputs = region.images(x), _sizes(node)
    count = len(outputs)
    if set(outputs) == {1}:
        axes = tuple(range(1, count + 1))
        return Value.images(region.add("reduce_mean", images, axes=axes, keepdims=True))
    sizes = [known(size) for size in images.shape[1:-1]]
    window = _equal_windows(sizes, outputs)
    if window is not None:
        return Value.images(_whole_windows(region, images, window, window, ((0, 0),) * count))
    for axis, (n, o) in enumerate(zip(sizes, outputs), start=1):
        images = _means(region, images, axis, n, o)
    return Value.images(images)


def _equal_windows(sizes: Sequence[int], outputs: Sequence[int]) -> tuple[int, ...] | None:
    """The size of windows that share a map evenly; None if they overlap."""
    if any(n % o for n, o in zip(sizes, outputs)):
        return None
    return tuple(n // o for n, o in zip(sizes, outputs))


# More windows along an axis than this are not taken one by one.
MOST_WINDOWS = 8


def _means(region: Region, images: Buffer, axis: int, size: int, outputs: int) -> Buffer:
    """Means of windows along one axis, which may share entries."""
    if size == outputs:
        return images
    if outputs > MOST_WINDOWS:
        raise CannotTranslate(f"adaptive pooling of {size} entries to {outputs}")
    value, means = Value.plain(images), []
    for k in range(outputs):
        start, end = k * size // outputs, -(-(k + 1) * size // outputs)
        bounds = tuple((start, end) if a == axis else None for a in range(len(value.order)))
        taken = region.add("slice", images, bounds=bounds)
        means.append(region.add("reduce_mean", taken, axes=(axis,), keepdims=True))
    found: Buffer = means[0] if outputs == 1 else region.add("concatenate", *means, axis=axis)
    return found


@rule(aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def adaptive_max_pool(region: Region, node: Node, x: Node, size: Sequence[int]) -> tuple[Value | None, ...]:
    """The largest numbers of as many windows as asked for, where these share a map evenly."""
    outputs = _sizes(node)
    sizes = [known(size) for size in region.images(x).shape[1:-1]]
    window = _equal_windows(sizes, outputs)
    if window is None:
        raise CannotTranslate(f"adaptive max pooling of {sizes} to {outputs}")
    return Value.images(_max_pool(region, x, outputs, window, window, (0,))), None
