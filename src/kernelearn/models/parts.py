"""Which layers, inputs and outputs a model has, and how they are called by name."""

from __future__ import annotations

from typing import Any, Self

from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.errors import unknown_name as unknown_name_error
from kernelearn.layers.core.base import Layer
from kernelearn.layers.core.calling import one_or_list
from kernelearn.layers.core.own import is_own
from kernelearn.layers.core.tensor import Node, Tensor


class Parts(Layer):
    """The parts of a model.

    Attributes:
        inputs, outputs: symbolic tensors; empty before the shapes are known.
        input_keys, output_keys: the names that a dict of inputs or outputs gives.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    input_keys: list[str] | None
    output_keys: list[str] | None
    _calls: list[Node]
    _layers: list[Layer]

    @property
    def layers(self) -> list[Layer]:
        """The layers in order of first use, inputs first; of a model with a `call` of its own those that it
        holds itself.
        """
        return [layer for _, layer in self.sublayers()]

    def sublayers(self) -> list[tuple[str, Layer]]:
        if is_own(type(self)):
            return super().sublayers()
        return [(layer.name, layer) for layer in self._layers]

    def flat_layers(self) -> list[Layer]:
        """All layers that are not models, those of nested models included, each once."""
        inner = [part for _, layer in self.sublayers() for part in layer.flat_layers()]
        own = [self] if self.own_weights else []
        return list({id(part): part for part in (*own, *inner)}.values())

    @property
    def calls(self) -> list[Node]:
        """The calls of layers, in the order in which they run: `Node`s with layer, inputs and outputs."""
        return list(self._calls)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name or path ("outer/inner" for a layer of a nested model, "blocks/0/dense" for
        attributes of layers of one's own), or at this index.

        Raises: UnknownNameError, ArgumentError.
        """
        if (name is None) == (index is None):
            raise ArgumentError("get_layer takes either a name or an index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ArgumentError(
                    f"The model has {len(self.layers)} layers; there is none at index {index}."
                )
            return self.layers[index]
        found = _at(self, str(name)) or _at(self, str(name).removeprefix(f"{self.name}/"))
        if found is None:
            raise unknown_name_error("layer", name, [path for path, _ in self.descendants()])
        return found

    @property
    def input_names(self) -> list[str]:
        return self.input_keys or [t.node.layer.name for t in self.inputs]

    @property
    def output_names(self) -> list[str]:
        if self.output_keys:
            return self.output_keys
        names = [t.node.layer.name for t in self.outputs]
        return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]

    @property
    def input_shape(self) -> Any:
        """Shape of the input with None for the batch; a list for several."""
        return one_or_list([t.shape for t in self.inputs])

    @property
    def output_shape(self) -> Any:
        """Shape of the output with None for the batch; a list for several."""
        return one_or_list([t.shape for t in self.outputs])

    @property
    def input(self) -> Any:
        return one_or_list(self.need_shapes().inputs)

    @property
    def output(self) -> Any:
        return one_or_list(self.need_shapes().outputs)

    def need_shapes(self) -> Self:
        """This model.

        Raises: NotBuiltError before its shapes are known.
        """
        if not self.outputs:
            raise NotBuiltError(
                f"Model {self.name!r} has no shapes yet: give input_shape or call build(input_shape)."
            )
        return self


def _at(layer: Layer, name: str) -> Layer | None:
    """The layer below another one that a path or a name means."""
    for path, part in layer.sublayers():
        for known in (path, part.name):
            if name == known:
                return part
            found = _at(part, name.removeprefix(f"{known}/")) if name.startswith(f"{known}/") else None
            if found is not None:
                return found
    return None
