"""Functions entry by entry and their gradients, one line each.

A gradient is a formula of other operators (`operators.expressions`), so that gradients of gradients exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kernelearn.engine.operators.elementwise import broadcast_shape
from kernelearn.engine.operators.expressions import Term, terms, unbroadcast
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    no_gradient,
    operator,
    required,
    same_as_first,
)
from kernelearn.engine.reference import functions as reference

# (gradient of the result, argument, result) -> gradient of the argument.
Slope = Callable[[Term, Term, Term], Term]


def _tan(g: Term, x: Term, y: Term) -> Term:
    return g * (y * y + 1)


def _erf(g: Term, x: Term, y: Term) -> Term:
    return g * ((-(x * x)).apply("exp") * (2 / math.sqrt(math.pi)))


def _erfinv(g: Term, x: Term, y: Term) -> Term:
    return g * ((y * y).apply("exp") * (math.sqrt(math.pi) / 2))


# Functions that are constant where they have a derivative stand with None.
SLOPES: dict[str, Slope | None] = {
    "sqrt": lambda g, x, y: g * 0.5 / y,
    "rsqrt": lambda g, x, y: g * -0.5 * y * y * y,
    "exp": lambda g, x, y: g * y,
    "expm1": lambda g, x, y: g * (y + 1),
    "log": lambda g, x, y: g / x,
    "log1p": lambda g, x, y: g / (x + 1),
    "log2": lambda g, x, y: g / x * (1 / math.log(2)),
    "log10": lambda g, x, y: g / x * (1 / math.log(10)),
    "sin": lambda g, x, y: g * x.apply("cos"),
    "cos": lambda g, x, y: -(g * x.apply("sin")),
    "tan": _tan,
    "sinh": lambda g, x, y: g * x.apply("cosh"),
    "cosh": lambda g, x, y: g * x.apply("sinh"),
    "arcsin": lambda g, x, y: g * ((1 - x) * (x + 1)).apply("rsqrt"),
    "arccos": lambda g, x, y: -(g * ((1 - x) * (x + 1)).apply("rsqrt")),
    "arctan": lambda g, x, y: g / (x * x + 1),
    "arcsinh": lambda g, x, y: g * (x * x + 1).apply("rsqrt"),
    "arccosh": lambda g, x, y: g * ((x - 1) * (x + 1)).apply("rsqrt"),
    "arctanh": lambda g, x, y: g / ((1 - x) * (x + 1)),
    "erf": _erf,
    "erfinv": _erfinv,
    "reciprocal": lambda g, x, y: -(g * y * y),
    "square": lambda g, x, y: g * x * 2.0,
    "abs": lambda g, x, y: g * x.apply("sign"),
    "sign": None,
    "floor": None,
    "ceil": None,
    "round": None,
}


def _gradient(slope: Slope | None) -> Callable[[Context], Gradients]:
    if slope is None:
        return no_gradient

    def rule(c: Context) -> Gradients:
        return (slope(*terms(c.builder, c.grad, c.inputs[0], c.outputs[0])).buffer,)

    return rule


def _power_by_gradient(c: Context) -> Gradients:
    g, x = terms(c.builder, c.grad, c.inputs[0])
    exponent = c.attrs["exponent"]
    if exponent == 0:
        return (None,)
    return ((g * (x.apply("power_by", exponent=exponent - 1.0) * exponent)).buffer,)


# --- of two numbers: (gradient of the result, x, y, result) -> gradients of both, not yet summed


def _power_slopes(g: Term, x: Term, y: Term, out: Term) -> tuple[Term, Term]:
    """y x^(y-1), and x^y ln x; 0 (and not 0 times infinity) where an exponent or a base is zero."""
    less = y.apply("equal", y.constant(0.0)).apply("where", y.constant(1.0), y - 1)
    base = x.apply("equal", x.constant(0.0)).apply("where", x.constant(1.0), x)
    return g * (y * x.apply("power", less)), g * (out * base.apply("log"))


def _arctan2_slopes(g: Term, y: Term, x: Term, out: Term) -> tuple[Term, Term]:
    part = g / (x * x + y * y)
    return part * x, -(part * y)


PAIR_SLOPES: dict[str, Callable[[Term, Term, Term, Term], tuple[Term, Term]] | None] = {
    "divide": lambda g, x, y, out: (g / y, -(g * out / y)),
    "power": _power_slopes,
    "floor_divide": None,
    "mod": lambda g, x, y, out: (g, -(g * x.apply("floor_divide", y))),
    "arctan2": _arctan2_slopes,
    "logaddexp": lambda g, x, y, out: (g * (x - out).apply("exp"), g * (y - out).apply("exp")),
}


def _pair_gradient(name: str) -> Callable[[Context], Gradients]:
    slopes = PAIR_SLOPES[name]
    if slopes is None:
        return no_gradient

    def rule(c: Context) -> Gradients:
        found = slopes(*terms(c.builder, c.grad, *c.inputs, c.outputs[0]))
        # NOTE: what is not needed has been added, too; `prune` drops it.
        return tuple(
            unbroadcast(c.builder, part.buffer, this) if need else None
            for part, this, need in zip(found, c.inputs, c.needs)
        )

    return rule


# --- conditions


def _condition_shape(x: Spec, *others: Spec) -> tuple[Spec]:
    shape = broadcast_shape(x, *others)[0].shape if others else x.shape
    return (Spec(shape, "bool"),)


def _where_shape(condition: Spec, x: Spec, y: Spec) -> tuple[Spec]:
    return broadcast_shape(broadcast_shape(x, y)[0], condition)


def _where_gradient(c: Context) -> Gradients:
    condition, x, y = c.inputs
    chosen, g = terms(c.builder, condition, c.grad)
    zero = g.constant(0.0)
    grad_x = chosen.apply("where", g, zero).to(x) if c.needs[1] else None
    return None, grad_x, chosen.apply("where", zero, g).to(y) if c.needs[2] else None


def _cast_shape(x: Spec, *, dtype: str) -> tuple[Spec]:
    return (Spec(x.shape, dtype),)


def _cast_gradient(c: Context) -> Gradients:
    if not c.inputs[0].dtype.startswith("float") or not c.outputs[0].dtype.startswith("float"):
        return (None,)
    return (c.builder.add("cast", c.grad, dtype=c.inputs[0].dtype),)


CONDITIONS: dict[str, Callable[..., Any]] = {
    **reference.COMPARISONS,
    **reference.LOGICAL,
    **reference.TESTS,
    "logical_not": reference.LOGICAL_NOT,
}

for _name, _slope in SLOPES.items():
    operator(_name, same_as_first, reference.FUNCTIONS[_name], _gradient(_slope))
operator("power_by", same_as_first, reference.power_by, _power_by_gradient, attrs=required("exponent"))
for _name in PAIR_SLOPES:
    operator(_name, broadcast_shape, reference.PAIRS[_name], _pair_gradient(_name))
for _name, _function in CONDITIONS.items():
    operator(_name, _condition_shape, _function, no_gradient)
operator("where", _where_shape, reference.where, _where_gradient)
operator("cast", _cast_shape, reference.cast, _cast_gradient, attrs=required("dtype"))
operator("stop_gradient", same_as_first, reference.stop_gradient, no_gradient)
