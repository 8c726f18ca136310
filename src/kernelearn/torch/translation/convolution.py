"""Convolutions: kernels are (filters, in, *size) in PyTorch, (*size, in, filters) in the engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Order, Value

aten = torch.ops.aten


def kernel_order(rank: int) -> Order:
    """The order in which the engine has the axes of a convolution's weights."""
    return (*range(2, rank), 1, 0)


def every(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """A number for each of so many axes: PyTorch writes one number where they are equal."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * count if len(numbers) == 1 else numbers


@rule(aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
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
    pads = tuple((p, p) for p in every(padding, len(region.shape(weight)) - 2))
    return _conv(region, node, x, weight, bias, stride, pads, dilation, groups)


@rule(aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding)
def conv_padded(
    region: Region,
    node: Node,
    x: Node,
    weight: Node,
    bias: Node | None,
    stride: Sequence[int],
    padding: str,
    dilation: Sequence[int],
    groups: int,
) -> Value:
    """The same with a padding by name: the odd entry of "same" is at the end."""
    sizes = region.shape(weight)[2:]
    beyond = [d * ((size or 1) - 1) for d, size in zip(every(dilation, len(sizes)), sizes)]
    pads = tuple((b // 2, b - b // 2) if padding == "same" else (0, 0) for b in beyond)
    return _conv(region, node, x, weight, bias, stride, pads, dilation, groups)


def _conv(
    region: Region,
    node: Node,
    x: Node,
    weight: Node,
    bias: Node | None,
    stride: Sequence[int],
    padding: tuple[tuple[int, int], ...],
    dilation: Sequence[int],
    groups: int,
) -> Value:
    rank = len(region.shape(weight))
    kernel = region.weight(weight, kernel_order(rank))
    y = region.add(
        "conv",
        region.images(x),
        kernel,
        stride=every(stride, rank - 2),
        padding=padding,
        dilation=every(dilation, rank - 2),
        groups=groups,
        precision=region.precision(node),
    )
    return _biased(region, y, bias)


def _biased(region: Region, y: Buffer, bias: Node | None) -> Value:
    return Value.images(y if bias is None else region.add("bias_add", y, region.weight(bias, (0,))))


@rule(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
def conv_transpose(
    region: Region,
    node: Node,
    x: Node,
    weight: Node,
    bias: Node | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Value:
    """The transpose of a convolution, whose padding may end at other entries than it begins."""
    rank = len(region.shape(weight))
    count = rank - 2
    steps, extra = every(stride, count), every(output_padding, count)
    if any(e >= s for e, s in zip(extra, steps)):
        raise CannotTranslate("an output padding that is no smaller than the stride")
    y = region.add(
        "conv_transpose",
        region.images(x),
        region.weight(weight, kernel_order(rank)),
        output_size=tuple(region.shape(node)[2:]),
        stride=steps,
        padding=tuple((p, p) for p in every(padding, count)),
        dilation=every(dilation, count),
        groups=groups,
        precision=region.precision(node),
    )
    return _biased(region, y, bias)
