"""Functions as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from kernelearn import ops
from kernelearn._serializable import register
from kernelearn.errors import ArgumentTypeError
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.own import takes
from kernelearn.layers.core.structure import decoded, encoded


@LAYERS.register()
class Lambda(Layer):
    """A function of `kernelearn.ops` as a layer.

    Args:
        function: (inputs) -> outputs, traced. A file can hold the model if the function is registered with
            `kernelearn.saving.register`.
        output_shape: as in Keras, and without effect: the shape is found by tracing.
        mask: passed to a function that has an argument `mask`.
        arguments: further keyword arguments of the function.

    >>> import numpy as np
    >>> from kernelearn.layers import Lambda
    >>> Lambda(lambda x: x * x - 1)(np.array([[3.0]], "float32"))
    array([[8.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.function = decoded(function)
        self.output_shape = output_shape
        self.mask = mask
        self.arguments = {name: decoded(value) for name, value in (arguments or {}).items()}
        if not callable(self.function):
            raise ArgumentTypeError(f"Lambda takes a function, got {function!r}.")

    def config_value(self, name: str) -> Any:
        if name in ("function", "mask", "output_shape"):
            value = getattr(self, name)
            return encoded(list(value) if isinstance(value, tuple) else value, f"Lambda {self.name!r}")
        if name == "arguments":
            return {key: encoded(value, f"Lambda {self.name!r}") for key, value in self.arguments.items()}
        return super().config_value(name)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """The function of the inputs."""
        known = {"mask": mask if self.mask is None else self.mask, "training": training}
        extra = {name: value for name, value in known.items() if takes(self.function, name)}
        return self.function(inputs, **{**extra, **self.arguments})


@register(package="keras2", name="hard_sigmoid")
def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """0.2 x + 0.5 between 0 and 1: what Keras 2 (and ONNX) call hard_sigmoid; Keras 3 has x / 6 + 0.5."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)
