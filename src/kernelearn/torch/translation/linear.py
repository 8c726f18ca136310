"""Products of matrices, and attention."""

from __future__ import annotations

import math

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.graphs import standins
from kernelearn.torch.translation.activations import number
from kernelearn.torch.translation.arithmetic import scaled
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


@rule(aten.linear.default)
def linear(region: Region, node: Node, x: Node, weight: Node, bias: Node | None) -> Value:
    """y = x weight^T + bias, along the last axis."""
    matrix = region.weight(weight, (1, 0))
    y = region.add("dense", region.plain(x), matrix, precision=region.precision(node))
    return Value.plain(y if bias is None else region.add("bias_add", y, region.weight(bias, (0,))))


@rule(aten.matmul.default, aten.mm.default, aten.bmm.default)
def matmul(region: Region, node: Node, x: Node, y: Node) -> Value:
    """The product of matrices, or of as many as the axes in front of them say."""
    if min(len(region.shape(x)), len(region.shape(y))) < 2:
        raise CannotTranslate("a product with a vector")
    return Value.plain(_product(region, node, x, y))


def _product(region: Region, node: Node, x: Node, y: Node) -> Buffer:
    first, second, precision = region.plain(x), region.plain(y), region.precision(node)
    if first.shape[0] is None and len(second.shape) == 2 and second.shape[0] is not None:
        return region.add("dense", first, second, precision=precision)  # type: ignore[no-any-return]
    return region.add("matmul", first, second, precision=precision)  # type: ignore[no-any-return]


@rule(aten.addmm.default)
def addmm(region: Region, node: Node, bias: Node, x: Node, y: Node, beta: float, alpha: float) -> Value:
    """beta bias + alpha x y."""
    product = scaled(region, _product(region, node, x, y), alpha)
    return Value.plain(region.add("add", product, scaled(region, region.plain(bias), beta)))


# What stands for minus infinity: its exponential is 0, and differences of it are numbers.
_NOTHING = -1e30


@rule(aten.scaled_dot_product_attention.default, conditions=(3,))
def attention(
    region: Region,
    node: Node,
    query: Node,
    key: Node,
    value: Node,
    mask: Node | None,
    dropout: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Value:
    """softmax(scale query key^T + mask) value; an entry that may see nothing gives 0."""
    if dropout or enable_gqa:
        raise CannotTranslate("attention with dropout of an open size, or with shared keys")
    return _attended(region, node, (query, key, value), mask, None, is_causal, scale)


@rule(standins.attention, conditions=(3,))
def attention_with_noise(
    region: Region,
    node: Node,
    query: Node,
    key: Node,
    value: Node,
    mask: Node | None,
    noise: Node,
    is_causal: bool,
    scale: float | None,
) -> Value:
    """The same; its shares are multiplied by what a dropout draws."""
    return _attended(region, node, (query, key, value), mask, noise, is_causal, scale)


def _attended(
    region: Region,
    node: Node,
    given: tuple[Node, Node, Node],
    mask: Node | None,
    noise: Node | None,
    is_causal: bool,
    scale: float | None,
) -> Value:
    q, k, v = (region.plain(each) for each in given)
    precision = region.precision(node)
    factor = 1 / math.sqrt(q.shape[-1] or 1) if scale is None else scale
    scores = region.add("matmul", scaled(region, q, factor), k, transpose_b=True, precision=precision)
    seen = _lower_triangle(region, scores) if is_causal else None
    if mask is not None:
        added = region.plain(mask)
        if added.dtype == "bool":
            seen = added
        else:
            # Modules make -inf of conditions: a row of nothing else has shares of 0, and not NaN.
            seen = region.add("not_equal", added, number(region, -math.inf))
            scores = region.add("add", scores, added)
    if seen is not None:
        scores = region.add("where", seen, scores, number(region, _NOTHING))
    shares = region.add("softmax", scores, axis=len(scores.shape) - 1)
    if seen is not None:
        shares = region.add("where", seen, shares, number(region, 0.0))
    if noise is not None:
        shares = region.add("multiply", shares, region.plain(noise))
    return Value.plain(region.add("matmul", shares, v, precision=precision))


def _lower_triangle(region: Region, scores: Buffer) -> Buffer:
    """Conditions (rows, columns): a row sees no column behind its own number."""
    rows, columns = scores.shape[-2:]
    one = region.add("fill", shape=(rows, 1), value=1.0, dtype="float32")
    other = region.add("fill", shape=(1, columns), value=1.0, dtype="float32")
    numbers = region.add("cumsum", one, axis=0), region.add("cumsum", other, axis=1)
    found: Buffer = region.add("greater_equal", *numbers)
    return found


@rule(aten._scaled_dot_product_flash_attention_for_cpu.default)
def flash_attention(
    region: Region,
    node: Node,
    query: Node,
    key: Node,
    value: Node,
    dropout: float,
    is_causal: bool,
    mask: Node | None,
    scale: float | None,
) -> tuple[Value | None, ...]:
    """The same; its other result is of use to PyTorch only."""
    return attention(region, node, query, key, value, mask, dropout, is_causal, scale, False), None
