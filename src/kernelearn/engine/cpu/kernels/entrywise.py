"""Operators entry by entry as code on one vector: the same table as `engine.operators.elementwise`, in registers.

EMITTERS: operator -> function (kernel, attrs, *values) -> value. ACTIVATIONS: kind -> (forward(k, x, attrs),
derivative times gradient (k, g, x, y, attrs)). A kind without an entry stays with the reference engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.cpu.emit import Kernel
from kernelearn.engine.cpu.kernels import math as fn
from kernelearn.engine.program import Operation

Attrs = Mapping[str, Any]


def _relu(k: Kernel, x: str, attrs: Attrs) -> str:
    limit, slope = attrs.get("max_value"), attrs.get("negative_slope") or 0.0
    threshold = attrs.get("threshold") or 0.0
    if not slope and not threshold:
        y = k.larger(x, k.zero)
    else:
        below = k.mul(k.sub(x, k.constant(threshold)), k.constant(slope))
        y = k.select(k.test("olt", x, k.constant(threshold)), below, x)
    return y if limit is None else k.smaller(y, k.constant(limit))


def _relu_grad(k: Kernel, g: str, x: str, y: str, attrs: Attrs) -> str:
    limit, slope = attrs.get("max_value"), attrs.get("negative_slope") or 0.0
    threshold = attrs.get("threshold") or 0.0
    below = k.mul(g, k.constant(slope)) if slope else k.zero
    result = k.select(k.test("ogt", x, k.constant(threshold)), g, below)
    return result if limit is None else k.select(k.test("olt", x, k.constant(limit)), result, k.zero)


def _tanh(k: Kernel, x: str, attrs: Attrs) -> str:
    return fn.tanh(k, x)


ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "linear": (lambda k, x, a: x, lambda k, g, x, y, a: g),
    "relu": (_relu, _relu_grad),
    "sigmoid": (
        lambda k, x, a: fn.sigmoid(k, x),
        lambda k, g, x, y, a: k.mul(g, k.mul(y, k.sub(k.constant(1.0), y))),
    ),
}


def _scale(k: Kernel, attrs: Attrs, x: str) -> str:
    factor, offset = attrs.get("factor", 1.0), attrs.get("offset", 0.0)
    y = x if factor == 1.0 else k.mul(x, k.constant(factor))
    return y if offset == 0.0 else k.add(y, k.constant(offset))


def _activation(k: Kernel, attrs: Attrs, x: str) -> str:
    return ACTIVATIONS[attrs["kind"]][0](k, x, attrs)


def _activation_grad(k: Kernel, attrs: Attrs, g: str, x: str, y: str) -> str:
    return ACTIVATIONS[attrs["kind"]][1](k, g, x, y, attrs)


def _standardize(k: Kernel, attrs: Attrs, x: str, mean: str, variance: str) -> str:
    deviation = fn.sqrt(k, k.add(variance, k.constant(attrs["epsilon"])))
    return k.div(k.sub(x, mean), deviation)


def _standardize_grad(k: Kernel, attrs: Attrs, g: str, variance: str) -> str:
    return k.div(g, fn.sqrt(k, k.add(variance, k.constant(attrs["epsilon"]))))


EMITTERS: dict[str, Callable[..., Any]] = {
    "add": lambda k, a, x, y: k.add(x, y),
    "subtract": lambda k, a, x, y: k.sub(x, y),
    "multiply": lambda k, a, x, y: k.mul(x, y),
    "maximum": lambda k, a, x, y: k.larger(x, y),
    "minimum": lambda k, a, x, y: k.smaller(x, y),
    "bias_add": lambda k, a, x, b: k.add(x, b),
    "affine": lambda k, a, x, gamma, beta: k.fma(x, gamma, beta),
    "scale": _scale,
    "activation": _activation,
    "activation_grad": _activation_grad,
    "standardize": _standardize,
    "standardize_grad": _standardize_grad,
}


def is_supported(op: Operation) -> bool:
    """Whether there is code for an operation with these attributes."""
    if op.operator not in EMITTERS:
        return False
    if op.operator in ("activation", "activation_grad"):
        return op.attrs["kind"] in ACTIVATIONS
    if op.operator == "scale":
        return all(isinstance(op.attrs.get(a, 1.0), int | float) for a in ("factor", "offset"))
    return all(not isinstance(v, float) or not math.isnan(v) for v in op.attrs.values())
