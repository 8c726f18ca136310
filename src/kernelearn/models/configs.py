"""Structure of functional models as JSON values, and back.

Layers are written once; every call names its layer and, for each input, the call (or model input) and output
it reads.
"""

from __future__ import annotations

from typing import Any

from kernelearn.errors import FormatError
from kernelearn.layers.core.base import LAYERS, Layer
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.tensor import Tensor
from kernelearn.layers.merging import Input, InputLayer
from kernelearn.models.model import Model


def functional_config(model: Model) -> dict[str, Any]:
    """The config of a functional model."""
    places: dict[int, list[Any]] = {id(t): ["input", i] for i, t in enumerate(model.inputs)}
    calls = []
    form = {"has_tuple_outputs": True} if model.has_tuple_outputs else {}
    for number, call in enumerate(model.calls):
        mode: dict[str, Any] = {} if call.training is None else {"training": call.training}
        if call.given is not None:
            mode["given"] = call.given.to_json(f"Layer {call.layer.name!r}")
        calls.append({"layer": call.layer.name, "inputs": [places[id(t)] for t in call.inputs], **mode})
        places.update((id(t), ["call", number, t.index]) for t in call.outputs)
    return {
        "name": model.name,
        "trainable": model.trainable,
        "inputs": [
            {"name": t.node.layer.name, "shape": list(t.shape[1:]), "dtype": t.dtype} for t in model.inputs
        ],
        "layers": [LAYERS.serialize(layer) for layer in model.layers if not isinstance(layer, InputLayer)],
        "calls": calls,
        "outputs": [places[id(t)] for t in model.outputs],
        "keys": [model.input_keys, model.output_keys],
        **form,
    }


def functional_from_config(values: dict[str, Any]) -> Model:
    """A functional model with fresh weights.

    Raises: FormatError if the config does not describe one.
    """
    try:
        inputs = [Input(i["shape"], dtype=i.get("dtype"), name=i["name"]) for i in values["inputs"]]
        layers = {config["config"]["name"]: LAYERS.get(config) for config in values["layers"]}
        made: list[list[Tensor]] = []
        for call in values["calls"]:
            layer, given = layers[call["layer"]], [_at(place, inputs, made) for place in call["inputs"]]
            made.append(_called(layer, given, call))
        outputs = [_at(place, inputs, made) for place in values["outputs"]]
    except (KeyError, IndexError, TypeError) as error:
        raise FormatError(f"This is not the config of a functional model: {error!r}.") from error
    keys = values.get("keys", [None, None])
    formed = tuple(outputs) if values.get("has_tuple_outputs") else _named(outputs, keys[1])
    model = Model(_named(inputs, keys[0]), formed, name=values.get("name"))
    model.mark_trainable(values.get("trainable", True))  # every layer has its own from its config
    return model


def _called(layer: Layer, inputs: list[Tensor], call: dict[str, Any]) -> list[Tensor]:
    """The outputs of a call, in order."""
    usual = Given((inputs if len(inputs) > 1 else inputs[0],))
    written = Given.from_json(call["given"]) if "given" in call else usual
    args, keywords = written.filled(inputs)
    layer(*args, training=call.get("training"), **keywords)
    return list(layer.last_node().outputs)


def _named(tensors: list[Tensor], keys: list[str] | None) -> Any:
    """The tensors as the dict that the model was made from, or as they are."""
    return dict(zip(keys, tensors, strict=True)) if keys else tensors


def _at(place: list[Any], inputs: list[Tensor], made: list[list[Tensor]]) -> Tensor:
    kind, number, *index = place
    tensor: Tensor = inputs[number] if kind == "input" else made[number][index[0]]
    return tensor
