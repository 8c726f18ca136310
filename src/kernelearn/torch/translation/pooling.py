"""Pooling: windows, and means over all places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import Node

from kernelearn.torch.translation.convolution import every
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


@rule(aten.max_pool2d.default)
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
    images = region.images(x)
    count = len(images.shape) - 2
    if set(every(dilation, count)) != {1} or ceil:
        raise CannotTranslate("max pooling with dilation or ceil_mode")
    attrs = {"size": every(size, count), "stride": every(stride or size, count)}
    pads = tuple((p, p) for p in every(padding, count))
    return Value.images(region.add("max_pool", images, padding=pads, **attrs)[0])


@rule(aten.avg_pool2d.default)
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
    """The mean of each window."""
    images = region.images(x)
    count = len(images.shape) - 2
    if set(every(padding, count)) != {0} or ceil or divisor is not None:
        raise CannotTranslate("average pooling with padding, ceil_mode or a divisor of its own")
    attrs = {"size": every(size, count), "stride": every(stride or size, count)}
    return Value.images(region.add("average_pool", images, padding=((0, 0),) * count, **attrs))


@rule(aten.adaptive_avg_pool2d.default)
def adaptive_avg_pool(region: Region, node: Node, x: Node, size: Sequence[int]) -> Value:
    """The mean over all places."""
    images = region.images(x)
    count = len(images.shape) - 2
    if every(size, count) != (1,) * count:
        raise CannotTranslate(f"adaptive pooling to {tuple(size)}")
    axes = tuple(range(1, count + 1))
    return Value.images(region.add("reduce_mean", images, axes=axes, keepdims=True))


@rule(aten.mean.dim)
def mean(
    region: Region, node: Node, x: Node, axes: Sequence[int] | None, keepdims: bool, dtype: torch.dtype | None
) -> Value:
    """The mean over all places of images."""
    rank = len(region.shape(x))
    over = sorted(axis % rank for axis in axes or ())
    if dtype is not None or rank < 3 or over != list(range(2, rank)):
        raise CannotTranslate(f"a mean over the axes {axes}")
    images = region.images(x)
    y = region.add("reduce_mean", images, axes=tuple(range(1, rank - 1)), keepdims=bool(keepdims))
    return Value.images(y)
