"""Models from Keras's configs: `Sequential`, functional graphs with calls in both spellings, operations.

Keras 3 writes a call as {args, kwargs} with tensors as {"class_name": "__keras_tensor__", ...}; Keras 2 as a
list of [layer, call, output, keywords]. Calls are made as soon as what they read is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelearn.layers import BatchNormalization, InputLayer, Layer
from kernelearn.layers.core.naming import snake_case
from kernelearn.layers.core.tensor import Tensor
from kernelearn.layers.noise import Dropout
from kernelearn.models import Model, Sequential
from kernelearn.tracing import functions

if TYPE_CHECKING:
    from kernelearn.conversion.keras.reader import Reader

# Operations of Keras whose names here are not those of their classes.
_OPERATIONS = {"absolute": "abs", "amax": "max", "amin": "min", "true_divide": "divide"}
# Layers for which it makes a difference whether a call says training=.
_CONSTANT = "_CONSTANT_VALUE"


def model(reader: Reader, given: Mapping[str, Any]) -> Any:
    """The model of a config, with fresh weights.

    Raises: FormatError, UnknownNameError.
    """
    config = given["config"]
    if given["class_name"] == "Sequential":
        return _sequential(reader, config, given.get("build_config"))
    return _Graph(reader, config).model()


def _sequential(reader: Reader, config: Any, build: Any) -> Sequential:
    config = {"layers": config} if isinstance(config, list) else config  # of early Keras 2
    if not isinstance(config.get("layers"), list):
        raise reader.refuse("a Sequential without a list of layers.")
    parts = [reader.layer(part) for part in config["layers"]]
    made = Sequential(parts, name=reader.name(config))
    shape = config.get("build_input_shape") or (build or {}).get("input_shape")
    if not made.outputs and parts and isinstance(shape, list):
        made.build((None, *reader.plain(shape)[1:]))
    made.mark_trainable(config.get("trainable", True) is not False)
    return _in_type_of_layers(made)


def _in_type_of_layers(model: Any) -> Any:
    """A model computes in the float type of its layers, whatever the process's default is."""
    types = {layer.dtype for layer in model.flat_layers() if layer.dtype in ("float32", "float64")}
    weighted = {layer.dtype for layer in model.flat_layers() if layer.weights}
    chosen = weighted or types
    if len(chosen) == 1:
        model.dtype = chosen.pop()
    return model


@dataclass
class _Operation:
    """A function of `keras.ops` in a graph."""

    name: str
    function: str
    arguments: Mapping[str, Any]


@dataclass
class _Part:
    """A layer of a graph, the calls that are still to be made, and what came out of those that were."""

    layer: Any
    waiting: list[Any]
    made: list[list[Tensor]] = field(default_factory=list)
    first_call: int = 0


class _Missing(Exception):
    """A call reads what no call has made yet."""


