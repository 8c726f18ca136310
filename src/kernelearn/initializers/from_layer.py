"""First values taken from a layer of another model: the simplest transfer of learned kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError
from kernelearn.initializers.base import INITIALIZERS, Initializer

_values_follow: ContextVar[bool] = ContextVar("values_follow", default=False)


@contextmanager
def values_follow() -> Iterator[None]:
    """Within this, placeholders give zeros: for who builds a model and then sets all its weights."""
    token = _values_follow.set(True)
    try:
        yield
    finally:
        _values_follow.reset(token)


@INITIALIZERS.register()
class FromLayer(Initializer):
    """A copy of a weight of another model's layer, as it is when this initialiser is called.

    A config holds only the names, not the model: a saved network keeps the values among its own weights. An
    initialiser made from a config is therefore a placeholder (`is_placeholder`) and refuses to be called.

    Args:
        other_model: a built model with `get_layer(name)`, of kernelearn or Keras.
        name: name of the layer.
        variable: which of its weights: "kernel", "bias", "depthwise_kernel", ...
    """

    def __init__(self, other_model: Any, name: str, variable: str = "kernel") -> None:
        if other_model is not None and not hasattr(other_model, "get_layer"):
            raise ArgumentError(f"other_model must be a model with get_layer(name), got {other_model!r}.")
        self.other_model = other_model
        self.name = name
        self.variable = variable

    @property
    def is_placeholder(self) -> bool:
        """Whether this came from a saved config and has no model to read from."""
        return self.other_model is None

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        if self.is_placeholder and _values_follow.get():
            return np.zeros(shape)
        if self.is_placeholder:
            raise NotBuiltError(
                f"FromLayer({self.name!r}) came from a saved config, which does not hold the other model. "
                "Load the saved weights, or give the layer FromLayer(other_model, name) again."
            )
        values = self._read()
        if values.shape != shape:
            raise ShapeError(
                f"{self.variable} of layer {self.name!r} has shape {values.shape}, the new variable has "
                f"shape {shape}. Make the layers alike: kernels are (*kernel_size, in // groups, filters)."
            )
        return values

    def _read(self) -> NDArray[Any]:
        layer = self.other_model.get_layer(self.name)
        weight = getattr(layer, self.variable, None)
        if weight is None:
            raise NotBuiltError(
                f"Layer {self.name!r} has no weight {self.variable!r}, or its model is not built yet: "
                "call the model once or give it an input shape."
            )
        return np.array(getattr(weight, "value", weight))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "variable": self.variable}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(None, **config)
