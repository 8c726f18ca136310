"""A learned array that is no weight of another layer: a table of positions, a class token, a scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn import ops
from kernelearn.constraints import ConstraintLike
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.core.arguments import Shape, whole_numbers
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight
from kernelearn.regularizers import RegularizerLike


@LAYERS.register()
class LearnedArray(Layer):
    """The same learned array for every image: called on any tensor, it gives (n, *shape).

    Joined to the network by `Add`, `Multiply` or `Concatenate`: `Add()([x, LearnedArray((49, 64))(x)])`.

    Args:
        shape: without the batch.
        array_initializer, array_regularizer, array_constraint: names, config dicts or objects.

    Weights: array (*shape).

    >>> LearnedArray((1, 16)).compute_output_shape((None, 49, 16))
    (None, 1, 16)
    """

    array: Weight

    def __init__(
        self,
        shape: Sequence[int],
        array_initializer: InitializerLike = "zeros",
        array_regularizer: RegularizerLike = None,
        array_constraint: ConstraintLike = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.shape = whole_numbers(shape, "shape")

    def build(self, input_shape: Shape) -> None:
        self.array = self.add_weight("array", self.shape, **self.rules("array"))

    def call(self, x: Any) -> Any:
        return ops.broadcast_to(self.array, (ops.shape(x)[0], *self.shape))
