"""Calls of layers of attention and products that are compared with Keras. Imports neither library."""

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BATCH = 2
Q, V, K = (5, 4), (6, 3), (6, 2)
MAP = (3, 4, 2)


@dataclass(frozen=True)
class AttentionCase:
    """A layer and a call of it.

    Attributes:
        shapes: of one sample of the inputs.
        call: keyword arguments of the call: flags, and names of masks, which are drawn at random.
        masks: argument -> shape of a random mask; a list of shapes is a list of masks.
        is_list: whether the inputs are given as a list.
    """

    layer: str
    arguments: dict[str, Any]
    shapes: tuple
    call: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, Any] = field(default_factory=dict)
    is_list: bool = False

    @property
    def label(self) -> str:
        parts = (self.arguments, self.call, self.masks, list(self.shapes))
        return " ".join([self.layer, *(json.dumps(part, sort_keys=True) for part in parts)])

    def _random(self, stream: int) -> np.random.RandomState:
        return np.random.RandomState(zlib.crc32(self.label.encode()) ^ stream)

    def inputs(self) -> list[np.ndarray]:
        random = self._random(0)
        return [random.normal(size=(BATCH, *shape)) for shape in self.shapes]

    def weights(self, shapes) -> list[np.ndarray]:
        random = self._random(1)
        return [random.normal(size=shape) for shape in shapes]

    def target(self, shape) -> np.ndarray:
        return self._random(2).normal(size=shape)

    def keywords(self) -> dict[str, Any]:
        """The arguments of the call; through masks a query may look at the first position and its own."""
        random = self._random(3)

        def drawn(shape):
            mask = random.uniform(size=(BATCH, *shape)) < 0.6
            own = np.arange(min(mask.shape[-2:]))
            mask[..., 0] = mask[..., own, own] = True
            return mask

        masks = {
            name: [drawn(s) for s in shape] if isinstance(shape[0], tuple) else drawn(shape)
            for name, shape in self.masks.items()
        }
        return {**self.call, **masks}


_HEADS = {"num_heads": 2, "key_dim": 3}
_GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
# NOTE: without scores Keras on JAX takes a softmax in float32, and values as wide as keys only.
_SCORES = {"return_attention_scores": True}
CASES = [
    AttentionCase("MultiHeadAttention", _HEADS, (Q, Q)),
    AttentionCase("MultiHeadAttention", _HEADS, (Q, V), _SCORES),
    AttentionCase(
        "MultiHeadAttention",
        {**_HEADS, "value_dim": 5, "output_shape": [3, 2]},
        (Q, V, K),
        {"use_causal_mask": True, **_SCORES},
    ),
    AttentionCase("MultiHeadAttention", _HEADS, (Q, V), _SCORES, {"attention_mask": (5, 6)}),
    AttentionCase(
        "MultiHeadAttention",
        {**_HEADS, "use_gate": True, "use_bias": False, "sliding_window": 2},
        (Q, Q),
        _SCORES,
        {"attention_mask": (2, 5, 5)},
    ),
    AttentionCase("MultiHeadAttention", {**_HEADS, "attention_axes": [2]}, (MAP, MAP), _SCORES),
    AttentionCase("MultiHeadAttention", {**_HEADS, "attention_axes": [1, 2]}, (MAP, MAP), _SCORES),
    AttentionCase("GroupQueryAttention", _GROUPS, (Q, (6, 4)), {"use_causal_mask": True, **_SCORES}),
    AttentionCase("GroupQueryAttention", _GROUPS, (Q, (6, 4)), _SCORES, {"attention_mask": (5, 6)}),
    AttentionCase("Attention", {}, (Q, (6, 4)), is_list=True),
    AttentionCase(
        "Attention",
        {"use_scale": True},
        (Q, V, (6, 4)),
        {"use_causal_mask": True, "return_attention_scores": True},
        {"mask": ((5,), (6,))},
        is_list=True,
    ),
    AttentionCase("Attention", {"use_scale": True, "score_mode": "concat"}, (Q, (6, 4)), is_list=True),
    AttentionCase("AdditiveAttention", {}, (Q, V, (6, 4)), masks={"mask": ((5,), (6,))}, is_list=True),
    AttentionCase("AdditiveAttention", {"use_scale": False}, (Q, (6, 4)), is_list=True),
    AttentionCase(
        "EinsumDense", {"equation": "abc,cde->abde", "output_shape": [None, 2, 3], "bias_axes": "de"}, (Q,)
    ),
    AttentionCase("EinsumDense", {"equation": "ab...,bc->ac...", "output_shape": 3, "bias_axes": "c"}, (Q,)),
    AttentionCase("EinsumDense", {"equation": "...x,yx->...y", "output_shape": 3, "bias_axes": "y"}, (Q,)),
    AttentionCase("Dot", {"axes": [1, 2], "normalize": True}, (Q, (3, 5)), is_list=True),
    AttentionCase("Dot", {"axes": -1}, ((4,), (4,)), is_list=True),
]
