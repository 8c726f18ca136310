"""The dense (fully connected) layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from kernelearn.constraints import ConstraintLike
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.activations import lower_activation
from kernelearn.layers.core.arguments import ActivationLike, Shape, check_positive, known_sizes_at
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight
from kernelearn.regularizers import RegularizerLike


@LAYERS.register()
class Dense(Layer):
    """y = activation(x @ kernel + bias) on the last axis.

    Args:
        units: number of outputs.
        activation: name of an activation applied at the end.
        use_bias: add one learned number per output.
        kernel_initializer, bias_initializer, *_regularizer, *_constraint: names, config dicts or objects.

    Weights: kernel (features, units), bias (units,).

    >>> from kernelearn.layers import Dense
    >>> layer = Dense(3, input_shape=(5,))
    >>> layer.compute_output_shape((None, 5))
    (None, 3)
    """

    supports_masking = True

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {**Layer.without_effect, "lora_rank": (None,)}
    activation: str
    use_bias: bool
    bias: Weight | None

    def __init__(
        self,
        units: int,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.units = check_positive(units, "units")

    def build(self, input_shape: Shape) -> None:
        features = known_sizes_at(input_shape, [-1], "Dense")
        self.kernel = self.add_weight("kernel", (*features, self.units), **self.rules("kernel"))
        self.bias = self.add_weight("bias", (self.units,), **self.rules("bias")) if self.use_bias else None

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        y = graph.add("dense", x, self.use(graph, self.kernel))
        if self.bias is not None:
            y = graph.add("bias_add", y, self.use(graph, self.bias))
        return lower_activation(graph, y, self.activation)
