"""Operators entry by entry as code on one vector: the table of `engine.operators.elementwise`, in registers.

EMITTERS: operator -> function (kernel, attrs, *values) -> value. An operator without an entry, or with
attributes that `is_supported` does not know, stays with the reference engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.cpu.kernels.entrywise.activations import ACTIVATIONS
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.program import Operation

Attrs = Mapping[str, Any]


def _scale(k: Kernel, attrs: Attrs, x: Value) -> Value:
    factor, offset = attrs["factor"], attrs["offset"]
    y = x if factor == 1.0 else k.mul(x, k.constant(factor))
    return y if offset == 0.0 else k.add(y, k.constant(offset))


def _activation(k: Kernel, attrs: Attrs, x: Value) -> Value:
    return ACTIVATIONS[attrs["kind"]][0](k, x, attrs)


def _activation_grad(k: Kernel, attrs: Attrs, g: Value, x: Value, y: Value) -> Value:
    return ACTIVATIONS[attrs["kind"]][1](k, g, x, y, attrs)


def _standardize(k: Kernel, attrs: Attrs, x: Value, mean: Value, variance: Value) -> Value:
    deviation = fn.sqrt(k.add(variance, k.constant(attrs["epsilon"])))
    return k.div(k.sub(x, mean), deviation)


def _standardize_grad(k: Kernel, attrs: Attrs, g: Value, variance: Value) -> Value:
    return k.div(g, fn.sqrt(k.add(variance, k.constant(attrs["epsilon"]))))


def _batch_norm_grad_input(
    k: Kernel, attrs: Attrs, g: Value, x: Value, mean: Value, *coefficients: Value
) -> Value:
    factor, slope, offset = coefficients
    return k.fma(factor, g, k.fma(slope, k.sub(x, mean), offset))


def _unstandardize(k: Kernel, attrs: Attrs, x: Value, mean: Value, variance: Value) -> Value:
    return k.fma(x, fn.sqrt(k.add(variance, k.constant(attrs["epsilon"]))), mean)


def _unstandardize_grad(k: Kernel, attrs: Attrs, g: Value, variance: Value) -> Value:
    return k.mul(g, fn.sqrt(k.add(variance, k.constant(attrs["epsilon"]))))


def _prelu(k: Kernel, attrs: Attrs, x: Value, alpha: Value) -> Value:
    return k.select(k.test("ogt", x, k.zero), x, k.mul(alpha, x))


def _prelu_grad_input(k: Kernel, attrs: Attrs, g: Value, x: Value, alpha: Value) -> Value:
    return k.select(k.test("ogt", x, k.zero), g, k.mul(alpha, g))


def _prelu_grad_alpha(k: Kernel, attrs: Attrs, g: Value, x: Value) -> Value:
    return k.select(k.test("ogt", x, k.zero), k.zero, k.mul(x, g))


def _extreme_grad(k: Kernel, attrs: Attrs, g: Value, x: Value, other: Value, y: Value) -> Value:
    """To the winner; half each in a tie."""
    share = k.select(k.test("oeq", x, other), k.constant(0.5), k.constant(1.0))
    return k.mul(g, k.select(k.test("oeq", x, y), share, k.zero))


def _penalty_grad(k: Kernel, attrs: Attrs, g: Value, w: Value) -> Value:
    l1, l2 = attrs["l1"], attrs["l2"]
    slope = k.mul(k.constant(2 * l2), w)
    if l1:
        slope = k.fma(k.constant(l1), fn.sign(w), slope)
    return k.mul(g, slope)


def _moving_average(k: Kernel, attrs: Attrs, state: Value, value: Value) -> Value:
    momentum = attrs["momentum"]
    return k.fma(state, k.constant(momentum), k.mul(value, k.constant(1 - momentum)))


def _clip_by_value(k: Kernel, attrs: Attrs, grad: Value) -> Value:
    return fn.clip(grad, -attrs["limit"], attrs["limit"])


EMITTERS: dict[str, Callable[..., Any]] = {
    "add": lambda k, a, x, y: k.add(x, y),
    "subtract": lambda k, a, x, y: k.sub(x, y),
    "multiply": lambda k, a, x, y: k.mul(x, y),
    "maximum": lambda k, a, x, y: fn.maximum(x, y),
    "minimum": lambda k, a, x, y: fn.minimum(x, y),
    "bias_add": lambda k, a, x, b: k.add(x, b),
    "affine": lambda k, a, x, gamma, beta: k.fma(x, gamma, beta),
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
    "clip_by_value": _clip_by_value,
    "batch_norm_grad_input": _batch_norm_grad_input,
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
