"""`Sequential`: layers one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.layers.core.base import LAYERS, Layer, Shape
from kernelearn.layers.core.tensor import Tensor
from kernelearn.layers.merging import Input, InputLayer
from kernelearn.models.model import Model


@LAYERS.register()
class Sequential(Model):
    """Layers one after another.

    The weights are made as soon as the input shape is known: from `input_shape` of the first layer, from an
    `Input` given first, from `build`, or from the data of the first `fit`.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D
    >>> model = Sequential([Conv2D(12, kernel_size=3, input_shape=(25, 25, 1))])
    >>> [w.shape for w in model.get_weights()]
    [(3, 3, 1, 12), (12,)]
    """

    def __init__(
        self, layers: Sequence[Any] | None = None, name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name)
        self._start: Tensor | None = None
        for layer in layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the input."""
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    def add(self, layer: Any) -> None:
        """Append a layer, or (first) an `Input`.

        Raises: ArgumentError for anything else, or for a name that is already used.
        """
        if isinstance(layer, Tensor) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise ArgumentError(
                f"Sequential.add takes a layer, got {layer!r} of type {type(layer).__name__}."
            )
        if any(other.name == layer.name for other in self._layers):
            raise ArgumentError(f"Layer names must be unique in a model; {layer.name!r} is already used.")
        if isinstance(layer, InputLayer):
            if self.layers and self._start is None:
                raise ArgumentError(
                    "An Input must be added before the layers; to give a shape now call build()."
                )
            self._begin(layer.output)
            return
        if self._start is None and not self.layers:
            shape = _declared_shape(layer)
            if shape is not None:
                self._begin(Input(shape[1:], dtype=layer.dtype))
        self._extend(layer)
        self._layers.append(layer)
        if not self._trainable:
            layer.trainable = False
        self.programs.forget()

    def pop(self) -> Layer:
        """Remove the last layer and give it back."""
        if not self.layers:
            raise ArgumentError("There is no layer to remove.")
        layer = self._layers.pop()
        if self._calls:
            call = self._calls.pop()
            self.outputs = list(call.inputs) if self._calls else []
        self.programs.forget()
        return layer

    def build(self, *input_shapes: Any, **unused: Any) -> None:
        """Make the weights for inputs of this shape, batch first: `build((None, 28, 28, 1))`."""
        if self.outputs or self._start is not None:
            return
        self._connect_shape(tuple(input_shapes[0]))
        self.built = True

    def ensure_shape(self, data: Any, given: Any = None) -> None:
        shape = data.x_shape
        if shape is None or isinstance(shape, list | dict):
            raise NotBuiltError(
                "The model has no input shape, and the data does not tell one: call build(input_shape)."
            )
        self.build((None, *shape))

    def _connect_to(self, shape: Shape) -> None:
        """Call the layers again, on an input of this shape (batch first); their weights stay."""
        for call in self._calls:
            call.layer.drop_node(call)
        self._layers, self._start, self.inputs, self.outputs, self._calls = self.layers, None, [], [], []
        self._connect_shape(shape)

    def _connect_shape(self, shape: Shape) -> None:
        """Call the layers one after another, on an input of this shape (batch first)."""
        self._begin(Input(shape[1:], dtype=self.dtype))
        for layer in self.layers:
            self._extend(layer)

    def get_config(self) -> dict[str, Any]:
        """Input shape and layers as JSON values; without weights."""
        shape = list(self._start.shape[1:]) if self._start is not None else None
        return {
            "name": self.name,
            "trainable": self._trainable,
            "input_shape": shape,
            "dtype": self.dtype,
            "layers": [LAYERS.serialize(layer) for layer in self.layers],
        }

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Sequential:
        """A new model with fresh weights from what `get_config` gave."""
        first = [Input(values["input_shape"], dtype=values.get("dtype"))] if values.get("input_shape") else []
        made = cls([*first, *(LAYERS.get(layer) for layer in values["layers"])], name=values.get("name"))
        made.mark_trainable(values.get("trainable", True))  # every layer has its own from its config
        return made

    def _begin(self, tensor: Tensor) -> None:
        if self._start is not None:
            raise ArgumentError("The input of this model is already given.")
        self._start = tensor
        self.inputs = [tensor]
        self._layers.insert(0, tensor.node.layer)

    def _extend(self, layer: Layer) -> None:
        """Call `layer` on the last tensor, if the shape is known by now."""
        if self._start is None:
            return
        before = self.outputs[0] if self.outputs else self._start
        result = layer(before)
        if isinstance(result, list):
            raise ArgumentError(
                f"Layer {layer.name!r} has several outputs; Sequential takes layers with one."
            )
        self._calls.append(result.node)
        self.outputs = [result]
        self.built = True


def _declared_shape(layer: Layer) -> tuple[int | None, ...] | None:
    """The input shape that a first layer brings along: its argument, or that of a model used as a layer."""
    if layer.declared_input_shape is not None:
        return layer.declared_input_shape
    if isinstance(layer, Model) and layer.inputs:
        return layer.inputs[0].shape
    return None
