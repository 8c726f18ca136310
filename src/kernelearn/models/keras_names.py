"""What Keras does with a model as text or as a pattern: `to_json`, `model_from_json`, `clone_model`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.layers.core.base import LAYERS, Layer
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.layers.merging import InputLayer
from kernelearn.models.model import Model
from kernelearn.models.sequential import Sequential


def model_from_json(text: str) -> Any:
    """A new model with fresh weights from what `Model.to_json` gave.

    Raises: FormatError for text that is no such thing; UnknownNameError for a layer that is not registered.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"This is not the JSON of a model: {error}.") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise FormatError("This is not the JSON of a model: it has no class_name. Model.to_json() makes it.")
    model = LAYERS.get(config)
    if not isinstance(model, Model):
        raise FormatError(f"This is the JSON of a layer, {config['class_name']}, and not of a model.")
    return model


def clone_model(
    model: Model, input_tensors: Any = None, clone_function: Callable[[Layer], Layer] | None = None
) -> Any:
    """A model of the same structure with layers of its own and fresh weights.

    Args:
        input_tensors: tensors (one or a list) to begin with; default: new ones of the same shapes.
        clone_function: layer -> the layer to put in its place; default: one made from its config. It is not
            asked about inputs. A layer that it gives back as it is is shared.
    Raises: ArgumentError for a clone that is no layer, or another number of tensors than inputs.

    >>> from kernelearn import Input, Sequential
    >>> from kernelearn.layers import Dense
    >>> clone_model(Sequential([Input((3,)), Dense(2)])).count_params()
    8
    """
    made = {id(layer): _cloned(layer, clone_function) for layer in model.layers if not _is_input(layer)}
    starts = _starts(model, input_tensors)
    if isinstance(model, Sequential):
        return Sequential([*starts, *made.values()], name=model.name)
    values: dict[int, Tensor] = {id(old): new for old, new in zip(model.inputs, starts)}
    for call in model.calls:
        values.update((id(old), new) for old, new in zip(call.outputs, _called(call, made, values)))
    outputs = model.arranged([values[id(tensor)] for tensor in model.outputs])
    inputs = starts if model.input_keys is None else dict(zip(model.input_keys, starts))
    return Model(inputs, outputs, name=model.name)


def _is_input(layer: Layer) -> bool:
    return isinstance(layer, InputLayer)


def _starts(model: Model, given: Any) -> list[Tensor]:
    """The tensors that the clone begins with."""
    if given is None:
        return [
            InputLayer(t.shape[1:], dtype=t.dtype, name=name).output
            for t, name in zip(model.inputs, [t.node.layer.name for t in model.inputs])
        ]
    tensors = list(given) if isinstance(given, list | tuple) else [given]
    if len(tensors) != len(model.inputs) or not all(isinstance(t, Tensor) for t in tensors):
        raise ArgumentError(
            f"Model {model.name!r} has {len(model.inputs)} input(s): give as many tensors; got {given!r}."
        )
    return tensors


def _cloned(layer: Layer, clone_function: Callable[[Layer], Layer] | None) -> Layer:
    if clone_function is None:
        return clone_model(layer) if isinstance(layer, Model) else type(layer).from_config(layer.get_config())
    clone = clone_function(layer)
    if not isinstance(clone, Layer):
        raise ArgumentError(f"clone_function must give a layer for {layer.name!r}; it gave {clone!r}.")
    return clone


def _called(call: Node, made: dict[int, Layer], values: dict[int, Tensor]) -> list[Tensor]:
    """A call of a layer repeated with its clone."""
    inputs = [values[id(tensor)] for tensor in call.inputs]
    layer, usual = made[id(call.layer)], Given((inputs if len(inputs) > 1 else inputs[0],))
    args, keywords = (call.given or usual).filled(inputs)
    layer(*args, training=call.training, **keywords)
    return list(layer.last_node().outputs)
