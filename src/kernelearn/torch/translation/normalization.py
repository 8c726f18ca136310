"""Normalisations."""

from __future__ import annotations

import math

from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch import standins
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

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


def _scaled(region: Region, y: Buffer, gamma: Node | None, beta: Node | None) -> Buffer:
    """gamma y + beta; without the one that is not there."""
    if gamma is not None and beta is not None:
        found: Buffer = region.add("affine", y, region.weight(gamma, (0,)), region.weight(beta, (0,)))
        return found
    if gamma is not None:
        y = region.add("multiply", y, region.weight(gamma, (0,)))
    if beta is not None:
        y = region.add("bias_add", y, region.weight(beta, (0,)))
    return y


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
