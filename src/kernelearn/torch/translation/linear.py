"""Products of matrices."""

from __future__ import annotations

import torch
from torch.fx import Node

from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


@rule(aten.linear.default)
def linear(region: Region, node: Node, x: Node, weight: Node, bias: Node | None) -> Value:
    """y = x weight^T + bias, along the last axis."""
    matrix = region.weight(weight, (1, 0))
    y = region.add("dense", region.plain(x), matrix, precision=region.precision(node))
    return Value.plain(y if bias is None else region.add("bias_add", y, region.weight(bias, (0,))))