class _Graph:
    """A functional model under construction."""

    def __init__(self, reader: Reader, config: Mapping[str, Any]) -> None:
        self.reader, self.config = reader, config
        self.parts: dict[str, _Part] = {}
        for key in ("layers", "input_layers", "output_layers"):
            if key not in config:
                raise reader.refuse(f"a functional model without {key!r}.")

    def model(self) -> Model:
        for given in self.config["layers"]:
            self.add(given)
        while any(part.waiting for part in self.parts.values()):
            if not sum(self.called(name, part) for name, part in self.parts.items()):
                waiting = [name for name, part in self.parts.items() if part.waiting]
                raise self.reader.refuse(
                    f"the calls of {waiting[:5]} read what nothing makes, or each other."
                )
        inputs = self.arranged(self.config["input_layers"])
        outputs = self.arranged(self.config["output_layers"])
        made = Model(inputs, outputs, name=self.reader.name(self.config))
        made.mark_trainable(self.config.get("trainable", True) is not False)
        return _in_type_of_layers(made)

    def add(self, given: Any) -> None:
        """Make a layer, and note its calls."""
        if not isinstance(given, dict) or not isinstance(given.get("inbound_nodes", []), list):
            raise self.reader.refuse("a layer of the graph that is no config.")
        module = str(given.get("module") or "")
        held = given.get("config")
        name = given.get("name") or (held.get("name") if isinstance(held, dict) else None)
        if not isinstance(name, str) or name in self.parts:
            raise self.reader.refuse(f"layers need names of their own; found {name!r} twice or not at all.")
        if module.startswith(("keras.src.ops.", "keras.ops")) or self.is_old_operation(given):
            self.parts[name] = _Part(self.operation(name, given), list(given.get("inbound_nodes", [])))
            return
        layer = self.reader.layer(given)
        part = _Part(layer, list(given.get("inbound_nodes", [])), first_call=self.first_call(layer))
        if isinstance(layer, InputLayer):
            part.made.append([layer.output])
        self.parts[name] = part

    def is_old_operation(self, given: Mapping[str, Any]) -> bool:
        """Whether a config of an `.h5` of Keras 3, without a module, is an operation: layers have a dtype."""
        held = given.get("config")
        is_old = self.reader.version[0] >= 3 and "module" not in given and isinstance(held, dict)
        return is_old and not {"dtype", "trainable", "layers"} & set(held or {})

    def first_call(self, layer: Any) -> int:
        """The number of a layer's first call: models count the one that made them; Sequential in Keras 2."""
        if not isinstance(layer, Model):
            return 0
        return 1 if not isinstance(layer, Sequential) or self.reader.version[0] < 3 else 0

    def operation(self, name: str, given: Mapping[str, Any]) -> _Operation:
        stem = snake_case(str(given.get("class_name")))
        module = str(given.get("module")).rpartition(".")[2]
        function = next(
            (n for n in (_OPERATIONS.get(stem, stem), f"{module}.{stem}") if n in functions()), None
        )
        if function is None:
            raise self.reader.refuse(
                f"operation {name!r}: keras.ops has {given.get('class_name')}, kernelearn.ops has no such "
                "function. Write the model without it."
            )
        arguments = {k: self.reader.plain(v) for k, v in dict(given["config"]).items() if k != "name"}
        return _Operation(name, function, arguments)

    # --- calls

    def called(self, name: str, part: _Part) -> int:
        """Make the calls of a layer that can be made by now; their number."""
        count = 0
        while part.waiting:
            try:
                args, keywords = self.arguments(part.waiting[0])
            except _Missing:
                break
            with self.reader.at(f"call {len(part.made)} of {name!r}"):
                part.made.append(self.call(part.layer, args, keywords))
            part.waiting.pop(0)
            count += 1
        return count

    def call(self, layer: Any, args: list[Any], keywords: dict[str, Any]) -> list[Tensor]:
        if isinstance(layer, _Operation):
            return self.call_operation(layer, args, keywords)
        keywords = {key: value for key, value in keywords.items() if value is not None}
        training = self.training(layer, keywords.pop("training", None))
        result = layer(*args, training=training, **keywords)
        del result
        return list(layer.last_node().outputs)

    def training(self, layer: Any, given: Any) -> bool | None:
        """Keras 2 follows what a call says; in Keras 3 `fit`, `evaluate` and `predict` say it, always."""
        if not isinstance(given, bool):
            return None
        if self.reader.version[0] < 3:
            return given
        parts = [layer, *(part for _, part in layer.descendants())]
        # NOTE: Keras 3 writes training=False for each Dropout by itself; it matters for statistics.
        if any(_has_modes(part) if given else isinstance(part, BatchNormalization) for part in parts):
            warnings.warn(
                f"{self.reader.what}: layer {layer.name!r} was called with training={given}. Keras 3 does "
                "not follow that in fit, evaluate and predict, nor does this model. To keep statistics as "
                "they are, set layer.trainable = False.",
                UserWarning,
                stacklevel=8,
            )
        return None

    def call_operation(self, layer: _Operation, args: list[Any], keywords: dict[str, Any]) -> list[Tensor]:
        if layer.function == "get_item" and len(args) > 1 and isinstance(args[1], list):
            args = [args[0], tuple(args[1]), *args[2:]]
        result = functions()[layer.function](*args, **keywords, **layer.arguments)
        results = result if isinstance(result, list | tuple) else [result]
        if not results or not all(isinstance(tensor, Tensor) for tensor in results):
            raise self.reader.refuse(f"ops.{layer.function} gives no tensor here.")
        made: Layer = results[0].node.layer
        made.name = (
            layer.name
            if not any(part.made for part in self.parts.values() if part.layer is layer)
            else made.name
        )
        return list(results)

    def arguments(self, call: Any) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments of a call, tensors in their places.

        Raises: _Missing.
        """
        if isinstance(call, dict):
            args = [self.value(value) for value in call.get("args", [])]
            return args, {str(key): self.value(value) for key, value in call.get("kwargs", {}).items()}
        return self.old_arguments(call)

    def value(self, value: Any) -> Any:
        """A value of Keras 3's calls."""
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return self.tensor(value["config"]["keras_history"], 0)
        if isinstance(value, list):
            return [self.value(part) for part in value]
        if isinstance(value, dict) and "class_name" not in value:
            return {key: self.value(part) for key, part in value.items()}
        return self.reader.plain(value)

    def old_arguments(self, call: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call of Keras 2: a list of [layer, call, output, keywords], or one of them."""
        if not isinstance(call, list) or not call:
            raise self.reader.refuse("a call that is no list.")
        keywords: dict[str, Any] = {}
        inputs = self.old_inputs(call, keywords)
        named = {key: self.old_value(value) for key, value in keywords.items()}
        return [inputs], named

    def old_inputs(self, value: Any, keywords: dict[str, Any]) -> Any:
        if _is_place(value):
            if len(value) > 3 and isinstance(value[3], dict):
                keywords.update(value[3])
            return value[2] if value[0] == _CONSTANT else self.tensor(value[:3])
        if not isinstance(value, list):
            raise self.reader.refuse("a call whose inputs are no list.")
        parts = [self.old_inputs(part, keywords) for part in value]
        return parts[0] if len(parts) == 1 else parts

    def old_value(self, value: Any) -> Any:
        if _is_place(value) and (value[0] in self.parts or value[0] == _CONSTANT):
            return value[2] if value[0] == _CONSTANT else self.tensor(value[:3])
        if isinstance(value, list):
            return [self.old_value(part) for part in value]
        return self.reader.plain(value)

    def tensor(self, place: Any, first_call: int | None = None) -> Tensor:
        """The tensor that [layer, call, output] means.

        Args:
            first_call: the number of the first call, where it is not that of the layer: in the calls of Keras
                3 models are counted like other layers, among the outputs they are not.
        Raises: _Missing if the call is not made yet; FormatError if there is no such layer.
        """
        if not _is_place(place) or place[0] not in self.parts:
            raise self.reader.refuse(f"a tensor of the layer {place!r}, which the model does not have.")
        name, call, index = place[:3]
        part = self.parts[name]
        number = call - (part.first_call if first_call is None else first_call)
        if not 0 <= number < len(part.made) + len(part.waiting):
            raise self.reader.refuse(f"call {call} of {name!r}, which is never made.")
        if number >= len(part.made):
            raise _Missing
        if not 0 <= index < len(part.made[number]):
            raise self.reader.refuse(f"output {index} of {name!r}, which has {len(part.made[number])}.")
        return part.made[number][index]

    def arranged(self, places: Any) -> Any:
        """Inputs or outputs of the model in the form in which the file has them: alone, a list, or a dict."""
        try:
            return self._arranged(places)
        except _Missing as error:
            raise self.reader.refuse(f"{places!r} is never made.") from error

    def _arranged(self, places: Any) -> Any:
        if _is_place(places):
            return self.tensor(places)
        if isinstance(places, dict):
            return {str(key): self._arranged(place) for key, place in places.items()}
        if not isinstance(places, list):
            raise self.reader.refuse(f"{places!r} names no tensors.")
        return list(_flat(self._arranged(place) for place in places))


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _is_place(value: Any) -> bool:
    """Whether a value is [layer, call, output, ...]."""
    is_list = isinstance(value, list) and len(value) >= 3
    return bool(is_list and isinstance(value[0], str) and all(type(part) is int for part in value[1:3])) or (
        isinstance(value, list) and len(value) >= 3 and value[0] == _CONSTANT
    )


def _has_modes(layer: Any) -> bool:
    """Whether a layer does something else in training."""
    return isinstance(layer, Dropout | BatchNormalization) or bool(getattr(layer, "called_training", False))
