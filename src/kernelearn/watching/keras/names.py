"""The weights of a Keras model under the paths of a run: those that `from_keras` gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernelearn.watching.seen import Array


class Names:
    """Path of every weight and statistic of a model.

    Attributes:
        variables: path -> Keras variable, in the order of the model.
        paths: id of a variable -> path.
        layers: path of a layer -> the layer, of those that hold weights.
        shapes: path -> shape.
    """

    def __init__(self, model: Any) -> None:
        self.variables: dict[str, Any] = {}
        self.paths: dict[int, str] = {}
        self.layers: dict[str, Any] = {}
        for path, layer in _layers(model, ""):
            self._add(path or str(model.name), layer)
        self.shapes = {path: tuple(int(n) for n in v.shape) for path, v in self.variables.items()}
        trained = {id(v) for v in model.trainable_variables}
        statistics = {id(v) for layer in self.layers.values() for v in layer._non_trainable_variables}
        self.changing = [p for p, v in self.variables.items() if id(v) in trained | statistics]

    def _add(self, layer: str, owner: Any) -> None:
        for variable in (*owner._trainable_variables, *owner._non_trainable_variables):
            if id(variable) in self.paths or not str(variable.dtype).startswith(("float", "bfloat")):
                continue
            path = f"{layer}/{variable.name}"
            number = 1
            while path in self.variables:
                path, number = f"{layer}/{variable.name}_{number}", number + 1
            self.variables[path], self.paths[id(variable)] = variable, path
            self.layers.setdefault(layer, owner)

    def value(self, path: str) -> Array:
        """A weight of now."""
        return array_of(self.variables[path])

    def bias_of(self, path: str) -> str | None:
        """Path of the bias that is added behind the product with a kernel."""
        owner = self.layers[path.rpartition("/")[0]]
        if path.endswith("/depthwise_kernel"):
            return None
        bias = getattr(owner, "bias", None)
        return None if bias is None else self.paths.get(id(bias))


def _layers(owner: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every layer with its path, the model itself first; one that is shared comes once."""
    seen: set[int] = set()

    def walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        yield path, layer
        inner = layer.layers if hasattr(layer, "layers") else layer._layers
        for below in inner:
            yield from walk(below, f"{path}/{below.name}" if path else str(below.name))

    yield from walk(owner, prefix)


def array_of(value: Any) -> Array:
    """A variable or tensor of Keras as a float32 array of its own."""
    from keras import ops

    return np.array(ops.convert_to_numpy(value), np.float32)
