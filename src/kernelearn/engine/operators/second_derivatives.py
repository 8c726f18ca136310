"""The gradient of `activation_grad`: what a gradient inside a loss (a penalty on slopes) needs.

`SLOPES_OF_SLOPES` holds f''(x) as a formula of x; for activations whose derivative is told from the output y,
the derivative of that formula by y. Activations of straight pieces have none: their slopes do not change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.operators.expressions import Term, terms
from kernelearn.engine.operators.table import Context, Gradients
from kernelearn.engine.reference.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE

Attrs = Mapping[str, Any]


def _activation(x: Term, kind: str) -> Term:
    return x.apply("activation", kind=kind)


def _where(x: Term, relation: str, bound: float, value: Term) -> Term:
    """The value where x compares so with the bound, else 0."""
    return x.apply(relation, x.constant(bound)).apply("where", value, value.constant(0.0))


def _exponential_unit(x: Term, alpha: float, scale: float = 1.0, inner: float = 1.0) -> Term:
    """Of scale * alpha (e^(x / inner) - 1) below zero."""
    below = (x.apply("minimum", 0.0) * (1 / inner)).apply("exp") * (scale * alpha / inner**2)
    return _where(x, "less_equal", 0.0, below)


def _gelu(x: Term, a: Attrs) -> Term:
    if not a["approximate"]:
        density = (x * x * -0.5).apply("exp") * (1 / math.sqrt(2 * math.pi))
        return density * (2 - x * x)
    factor, cubic = math.sqrt(2 / math.pi), 0.044715
    gate = _activation((x + x * x * x * cubic) * factor, "tanh")
    slope = x * x * (3 * cubic * factor) + factor
    bend = x * (6 * cubic * factor)
    return (1 - gate * gate) * (slope + x * 0.5 * (bend - gate * slope * slope * 2))


def _silu(x: Term, a: Attrs) -> Term:
    gate = _activation(x, "sigmoid")
    return gate * (1 - gate) * (x * (1 - gate * 2) + 2)


def _mish(x: Term, a: Attrs) -> Term:
    gate, s = _activation(_activation(x, "softplus"), "tanh"), _activation(x, "sigmoid")
    return (1 - gate * gate) * (s * 2 + x * (s * (1 - s) - gate * s * s * 2))


def _softplus(x: Term, a: Attrs) -> Term:
    gate = _activation(x, "sigmoid")
    return gate * (1 - gate)


def _softsign(x: Term, a: Attrs) -> Term:
    size = x.apply("abs") + 1
    return x.apply("sign") * -2.0 / (size * size * size)


def _squareplus(x: Term, a: Attrs) -> Term:
    return (x * x + float(a["b"])).apply("power_by", exponent=-1.5) * (0.5 * float(a["b"]))


def _tanh_shrink(x: Term, a: Attrs) -> Term:
    gate = _activation(x, "tanh")
    return gate * (1 - gate * gate) * 2


def _between(x: Term, low: float, high: float, height: float) -> Term:
    """`height` between two bounds, else 0."""
    return _where(x, "greater", low, _where(x, "less", high, x * 0.0 + height))


SLOPES_OF_SLOPES: dict[str, Callable[[Term, Attrs], Term]] = {
    "elu": lambda x, a: _exponential_unit(x, a["alpha"]),
    "selu": lambda x, a: _exponential_unit(x, SELU_ALPHA, SELU_SCALE),
    "celu": lambda x, a: _exponential_unit(x, a["alpha"], inner=a["alpha"]),
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
    "mish": _mish,
    "softplus": _softplus,
    "log_sigmoid": lambda x, a: -_softplus(x, a),
    "softsign": _softsign,
    "squareplus": _squareplus,
    "tanh_shrink": _tanh_shrink,
    "hard_silu": lambda x, a: _between(x, -3.0, 3.0, 1 / 3),
    "hard_swish": lambda x, a: _between(x, -3.0, 3.0, 1 / 3),
    "sparse_plus": lambda x, a: _between(x, -1.0, 1.0, 0.5),
    # by the output
    "sigmoid": lambda y, a: 1 - y * 2,
    "tanh": lambda y, a: y * -2.0,
    "exponential": lambda y, a: y * 0.0 + 1,
}


def activation_grad_gradient(c: Context) -> Gradients:
    """To the incoming gradient, and to what the slope was told from."""
    kind = c.attrs["kind"]
    grad_g = c.builder.add("activation_grad", c.grad, *c.inputs[1:], **c.attrs) if c.needs[0] else None
    by_output = not ACTIVATIONS[kind].needs_x
    g, told_from, grad = terms(c.builder, c.inputs[0], c.inputs[2 if by_output else 1], c.grad)
    if kind not in SLOPES_OF_SLOPES or not c.needs[2 if by_output else 1]:
        return grad_g, None, None
    bent = (grad * g * SLOPES_OF_SLOPES[kind](told_from, c.attrs)).buffer
    return (grad_g, None, bent) if by_output else (grad_g, bent, None)
