"""What works entry by entry: the result lies as the first input does."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


@rule(aten.relu.default)
def relu(region: Region, node: Node, x: Node) -> Value:
    """max(x, 0)."""
    value = region.value(x)
    return Value(region.add("activation", value.buffer, kind="relu"), value.order)


@rule(aten.add.Tensor)
def add(region: Region, node: Node, x: Node, y: Any, alpha: float) -> Value:
    """x + y, of equal shapes."""
    if not isinstance(y, Node) or region.shape(x) != region.shape(y) or alpha != 1:
        raise CannotTranslate("a sum of tensors of different shapes")
    buffers, order = region.alike(x, y)
    return Value(region.add("add", *buffers), order)
