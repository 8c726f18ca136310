"""Functions of PyTorch's in another form: the same numbers, with the axis of the images in front throughout.

Attention and sums of products turn or join that axis while they compute, though their results have it in
front; written otherwise, the engine takes them. This happens while a graph is traced: `Rewriting(gm).run`
stands for `gm(...)`. Uses that have no other form here run as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Interpreter
from torch.nn import functional as F

aten = torch.ops.aten


class Rewriting(Interpreter):  # type: ignore[misc]
    """Runs a graph with functions of the table in their other form."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One node."""
        other = FORMS.get(target)
        found = other(*args, **kwargs) if other is not None else None
        return super().call_function(target, args, kwargs) if found is None else found


def forget_double_turns(graph: Graph) -> None:
    """An exchange of two axes and the same once more are nothing, with a copy between them, too."""
    for node in list(graph.find_nodes(op="call_function", target=aten.transpose.int)):
        source = node.args[0]
        if source.target is aten.clone.default:
            source = source.args[0]
        is_double = source.op == "call_function" and source.target is aten.transpose.int
        if not is_double or _exchanged(node) != _exchanged(source) or graph.output_node() in node.users:
            continue
        node.replace_all_uses_with(source.args[0])
        graph.erase_node(node)


def _exchanged(node: Any) -> set[int]:
    return {axis % node.meta["val"].dim() for axis in node.args[1:3]}


# ------------------------------------------------------------------ attention
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None] | None:
    """`multi_head_attention_forward`; None for a use of it that stays as it is."""
    masks = [mask for mask in (attn_mask, key_padding_mask) if mask is not None]
    extras = (bias_k, bias_v, static_k, static_v)
    is_odd = any(x is not None for x in extras) or add_zero_attn or query.dim() != 3
    is_odd = is_odd or any(mask.dtype != query.dtype for mask in masks)
    if is_odd or (is_causal and attn_mask is None):
        return None
    weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    if not use_separate_proj_weight:
        if in_proj_weight is None or key.shape != value.shape:
            return None
        weights = in_proj_weight.chunk(3)
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    if is_causal and key_padding_mask is None and not need_weights:
        mask = None
    else:
        mask = _one_mask(attn_mask, key_padding_mask, num_heads)
        is_causal = is_causal and key_padding_mask is None
    q, k, v = (
        _of_heads(F.linear(x.transpose(0, 1), weight, bias), num_heads)  # type: ignore[arg-type]
        for x, weight, bias in zip((query, key, value), weights, biases)
    )
    rate = dropout_p if training else 0.0
    if need_weights:
        found, told = _with_shares(q, k, v, mask, rate, average_attn_weights)
    else:
        found, told = F.scaled_dot_product_attention(q, k, v, mask, rate, is_causal), None
    # NOTE: it lies in memory as PyTorch's own: dropouts behind it draw in that order.
    return _projected(found, out_proj_weight, out_proj_bias).transpose(0, 1).contiguous(), told


def _one_mask(of_places: Tensor | None, of_images: Tensor | None, heads: int) -> Tensor | None:
    """What is added to the scores (images, heads, rows, columns): the same for all, or of each image."""
    if of_places is not None and of_places.dim() == 3:
        of_places = of_places.unflatten(0, (-1, heads))
    if of_images is None:
        return of_places
    spread = of_images[:, None, None, :]
    return spread if of_places is None else of_places + spread


def _of_heads(x: Tensor, heads: int) -> Tensor:
    """(images, places, channels) as (images, heads, places, channels of a head)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _with_shares(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, rate: float, is_averaged: bool
) -> tuple[Tensor, Tensor]:
    """What heads found, and the shares of places in it: of each head, or their mean."""
    scores = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(2, 3)
    shares = (scores if mask is None else scores + mask).softmax(-1)
    shares = F.dropout(shares, rate) if rate > 0 else shares
    return shares @ v, shares.mean(1) if is_averaged else shares


def _projected(found: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(images, heads, places, channels of a head) as (images, places, channels), through the last layer."""
    return F.linear(found.transpose(1, 2).flatten(2), weight, bias)


