"""Sums, products and quotients of tensors and numbers, and functions of one number."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.activations import number
from kernelearn.torch.translation.broadcasting import as_numbers, together
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Order, Value

aten = torch.ops.aten

# Operators of one tensor -> the engine's name.
FUNCTIONS = {
    getattr(aten, theirs).default: ours
    for theirs, ours in {
        "sqrt": "sqrt",
        "rsqrt": "rsqrt",
        "exp": "exp",
        "expm1": "expm1",
        "log": "log",
        "log1p": "log1p",
        "log2": "log2",
        "log10": "log10",
        "sin": "sin",
        "cos": "cos",
        "tan": "tan",
        "sinh": "sinh",
        "cosh": "cosh",
        "asin": "arcsin",
        "acos": "arccos",
        "atan": "arctan",
        "asinh": "arcsinh",
        "acosh": "arccosh",
        "atanh": "arctanh",
        "erf": "erf",
        "reciprocal": "reciprocal",
        "square": "square",
        "abs": "abs",
        "sign": "sign",
        "floor": "floor",
        "ceil": "ceil",
        "round": "round",
    }.items()
}


def scaled(region: Region, buffer: Buffer, factor: float = 1.0, offset: float = 0.0) -> Buffer:
    """factor x + offset."""
    if factor == 1 and offset == 0:
        return buffer
    found: Buffer = region.add("scale", buffer, factor=float(factor), offset=float(offset))
    return found


def of_two(region: Region, operator: str, x: Any, y: Any) -> Value:
    """An operator of two tensors, or of a tensor and a number in either place."""
    nodes = [operand for operand in (x, y) if isinstance(operand, Node)]
    buffers, order = together(region, nodes)
    given = (as_numbers(region, buffer) for buffer in buffers)
    operands = [next(given) if isinstance(o, Node) else number(region, o) for o in (x, y)]
    return Value(region.add(operator, *operands), order)


def _two_numbers(region: Region, x: Node, y: Node) -> tuple[Buffer, Buffer, Order]:
    (first, second), order = together(region, (x, y))
    return as_numbers(region, first), as_numbers(region, second), order


@rule(aten.add.Tensor, aten.add.Scalar, conditions=(0, 1))
def add(region: Region, node: Node, x: Any, y: Any, alpha: float) -> Value:
    """x + alpha y."""
    if not isinstance(x, Node):
        raise CannotTranslate("a number in front")
    if not isinstance(y, Node):
        value = _number_of(region, x)
        return Value(scaled(region, value.buffer, offset=y * alpha), value.order)
    first, second, order = _two_numbers(region, x, y)
    return Value(region.add("add", first, scaled(region, second, alpha)), order)


def _number_of(region: Region, x: Node) -> Value:
    value = region.value(x)
    return Value(as_numbers(region, value.buffer), value.order)


@rule(aten.sub.Tensor, aten.sub.Scalar, conditions=(0, 1))
def subtract(region: Region, node: Node, x: Any, y: Any, alpha: float) -> Value:
    """x - alpha y."""
    if not isinstance(y, Node):
        return add(region, node, x, -y, alpha)
    first, second, order = _two_numbers(region, x, y)
    return Value(region.add("subtract", first, scaled(region, second, alpha)), order)


@rule(aten.rsub.Scalar, aten.rsub.Tensor, conditions=(0, 1))
def subtract_from(region: Region, node: Node, x: Node, y: Any, alpha: float) -> Value:
    """y - alpha x."""
    if isinstance(y, Node):
        return subtract(region, node, y, x, alpha)
    value = _number_of(region, x)
    return Value(scaled(region, value.buffer, -alpha, y), value.order)


@rule(aten.mul.Tensor, aten.mul.Scalar, conditions=(0, 1))
def multiply(region: Region, node: Node, x: Any, y: Any) -> Value:
    """x y."""
    if isinstance(x, Node) and isinstance(y, Node):
        return of_two(region, "multiply", x, y)
    tensor, factor = (x, y) if isinstance(x, Node) else (y, x)
    value = _number_of(region, tensor)
    return Value(scaled(region, value.buffer, factor), value.order)


@rule(aten.div.Tensor, aten.div.Scalar)
def divide(region: Region, node: Node, x: Any, y: Any) -> Value:
    """x / y."""
    if isinstance(x, Node) and not isinstance(y, Node) and 1e-30 < abs(y) < 1e30:
        return multiply(region, node, x, 1 / y)
    return of_two(region, "divide", x, y)


@rule(aten.neg.default)
def negate(region: Region, node: Node, x: Node) -> Value:
    """-x."""
    return multiply(region, node, x, -1.0)


@rule(aten.maximum.default)
def maximum(region: Region, node: Node, x: Node, y: Node) -> Value:
    """The larger one; equal ones have half of the gradient each."""
    return of_two(region, "maximum", x, y)


@rule(aten.minimum.default)
def minimum(region: Region, node: Node, x: Node, y: Node) -> Value:
    """The smaller one; equal ones have half of the gradient each."""
    return of_two(region, "minimum", x, y)


@rule(*FUNCTIONS)
def function(region: Region, node: Node, x: Node) -> Value:
    """A function of each number."""
    value = region.value(x)
    return Value(region.add(FUNCTIONS[node.target], value.buffer), value.order)


@rule(aten.pow.Tensor_Scalar)
def power(region: Region, node: Node, x: Node, exponent: float) -> Value:
    """x to the power of a number."""
    value = region.value(x)
    names = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    if exponent in names:
        return Value(region.add(names[exponent], value.buffer), value.order)
    return Value(region.add("power_by", value.buffer, exponent=float(exponent)), value.order)


@rule(aten.detach.default)
def detach(region: Region, node: Node, x: Node) -> Value:
    """x, without a gradient."""
    value = region.value(x)
    return Value(region.add("stop_gradient", value.buffer), value.order)


@rule(aten.clone.default, aten.contiguous.default, aten.alias.default)
def same(region: Region, node: Node, x: Node, memory_format: Any = None) -> Value:
    """x: how a result lies in memory is the region's to say."""
    return region.value(x)
