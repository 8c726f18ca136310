"""What layers of attention with heads share: projections, masks, and the call.

query, key, value -> (n, t, heads, d)     EinsumDense layers of their own
softmax(scale query key' where the mask holds) value, head by head
(n, t, heads, d) -> output                EinsumDense
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kernelearn.layers.attention.plain import both, causal_mask, expanded, mask_of
from kernelearn.layers.core.arguments import Shape, check_positive
from kernelearn.layers.core.base import Layer
from kernelearn.layers.einsum_dense import EinsumDense
from kernelearn.layers.noise import Dropout
from kernelearn.ops._run import Value
from kernelearn.ops.entrywise.pointwise import softmax
from kernelearn.ops.products.attention import masked
from kernelearn.ops.products.einsum import shape_of, shaped
from kernelearn.tracing import function

# Arguments that all projections are given.
RULES = tuple(
    f"{weight}_{rule}"
    for weight in ("kernel", "bias")
    for rule in ("initializer", "regularizer", "constraint")
)


class Heads(Layer):
    """Attention with heads; a subclass makes the projections and says how heads attend."""

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **Layer.without_effect,
        "flash_attention": (None, False),
    }
    supports_masking = True
    dropout: float
    use_bias: bool
    use_gate: bool
    sliding_window: int | None
    seed: int | None
    query: EinsumDense
    key: EinsumDense
    value: EinsumDense
    attention_output: EinsumDense

    def start(self) -> None:
        """Check what is common, and make what draws random numbers."""
        if self.sliding_window is not None:
            check_positive(self.sliding_window, "sliding_window")
        self.dropout_layer = Dropout(self.dropout, seed=self.seed)

    def projection(
        self, name: str, shape: Shape, taken: int, units: Sequence[int], activation: str | None = None
    ) -> EinsumDense:
        """A dense layer on the last `taken` axes of an input, which become these units; built."""
        letters = string.ascii_lowercase
        free = letters[: len(shape) - taken]
        inside = letters[len(free) : len(shape)]
        made = letters[len(shape) : len(shape) + len(units)]
        rules = {rule: getattr(self, rule) for rule in RULES}
        # NOTE: what the last one gives is what the layer gives, whose own penalty that is.
        rules["activity_regularizer"] = None if name == "attention_output" else self.activity_regularizer
        layer = EinsumDense(
            f"{free}{inside},{inside}{made}->{free}{made}",
            [None] * (len(free) - 1) + list(units),
            activation=activation,
            bias_axes=made if self.use_bias else None,
            name=name,
            dtype=self.dtype,
            **rules,
        )
        layer.ensure_built([shape])
        return layer

    @property
    def query_dense(self) -> EinsumDense:
        """Keras's name of `query`."""
        return self.query

    @property
    def key_dense(self) -> EinsumDense:
        """Keras's name of `key`."""
        return self.key

    @property
    def value_dense(self) -> EinsumDense:
        """Keras's name of `value`."""
        return self.value

    @property
    def output_dense(self) -> EinsumDense:
        """Keras's name of `attention_output`."""
        return self.attention_output

    def call(
        self,
        query: Value,
        value: Value,
        key: Value | None = None,
        query_mask: Value | None = None,
        value_mask: Value | None = None,
        key_mask: Value | None = None,
        attention_mask: Value | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        masks = (query_mask, value_mask, key_mask)
        held = [mask_of(x) if mask is None else mask for x, mask in zip((query, value, key), masks)]
        mask = self._mask(query, value, held, attention_mask, use_causal_mask)
        gate = self.gate(query) if self.use_gate else None
        y, weights = self.attend(_scaled(self.query(query)), self.key(key), self.value(value), mask)
        y = self.attention_output(y if gate is None else y * gate)
        return (y, weights) if return_attention_scores else y

    def axis_of_order(self, rank: int) -> int:
        """The axis along which positions come before and after each other."""
        return 1

    def attend(self, query: Value, key: Value, value: Value, mask: Value | None) -> tuple[Value, Value]:
        """(n, t, heads, d) of the values that each query takes, and the weights (n, heads, t, s)."""
        raise NotImplementedError

    def weights_of(self, logits: Value, mask: Value | None) -> Value:
        """The softmax of the logits where the mask holds; a mask without heads holds for all of them."""
        while mask is not None and mask.ndim < logits.ndim:
            mask = expanded(mask, -3)
        return softmax(masked(logits, mask))

    def _mask(
        self,
        query: Value,
        value: Value,
        held: Sequence[Value | None],
        given: Value | None,
        is_causal: bool,
    ) -> Value | None:
        """Where a query may look: (n, t, s), or fewer axes; None for everywhere."""
        query_mask, value_mask, key_mask = held
        seen = both(expanded(query_mask, -1), expanded(value_mask, -2))
        if key_mask is not value_mask:
            seen = both(seen, expanded(key_mask, -2))
        if is_causal or self.sliding_window is not None:
            axis = self.axis_of_order(query.ndim)
            t, s = int(query.shape[axis]), int(value.shape[axis])
            width = self.sliding_window or t + s
            near = np.abs(np.arange(t)[:, None] - np.arange(s)) < width
            seen = both(seen, near[None] & causal_mask(t, s) if is_causal else near[None])
        return both(None if given is None else function("cast")(given, "bool"), seen)

    def compute_mask(self, query: Any, mask: Any = None) -> Any:
        """The mask of the query."""
        given = mask[0] if isinstance(mask, list | tuple) else mask
        return mask_of(query) if given is None else given


def _scaled(queries: Value) -> Value:
    """(n, ..., heads, d) by the root of d; heads and channels as one axis, as the dense layer gives them."""
    shape = shape_of(queries)
    heads, channels = (int(size or 1) for size in shape[-2:])
    rows = shaped(queries, (*shape[:-2], heads * channels))
    return shaped(rows * (1 / math.sqrt(channels)), shape)