def attention_of_images(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None] | None:
    """The operator that `nn.MultiheadAttention` takes for predictions; None if it has a mask."""
    if mask is not None:
        return None
    q, k, v = (
        _of_heads(F.linear(x, weight, bias), num_heads)
        for x, weight, bias in zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3))
    )
    if need_weights:
        found, told = _with_shares(q, k, v, None, 0.0, average_attn_weights)
    else:
        found, told = F.scaled_dot_product_attention(q, k, v), None
    return _projected(found, proj_weight, proj_bias), told


def encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor | None:
    """The operator that `nn.TransformerEncoderLayer` takes for predictions; None if it has a mask."""
    if mask is not None:
        return None

    def attended(x: Tensor) -> Tensor:
        weights = qkv_weight, qkv_bias, proj_weight, proj_bias
        found = attention_of_images(x, x, x, embed_dim, num_heads, *weights, need_weights=False)
        return found[0]  # type: ignore[index]

    def widened(x: Tensor) -> Tensor:
        inner = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(inner) if use_gelu else F.relu(inner), ffn_weight_2, ffn_bias_2)

    def normed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), weight, bias, eps)

    first, second = (norm_weight_1, norm_bias_1), (norm_weight_2, norm_bias_2)
    if norm_first:
        x = src + attended(normed(src, *first))
        return x + widened(normed(x, *second))
    x = normed(src + attended(src), *first)
    return normed(x + widened(x), *second)


# ------------------------------------------------------------------ sums of products
def einsum(equation: Any, *operands: Any) -> Tensor | None:
    """`torch.einsum` of two tensors as one product of matrices; None for others."""
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or len(operands) != 2:
        return None
    before, arrow, after = equation.replace(" ", "").partition("->")
    letters = before.split(",")
    if not arrow or len(letters) != 2 or not (before.replace(",", "") + after).isalpha():
        return None
    first, second = letters
    is_plain = all(len({*each}) == len(each) for each in (first, second, after))
    is_plain = is_plain and {*after} <= {*first, *second} and {*first} ^ {*second} <= {*after}
    if not is_plain or any(x.dim() != len(each) for x, each in zip(operands, letters)):
        return None
    if not after or after[0] not in (first[0], second[0]) or not _agree(first, second, *operands):
        return None
    if after[0] not in first:  # the images are those of the second factor
        first, second, operands = second, first, operands[::-1]
    return _product(first, second, after, *operands)


def _agree(first: str, second: str, x: Tensor, y: Tensor) -> bool:
    """Whether the sizes of shared letters are equal; `einsum` repeats those that are 1."""
    pairs = [(x.shape[first.index(c)], y.shape[second.index(c)]) for c in first if c in second]
    return all(type(a) is type(b) and (type(a) is not int or a == b) for a, b in pairs)


def _product(first: str, second: str, after: str, x: Tensor, y: Tensor) -> Tensor:
    """With the first letter of the result in front of the first factor."""
    images = after[0]
    shared = [c for c in after if c in first and c in second and c != images]
    summed = [c for c in first if c in second and c not in after]
    left = [c for c in after if c in first and c not in second and c != images]
    right = [c for c in after if c in second and c not in first]
    sizes = {**dict(zip(first, x.shape)), **dict(zip(second, y.shape))}
    both = [images] if images in second else []

    def lying(tensor: Tensor, letters: str, *groups: list[str]) -> Tensor:
        """Its axes in this order, those of the last two groups joined."""
        turned = tensor.permute([letters.index(c) for group in groups for c in group])
        shape = [sizes[c] for group in groups[:-2] for c in group]
        return turned.reshape(*shape, *(math.prod(sizes[c] for c in group) for group in groups[-2:]))

    product = lying(x, first, [images], shared, left, summed) @ lying(y, second, both, shared, summed, right)
    found = [images, *shared, *left, *right]
    whole = product.reshape([sizes[c] for c in found])
    return whole.permute([found.index(c) for c in after])


# Function -> the same in another form, which gives None for what has none.
FORMS: dict[Any, Callable[..., Any]] = {
    F.multi_head_attention_forward: attention,
    torch.einsum: einsum,
    torch.functional.einsum: einsum,
}
_INNER = {
    "_native_multi_head_attention": attention_of_images,
    "_transformer_encoder_layer_fwd": encoder_layer,
}
FORMS |= {getattr(torch, name): form for name, form in _INNER.items() if hasattr(torch, name)}
