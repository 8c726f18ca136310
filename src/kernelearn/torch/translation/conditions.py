"""Comparisons, and what they choose: `where`, `masked_fill`, a ReLU's own mask.

Conditions are booleans inside of a region, too; where they are counted with, they are 0 and 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.activations import number
from kernelearn.torch.translation.broadcasting import as_numbers, together
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten

COMPARISONS = {
    getattr(getattr(aten, theirs), overload): ours
    for theirs, ours in {
        "eq": "equal",
        "ne": "not_equal",
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
    }.items()
    for overload in ("Scalar", "Tensor")
}
# Of two conditions. Those with underscores are Python's own signs.
LOGICAL = {
    aten.logical_and.default: "logical_and",
    aten.logical_or.default: "logical_or",
    aten.logical_xor.default: "logical_xor",
    **{
        getattr(aten, theirs).Tensor: ours
        for ours, names in {
            "logical_and": ("bitwise_and", "__and__"),
            "logical_or": ("bitwise_or", "__or__"),
            "logical_xor": ("bitwise_xor", "__xor__"),
        }.items()
        for theirs in names
    },
}
TESTS = {aten.isnan.default: "isnan", aten.isinf.default: "isinf"}


def mixed(region: Region, *operands: Any) -> tuple[list[Buffer], tuple[int, ...]]:
    """Tensors and numbers that can be combined entry by entry, and the order of the axes of the result."""
    buffers, order = together(region, [x for x in operands if isinstance(x, Node)])
    given = iter(buffers)
    return [next(given) if isinstance(x, Node) else number(region, x) for x in operands], order


@rule(*COMPARISONS, conditions=(0, 1))
def compare(region: Region, node: Node, x: Node, y: Any) -> Value:
    """Whether x compares so with y."""
    buffers, order = mixed(region, x, y)
    first, second = (as_numbers(region, buffer) for buffer in buffers)
    return Value(region.add(COMPARISONS[node.target], first, second), order)


@rule(*LOGICAL, conditions=(0, 1))
def both(region: Region, node: Node, x: Node, y: Node) -> Value:
    """Two conditions as one."""
    buffers, order = mixed(region, x, y)
    if any(buffer.dtype != "bool" for buffer in buffers):
        raise CannotTranslate("numbers taken for conditions")
    return Value(region.add(LOGICAL[node.target], *buffers), order)


@rule(aten.logical_not.default, aten.bitwise_not.default, conditions=(0,))
def opposite(region: Region, node: Node, x: Node) -> Value:
    """Whether a condition does not hold."""
    value = region.value(x)
    if value.buffer.dtype != "bool":
        raise CannotTranslate("numbers taken for conditions")
    return Value(region.add("logical_not", value.buffer), value.order)


@rule(*TESTS)
def test(region: Region, node: Node, x: Node) -> Value:
    """Whether a number is none, or has no bounds."""
    value = region.value(x)
    return Value(region.add(TESTS[node.target], value.buffer), value.order)


@rule(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, conditions=(0,))
def where(region: Region, node: Node, condition: Node, x: Any, y: Any) -> Value:
    """x where the condition holds, else y."""
    (chosen, *others), order = mixed(region, condition, x, y)
    return Value(region.add("where", chosen, *others), order)


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor, conditions=(1,))
def masked_fill(region: Region, node: Node, x: Node, condition: Node, value: Any) -> Value:
    """A number where the condition holds, else x."""
    return where(region, node, condition, value, x)


@rule(aten._to_copy.default, aten.to.dtype, conditions=(0,))
def to_numbers(region: Region, node: Node, x: Node, *how: Any) -> Value:
    """Conditions as 0 and 1, and numbers that stay of their type."""
    value, before, after = region.value(x), x.meta["val"].dtype, node.meta["val"].dtype
    if before == after:
        return value
    if (before, after) != (torch.bool, torch.float32):
        raise CannotTranslate(f"{before} as {after}")
    return Value(as_numbers(region, value.buffer), value.order)
