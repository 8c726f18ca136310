"""Attention: every query takes the mean of the values, weighted by how well their keys fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, check_axes, emit, floats, reshaped, transposed, values
from kernelearn.ops.entrywise.arithmetic import add, multiply
from kernelearn.ops.entrywise.pointwise import softmax
from kernelearn.ops.products.einsum import shape_of
from kernelearn.tracing import Traced, function

# What stands for a logit that must not count: its exponential is zero beside any other's.
MASKED = -1e9


@operation
def dot_product_attention(
    query: Value,
    key: Value,
    value: Value,
    bias: Value | None = None,
    mask: Value | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """softmax(scale query key' + bias) value, head by head.

    Args:
        query: (n, t, heads, d).
        key, value: (n, s, key heads, d); each key head serves heads / key heads neighbouring heads.
        bias: added to the logits; broadcast to (n, heads, t, s).
        mask: True where a query may look; broadcast to (n, heads, t, s). A query that may look nowhere gets
            the plain mean.
        scale: 1 / sqrt(d) if None.
        is_causal: let query i look at positions up to i only.
        flash_attention: as in Keras, and without effect.
        attn_logits_soft_cap: only None: Keras has it on other devices than CPUs.
    Returns: (n, t, heads, d of value).

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> x = np.random.default_rng(0).normal(size=(2, 5, 4, 8))
    >>> ops.dot_product_attention(x, x, x, is_causal=True).shape
    (2, 5, 4, 8)
    """
    if attn_logits_soft_cap is not None:
        raise ArgumentError("attn_logits_soft_cap must be None: logits are not capped on CPUs.")
    query, key, value = floats(query, key, value)
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        check_axes(tensor, 4, name, "(images, positions, heads, channels)")
    _check_heads(query, key, value)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = logits_of(multiply(query, float(factor)), key)
    if bias is not None:
        logits = add(logits, bias)
    return combined(softmax(masked(logits, causal(mask, logits) if is_causal else mask)), value)


def _check_heads(query: Value, key: Value, value: Value) -> None:
    heads, groups = query.shape[2], key.shape[2]
    if heads % groups or value.shape[1:3] != key.shape[1:3] or query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            "query (n, t, heads, d), key (n, s, key heads, d) and value (n, s, key heads, d of value) must "
            "agree, with heads a multiple of key heads; got shapes "
            f"{query.shape}, {key.shape}, {value.shape}."
        )


def logits_of(query: Value, key: Value) -> Value:
    """(n, t, heads, d) with (n, s, key heads, d) -> (n, heads, t, s)."""
    queries, keys = (transposed(x, (0, 2, 1, 3)) for x in (query, key))
    n, heads, t, d = shape_of(queries)
    groups, s = key.shape[2], key.shape[1]
    if groups != heads:
        queries = reshaped(queries, (n, groups, heads // groups * t, d))
    logits = emit("matmul", queries, keys, transpose_b=True)
    return reshaped(logits, (n, heads, t, s)) if groups != heads else logits


def combined(weights: Value, value: Value) -> Value:
    """Weights (n, heads, t, s) of values (n, s, key heads, d) -> (n, t, heads, d)."""
    held = transposed(value, (0, 2, 1, 3))
    n, heads, t, s = shape_of(weights)
    groups, d = value.shape[2], value.shape[3]
    if groups != heads:
        weights = reshaped(weights, (n, groups, heads // groups * t, s))
    y = emit("matmul", weights, held)
    return transposed(reshaped(y, (n, heads, t, d)) if groups != heads else y, (0, 2, 1, 3))


def causal(mask: Value | None, logits: Value) -> Value:
    """The mask that also forbids to look at later positions."""
    earlier = np.tri(logits.shape[-2], logits.shape[-1], dtype=bool)
    if mask is None:
        return earlier
    return (mask if isinstance(mask, Traced) else np.asarray(mask, bool)) & earlier


def masked(logits: Value, mask: Value | None) -> Value:
    """Logits, with MASKED where a query must not look."""
    if mask is None:
        return logits
    if not isinstance(mask, Traced):
        mask = np.asarray(mask)
        if isinstance(logits, Traced):
            return add(logits, np.where(mask, 0.0, MASKED).astype(logits.dtype))
        return np.where(mask, logits, np.asarray(MASKED, logits.dtype))
    (mask,) = values(mask)
    return function("where")(mask, logits, MASKED)
