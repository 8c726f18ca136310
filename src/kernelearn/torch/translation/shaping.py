"""Views: other sizes of the same numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


@rule(
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
)
def view(region: Region, node: Node, x: Node, *sizes: Any) -> Value:
    """The numbers in PyTorch's order, as a tensor of other sizes; the axis of the images stays."""
    before, after = region.shape(x), region.shape(node)
    if (before[:1] == (None,)) != (after[:1] == (None,)):
        raise CannotTranslate(f"a view of {before} as {after}")
    value = region.value(x)
    if len(after) > 2 and _is_spread(before, after):  # (n, c) as (n, c, 1, 1)
        return Value.images(region.add("reshape", region.images(x), shape=(*after[:1], *after[2:], after[1])))
    buffer = region.plain(x) if value.order != tuple(range(len(before))) else value.buffer
    return Value.plain(region.add("reshape", buffer, shape=after))


def _is_spread(before: tuple[int | None, ...], after: tuple[int | None, ...]) -> bool:
    return len(before) == 2 and after[:2] == before and set(after[2:]) == {1}
