"""Activations: the result lies as the input does. Slopes at a kink are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.broadcasting import together
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten

# Those without arguments -> kind of the engine's.
PLAIN = {
    aten.relu.default: "relu",
    aten.relu6.default: "relu6",
    aten.selu.default: "selu",
    aten.silu.default: "silu",
    aten.mish.default: "mish",
    aten.sigmoid.default: "sigmoid",
    aten.tanh.default: "tanh",
    aten.hardsigmoid.default: "hard_sigmoid",
    aten.log_sigmoid.default: "log_sigmoid",
}
SELU = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
# Beyond this, log(1 + exp(x)) is x to the last bit of float32.
SOFTPLUS_IS_LINEAR = 17.0


def activated(region: Region, x: Node, kind: str, **attrs: Any) -> Value:
    """An activation of the engine's."""
    value = region.value(x)
    return Value(region.add("activation", value.buffer, kind=kind, **attrs), value.order)


def number(region: Region, value: float) -> Buffer:
    """A number as a buffer."""
    found: Buffer = region.add("fill", shape=(), value=float(value), dtype="float32")
    return found


@rule(*PLAIN)
def plain(region: Region, node: Node, x: Node) -> Value:
    """An activation without arguments."""
    return activated(region, x, PLAIN[node.target])


@rule(aten.log_sigmoid_forward.default)
def log_sigmoid_forward(region: Region, node: Node, x: Node) -> tuple[Value | None, ...]:
    """log(1 / (1 + exp(-x))); its second result is of use to PyTorch only."""
    return activated(region, x, "log_sigmoid"), None


@rule(aten.gelu.default)
def gelu(region: Region, node: Node, x: Node, approximate: str) -> Value:
    """x Phi(x), or its approximation by a tanh."""
    return activated(region, x, "gelu", approximate=approximate == "tanh")


@rule(aten.leaky_relu.default)
def leaky_relu(region: Region, node: Node, x: Node, slope: float) -> Value:
    """x, or slope x below zero."""
    return activated(region, x, "leaky_relu", negative_slope=float(slope))


@rule(aten.rrelu.default)
def rrelu(
    region: Region, node: Node, x: Node, low: float, high: float, training: bool, generator: Any
) -> Value:
    """A leaky ReLU; its slope is drawn while training, by PyTorch."""
    if training:
        raise CannotTranslate("slopes that are drawn")
    return activated(region, x, "leaky_relu", negative_slope=(low + high) / 2)


@rule(aten.elu.default)
def elu(region: Region, node: Node, x: Node, alpha: float, scale: float, input_scale: float) -> Value:
    """x above zero, alpha (exp(x) - 1) below; with the scales of SELU and CELU."""
    if scale == input_scale == 1:
        return activated(region, x, "elu", alpha=float(alpha))
    if input_scale == 1 and (alpha, scale) == SELU:
        return activated(region, x, "selu")
    if scale == 1 and alpha * input_scale == 1:
        return activated(region, x, "celu", alpha=float(alpha))
    raise CannotTranslate("an ELU with scales of its own")


@rule(aten.celu.default)
def celu(region: Region, node: Node, x: Node, alpha: float) -> Value:
    """x above zero, alpha (exp(x / alpha) - 1) below."""
    return activated(region, x, "celu", alpha=float(alpha))


@rule(aten.threshold.default)
def threshold(region: Region, node: Node, x: Node, limit: float, value: float) -> Value:
    """x above the limit, else a value."""
    return _unless(region, region.value(x), None, limit, value)


@rule(aten.softshrink.default)
def softshrink(region: Region, node: Node, x: Node, limit: float) -> Value:
    """x nearer to zero by the limit."""
    return activated(region, x, "soft_shrink", threshold=float(limit))


@rule(aten.hardshrink.default)
def hardshrink(region: Region, node: Node, x: Node, limit: float) -> Value:
    """x, or zero within the limit."""
    found = region.value(x)
    return _unless(region, found, region.add("abs", found.buffer), limit, 0.0)


def _unless(region: Region, x: Value, size: Buffer | None, limit: float, value: float) -> Value:
    """x; a value where x, or a size of it, is at most the limit. What is no number stays none."""
    compared = x.buffer if size is None else size
    is_small = region.add("less_equal", compared, number(region, limit))
    return Value(region.add("where", is_small, number(region, value), x.buffer), x.order)


@rule(aten.softplus.default)
def softplus(region: Region, node: Node, x: Node, beta: float, limit: float) -> Value:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the limit."""
    value = region.value(x)
    scaled = value.buffer if beta == 1 else region.add("scale", value.buffer, factor=float(beta))
    y = region.add("activation", scaled, kind="softplus")
    y = y if beta == 1 else region.add("scale", y, factor=1 / beta)
    if limit < SOFTPLUS_IS_LINEAR:
        is_above = region.add("greater", scaled, number(region, limit))
        y = region.add("where", is_above, value.buffer, y)
    return Value(y, value.order)


@rule(aten.hardtanh.default)
def hardtanh(region: Region, node: Node, x: Node, low: float, high: float) -> Value:
    """x between two limits; at them, the slope is 0."""
    if (low, high) == (0, 6):
        return activated(region, x, "relu6")
    if (low, high) == (-1, 1):
        return activated(region, x, "hard_tanh")
    value = region.value(x)
    y = limited(region, value.buffer, "greater_equal", high)
    return Value(limited(region, y, "less_equal", low), value.order)


@rule(aten.clamp.default)
def clamp(region: Region, node: Node, x: Node, low: float | None, high: float | None) -> Value:
    """x between two limits; at them, the slope is 1."""
    value = region.value(x)
    y = value.buffer
    if low is not None and high is not None and low > high:
        raise CannotTranslate("a clamp whose limits are exchanged")
    y = y if high is None else limited(region, y, "greater", high)
    return Value(y if low is None else limited(region, y, "less", low), value.order)


@rule(aten.clamp_min.default)
def clamp_min(region: Region, node: Node, x: Node, low: float) -> Value:
    """x, or a limit if it is below."""
    return clamp(region, node, x, low, None)


@rule(aten.clamp_max.default)
def clamp_max(region: Region, node: Node, x: Node, high: float) -> Value:
    """x, or a limit if it is above."""
    return clamp(region, node, x, None, high)


def limited(region: Region, x: Buffer, comparison: str, limit: float) -> Buffer:
    """The limit where x compares so with it, x elsewhere (and where x is no number)."""
    bound = number(region, limit)
    found: Buffer = region.add("where", region.add(comparison, x, bound), bound, x)
    return found


@rule(aten.hardswish.default)
def hardswish(region: Region, node: Node, x: Node) -> Value:
    """x times a hard sigmoid."""
    return activated(region, x, "hard_silu")


@rule(aten.prelu.default, aten._prelu_kernel.default)
def prelu(region: Region, node: Node, x: Node, weight: Node) -> Value:
    """x, or a learned slope times x below zero: one for all or one for each channel."""
    value, rank = region.value(x), len(region.shape(x))
    if len(region.shape(weight)) == rank:
        (images, alpha), order = together(region, (x, weight))
        return Value(region.add("prelu", images, alpha), order)
    alpha = region.weight(weight, (0,))
    if math.prod(size for size in alpha.shape if size is not None) > 1 and rank > 1:
        sizes = tuple(alpha.shape[0] if axis == 1 else 1 for axis in value.order)
        alpha = region.add("reshape", alpha, shape=sizes)
    return Value(region.add("prelu", value.buffer, alpha), value.order)
