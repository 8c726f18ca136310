"""How a layer makes a weight: two orders of arguments, initial values, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import constraints, initializers, regularizers
from kernelearn.errors import ArgumentTypeError, unknown_argument
from kernelearn.initializers.from_layer import expect_values
from kernelearn.layers.core.own import check_may_add_weight
from kernelearn.layers.core.weight import Weight

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer

# The order of this library, which begins with the name, and Keras's, which begins with the shape.
_OURS = ("name", "shape", "initializer", "trainable", "regularizer", "constraint")
_KERAS = (
    "shape",
    "initializer",
    "dtype",
    "trainable",
    "autocast",
    "regularizer",
    "constraint",
    "aggregation",
    "layout",
    "name",
)
# Without effect: how Keras casts weights and joins copies of them on several devices.
_WITHOUT_EFFECT = ("autocast", "aggregation", "layout")


def made_weight(layer: Layer, given: tuple[Any, ...], named: Mapping[str, Any]) -> Weight:
    """A new weight of a layer; see `Layer.add_weight`."""
    arguments = _arguments(layer, given, named)
    name, dtype = arguments.get("name"), str(np.dtype(arguments.get("dtype") or layer.dtype))
    check_may_add_weight(layer, str(name or "weight"))
    shape = arguments.get("shape")
    sizes: tuple[Any, ...] = (shape,) if isinstance(shape, int | np.integer) else tuple(shape or ())
    chosen = _free_name(layer, str(name) if name else "weight")
    initializer = arguments.get("initializer")
    if initializer is None:
        initializer = "glorot_uniform" if dtype.startswith("float") else "zeros"
    expect_values(f"{layer.name}/{chosen}", sizes)
    value = np.asarray(initializers.get(initializer)(sizes, dtype=dtype), dtype)
    trainable = bool(arguments.get("trainable", True)) and dtype.startswith("float")
    rules = regularizers.get(arguments.get("regularizer")), constraints.get(arguments.get("constraint"))
    weight = Weight(value, chosen, trainable, *rules)
    weight.owner, weight.has_own_name = layer, bool(name)
    weight.path = f"{layer.name}/{chosen}"
    return weight


def _arguments(layer: Layer, given: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    is_ours = bool(given) and isinstance(given[0], str)
    order = _OURS if is_ours else _KERAS
    if len(given) > len(order):
        raise ArgumentTypeError(f"add_weight takes at most {len(order)} arguments, got {len(given)}.")
    arguments = dict(zip(order, given))
    for name, value in named.items():
        if name not in (*_OURS, *_KERAS):
            raise unknown_argument("add_weight", name, [n for n in _KERAS if n not in _WITHOUT_EFFECT])
        if name in arguments:
            raise ArgumentTypeError(f"add_weight of layer {layer.name!r} got {name} twice.")
        arguments[name] = value
    return {"initializer": "zeros", **arguments} if is_ours else arguments


def _free_name(layer: Layer, name: str) -> str:
    """The name, with a number if another weight of the layer has it."""
    taken = {weight.name for weight in layer.own_weights}
    candidates = (name, *(f"{name}_{number}" for number in range(1, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)
