"""Vectors for numbers: the table of an embedding; and steps of a sequence that do not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from kernelearn import ops
from kernelearn.constraints import ConstraintLike
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.core.arguments import Shape, check_positive
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight
from kernelearn.regularizers import RegularizerLike


@LAYERS.register()
class Embedding(Layer):
    """A vector for each whole number from 0 to `input_dim` - 1: (n, ...) becomes (n, ..., output_dim).

    Args:
        input_dim: how many numbers there are.
        output_dim: length of a vector.
        mask_zero: number 0 stands for steps that do not count: see `Layer.compute_mask`.
        weights: the table, (input_dim, output_dim), to begin with.
        embeddings_initializer, *_regularizer, *_constraint: names, config dicts or objects.

    Weights: embeddings (input_dim, output_dim).

    >>> Embedding(1000, 16).compute_output_shape((None, 20))
    (None, 20, 16)
    """

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **Layer.without_effect,
        "lora_rank": (None,),
        "lora_alpha": (None,),
        "quantization_config": (None,),
        "input_length": (),
    }
    outside_config = Layer.outside_config | {"weights"}
    mask_zero: bool
    embeddings: Weight

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: InitializerLike = "uniform",
        embeddings_regularizer: RegularizerLike = None,
        embeddings_constraint: ConstraintLike = None,
        mask_zero: bool = False,
        weights: Any = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        given = weights
        del weights
        self.keep(locals())
        self.input_dim, self.output_dim = (
            check_positive(input_dim, "input_dim"),
            check_positive(output_dim, "output_dim"),
        )
        self.supports_masking = bool(mask_zero)
        if given is not None:
            self.build((None,))
            self.set_weights(list(given) if isinstance(given, list | tuple) else [given])

    def build(self, input_shape: Shape) -> None:
        shape = (self.input_dim, self.output_dim)
        self.embeddings = self.add_weight("embeddings", shape, **self.rules("embeddings"))

    def call(self, x: Any) -> Any:
        return ops.take(self.embeddings, _numbers(x), axis=0)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return ops.not_equal(x, 0) if self.mask_zero else None


def _numbers(x: Any) -> Any:
    return x if str(x.dtype).startswith("int") else ops.cast(x, "int32")


@LAYERS.register()
class Masking(Layer):
    """Steps of a sequence (n, steps, features) that hold `mask_value` alone do not count from here on.

    Args:
        mask_value: what marks them; they become zero.
    """

    supports_masking = True
    mask_value: float

    def __init__(self, mask_value: float = 0.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())

    def call(self, x: Any) -> Any:
        counts = ops.any(ops.not_equal(x, self.mask_value), axis=-1, keepdims=True)
        return ops.where(counts, x, 0.0)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return ops.any(ops.not_equal(x, self.mask_value), axis=-1)
