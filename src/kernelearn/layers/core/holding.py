"""What a layer holds: weights of its own, and other layers in its attributes, in lists and dicts there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ShapeError
from kernelearn.layers.core.making_weights import made_weight
from kernelearn.layers.core.weight import Weight

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer

# Attributes of the base classes that hold layers which are none of the layer's own.
_NOT_SEARCHED = frozenset({"_layers", "_calls", "_nodes", "inputs", "outputs"})


class WeightRules(TypedDict):
    """How one weight begins, and what applies to it besides the gradient: names, config dicts or objects."""

    initializer: Any
    regularizer: Any
    constraint: Any


class Holding:
    """The weights and the layers of a layer: `Layer` inherits it, and nothing else does."""

    name: str
    _trainable: bool
    _weights: list[Weight]

    # --- weights

    def rules(self, weight: str) -> WeightRules:
        """The arguments that `add_weight` takes for one weight, from `weight`_initializer and the like."""
        initializer, regularizer, constraint = (
            getattr(self, f"{weight}_{rule}", None) for rule in ("initializer", "regularizer", "constraint")
        )
        return {"initializer": initializer, "regularizer": regularizer, "constraint": constraint}

    def add_weight(self, *given: Any, **named: Any) -> Weight:
        """Make a weight: `add_weight("kernel", shape, **self.rules("kernel"))`, or with Keras's arguments in
        their order, `add_weight(shape=(4,), initializer="ones", name="scale")`.

        Args:
            name: that of the attribute which keeps it if left out.
            shape: () by default.
            initializer: a name, object, array or function. By default "zeros", in Keras's order of arguments
                "glorot_uniform" as there.
            dtype: the layer's float type by default.
            trainable: False for what training changes without a gradient, if at all.
            regularizer, constraint: names, objects or None.
        Raises: ArgumentError inside of `call`, where the weight would be new at every step.
        """
        weight = made_weight(cast("Layer", self), given, named)
        self._weights.append(weight)
        return weight

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for _, layer in self.sublayers():
            layer.trainable = bool(value)

    def mark_trainable(self, value: bool) -> None:
        """Set the layer's own flag alone; every layer that it holds keeps its own."""
        self._trainable = bool(value)

    @property
    def own_weights(self) -> list[Weight]:
        """The weights that the layer has made itself: trained ones first, then moving statistics."""
        return sorted(self._weights, key=lambda weight: weight.role != "parameter")

    @property
    def weights(self) -> list[Weight]:
        """All weights: its own, then those of the layers that it holds, shared ones once."""
        return list(self.weight_paths().values())

    @property
    def trainable_weights(self) -> list[Weight]:
        if not self._trainable:
            return []
        own = [w for w in self.own_weights if w.trainable]
        inner = [w for _, layer in self.sublayers() for w in layer.trainable_weights]
        return list({id(w): w for w in (*own, *inner)}.values())

    def weight_paths(self) -> dict[str, Weight]:
        """Path of every weight, each once, below this layer: "scale", "blocks/0/dense/kernel"."""
        paths = {weight.name: weight for weight in self.own_weights}
        seen = {id(weight) for weight in paths.values()}
        for path, part in self.sublayers():
            for name, weight in part.weight_paths().items():
                if id(weight) not in seen:
                    seen.add(id(weight))
                    paths[f"{path}/{name}"] = weight
        return paths

    def sublayers(self) -> list[tuple[str, Layer]]:
        """(path, layer) of the layers that this one holds itself, in the order of its attributes, each once.

        The path is the attribute, with places and keys behind it: "dense", "blocks/0", "heads/left".
        """
        found: dict[int, tuple[str, Layer]] = {}
        for name, value in vars(self).items():
            # NOTE: most attributes are numbers and text, and this is asked for all the time.
            if isinstance(value, _HOLDERS) and name not in _NOT_SEARCHED:
                for path, part in _parts(name, value):
                    if part is not self:
                        found.setdefault(id(part), (path, part))
        return list(found.values())

    def descendants(self) -> list[tuple[str, Layer]]:
        """(path, layer) of all layers below this one, outer ones first, each once, at its first path."""
        found = {id(self): ("", cast("Layer", self))}
        _collect(self, "", found)
        return list(found.values())[1:]

    def flat_layers(self) -> list[Layer]:
        """This layer and all below it that are no models, each once."""
        inner = [part for _, layer in self.sublayers() for part in layer.flat_layers()]
        return list({id(part): part for part in (cast("Layer", self), *inner)}.values())

    @property
    def non_trainable_weights(self) -> list[Weight]:
        trained = {id(w) for w in self.trainable_weights}
        return [w for w in self.weights if id(w) not in trained]

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights, in Keras's order."""
        return [w.numpy() for w in self.weights]

    def set_weights(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Replace all weights.

        Raises: ShapeError if the number or a shape differs; then nothing is changed.
        """
        expected, got = [w.shape for w in self.weights], [np.shape(a) for a in arrays]
        if expected != got:
            raise ShapeError(f"{self.name!r} has weights of shapes {expected}; got arrays of shapes {got}.")
        for weight, array in zip(self.weights, arrays):
            weight.assign(array)

    def count_params(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(w.shape)) for w in self.weights)


_HOLDERS = (Holding, list, tuple, dict)


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The layers in a value: a layer, or what holds some, as deep as it goes."""
    if isinstance(value, Holding):
        yield path, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, _HOLDERS):
            yield from _parts(f"{path}/{key}", part)


def _collect(layer: Holding, prefix: str, found: dict[int, tuple[str, Layer]]) -> None:
    for path, part in layer.sublayers():
        if id(part) not in found:
            found[id(part)] = (f"{prefix}{path}", part)
            _collect(part, f"{prefix}{path}/", found)
