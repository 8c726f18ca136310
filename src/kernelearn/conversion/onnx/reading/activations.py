"""Nodes of one input, entry by entry: activations and functions, limits and slopes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.entrywise import aligned, joined_order, kept
from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Reader, Rule
from kernelearn.conversion.onnx.reading.values import Followed
from kernelearn.conversion.onnx.types import TYPES
from kernelearn.layers import (
    ELU,
    Activation,
    Dropout,
    LeakyReLU,
    Multiply,
    PReLU,
    ReLU,
)


def named(activation: str, **known: Any) -> Rule:
    """A node without attributes, as an Activation."""

    def rule(r: Reader, node: Node) -> None:
        r.options(node, **known)
        x = r.followed(node)
        kept(r, node, x, r.call(node, Activation, [x.tensor], activation=activation))

    return rule


def function(name: str) -> Rule:
    """A node without attributes, as a function of ops."""

    def rule(r: Reader, node: Node) -> None:
        r.options(node)
        x = r.followed(node)
        kept(r, node, x, r.operation(node, name, x.tensor))

    return rule


def relu(r: Reader, node: Node) -> None:
    r.options(node)
    x = r.followed(node)
    kept(r, node, x, r.call(node, ReLU, [x.tensor]))


def leaky_relu(r: Reader, node: Node) -> None:
    alpha = float(r.options(node, alpha=0.01)["alpha"])
    x = r.followed(node)
    if alpha >= 0:
        kept(r, node, x, r.call(node, LeakyReLU, [x.tensor], negative_slope=alpha))
        return
    kept(r, node, x, r.operation(node, "leaky_relu", x.tensor, negative_slope=alpha))


def elu(r: Reader, node: Node) -> None:
    alpha = float(r.options(node, alpha=1.0)["alpha"])
    x = r.followed(node)
    kept(r, node, x, r.call(node, ELU, [x.tensor], alpha=alpha))


def celu(r: Reader, node: Node) -> None:
    alpha = float(r.options(node, alpha=1.0)["alpha"])
    x = r.followed(node)
    kept(r, node, x, r.operation(node, "celu", x.tensor, alpha=alpha))


_SELU = (1.6732632423543772, 1.0507009873554805)


def selu(r: Reader, node: Node) -> None:
    """gamma times an ELU; with its usual numbers the activation of that name."""
    a = r.options(node, alpha=_SELU[0], gamma=_SELU[1])
    x = r.followed(node)
    if np.allclose([a["alpha"], a["gamma"]], _SELU, rtol=1e-6, atol=0):
        kept(r, node, x, r.call(node, Activation, [x.tensor], activation="selu"))
        return
    inner = r.call(node, ELU, [x.tensor], alpha=float(a["alpha"]), suffix="elu")
    kept(r, node, x, r.operation(node, "multiply", inner, float(a["gamma"])))


def hard_sigmoid(r: Reader, node: Node) -> None:
    a = r.options(node, alpha=0.2, beta=0.5)
    x = r.followed(node)
    if math.isclose(a["alpha"], 1 / 6, rel_tol=1e-6) and a["beta"] == 0.5:
        kept(r, node, x, r.call(node, Activation, [x.tensor], activation="hard_sigmoid"))
        return
    line = r.operation(node, "multiply", x.tensor, float(a["alpha"]), suffix="slope")
    line = r.operation(node, "add", line, float(a["beta"]), suffix="shift")
    kept(r, node, x, r.operation(node, "clip", line, 0.0, 1.0))


def gelu(r: Reader, node: Node) -> None:
    how = r.options(node, approximate="none")["approximate"]
    if how not in ("none", "tanh"):
        r.refuse(node, f"approximate={how!r} is not known")
    x = r.followed(node)
    if how == "none":
        kept(r, node, x, r.call(node, Activation, [x.tensor], activation="gelu"))
        return
    kept(r, node, x, r.operation(node, "gelu", x.tensor, approximate=True))


def thresholded_relu(r: Reader, node: Node) -> None:
    alpha = float(r.options(node, alpha=1.0)["alpha"])
    x = r.followed(node)
    kept(r, node, x, r.operation(node, "threshold", x.tensor, threshold=alpha, default_value=0.0))


def shrink(r: Reader, node: Node) -> None:
    """x + bias below -lambd, x - bias above lambd, 0 between."""
    a = r.options(node, bias=0.0, lambd=0.5)
    x = r.followed(node)
    lambd, bias = float(a["lambd"]), float(a["bias"])
    below = r.operation(node, "less", x.tensor, -lambd, suffix="below")
    above = r.operation(node, "greater", x.tensor, lambd, suffix="above")
    up = r.operation(node, "add", x.tensor, bias, suffix="up")
    down = r.operation(node, "subtract", x.tensor, bias, suffix="down")
    inner = r.operation(node, "where", above, down, 0.0, suffix="outer")
    kept(r, node, x, r.operation(node, "where", below, up, inner))


def swish(r: Reader, node: Node) -> None:
    alpha = float(r.options(node, alpha=1.0)["alpha"])
    x = r.followed(node)
    if alpha == 1:
        kept(r, node, x, r.call(node, Activation, [x.tensor], activation="silu"))
        return
    gate = r.operation(node, "sigmoid", r.operation(node, "multiply", x.tensor, alpha, suffix="scaled"))
    kept(r, node, x, r.call(node, Multiply, [x.tensor, gate]))


def sigmoid(r: Reader, node: Node) -> None:
    """With the product that follows in x sigmoid(x), the activation SiLU."""
    r.options(node)
    x, y = r.followed(node), node.outputs[0]
    reader = r.only_reader(y)
    if (
        reader is not None
        and reader.op_type == "Mul"
        and sorted(reader.inputs) == sorted((node.inputs[0], y))
    ):
        r.skip(reader)
        kept(r, reader, x, r.call(reader, Activation, [x.tensor], activation="silu"))
        return
    kept(r, node, x, r.call(node, Activation, [x.tensor], activation="sigmoid"))


def clip(r: Reader, node: Node) -> None:
    """Limits are attributes before opset 11, inputs from there on."""
    if r.opset < 11:
        a = r.options(node, min=-3.4028234663852886e38, max=3.4028234663852886e38)
        low, high = float(a["min"]), float(a["max"])
        low = -math.inf if low <= -3.402823e38 else low
        high = math.inf if high >= 3.402823e38 else high
    else:
        r.options(node)
        low = float(r.known(node, 1, "min").array.item()) if r.has(node, 1) else -math.inf
        high = float(r.known(node, 2, "max").array.item()) if r.has(node, 2) else math.inf
    x = r.followed(node)
    whole = np.issubdtype(np.dtype(x.dtype), np.integer)
    if whole:
        low, high = (bound if math.isinf(bound) else int(bound) for bound in (low, high))
    if low > high:  # ONNX says: the smaller of x and max, then the larger of that and min is never taken
        low = high
    y = x.tensor
    if low == 0 and high > 0 and not whole:
        y = r.call(node, ReLU, [y], max_value=None if math.isinf(high) else high)
    else:
        y = y if math.isinf(low) else r.operation(node, "maximum", y, low, suffix="min")
        y = y if math.isinf(high) else r.operation(node, "minimum", y, high, suffix="max")
    kept(r, node, x, y)


def prelu(r: Reader, node: Node) -> None:
    """The slope is broadcast to the trailing axes of x; a 1 in it is an axis along which it is shared."""
    r.options(node)
    if isinstance(r.value(node, 1), Followed):
        _computed_slope(r, node)
        return
    x, slope = r.unrowed(node, r.followed(node)), r.known(node, 1, "slope")
    given = slope.array
    if r.opset < 7 and given.ndim == 1 and x.rank > 2:  # a slope for each channel
        given = given.reshape(-1, *(1,) * (x.rank - 2))
    array = aligned(r, node, given, x)
    sizes = r.sizes(node, x)
    if any(own not in (1, size) for own, size in zip(array.shape, sizes)):
        r.refuse(node, f"slopes of shape {slope.array.shape} do not fit {x.shape}")
    shared = [axis for axis, own in enumerate(array.shape, start=1) if own == 1]
    y = r.call(node, PReLU, [x.tensor], [array], named=slope, shared_axes=shared or None)
    r.give(node, Followed(y, x.order))


def _computed_slope(r: Reader, node: Node) -> None:
    """x where positive, else x times a slope that depends on the images."""
    x, slope = r.followed(node, 0), r.followed(node, 1)
    order, _ = joined_order(r, node, [x, slope])
    tensor = r.ordered(node, x, order)
    below = r.operation(node, "multiply", r.ordered(node, slope, order), tensor, suffix="below")
    is_above = r.operation(node, "greater", tensor, 0.0, suffix="above")
    r.give(node, Followed(r.operation(node, "where", is_above, tensor, below), order))


def dropout(r: Reader, node: Node) -> None:
    """A Dropout layer, which does nothing in a prediction."""
    a = r.options(node, ratio=0.5, seed=0, is_test=0)
    rate = float(a["ratio"]) if r.opset < 12 else 0.5
    if r.opset >= 12 and r.has(node, 1):
        rate = float(r.known(node, 1, "ratio").array.item())
    if rate and r.has(node, 2) and bool(r.known(node, 2, "training_mode").array.item()):
        r.refuse(node, "training_mode drops numbers in a prediction too; export the network for inference")
    x = r.followed(node)
    if r.is_used(node, 1):
        mask = r.operation(node, "ones_like", x.tensor, dtype="bool", suffix="mask")
        r.give(node, Followed(mask, x.order, x.row), 1)
    kept(r, node, x, r.call(node, Dropout, [x.tensor], rate=rate) if 0 < rate < 1 else x.tensor)


def cast(r: Reader, node: Node) -> None:
    a = r.options(node, to=0, saturate=1, round_mode="up")
    x = r.followed(node)
    to = TYPES.get(a["to"])
    if to is None or to == "float16" or (to == "float64" and r.dtype != "float64"):
        r.refuse(node, f"numbers are not rounded to the type {to or a['to']} here")
    kept(r, node, x, x.tensor if to == x.dtype else r.operation(node, "cast", x.tensor, to))


_FUNCTIONS = {
    "Abs": "abs", "Neg": "negative", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Reciprocal": "reciprocal",
    "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sign": "sign", "Erf": "erf", "Sin": "sin",
    "Cos": "cos", "Tan": "tan", "Sinh": "sinh", "Cosh": "cosh", "Asin": "arcsin", "Acos": "arccos",
    "Atan": "arctan", "Asinh": "arcsinh", "Acosh": "arccosh", "Atanh": "arctanh", "Not": "logical_not",
    "IsNaN": "isnan",
}  # fmt: skip
_ACTIVATIONS = {
    "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign", "HardSwish": "hard_silu", "Mish": "mish",
}  # fmt: skip

RULES: dict[str, Rule] = {
    **{op: function(name) for op, name in _FUNCTIONS.items()},
    **{op: named(name) for op, name in _ACTIVATIONS.items()},
    "Relu": relu,
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Celu": celu,
    "Selu": selu,
    "Sigmoid": sigmoid,
    "HardSigmoid": hard_sigmoid,
    "Gelu": gelu,
    "ThresholdedRelu": thresholded_relu,
    "Shrink": shrink,
    "Swish": swish,
    "Clip": clip,
    "PRelu": prelu,
    "Dropout": dropout,
    "Cast": cast,
    "Identity": lambda r, node: r.alias(node),
}
