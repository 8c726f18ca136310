"""The dense (fully connected) layer."""

from __future__ import annotations

from typing import Any

from kernelearn import constraints, initializers, regularizers
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.layers.activations import activation_name, lower_activation
from kernelearn.layers.arguments import check_known, check_positive, weight_config
from kernelearn.layers.base import LAYERS, Layer


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

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = check_positive(units, "units")
        self.activation = activation_name(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape) -> None:
        check_known(input_shape, "Dense")
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(
            "kernel", shape, self.kernel_initializer, True, self.kernel_regularizer, self.kernel_constraint
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                "bias",
                (self.units,),
                self.bias_initializer,
                True,
                self.bias_regularizer,
                self.bias_constraint,
            )

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        y = graph.add("dense", x, self.use(graph, self.kernel))
        if self.bias is not None:
            y = graph.add("bias_add", y, self.use(graph, self.bias))
        return lower_activation(graph, y, self.activation)

    def get_config(self) -> dict[str, Any]:
        rules = ("kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer")
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            **weight_config(self, *rules, "kernel_constraint", "bias_constraint"),
        }
