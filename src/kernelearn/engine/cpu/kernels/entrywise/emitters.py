"""Operators entry by entry as code on one vector: the table of `engine.operators.elementwise`, in registers.

EMITTERS: operator -> function (attrs, *values) -> value. An operator without an entry, or with
attributes that `is_supported` does not know, stays with the reference engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.cpu.kernels.entrywise.activations import ACTIVATIONS
from kernelearn.engine.cpu.kernels.entrywise.elements import ELEMENTS
from kernelearn.engine.cpu.kernels.entrywise.functions import FUNCTIONS, TYPES, larger, smaller
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.program import Buffer, Operation

Attrs = Mapping[str, Any]


def _scale(attrs: Attrs, x: Value) -> Value:
    factor, offset = attrs["factor"], attrs["offset"]
    y = x if factor == 1.0 else x * factor
    return y if offset == 0.0 else y + offset


def _activation(attrs: Attrs, x: Value) -> Value:
    return ACTIVATIONS[attrs["kind"]][0](x, attrs)


def _activation_grad(attrs: Attrs, g: Value, x: Value, y: Value) -> Value:
    return ACTIVATIONS[attrs["kind"]][1](g, x, y, attrs)


def _deviation(attrs: Attrs, variance: Value) -> Value:
    return fn.sqrt(variance + attrs["epsilon"])


def _standardize(attrs: Attrs, x: Value, mean: Value, variance: Value) -> Value:
    deviation = _deviation(attrs, variance)
    return (x - mean) / deviation


def _standardize_grad(attrs: Attrs, g: Value, variance: Value) -> Value:
    return g / _deviation(attrs, variance)


def _batch_norm_grad_input(attrs: Attrs, g: Value, x: Value, mean: Value, *coefficients: Value) -> Value:
    factor, slope, offset = coefficients
    return fn.fma(factor, g, fn.fma(slope, x - mean, offset))


def _unstandardize(attrs: Attrs, x: Value, mean: Value, variance: Value) -> Value:
    return fn.fma(x, _deviation(attrs, variance), mean)


def _unstandardize_grad(attrs: Attrs, g: Value, variance: Value) -> Value:
    return g * _deviation(attrs, variance)


def _prelu(attrs: Attrs, x: Value, alpha: Value) -> Value:
    return (x > x.kernel.zero).choose(x, alpha * x)


def _prelu_grad_input(attrs: Attrs, g: Value, x: Value, alpha: Value) -> Value:
    return (x > x.kernel.zero).choose(g, alpha * g)


def _prelu_grad_alpha(attrs: Attrs, g: Value, x: Value) -> Value:
    return (x > x.kernel.zero).choose(x.kernel.zero, x * g)


def _extreme_grad(attrs: Attrs, g: Value, x: Value, other: Value, y: Value) -> Value:
    """To the winner; half each in a tie."""
    share = x.equals(other).choose(x.kernel.constant(0.5), 1.0)
    return g * x.equals(y).choose(share, x.kernel.zero)


def _penalty_grad(attrs: Attrs, g: Value, w: Value) -> Value:
    l1, l2 = float(attrs["l1"]), float(attrs["l2"])
    slope = 2 * l2 * w
    if l1:
        slope = fn.fma(w.kernel.constant(l1), fn.sign(w), slope)
    return g * slope


def _moving_average(attrs: Attrs, state: Value, value: Value) -> Value:
    momentum = attrs["momentum"]
    return fn.fma(state, momentum, value * (1 - momentum))


def _clip_by_value(attrs: Attrs, grad: Value) -> Value:
    return fn.clip(grad, -attrs["limit"], attrs["limit"])


EMITTERS: dict[str, Callable[..., Value]] = {
    "add": lambda a, x, y: x + y,
    "subtract": lambda a, x, y: x - y,
    "multiply": lambda a, x, y: x * y,
    "maximum": lambda a, x, y: larger(x, y),
    "minimum": lambda a, x, y: smaller(x, y),
    "bias_add": lambda a, x, b: x + b,
    "affine": lambda a, x, gamma, beta: fn.fma(x, gamma, beta),
    "scale": _scale,
    "activation": _activation,
    "activation_grad": _activation_grad,
    "standardize": _standardize,
    "standardize_grad": _standardize_grad,
    "unstandardize": _unstandardize,
    "unstandardize_grad": _unstandardize_grad,
    "prelu": _prelu,
    "prelu_grad_input": _prelu_grad_input,
    "prelu_grad_alpha": _prelu_grad_alpha,
    "extreme_grad": _extreme_grad,
    "penalty_grad": _penalty_grad,
    "moving_average": _moving_average,
    "assign": lambda attrs, value: value,
    "clip_by_value": _clip_by_value,
    "batch_norm_grad_input": _batch_norm_grad_input,
    **FUNCTIONS,
}


# Operator -> whether there is code for these attributes.
SUPPORTED: dict[str, Callable[[Attrs], bool]] = {
    "activation": lambda a: a["kind"] in ACTIVATIONS,
    "activation_grad": lambda a: a["kind"] in ACTIVATIONS,
    "scale": lambda a: all(isinstance(a.get(name, 1.0), int | float) for name in ("factor", "offset")),
    "penalty_grad": lambda a: a.get("kind", "l1l2") == "l1l2" and not a.get("custom"),
}


def is_supported(op: Operation) -> bool:
    """Whether there is code for an operation with these attributes."""
    if op.operator not in EMITTERS:
        return False
    if op.operator in SUPPORTED and not SUPPORTED[op.operator](op.attrs):
        return False
    return all(not isinstance(v, float) or not math.isnan(v) for v in op.attrs.values())


def read_inputs(op: Operation) -> tuple[str, ...]:
    """Inputs whose numbers are read, not only their shape."""
    if op.operator == "fill_like":
        return ()
    return op.inputs[:1] if op.operator == "broadcast_to" else op.inputs


def has_code(op: Operation, buffers: Mapping[str, Buffer]) -> bool:
    """Whether there is code for an operation on buffers of these types. A constant ("fill") always has."""
    if op.operator not in ("fill", "fill_like") and not is_supported(op):
        return False
    inputs = [buffers[name].dtype for name in read_inputs(op)]
    if op.operator == "where" and inputs.pop(0) != "bool":
        return False
    allowed = TYPES.get(op.operator, ("float32",))
    made = [buffers[name].dtype for name in op.outputs if name in buffers]
    return len(set(inputs)) <= 1 and set(inputs) <= set(allowed) and set(made) <= set(ELEMENTS)
