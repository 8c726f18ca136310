"""Where the weights of each layer lie in Keras's files, and which weight of ours each of them is.

A `.weights.h5` has a group for each layer, `layers/conv2d_1/vars/0`, counted by class in Keras's own order of
layers; the layer's true name is an attribute of its `vars`. That order is computed here from the graph, since
Keras pairs files and models by it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from kernelearn.conversion.keras.known import stored_name
from kernelearn.conversion.keras.operations import depth_of
from kernelearn.layers import (
    GroupQueryAttention,
    InputLayer,
    MultiHeadAttention,
    OperationLayer,
    SpectralNormalization,
)
from kernelearn.layers.core.base import Layer
from kernelearn.layers.core.tensor import Node
from kernelearn.layers.core.weight import Weight
from kernelearn.models import Model, Sequential

# Attributes that have other names in Keras: ours -> theirs, the one that is written first. Keras goes through
# public names before private ones, and not all of these have a public one.
_PRIVATE = {
    "query": ("_query_dense", "query_dense"),
    "key": ("_key_dense", "key_dense"),
    "gate": ("_gate_dense", "gate_dense"),
    "value": ("_value_dense", "value_dense"),
    "attention_output": ("_output_dense", "output_dense"),
    "dropout_layer": ("_dropout_layer",),
}
_PUBLIC = {name: places[::-1] for name, places in _PRIVATE.items() if name != "gate"}
_ATTRIBUTES: dict[type, dict[str, tuple[str, ...]]] = {
    MultiHeadAttention: {**_PRIVATE, **_PUBLIC},
    GroupQueryAttention: _PRIVATE,
}


@dataclass(frozen=True)
class Child:
    """A layer inside of another one.

    Attributes:
        places: its groups below that of the outer one, as several versions spell them, the newest first.
    """

    places: tuple[str, ...]
    layer: Layer


def own_weights(layer: Layer) -> list[Weight]:
    """The weights that Keras saves for a layer itself, in its order."""
    if isinstance(layer, SpectralNormalization) and layer.built:
        return [layer._kernel(), layer.vector_u]  # the kernel is saved for the inner layer, too
    return layer.own_weights


def is_plain_model(layer: Layer) -> TypeGuard[Model]:
    """Whether a layer is a `Sequential` or a functional model, not one with code of its own."""
    return isinstance(layer, Sequential) or type(layer) is Model


def children(layer: Layer) -> list[Child]:
    """The layers inside of one, in Keras's order."""
    if is_plain_model(layer):
        return _numbered("layers", model_layers(layer))
    found = []
    for name, value in vars(layer).items():
        if isinstance(value, Layer) and name not in _INSIDE:
            found.append(Child(_renamed(layer).get(name, (name,)), value))
        elif isinstance(value, list | tuple | dict) and name not in _INSIDE:
            found += _in_container(name, value)
    return found


def _renamed(layer: Layer) -> dict[str, tuple[str, ...]]:
    return next((names for kind, names in _ATTRIBUTES.items() if isinstance(layer, kind)), {})


_INSIDE = frozenset({"_layers", "_calls", "_nodes", "inputs", "outputs", "_weights", "given_arguments"})


def _numbered(place: str, layers: list[Any]) -> list[Child]:
    """Children in a list: by class, with a number from the second one on."""
    counts: dict[str, int] = {}
    found = []
    for layer in layers:
        stem = stored_name(layer)
        number = counts[stem] = counts.get(stem, -1) + 1
        found.append(Child((f"{place}/{stem}" + (f"_{number}" if number else ""),), layer))
    return found


def _in_container(place: str, container: Any) -> list[Child]:
    values = list(container.values()) if isinstance(container, dict) else list(container)
    found = _numbered(place, [value for value in values if isinstance(value, Layer)])
    inner = [value for value in values if isinstance(value, list | tuple | dict)]
    for number, value in enumerate(inner):
        found += _in_container(f"{place}/container" + (f"_{number}" if number else ""), value)
    return found


def model_layers(model: Model) -> list[Layer]:
    """The layers of a model in Keras's order: those farther from the outputs first."""
    if isinstance(model, Sequential):
        return list(model.layers)
    return [layer for layer in layers_in_order(model) if not isinstance(layer, OperationLayer)]


def layers_in_order(model: Model) -> list[Layer]:
    """All layers and operations: by their largest distance from an output, then as a walk back meets them."""
    met, calls = _walk(model)
    distance: dict[int, int] = {}
    farthest: dict[int, int] = {}
    for call in reversed(calls):
        here = max(distance.get(id(call), 0), farthest.get(id(call.layer), 0))
        distance[id(call)] = farthest[id(call.layer)] = here
        for tensor in call.inputs:
            before = id(tensor.node)
            distance[before] = max(here + depth_of(call.layer), distance.get(before, 0))
    for tensor in model.inputs:
        layer = tensor.node.layer
        if isinstance(layer, InputLayer) and id(layer) not in farthest:
            farthest[id(layer)] = 0
            met = {id(layer): (-1, layer), **met}
    places = {key: number for key, (number, _) in met.items()}
    layers = [layer for _, layer in met.values()]
    return sorted(layers, key=lambda layer: (-farthest[id(layer)], places[id(layer)]))


def _walk(model: Model) -> tuple[dict[int, tuple[int, Layer]], list[Node]]:
    """Layers as a walk back from the outputs meets them, and calls behind what they read."""
    starts = {id(t) for t in model.inputs}
    met: dict[int, tuple[int, Layer]] = {}
    done: set[int] = set()
    calls: list[Node] = []
    stack = [(tensor.node, tensor, False) for tensor in reversed(model.outputs)]
    while stack:
        call, tensor, is_behind = stack.pop()
        if is_behind:
            if id(call) not in done:
                done.add(id(call))
                calls.append(call)
            continue
        is_input = isinstance(call.layer, InputLayer)
        if id(call) in done or (id(tensor) in starts and not is_input):
            continue
        met.setdefault(id(call.layer), (len(met), call.layer))
        stack.append((call, tensor, True))
        if not is_input:
            stack += [(t.node, t, False) for t in reversed(call.inputs)]
    return met, calls


def trained_in_order(layer: Layer) -> list[Weight]:
    """The weights that training changes, in Keras's order: that of an optimiser's slots."""
    return list({id(w): w for w in _all_weights(layer) if is_trained(w)}.values())


def all_in_order(layer: Layer) -> list[Weight]:
    """All weights in Keras's order, each once."""
    return list({id(w): w for w in _all_weights(layer)}.values())


def is_trained(weight: Weight) -> bool:
    """Whether training changes a weight, as its layer's `trainable` is now."""
    owner = weight.owner
    return bool(weight.trainable and (owner is None or owner.trainable))


def _all_weights(layer: Layer) -> Iterator[Weight]:
    yield from own_weights(layer)
    for child in children(layer):
        yield from _all_weights(child.layer)
