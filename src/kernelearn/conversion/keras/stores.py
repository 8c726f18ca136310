"""The weights of a model as the groups of a `.weights.h5`, laid out as Keras 3 looks for them."""

from __future__ import annotations

from typing import Any

from kernelearn.conversion.keras import slots
from kernelearn.conversion.keras.states import children, own_weights
from kernelearn.formats.hdf5 import Group, held
from kernelearn.layers.core.base import Layer
from kernelearn.models import Model


def weights_tree(model: Model, with_optimizer: bool) -> Group:
    """Groups, arrays and names for all layers, each where it is met first."""
    tree = Group()
    _add(tree, model, set())
    if with_optimizer:
        optimizer = model.programs.compiled_optimizer()
        arrays = {str(i): held(array) for i, array in enumerate(slots.state(model))}
        tree.members["optimizer"] = Group({"vars": Group(dict(arrays), {"name": optimizer.name})})
    return tree


def _add(group: Group, layer: Layer, seen: set[int]) -> None:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    arrays: dict[str, Any] = {str(i): held(weight.numpy()) for i, weight in enumerate(own_weights(layer))}
    group.members["vars"] = Group(arrays, {"name": layer.name})
    for child in children(layer):
        if id(child.layer) not in seen:
            _add(_made(group, child.places[0]), child.layer, seen)


def _made(group: Group, path: str) -> Group:
    """The group at a path, made where it is missing."""
    for part in path.split("/"):
        inner = group.members.setdefault(part, Group())
        assert isinstance(inner, Group)
        group = inner
    return group
