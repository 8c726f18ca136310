"""Functions of `ops` in a graph, as Keras writes its operations: constructor arguments and call arguments.

Keras splits the arguments of a function in two: those that its class is made with, and those of the call,
which may be tensors. The table says which are which, for the functions that it is safe to write.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.layers import Layer, OperationLayer
from kernelearn.layers.core.naming import snake_case
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.tensor import Node
from kernelearn.tracing import functions


@dataclass(frozen=True)
class _Written:
    """How one function is written: module and class of Keras, and its arguments that are no tensors."""

    module: str
    class_name: str
    made_with: tuple[str, ...] = ()


def _table() -> dict[str, _Written]:
    plain = {
        "numpy": """Add Subtract Multiply Divide Maximum Minimum Power Negative Absolute Square Sqrt
        Reciprocal Exp Expm1 Log Log1p Log2 Log10 Sin Cos Tan Sinh Cosh Tanh Arcsin Arccos Arctan Sign Floor
        Ceil Matmul Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr LogicalNot
        Where""",
        "nn": "Relu Relu6 Sigmoid Softplus Softsign Silu LogSigmoid Selu HardSigmoid HardSilu",
        "math": "Rsqrt Erf",
    }
    made: dict[str, dict[str, tuple[str, ...]]] = {
        "numpy": {
            **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "Var", "Std"), ("axis", "keepdims")),
            "Reshape": ("newshape",),
            "Transpose": ("axes",),
            "Concatenate": ("axis",),
            "Stack": ("axis",),
            "ExpandDims": ("axis",),
            "Squeeze": ("axis",),
            "Clip": ("x_min", "x_max"),
            "Flip": ("axis",),
        },
        "nn": {
            "Softmax": ("axis",),
            "LogSoftmax": ("axis",),
            "LeakyRelu": ("negative_slope",),
            "Elu": ("alpha",),
            "Gelu": ("approximate",),
            "MaxPool": ("pool_size", "strides", "padding", "data_format"),
        },
    }
    table = {}
    for module, names in plain.items():
        for name in names.split():
            table[_OURS.get(name, snake_case(name))] = _Written(f"keras.src.ops.{module}", name)
    for module, group in made.items():
        for name, keys in group.items():
            table[snake_case(name)] = _Written(f"keras.src.ops.{module}", name, keys)
    return table


_OURS = {"Absolute": "abs"}


def written(
    layer: OperationLayer, call: Node, tensor: Callable[[Any], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The operations of Keras, with their calls, that one of ours is; the last has its name.

    Raises: ArgumentError for a function, or an argument, that is not in the table.
    """
    if layer.own_weights:
        raise ArgumentError(
            f"it is ops.{layer.function} with weights of its own, which no layer of Keras has"
        )
    how = _table().get(layer.function)
    if how is None:
        raise ArgumentError(f"ops.{layer.function} is not among the functions that are written for Keras")
    tensors = [tensor(value) for value in call.inputs]
    args, keywords = Given(tuple(layer.arguments), layer.keywords).filled(tensors)
    bound = inspect.signature(functions()[layer.function]).bind(*args, **keywords)
    bound.apply_defaults()
    arguments: dict[str, Any] = bound.arguments
    before: list[dict[str, Any]] = []
    if layer.function == "max_pool":
        before, arguments = _with_borders(layer, dict(arguments))
    more = arguments.pop("arguments", {})  # those of an activation
    made, given = {}, []
    for name, value in {**arguments, **more}.items():
        if name in how.made_with:
            made[name] = _json(value, layer)
        elif name in more or not _is_default(layer.function, name, value):
            given.append(_json(value, layer))
    return [*before, _record(layer.name, how.module, how.class_name, made, given)]


def _record(
    name: str, module: str, class_name: str, made: dict[str, Any], given: list[Any], **keywords: Any
) -> dict[str, Any]:
    """An operation that is called once."""
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": name, **made},
        "registered_name": class_name,
        "name": name,
        "inbound_nodes": [{"args": given, "kwargs": keywords}],
    }


def _with_borders(
    layer: OperationLayer, arguments: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Keras pools with "valid" or "same" padding: own borders are an operation before, which never win."""
    x, padding = arguments["x"], arguments["padding"]
    is_last = (arguments["data_format"] or "channels_last") == "channels_last"
    arguments["data_format"] = "channels_last" if is_last else "channels_first"
    arguments["strides"] = arguments["strides"] or arguments["pool_size"]
    if isinstance(padding, str):
        return [], arguments
    arguments["padding"] = "valid"
    if not _has_borders(padding):
        return [], arguments
    shape = x["config"]["shape"]
    pairs = [[padding] * 2] * (len(shape) - 2) if isinstance(padding, int) else [list(p) for p in padding]
    none = [0, 0]
    widths = [none, *pairs, none] if is_last else [none, none, *pairs]
    sizes = [size if size is None else size + sum(pair) for size, pair in zip(shape, widths)]
    name = f"{layer.name}_borders"
    made = {"pad_width": widths, "mode": "constant"}
    pad = _record(name, "keras.src.ops.numpy", "Pad", made, [x], constant_values=-math.inf)
    arguments["x"] = {**x, "config": {**x["config"], "shape": sizes, "keras_history": [name, 0, 0]}}
    return [pad], arguments


def _has_borders(padding: str | int | Sequence[Sequence[int]]) -> bool:
    if isinstance(padding, str | int):
        return padding not in ("valid", "same", 0)
    return any(map(any, padding))


def depth_of(layer: Layer) -> int:
    """How many operations behind each other a layer is in Keras: the order of its layers follows from it."""
    if not isinstance(layer, OperationLayer) or layer.function != "max_pool":
        return 1
    args, keywords = Given(tuple(layer.arguments), layer.keywords).filled([None])
    given = inspect.signature(functions()["max_pool"]).bind(*args, **keywords).arguments
    return 1 + _has_borders(given.get("padding", "valid"))


def _is_default(function: str, name: str, value: Any) -> bool:
    default = inspect.signature(functions()[function]).parameters[name].default
    return default is not inspect.Parameter.empty and (value is default or value == default)


def _json(value: Any, layer: OperationLayer) -> Any:
    if isinstance(value, list | tuple):
        return [_json(part, layer) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict) or value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArgumentError(f"ops.{layer.function} has the argument {value!r}, which Keras's files cannot hold")
