"""Functions of `ops` in a graph, as Keras writes its operations: constructor arguments and call arguments.

Keras splits the arguments of a function in two: those that its class is made with, and those of the call,
which may be tensors. The table says which are which, for the functions that it is safe to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.layers import OperationLayer
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
) -> tuple[dict[str, Any], list[Any]]:
    """The config and the calls of an operation.

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
    more = bound.arguments.pop("arguments", {})  # those of an activation
    made, given = {}, []
    for name, value in {**bound.arguments, **more}.items():
        if name in how.made_with:
            made[name] = _json(value, layer)
        elif name in more or not _is_default(layer.function, name, value):
            given.append(_json(value, layer))
    config = {"name": layer.name, **made}
    head = {"module": how.module, "class_name": how.class_name, "config": config}
    return {**head, "registered_name": how.class_name}, [{"args": given, "kwargs": {}}]


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
