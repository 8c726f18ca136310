"""Normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.arrays import known
from kernelearn.engine.program import Buffer
from kernelearn.torch.graphs import standins
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Order, Value

aten = torch.ops.aten

Result = tuple[Value | None, ...]


@rule(standins.batch_norm)
def batch_norm(
    region: Region,
    node: Node,
    x: Node,
    gamma: Node | None,
    beta: Node | None,
    mean: Node | None,
    variance: Node | None,
    training: bool,
    momentum: float,
    epsilon: float,
) -> Result:
    """y, and the moving averages behind it (None in eval mode and where there are none)."""
    images = region.images(x)
    averages: tuple[Value | None, Value | None] = (None, None)
    if training:
        axes = tuple(range(len(images.shape) - 1))
        y, of_mean, of_variance = region.add("normalize", images, axes=axes, epsilon=epsilon)
        if mean is not None and variance is not None:
            unbiased = _unbiased(region, images, of_variance)
            averages = (
                _moved(region, mean, of_mean, momentum),
                _moved(region, variance, unbiased, momentum),
            )
    elif mean is None or variance is None:
        raise CannotTranslate("a batch normalisation without moving averages in eval mode")
    else:
        rows = region.weight(mean, (0,)), region.weight(variance, (0,))
        y = region.add("standardize", images, *rows, epsilon=epsilon)
    return Value.images(_scaled(region, y, gamma, beta)), *averages


def _scaled(region: Region, y: Buffer, gamma: Node | None, beta: Node | None, order: Order = (0,)) -> Buffer:
    """gamma y + beta, without the one that is not there; their axes in this order are the last of y."""
    if gamma is not None and beta is not None:
        found: Buffer = region.add("affine", y, region.weight(gamma, order), region.weight(beta, order))
        return found
    if gamma is not None:
        y = region.add("multiply", y, region.weight(gamma, order))
    if beta is not None:
        y = region.add("add", y, region.weight(beta, order))
    return y


@rule(aten.layer_norm.default)
def layer_norm(
    region: Region,
    node: Node,
    x: Node,
    sizes: Sequence[int],
    gamma: Node | None,
    beta: Node | None,
    epsilon: float,
    cudnn: bool,
) -> Value:
    """Each image, or place, by its own mean and variance over the last axes."""
    value, rank = region.value(x), len(region.shape(x))
    last = set(range(rank - len(sizes), rank))
    if set(value.order[-len(sizes) :]) != last:  # these have to lie at the end for the weights
        value = Value.plain(region.plain(x))
    axes = tuple(range(rank - len(sizes), rank))
    y, _, _ = region.add("normalize", value.buffer, axes=axes, epsilon=epsilon)
    order = tuple(axis - rank + len(sizes) for axis in value.order[-len(sizes) :])
    return Value(_scaled(region, y, gamma, beta, order), value.order)


@rule(aten.native_layer_norm.default)
def native_layer_norm(
    region: Region,
    node: Node,
    x: Node,
    sizes: Sequence[int],
    gamma: Node | None,
    beta: Node | None,
    epsilon: float,
) -> Result:
    """The same; its other results are of use to PyTorch only."""
    return layer_norm(region, node, x, sizes, gamma, beta, epsilon, False), None, None


@rule(aten.group_norm.default)
def group_norm(
    region: Region,
    node: Node,
    x: Node,
    groups: int,
    gamma: Node | None,
    beta: Node | None,
    epsilon: float,
    cudnn: bool,
) -> Value:
    """Each image by its own mean and variance over the places and some channels."""
    images = region.images(x)
    *sizes, channels = images.shape
    channels = known(channels)
    split = region.add("reshape", images, shape=(*sizes, groups, channels // groups))
    axes = (*range(1, len(sizes)), len(sizes) + 1)
    y, _, _ = region.add("normalize", split, axes=axes, epsilon=epsilon)
    return Value.images(_scaled(region, region.add("reshape", y, shape=images.shape), gamma, beta))


@rule(aten.native_group_norm.default)
def native_group_norm(
    region: Region,
    node: Node,
    x: Node,
    gamma: Node | None,
    beta: Node | None,
    images: Any,
    channels: int,
    places: int,
    groups: int,
    epsilon: float,
) -> Result:
    """The same; its other results are of use to PyTorch only."""
    return group_norm(region, node, x, groups, gamma, beta, epsilon, False), None, None


@rule(aten.instance_norm.default)
def instance_norm(
    region: Region,
    node: Node,
    x: Node,
    gamma: Node | None,
    beta: Node | None,
    mean: Node | None,
    variance: Node | None,
    use_input: bool,
    momentum: float,
    epsilon: float,
    cudnn: bool,
) -> Value:
    """Each channel of each image by its own mean and variance."""
    if not use_input or mean is not None:
        raise CannotTranslate("an instance normalisation with moving averages")
    images = region.images(x)
    axes = tuple(range(1, len(images.shape) - 1))
    y, _, _ = region.add("normalize", images, axes=axes, epsilon=epsilon)
    return Value.images(_scaled(region, y, gamma, beta))


@rule(aten.rms_norm.default)
def rms_norm(
    region: Region, node: Node, x: Node, sizes: Sequence[int], gamma: Node | None, epsilon: float | None
) -> Value:
    """Divided by the root of the mean square over the last axes."""
    buffer = region.plain(x)
    axes = tuple(range(len(buffer.shape) - len(sizes), len(buffer.shape)))
    square = region.add("reduce_mean", region.add("square", buffer), axes=axes, keepdims=True)
    least = torch.finfo(torch.float32).eps if epsilon is None else epsilon
    root = region.add("rsqrt", region.add("scale", square, offset=float(least)))
    y = region.add("multiply", buffer, root)
    return Value.plain(_scaled(region, y, gamma, None, tuple(range(len(sizes)))))


def _unbiased(region: Region, x: Buffer, variance: Buffer) -> Buffer:
    """The variance times m / (m - 1), with m numbers in each channel: what moves the average in PyTorch."""
    places = math.prod(size for size in x.shape[1:-1] if size is not None)
    m = region.add("scale", region.add("image_count", x, dtype="float32"), factor=float(places))
    less = region.add("scale", m, offset=-1.0)
    return region.add("multiply", variance, region.add("divide", m, less))  # type: ignore[no-any-return]


def _moved(region: Region, average: Node, value: Buffer, momentum: float) -> Value:
    """(1 - momentum) average + momentum value."""
    before = region.add("scale", region.weight(average, (0,)), factor=1.0 - momentum)
    return Value.plain(region.add("add", before, region.add("scale", value, factor=momentum)))
