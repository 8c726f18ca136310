"""Our models -> configs that Keras 3 opens: only keys that every Keras 3 knows, and every value written out.

What Keras does not have is refused by name before anything is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelearn import constraints, initializers, regularizers
from kernelearn.conversion.keras import known, operations
from kernelearn.conversion.keras.states import layers_in_order
from kernelearn.errors import ArgumentError
from kernelearn.layers import Cropping1D, InputLayer, Layer, OperationLayer, ZeroPadding1D
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.models import Model, Sequential

_RULES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
# (class or "*", key) -> values that Keras does without; any other value is refused.
_OURS_ALONE: dict[tuple[str, str], tuple[Any, ...]] = {
    ("*", "learning_rate_multiplier"): (1.0,),
    ("Conv1DTranspose", "groups"): (1,),
    ("Conv2DTranspose", "groups"): (1,),
    ("Conv3DTranspose", "groups"): (1,),
    ("Cropping1D", "data_format"): ("channels_last",),
    ("SpatialDropout1D", "data_format"): ("channels_last",),
    ("AdditiveAttention", "score_mode"): ("dot",),
    ("RandomGrayscale", "seed"): (None,),
    ("LayerNormalization", "rms_scaling"): (False,),
    ("Identity", "groups"): (1,),
    ("Identity", "per_channel"): (False,),
    ("SparseCategoricalCrossentropy", "label_smoothing"): (0.0, 0),
    ("metric BinaryCrossentropy", "axis"): (-1,),
}
# Keys that a constructor of Keras does not take, whatever their value says here.
_DROPPED = {
    ("SpatialDropout1D", "trainable"),
    ("SpatialDropout2D", "trainable"),
    ("SpatialDropout3D", "trainable"),
}
_FUNCTION = "is a function of yours, which Keras does not have"


def config_of(family: str, value: Any) -> Any:
    """The config of an initialiser, regulariser, constraint, schedule, loss, metric or optimiser.

    Raises: ArgumentError for one that Keras does not have.
    """
    if value is None or isinstance(value, str):
        return value
    cls = type(value)
    if known.FAMILIES[family].get(known.keras_name(cls)) is not cls:
        name = getattr(value, "__name__", cls.__name__)
        raise ArgumentError(f"the {family} {name} has no counterpart in Keras")
    config = _checked(f"metric {cls.__name__}" if family == "metric" else cls.__name__, value.get_config())
    for key, held in list(config.items()):
        if isinstance(held, dict) and "class_name" in held and key == "learning_rate":
            config[key] = config_of("schedule", value.schedule)
        else:
            config[key] = _json(held)
    return _object(known.MODULES[family], known.keras_name(cls), config)


def _object(module: str, name: str, config: dict[str, Any], registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def _checked(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the keys that are ours alone.

    Raises: ArgumentError for one of them that says something.
    """
    kept = {}
    for key, value in config.items():
        allowed = _OURS_ALONE.get((name, key), _OURS_ALONE.get(("*", key)))
        if allowed is None:
            if (name, key) not in _DROPPED:
                kept[key] = value
        elif value not in allowed:
            raise ArgumentError(f"{key}={value!r} has no counterpart in Keras")
    return kept


