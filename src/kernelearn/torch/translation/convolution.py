"""Convolutions: kernels are (filters, in, *size) in PyTorch, (*size, in, filters) in the engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import Node

from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import rule
from kernelearn.torch.translation.values import Order, Value

aten = torch.ops.aten


def kernel_order(rank: int) -> Order:
    """The order in which the engine has the axes of a convolution's weights."""
    return (*range(2, rank), 1, 0)


def every(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """A number for each of so many axes: PyTorch writes one number where they are equal."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * count if len(numbers) == 1 else numbers


@rule(aten.conv2d.default)
def conv(
    region: Region,
    node: Node,
    x: Node,
    weight: Node,
    bias: Node | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Value:
    """y = conv(x, weight) + bias."""
    rank = len(region.shape(weight))
    kernel = region.weight(weight, kernel_order(rank))
    y = region.add(
        "conv",
        region.images(x),
        kernel,
        stride=every(stride, rank - 2),
        padding=tuple((p, p) for p in every(padding, rank - 2)),
        dilation=every(dilation, rank - 2),
        groups=groups,
        precision=region.precision(node),
    )
    return Value.images(y if bias is None else region.add("bias_add", y, region.weight(bias, (0,))))
