"""Attention with several heads, each with projections of its own, or of groups that share keys and values."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn.constraints import ConstraintLike
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.attention.heads import Heads
from kernelearn.layers.attention.plain import expanded
from kernelearn.layers.core.arguments import Shape, check_positive, whole_numbers
from kernelearn.layers.core.base import LAYERS, LayerOptions
from kernelearn.ops._run import Value
from kernelearn.ops.entrywise.pointwise import softmax
from kernelearn.ops.products.attention import combined, logits_of, masked
from kernelearn.ops.products.einsum import einsum
from kernelearn.regularizers import RegularizerLike


@LAYERS.register()
class MultiHeadAttention(Heads):
    """Attention of several heads, each with projections of its own.

    Called on (query, value) or (query, value, key): (n, ..., d) with the same axes.

    Args:
        num_heads: how many.
        key_dim: channels of a head's queries and keys.
        value_dim: channels of a head's values; key_dim if None.
        dropout: share of the weights that are zero in training.
        use_bias: of all projections.
        output_shape: sizes of the last axes of the result; those of the query if None.
        attention_axes: axes over which a query looks; all but the first and the last if None.
        sliding_window: let queries look at this many positions to each side only, their own included.
        kernel_initializer, bias_initializer, *_regularizer, *_constraint: of all projections.
        use_gate: multiply what heads give by sigmoid(projection of the query).
        seed: of the dropout.

    Weights: of the dense layers `query`, `key`, `value`, (`gate`,) `attention_output`: kernels
    (d, heads, channels) and biases (heads, channels), the last one (heads, channels, d) and (d,).

    Call:
        query_mask, value_mask, key_mask: (n, t), (n, s): True where there is something; by default those
            that travel with the inputs.
        attention_mask: (n, t, s), or (n, heads, t, s): True where a query may look.
        return_attention_scores: give (result, weights (n, heads, t, s)).
        use_causal_mask: let query i look at positions up to i only.

    Source: Vaswani et al. (2017), https://arxiv.org/abs/1706.03762.

    >>> from kernelearn.layers import Input, MultiHeadAttention
    >>> x = Input((10, 16))
    >>> layer = MultiHeadAttention(num_heads=4, key_dim=8)
    >>> layer(x, x).shape, layer.count_params()
    ((None, 10, 16), 2160)
    """

    output_shape: Any
    attention_axes: Any

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        use_gate: bool = False,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.num_heads = check_positive(num_heads, "num_heads")
        self.key_dim = check_positive(key_dim, "key_dim")
        self.value_dim = self.key_dim if value_dim is None else check_positive(value_dim, "value_dim")
        self.output_shape = None if output_shape is None else whole_numbers(output_shape, "output_shape")
        self.attention_axes = (
            None if attention_axes is None else whole_numbers(attention_axes, "attention_axes")
        )
        self.start()

    def build(self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        _check_positions(value_shape, key_shape)
        units, values = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        self.query = self.projection("query", query_shape, 1, units)
        self.key = self.projection("key", key_shape, 1, units)
        if self.use_gate:
            self.gate = self.projection("gate", query_shape, 1, values, "sigmoid")
        self.value = self.projection("value", value_shape, 1, values)
        inside = (*query_shape[:-1], *values)
        outside = [int(query_shape[-1] or 0)] if self.output_shape is None else self.output_shape
        self.attention_output = self.projection("attention_output", inside, 2, outside)

    def attend(self, query: Value, key: Value, value: Value, mask: Value | None) -> tuple[Value, Value]:
        axes = self._axes(query.ndim)
        if query.ndim == 4:
            weights = self.weights_of(logits_of(query, key), mask)
            return combined(self.dropout_layer(weights), value), weights
        product, combination = equations(query.ndim, axes)
        logits = einsum(product, query, key)
        while mask is not None and mask.ndim < logits.ndim:
            mask = expanded(mask, -2 * len(axes) - 1)
        seen = masked(logits, mask)
        weights = softmax(seen, axis=tuple(range(logits.ndim - len(axes), logits.ndim)))
        return einsum(combination, self.dropout_layer(weights), value), weights

    def axis_of_order(self, rank: int) -> int:
        axes = self._axes(rank + 1)
        if len(axes) > 1:
            raise ArgumentError(
                f"{self.name!r} attends over the axes {axes}, which have no one order: use_causal_mask and "
                "sliding_window are for one axis; give an attention_mask instead."
            )
        return axes[0]

    def _axes(self, rank: int) -> tuple[int, ...]:
        """Axes over which a query looks, of queries (n, ..., heads, d) of so many axes."""
        if self.attention_axes is None:
            return tuple(range(1, rank - 2))
        axes = tuple(axis % (rank - 1) for axis in self.attention_axes)
        if not axes or min(axes) < 1 or max(axes) > rank - 3 or len(set(axes)) < len(axes):
            raise ArgumentError(
                f"attention_axes must be different axes from 1 to {rank - 3} of inputs of {rank - 1} axes; "
                f"got {list(self.attention_axes)}."
            )
        return axes


def _check_positions(value_shape: Shape, key_shape: Shape) -> None:
    if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
        raise ShapeError(
            "key and value must have the same positions: their shapes may differ in the last axis only; got "
            f"key {tuple(key_shape)} and value {tuple(value_shape)}."
        )


def equations(rank: int, axes: Sequence[int]) -> tuple[str, str]:
    """The products of queries and keys, and of weights and values, of tensors (n, ..., heads, d).

    >>> equations(4, (1,)), equations(5, (2,))
    (('abcd,aecd->acbe', 'acbe,aecd->abcd'), ('abcde,abfde->abdcf', 'abdcf,abfde->abcde'))
    """
    target = string.ascii_lowercase[:rank]
    others = iter(string.ascii_lowercase[rank:])
    source = "".join(next(others) if axis in axes else x for axis, x in enumerate(target))
    batch = "".join(x for axis, x in enumerate(target[:-1]) if axis not in axes)
    weights = batch + "".join(target[axis] for axis in axes) + "".join(source[axis] for axis in axes)
    return f"{target},{source}->{weights}", f"{weights},{source}->{target}"


@LAYERS.register()
class GroupQueryAttention(Heads):
    """Attention of several heads of which groups of neighbours share keys and values.

    Called on (query, value) or (query, value, key): (n, t, d), (n, s, d), (n, s, d). Call arguments are those
    of `MultiHeadAttention`.

    Args:
        head_dim: channels of a head.
        num_query_heads: heads of the queries, a multiple of num_key_value_heads.
        num_key_value_heads: heads of keys and values.
        dropout, use_bias, sliding_window, *_initializer, *_regularizer, *_constraint, use_gate, seed: as of
            `MultiHeadAttention`.

    Source: Ainslie et al. (2023), https://arxiv.org/abs/2305.13245.

    >>> from kernelearn.layers import GroupQueryAttention, Input
    >>> x = Input((10, 16))
    >>> layer = GroupQueryAttention(head_dim=8, num_query_heads=4, num_key_value_heads=2)
    >>> layer(x, x).shape, layer.key.kernel.shape
    ((None, 10, 16), (16, 2, 8))
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        use_gate: bool = False,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.head_dim = check_positive(head_dim, "head_dim")
        self.num_query_heads = check_positive(num_query_heads, "num_query_heads")
        self.num_key_value_heads = check_positive(num_key_value_heads, "num_key_value_heads")
        if self.num_query_heads % self.num_key_value_heads:
            raise ArgumentError(
                "num_query_heads must be a multiple of num_key_value_heads; got "
                f"{num_query_heads} and {num_key_value_heads}."
            )
        self.start()

    def build(self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        _check_positions(value_shape, key_shape)
        units, shared = (self.num_query_heads, self.head_dim), (self.num_key_value_heads, self.head_dim)
        self.query = self.projection("query", query_shape, 1, units)
        self.key = self.projection("key", key_shape, 1, shared)
        if self.use_gate:
            self.gate = self.projection("gate", query_shape, 1, units, "sigmoid")
        self.value = self.projection("value", value_shape, 1, shared)
        inside = (*query_shape[:-1], *units)
        self.attention_output = self.projection("attention_output", inside, 2, [int(query_shape[-1] or 0)])

    def attend(self, query: Value, key: Value, value: Value, mask: Value | None) -> tuple[Value, Value]:
        weights = self.weights_of(logits_of(query, key), mask)
        return combined(self.dropout_layer(weights), value), weights