def _json(value: Any) -> Any:
    """A value of a config as JSON: arrays and tuples as lists, numbers of NumPy as plain ones."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _json(part) for key, part in value.items()}
    return value


# --- layers


class Writer:
    """Writes one model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def config(self) -> dict[str, Any]:
        """The config of the whole model.

        Raises: ArgumentError naming layer, class and attribute of what Keras does not have.
        """
        self.model.need_shapes()
        self._check_no_layer_twice()
        if self.model.policy != "float32":
            warnings.warn(
                f"The policy {self.model.policy!r} is not written: Keras rounds other numbers under it. The "
                "file says float32; its weights are the same.",
                UserWarning,
                stacklevel=6,
            )
        return self.layer(self.model)

    def _check_no_layer_twice(self) -> None:
        """Raises: ArgumentError for a layer in several models: Keras cannot read its own files of those."""
        seen: dict[int, str] = {}
        for model in _models(self.model):
            for layer in model.layers:
                if not isinstance(layer, InputLayer) and seen.setdefault(id(layer), model.name) != model.name:
                    raise self._refused(
                        layer,
                        f"both {seen[id(layer)]!r} and {model.name!r} hold it, which Keras cannot read again",
                    )

    def layer(self, layer: Layer) -> dict[str, Any]:
        """The config of a layer, or of a model."""
        if type(layer) is Model:
            return _object("keras.src.models.functional", "Functional", self.functional(layer), "Functional")
        if type(layer) is Sequential:
            return _object("keras", "Sequential", self.sequential(layer))
        return self.usual_layer(layer)

    def usual_layer(self, layer: Layer) -> dict[str, Any]:
        name = type(layer).__name__
        if isinstance(layer, InputLayer):
            return _object("keras.layers", "InputLayer", _input_config(layer))
        if known.LAYERS.get(known.keras_name(type(layer))) is not type(layer) or name == "LocallyConnected2D":
            raise self._refused(layer, "it has no counterpart in Keras 3")
        try:
            config = self.layer_config(layer)
        except ArgumentError as error:
            raise self._refused(layer, str(error).rstrip(".")) from error
        known.warn_of_difference("The file for Keras", layer)
        return _object("keras.layers", known.keras_name(type(layer)), config)

    def _refused(self, layer: Layer, why: str) -> ArgumentError:
        return ArgumentError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be written for Keras: {why}. "
            "model.save('m.kernelearn') writes every model. Nothing was written."
        )

    def layer_config(self, layer: Layer) -> dict[str, Any]:
        config = _checked(type(layer).__name__, layer.get_config())
        for key in list(config):
            rule = key.rpartition("_")[2]
            if rule in _RULES:
                config[key] = self.rule(rule, key, getattr(layer, key))
            elif key == "activation":
                config[key] = self.activation(layer, layer.activation if hasattr(layer, key) else config[key])
            elif key == "layer":
                config[key] = self.layer(layer.layer)  # type: ignore[attr-defined]
            else:
                config[key] = _json(config[key])
        return _as_keras_3_reads(layer, config)

    def rule(self, family: str, key: str, value: Any) -> Any:
        try:
            return config_of(family, value)
        except ArgumentError as error:
            if family == "initializer":  # only the first values, which are in the file
                return config_of("initializer", initializers.get("zeros"))
            raise ArgumentError(f"{key}: {error}") from error

    def activation(self, layer: Layer, value: Any) -> Any:
        if isinstance(value, Layer) and value.weights:
            raise ArgumentError(
                f"its activation {type(value).__name__} has weights, which Keras cannot load there"
            )
        if isinstance(value, Layer):
            return self.layer(value)
        if value is None or isinstance(value, str):
            if value not in _ACTIVATIONS and value is not None:
                raise ArgumentError(f"the activation {value!r} has no counterpart in Keras")
            return value
        name = getattr(value, "activation", None)
        if isinstance(name, str):
            return name
        raise ArgumentError(f"its activation {_FUNCTION}")

    # --- models

    def sequential(self, model: Sequential) -> dict[str, Any]:
        first = model.inputs[0].node.layer
        parts = [first, *model.layers]
        return {
            "name": model.name,
            "trainable": model.trainable,
            "dtype": model.dtype,
            "layers": [self.layer(part) for part in parts],
            "build_input_shape": list(model.inputs[0].shape),
        }

    def functional(self, model: Model) -> dict[str, Any]:
        for tensor in model.inputs:
            if not isinstance(tensor.node.layer, InputLayer):
                raise self._refused(model, f"its input is the output of layer {tensor.node.layer.name!r}")
        calls: dict[int, list[Node]] = {}
        for call in model.calls:
            calls.setdefault(id(call.layer), []).append(call)
        layers = layers_in_order(model)
        # Calls of a layer are numbered as they can be made one after another.
        numbers = {id(call): number for made in calls.values() for number, call in enumerate(made)}
        return {
            "name": model.name,
            "trainable": model.trainable,
            "layers": [
                part for layer in layers for part in self.in_graph(layer, calls.get(id(layer), []), numbers)
            ],
            "input_layers": _arranged([_place(t, numbers) for t in model.inputs], model.input_keys),
            "output_layers": _arranged([_output(t, numbers) for t in model.outputs], model.output_keys),
        }

    def in_graph(self, layer: Layer, calls: list[Node], numbers: Mapping[int, int]) -> list[dict[str, Any]]:
        """A layer of a graph, with its calls; an operation may be several of Keras."""
        if isinstance(layer, OperationLayer):
            try:
                return operations.written(layer, calls[0], lambda t: _tensor(t, numbers))
            except ArgumentError as error:
                raise self._refused(layer, str(error).rstrip(".")) from error
        nodes = [self.call(call, numbers) for call in calls]
        return [{**self.layer(layer), "name": layer.name, "inbound_nodes": nodes}]

    def call(self, call: Node, numbers: Mapping[int, int]) -> dict[str, Any]:
        inputs = [_tensor(tensor, numbers) for tensor in call.inputs]
        usual = Given((inputs if len(inputs) > 1 else inputs[0],))
        args, keywords = (call.given or usual).filled(inputs)
        if call.training is True:
            raise self._refused(call.layer, "it is called with training=True, which Keras 3 does not follow")
        if call.training is False:
            keywords = {**keywords, "training": False}
        return {"args": [_json(value) for value in args], "kwargs": _json(keywords)}


def _models(model: Model) -> list[Model]:
    inner = [layer for _, layer in model.descendants() if isinstance(layer, Model)]
    return [model, *inner]


def _place(tensor: Tensor, numbers: Mapping[int, int]) -> list[Any]:
    return [tensor.node.layer.name, numbers.get(id(tensor.node), 0), tensor.index]


def _output(tensor: Tensor, numbers: Mapping[int, int]) -> list[Any]:
    """Among the outputs Keras counts the call that made a functional model, too."""
    name, call, index = _place(tensor, numbers)
    return [name, call + (type(tensor.node.layer) is Model), index]


def _tensor(tensor: Tensor, numbers: Mapping[int, int]) -> dict[str, Any]:
    held = {"shape": list(tensor.shape), "dtype": tensor.dtype, "keras_history": _place(tensor, numbers)}
    return {"class_name": "__keras_tensor__", "config": held}


def _arranged(places: list[Any], keys: list[str] | None) -> Any:
    return places if keys is None else dict(zip(keys, places, strict=True))


def _input_config(layer: InputLayer) -> dict[str, Any]:
    return {
        "batch_shape": [None, *layer.shape],
        "dtype": layer.dtype,
        "sparse": False,
        "name": layer.name,
    }


def _as_keras_3_reads(layer: Layer, config: dict[str, Any]) -> dict[str, Any]:
    """Values in the form that Keras 3 takes."""
    if "activation" in config:
        config["activation"] = config["activation"] or "linear"
    if isinstance(layer, ZeroPadding1D | Cropping1D):
        key = "padding" if isinstance(layer, ZeroPadding1D) else "cropping"
        (config[key],) = config[key]  # one pair
    return config


_ACTIVATIONS = frozenset(
    [
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softmax",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparse_sigmoid",
        "squareplus",
        "tanh",
        "tanh_shrink",
        "threshold",
    ]
)
