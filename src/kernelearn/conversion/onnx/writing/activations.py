"""Activations as nodes, spelled with operators that every runtime means alike."""

from __future__ import annotations

import math

from kernelearn.conversion.onnx.writing.entrywise import Formula, Rule, node_of, one
from kernelearn.conversion.onnx.writing.graph import Writer
from kernelearn.engine.program import Operation


def _relu(w: Writer, x: str, negative_slope: float, max_value: float | None, threshold: float) -> str:
    if max_value is None and threshold == 0:
        return w.node("LeakyRelu", [x], alpha=negative_slope) if negative_slope else w.node("Relu", [x])
    if threshold == 0 and not negative_slope:
        return w.node("Clip", [x, w.number(0), w.number(float(max_value or 0))])
    edge = w.number(threshold)
    below = w.node("Mul", [w.node("Sub", [x, edge]), w.number(negative_slope)])
    y = w.node("Where", [w.node("Greater", [x, edge]), x, below])
    return y if max_value is None else w.node("Min", [y, w.number(max_value)])


def _gelu(w: Writer, x: str, approximate: bool) -> str:
    """x Phi(x) by Erf, or by Tanh: the operator Gelu came with opset 20 only."""
    if approximate:
        cubed = w.node("Mul", [w.node("Mul", [w.node("Mul", [x, x]), x]), w.number(0.044715)])
        inner = w.node("Mul", [w.node("Add", [x, cubed]), w.number(math.sqrt(2 / math.pi))])
        gate = w.node("Tanh", [inner])
    else:
        gate = w.node("Erf", [w.node("Div", [x, w.number(math.sqrt(2))])])
    gate = w.node("Add", [gate, w.number(1)])
    return w.node("Mul", [w.node("Mul", [x, gate]), w.number(0.5)])


def _clip(low: float, high: float) -> Formula:
    return lambda w, x: w.node("Clip", [x, w.number(low), w.number(high)])


def _hard_sigmoid(w: Writer, x: str) -> str:
    return w.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)


def _squareplus(w: Writer, x: str, b: float) -> str:
    root = w.node("Sqrt", [w.node("Add", [w.node("Mul", [x, x]), w.number(b)])])
    return w.node("Mul", [w.node("Add", [x, root]), w.number(0.5)])


def _sparse_sigmoid(w: Writer, x: str) -> str:
    return w.node("Mul", [w.node("Add", [_clip(-1, 1)(w, x), w.number(1)]), w.number(0.5)])


def _sparse_plus(w: Writer, x: str) -> str:
    root = w.node("Add", [_clip(-1, 1)(w, x), w.number(1)])
    curved = w.node("Mul", [w.node("Mul", [root, root]), w.number(0.25)])
    return w.node("Where", [w.node("GreaterOrEqual", [x, w.number(1)]), x, curved])


def _soft_shrink(w: Writer, x: str, threshold: float) -> str:
    return w.node("Sub", [x, _clip(-threshold, threshold)(w, x)])


def _hard_shrink(w: Writer, x: str, threshold: float) -> str:
    is_large = w.node("Greater", [w.node("Abs", [x]), w.number(threshold)])
    return w.node("Where", [is_large, x, w.number(0)])


def _threshold(w: Writer, x: str, threshold: float, default_value: float) -> str:
    is_above = w.node("Greater", [x, w.number(threshold)])
    return w.node("Where", [is_above, x, w.number(default_value)])


ACTIVATIONS: dict[str, Formula] = {
    "linear": node_of("Identity"),
    "relu": _relu,
    "relu6": _clip(0, 6),
    "leaky_relu": lambda w, x, negative_slope: w.node("LeakyRelu", [x], alpha=negative_slope),
    "elu": lambda w, x, alpha: w.node("Elu", [x], alpha=alpha),
    "selu": lambda w, x: w.node("Selu", [x], alpha=1.6732632423543772, gamma=1.0507009873554805),
    "celu": lambda w, x, alpha: w.node("Celu", [x], alpha=alpha),
    "threshold": _threshold,
    "gelu": _gelu,
    "silu": lambda w, x: w.node("Mul", [x, w.node("Sigmoid", [x])]),
    "mish": lambda w, x: w.node("Mul", [x, w.node("Tanh", [w.node("Softplus", [x])])]),
    "sigmoid": node_of("Sigmoid"),
    "log_sigmoid": lambda w, x: w.node("Neg", [w.node("Softplus", [w.node("Neg", [x])])]),
    "softplus": node_of("Softplus"),
    "softsign": node_of("Softsign"),
    "squareplus": _squareplus,
    "exponential": node_of("Exp"),
    "tanh": node_of("Tanh"),
    "tanh_shrink": lambda w, x: w.node("Sub", [x, w.node("Tanh", [x])]),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda w, x: w.node("Mul", [x, _hard_sigmoid(w, x)]),
    "hard_tanh": _clip(-1, 1),
    "soft_shrink": _soft_shrink,
    "hard_shrink": _hard_shrink,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
}
ACTIVATIONS["swish"], ACTIVATIONS["hard_swish"] = ACTIVATIONS["silu"], ACTIVATIONS["hard_silu"]


def activation(w: Writer, op: Operation) -> None:
    attrs = {key: value for key, value in op.attrs.items() if key != "kind"}
    one(lambda w, x, **_: ACTIVATIONS[op.attrs["kind"]](w, x, **attrs))(w, op)


RULES: dict[str, Rule] = {"activation": activation}
