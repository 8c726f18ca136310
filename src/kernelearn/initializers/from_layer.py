"""First values taken from a layer of another model: the simplest transfer of learned kernels."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError
from kernelearn.initializers.base import INITIALIZERS, Initializer


class _Following:
    """The values that are still to come for the weights of the model that is being built."""

    def __init__(self, count: float) -> None:
        self.count = count


_values_follow: ContextVar[_Following | None] = ContextVar("values_follow", default=None)


@contextmanager
def values_follow(count: float = math.inf) -> Iterator[None]:
    """Within this, placeholders give zeros: for who builds a model and then sets all its weights.

    Args:
        count: how many values there are for them. A model that asks for more is refused before memory is
            taken for it, see `expect_values`.
    """
    token = _values_follow.set(_Following(count))
    try:
        yield
    finally:
        _values_follow.reset(token)


def expect_values(name: str, shape: Sequence[int | None]) -> None:
    """Tell that a weight is about to be made.

    Raises: ShapeError within `values_follow`, if there are not as many values.
    """
    following = _values_follow.get()
    if following is None:
        return
    following.count -= math.prod(size or 0 for size in shape)
    if following.count < 0:
        raise ShapeError(
            f"The weight {name!r} has the shape {tuple(shape)}, but fewer values than that were saved. "
            "The description of the model and its weights do not belong together."
        )


@INITIALIZERS.register()
class FromLayer(Initializer):
    """A copy of a weight of another model's layer, as it is when this initialiser is called.

    A config holds only the names, not the model: a saved network keeps the values among its own weights. An
    initialiser made from a config is therefore a placeholder (`is_placeholder`) and refuses to be called.

    Args:
        other_model: a built model with `get_layer(name)`: of kernelearn, also one that `load_model` has read
            from another program's file, or of Keras.
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
        if self.is_placeholder and _values_follow.get() is not None:
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
        # NOTE: with PyTorch behind it, Keras's `value` is a tensor that NumPy refuses; `numpy()` is not.
        read = getattr(weight, "numpy", None)
        return np.array(read() if callable(read) else getattr(weight, "value", weight))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "variable": self.variable}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(None, **config)
