"""Dropout: PyTorch's generator draws what eager mode draws, and regions multiply by it.

What is drawn depends on sizes only, not on the numbers that it is multiplied by. So a region goes on behind a
dropout, and seeds mean what they mean without us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Graph, Node

from kernelearn.engine.arrays import inverse_order
from kernelearn.torch.graphs.standins import attention
from kernelearn.torch.translation.table import arguments
from kernelearn.torch.translation.values import Order

aten = torch.ops.aten

# From a size of a tensor to what stands for it in the graph; None if nothing does.
Sizes = Callable[[Any], "int | Node | None"]


def draw(
    sizes: Sequence[int], order: Order, dtype: torch.dtype, share: float, divisor: float
) -> torch.Tensor:
    """Ones, or zeros with a probability of 1 - share, divided by a number.

    Args:
        sizes: of the result.
        order: of its axes in memory, in which they are drawn.
    """
    noise = torch.empty([sizes[axis] for axis in order], dtype=dtype).permute(inverse_order(order))
    if not share:
        return noise.zero_()
    noise = noise.bernoulli_(share)
    return noise if divisor == 1 else noise.div_(divisor)


# As operators say it: its calls may not change places.
draw.tags = (torch.Tag.nondeterministic_seeded,)  # type: ignore[attr-defined]


def draw_outside(graph: Graph, size_of: Sizes) -> None:
    """Dropouts become products with what `draw` gives."""
    for node in list(graph.nodes):
        if node.target is aten.dropout.default:
            _take_apart(graph, node, size_of)
        elif node.target is aten.scaled_dot_product_attention.default:
            _take_out_of_attention(graph, node, size_of)
        elif node.target is aten.bernoulli.p:
            _without_source(node)


def _take_apart(graph: Graph, node: Node, size_of: Sizes) -> None:
    x, rate, is_training = node.args
    if not is_training or not rate:
        node.replace_all_uses_with(x)  # type: ignore[arg-type]
        graph.erase_node(node)
        return
    val = x.meta["val"]  # type: ignore[union-attr]
    sizes = [size_of(size) for size in val.shape]
    order = _order(val)
    if None in sizes or order is None:
        return
    with graph.inserting_before(node):
        noise = graph.call_function(draw, (sizes, order, val.dtype, 1 - rate, 1 - rate))
    noise.meta["val"] = torch.empty_like(val.detach())
    node.target, node.args = aten.mul.Tensor, (x, noise)


def _take_out_of_attention(graph: Graph, node: Node, size_of: Sizes) -> None:
    """Its dropout is of the shares, (..., rows, columns), which are no tensor of the graph."""
    query, key, value, mask, rate, is_causal, scale, shares_keys = arguments(node)
    if not rate or shares_keys:
        return
    val, columns = query.meta["val"], key.meta["val"].shape[-2]
    sizes = [size_of(size) for size in (*val.shape[:-1], columns)]
    if None in sizes:
        return
    with graph.inserting_before(node):
        plain = tuple(range(val.dim()))
        noise = graph.call_function(draw, (sizes, plain, val.dtype, 1 - rate, 1 - rate))
        made = graph.call_function(attention, (query, key, value, mask, noise, is_causal, scale))
    noise.meta["val"] = val.detach().new_empty((*val.shape[:-1], columns))
    made.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(made)
    graph.erase_node(node)


def _order(val: torch.Tensor) -> Order | None:
    """The axes of a tensor from the farthest apart to the nearest; None where an open size decides."""
    steps = val.stride()
    if all(type(step) is int for step in steps):
        return tuple(sorted(range(val.dim()), key=lambda axis: (-steps[axis], axis)))
    return tuple(range(val.dim())) if val.is_contiguous() else None


def _without_source(node: Node) -> None:
    """What is drawn into memory made like a tensor needs no such tensor."""
    source = node.args[0]
    is_new = isinstance(source, Node) and source.target is aten.new_empty.default
    if not is_new or len(node.args) < 2 or len(source.args) < 2:  # type: ignore[union-attr]
        return
    val = node.meta["val"]
    sizes = source.args[1]  # type: ignore[union-attr]
    node.args = (sizes, tuple(range(val.dim())), val.dtype, node.args[1], 1)
    node.target, node.kwargs = draw, {}
