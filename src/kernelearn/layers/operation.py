"""A function of `kernelearn.ops` called on symbolic tensors: one node of a functional model.

The layer remembers the function by its public name and the arguments as they were given, with a `Place` where
a tensor stood. A file holds both as JSON values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.layers.base import LAYERS, Layer, unique_name
from kernelearn.layers.tensor import Tensor
from kernelearn.tracing import Traced, functions, tracing


@dataclass(frozen=True)
class Place:
    """Where a tensor stood among the arguments of a call.

    Attributes:
        index: number of the layer's input.
    """

    index: int


@LAYERS.register()
class OperationLayer(Layer):
    """One function of `kernelearn.ops` with its arguments. Made by calling the function on symbolic tensors.

    Args:
        function: public name.
        arguments, keywords: as they were given, with a `Place` for each tensor; or as a config has them.
    """

    def __init__(
        self,
        function: str,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name or unique_name(str(function)), **options)
        if function not in functions():
            raise unknown_name("function of kernelearn.ops", function, functions())
        self.function = str(function)
        self.arguments = [_decoded(value) for value in arguments]
        self.keywords = {str(key): _decoded(value) for key, value in (keywords or {}).items()}
        self._form: Any = 0

    def config_value(self, name: str) -> Any:
        if name == "arguments":
            return [_encoded(value, self.function) for value in self.arguments]
        if name == "keywords":
            return {key: _encoded(value, self.function) for key, value in self.keywords.items()}
        return super().config_value(name)

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Any:
        with tracing(graph):
            values = [Traced(graph, buffer) for buffer in inputs]
            given = [_filled(value, values) for value in self.arguments]
            named = {key: _filled(value, values) for key, value in self.keywords.items()}
            result = functions()[self.function](*given, **named)
        leaves: list[Buffer] = []
        self._form = _form(result, leaves)
        if not leaves:
            raise ArgumentError(
                f"ops.{self.function} gives no tensor here but {result!r}; compute it before the "
                "model is made."
            )
        return tuple(leaves) if len(leaves) > 1 else leaves[0]

    def arranged(self, outputs: Sequence[Any]) -> Any:
        """Outputs in the form in which the function gives them: alone, in a list, tuple or dict."""
        return _formed(self._form, list(outputs))


def applied(name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """What `ops.<name>(*args, **keywords)` is, where some of the arguments are symbolic tensors."""
    tensors: list[Tensor] = []
    layer = OperationLayer(
        name,
        [_with_places(value, tensors) for value in args],
        {key: _with_places(value, tensors) for key, value in keywords.items()},
    )
    result = layer(tensors if len(tensors) > 1 else tensors[0])
    return layer.arranged(result if isinstance(result, list) else [result])


def _with_places(value: Any, tensors: list[Tensor]) -> Any:
    """An argument with places for its tensors, which are added to the list, each once."""
    if isinstance(value, Tensor):
        found = next((i for i, tensor in enumerate(tensors) if tensor is value), len(tensors))
        if found == len(tensors):
            tensors.append(value)
        return Place(found)
    if isinstance(value, list | tuple):
        return type(value)(_with_places(part, tensors) for part in value)
    if isinstance(value, dict):
        return {key: _with_places(part, tensors) for key, part in value.items()}
    return np.array(value) if isinstance(value, np.ndarray) else value


def _filled(value: Any, values: Sequence[Traced]) -> Any:
    """An argument with a value at every place."""
    if isinstance(value, Place):
        return values[value.index]
    if isinstance(value, list | tuple):
        return type(value)(_filled(part, values) for part in value)
    if isinstance(value, dict):
        return {key: _filled(part, values) for key, part in value.items()}
    return value


def _form(value: Any, leaves: list[Buffer]) -> Any:
    """The structure of a result, with the number of a buffer for each traced value, which is added."""
    if isinstance(value, Traced):
        leaves.append(value.buffer)
        return len(leaves) - 1
    if isinstance(value, list | tuple):
        return type(value)(_form(part, leaves) for part in value)
    if isinstance(value, dict):
        return {key: _form(part, leaves) for key, part in value.items()}
    return Place(-1) if value is None else {"": value}


def _formed(form: Any, outputs: Sequence[Any]) -> Any:
    if isinstance(form, int):
        return outputs[form]
    if isinstance(form, list | tuple):
        return type(form)(_formed(part, outputs) for part in form)
    if isinstance(form, dict):
        return form[""] if "" in form else {key: _formed(part, outputs) for key, part in form.items()}
    return None


# --- arguments as JSON values


def _encoded(value: Any, function: str) -> Any:
    """An argument as a JSON value; what JSON has no word for is a dict with one key."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [_encoded(part, function) for part in value]
    kinds = [(kind, to_json) for kind, (cls, to_json, _) in _KINDS.items() if isinstance(value, cls)]
    if kinds:
        kind, to_json = kinds[0]
        return {kind: _encoded_parts(to_json(value), function)}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    raise ArgumentError(
        f"ops.{function} was given {value!r} of type {type(value).__name__}, which a file cannot hold. "
        "Make a layer of your own that calls it, and register the layer."
    )


def _encoded_parts(value: Any, function: str) -> Any:
    if isinstance(value, dict):
        return {key: _encoded(part, function) for key, part in value.items()}
    return _encoded(value, function)


def _decoded(value: Any) -> Any:
    """The argument that `_encoded` has written; anything else as it is."""
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _KINDS:
        kind, held = next(iter(value.items()))
        return _KINDS[kind][2](held)
    return value


def _decoded_dict(held: Any) -> dict[str, Any]:
    return {str(key): _decoded(part) for key, part in dict(held).items()}


def _array_of(held: Any) -> Any:
    return np.array(held["values"], dtype=np.dtype(str(held["dtype"]))).reshape(held["shape"])


def _array_parts(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}


# Kinds of Python values that JSON has no word for: key in the config -> (class, to JSON, from JSON).
_KINDS: dict[str, tuple[type, Any, Any]] = {
    "input": (Place, lambda place: place.index, lambda held: Place(int(held))),
    "array": (np.ndarray, _array_parts, _array_of),
    "tuple": (tuple, list, lambda held: tuple(_decoded(part) for part in held)),
    "slice": (slice, lambda s: [s.start, s.stop, s.step], lambda held: slice(*(_decoded(p) for p in held))),
    "ellipsis": (type(...), lambda _: True, lambda _: ...),
    "dict": (dict, dict, _decoded_dict),
}
