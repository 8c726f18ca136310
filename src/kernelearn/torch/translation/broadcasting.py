"""Tensors of several shapes entry by entry: buffers in one order, with axes of size 1 where they lack some.

PyTorch aligns shapes at their last axes. The operand of most axes says the order, so that maps with channels
last stay as they are and a weight (c, 1, 1) becomes (1, 1, c).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate
from kernelearn.torch.translation.values import Order


def together(region: Region, nodes: Sequence[Node]) -> tuple[list[Buffer], Order]:
    """Buffers that can be combined entry by entry, and the order of the axes of the result."""
    shapes = [region.shape(node) for node in nodes]
    rank = max(map(len, shapes))
    if any(shape[:1] == (None,) and len(shape) < rank for shape in shapes):
        raise CannotTranslate(f"tensors of {shapes}: the axis of the images would not be the first any more")
    first = max(nodes, key=lambda node: _counts(region, node, rank))
    order = region.value(first).order
    return [_spread(region, node, order) for node in nodes], order


def _counts(region: Region, node: Node, rank: int) -> tuple[bool, bool, int]:
    """How much an operand has to say about the order: of full rank, of images, the axes that are not 1."""
    shape = region.shape(node)
    return len(shape) == rank, shape[:1] == (None,), sum(size != 1 for size in shape)


def as_numbers(region: Region, buffer: Buffer) -> Buffer:
    """Conditions as 0 and 1; numbers as they are."""
    if buffer.dtype != "bool":
        return buffer
    found: Buffer = region.add("cast", buffer, dtype="float32")
    return found


def _spread(region: Region, node: Node, order: Order) -> Buffer:
    """An operand in this order of the result's axes; where it has none, an axis of size 1."""
    lead = len(order) - len(region.shape(node))
    own = region.take(node, tuple(axis - lead for axis in order if axis >= lead))
    if not lead:
        return own
    sizes = iter(own.shape)
    spread = tuple(next(sizes) if axis >= lead else 1 for axis in order)
    while len(spread) > len(own.shape) and spread[0] == 1:  # these are there by themselves
        spread = spread[1:]
    return own if spread == own.shape else region.add("reshape", own, shape=spread)
