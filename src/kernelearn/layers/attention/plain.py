"""Attention of one query tensor over keys and values: by their products, or by a network of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import Shape
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions, Weight
from kernelearn.layers.noise import Dropout
from kernelearn.ops._run import Value, emit
from kernelearn.ops.entrywise.pointwise import softmax
from kernelearn.ops.products.attention import masked
from kernelearn.tracing import function

SCORE_MODES = ("dot", "concat")


def causal_mask(queries: int, keys: int) -> np.ndarray:
    """(1, queries, keys) bool: a query looks at positions up to its own.

    >>> causal_mask(2, 3)[0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    return np.tri(queries, keys, dtype=bool)[None]


def both(first: Value | None, second: Value | None) -> Value | None:
    """Where both masks hold; None stands for a mask that holds everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def mask_of(x: Any) -> Any:
    """The mask that travels with a value; None for none."""
    return getattr(x, "mask", None)


def expanded(mask: Value | None, axis: int) -> Value | None:
    """A mask with a new axis of size 1."""
    return None if mask is None else function("expand_dims")(mask, axis)


@LAYERS.register()
class Attention(Layer):
    """softmax(query key') value, image by image.

    Called on a list, [query, value] or [query, value, key]: (n, t, d), (n, s, d of value) and (n, s, d).

    Args:
        use_scale: multiply the scores by one learned number.
        score_mode: "dot" for products of query and key, "concat" for sums of tanh(query + key), times one
            learned number.
        dropout: share of the weights that are zero in training.
        seed: of the dropout.

    Call:
        mask: [mask of query, mask of value] or None: (n, t), (n, s), True where there is something. By
            default those that travel with the inputs.
        return_attention_scores: give (result, weights (n, t, s)).
        use_causal_mask: let query i look at positions up to i only.

    >>> from kernelearn.layers import Attention, Input
    >>> Attention()([Input((5, 8)), Input((7, 8))]).shape
    (None, 5, 8)
    """

    supports_masking = True
    use_scale: bool
    score_mode: str
    dropout: float
    seed: int | None
    scale: Weight | None
    concat_score_weight: Weight | None

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        if score_mode not in SCORE_MODES:
            raise ArgumentError(f"score_mode must be one of {SCORE_MODES}, got {score_mode!r}.")
        self.dropout_layer = Dropout(self.dropout, seed=self.seed)

    def build(self, input_shape: Sequence[Shape]) -> None:
        self._check_inputs(input_shape)
        scale, concat = self.scale_shape(input_shape), self.score_mode == "concat"
        rule = "ones" if scale == () else "glorot_uniform"
        self.scale = self.add_weight("scale", scale, rule) if self.use_scale else None
        self.concat_score_weight = self.add_weight("concat_score_weight", (), "ones") if concat else None

    def scale_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        """Shape of the learned scale."""
        return ()

    def _check_inputs(self, inputs: Any) -> None:
        if not isinstance(inputs, list | tuple) or not 2 <= len(inputs) <= 3:
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r} is called on a list, [query, value] or [query, value, "
                f"key]; got {inputs!r}."
            )

    def scores(self, query: Value, key: Value) -> Value:
        """(n, t, s): how well each key fits each query."""
        if self.score_mode == "dot":
            scores = emit("matmul", query, key, transpose_b=True)
            return scores if self.scale is None else scores * self.scale
        total = _pairs(query, key) if self.scale is None else self.scale * _pairs(query, key)
        return self.concat_score_weight * function("sum")(function("tanh")(total), axis=-1)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._check_inputs(inputs)
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = [*(mask or map(mask_of, inputs))][:2]
        scores = self.scores(query, key)
        seen = expanded(value_mask, -2)
        if use_causal_mask:
            seen = both(seen, causal_mask(*scores.shape[-2:]))
        weights = softmax(masked(scores, seen))
        y = emit("matmul", self.dropout_layer(weights), value)
        if query_mask is not None:
            y = function("where")(expanded(query_mask, -1), y, 0.0)
        return (y, weights) if return_attention_scores else y

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the query."""
        return mask[0] if mask else mask_of(inputs[0])


def _pairs(query: Value, key: Value) -> Value:
    """(n, t, s, d): the sum of each query and each key."""
    return function("expand_dims")(query, -2) + function("expand_dims")(key, -3)


@LAYERS.register()
class AdditiveAttention(Attention):
    """Attention whose scores are sums of tanh(query + key), with one learned factor per channel.

    Called as `Attention`.

    Args:
        use_scale: False leaves the factors away.
        dropout: share of the weights that are zero in training.

    Source: Bahdanau et al. (2014), https://arxiv.org/abs/1409.0473.

    >>> from kernelearn.layers import AdditiveAttention, Input
    >>> AdditiveAttention()([Input((5, 8)), Input((7, 8))]).shape
    (None, 5, 8)
    """

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **options)

    def scale_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        return (input_shape[0][-1],)

    def scores(self, query: Value, key: Value) -> Value:
        bent = function("tanh")(_pairs(query, key))
        return function("sum")(bent if self.scale is None else self.scale * bent, axis=-1)
