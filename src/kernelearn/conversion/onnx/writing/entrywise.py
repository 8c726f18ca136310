"""Functions entry by entry, as nodes: of one number, of two, and conditions.

What ONNX lacks is spelled with operators that it has, exactly: no polynomial in the place of a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.types import element_type
from kernelearn.conversion.onnx.writing.graph import Writer
from kernelearn.engine.program import Operation

Rule = Callable[[Writer, Operation], None]
Formula = Callable[..., str]


def one(formula: Formula) -> Rule:
    """A rule from a function (writer, name of x, attributes) -> name of y; the order of axes stays."""

    def rule(w: Writer, op: Operation) -> None:
        (x,) = op.inputs
        order = w.order(x)
        w.give(op.outputs[0], formula(w, w.want(x, order), **op.attrs), order)

    return rule


def many(formula: Formula) -> Rule:
    """A rule for operands that are broadcast: (writer, names..., attributes) -> name of y."""

    def rule(w: Writer, op: Operation) -> None:
        rank = w.rank(op.outputs[0])
        order = w.common_order(op.inputs, rank)
        names = [w.broadcast(buffer, rank, order) for buffer in op.inputs]
        w.give(op.outputs[0], formula(w, *names, **op.attrs), order)

    return rule


def node_of(op_type: str, **fixed: Any) -> Formula:
    return lambda w, *names, **attrs: w.node(op_type, names, **fixed)


def _not(op_type: str) -> Formula:
    return lambda w, *names: w.node("Not", [w.node(op_type, names)])


# --- of one number


def _expm1(w: Writer, x: str) -> str:
    """2 sinh(x / 2) exp(x / 2): no difference of nearly equal numbers."""
    half = w.node("Mul", [x, w.number(0.5)])
    return w.node("Mul", [w.node("Mul", [w.node("Sinh", [half]), w.number(2)]), w.node("Exp", [half])])


def log1p(w: Writer, x: str) -> str:
    """2 artanh(x / (x + 2)) near 0, log(1 + x) elsewhere."""
    near = w.node("Atanh", [w.node("Div", [x, w.node("Add", [x, w.number(2)])])])
    far = w.node("Log", [w.node("Add", [x, w.number(1)])])
    is_near = w.node("Less", [w.node("Abs", [x]), w.number(0.5)])
    return w.node("Where", [is_near, w.node("Mul", [near, w.number(2)]), far])


def _log_by(base: float) -> Formula:
    return lambda w, x: w.node("Mul", [w.node("Log", [x]), w.number(1 / math.log(base))])


def _isfinite(w: Writer, x: str) -> str:
    bad = w.node("Or", [w.node("IsNaN", [x]), w.node("IsInf", [x])])
    return w.node("Not", [bad])


def cast(w: Writer, x: str, dtype: str) -> str:
    return w.node("Cast", [x], to=element_type(dtype))


def _power_by(w: Writer, x: str, exponent: float) -> str:
    return w.node("Pow", [x, w.number(exponent)])


FUNCTIONS: dict[str, Formula] = {
    "sqrt": node_of("Sqrt"),
    "rsqrt": lambda w, x: w.node("Reciprocal", [w.node("Sqrt", [x])]),
    "exp": node_of("Exp"),
    "expm1": _expm1,
    "log": node_of("Log"),
    "log1p": log1p,
    "log2": _log_by(2),
    "log10": _log_by(10),
    "sin": node_of("Sin"),
    "cos": node_of("Cos"),
    "tan": node_of("Tan"),
    "sinh": node_of("Sinh"),
    "cosh": node_of("Cosh"),
    "arcsin": node_of("Asin"),
    "arccos": node_of("Acos"),
    "arctan": node_of("Atan"),
    "arcsinh": node_of("Asinh"),
    "arccosh": node_of("Acosh"),
    "arctanh": node_of("Atanh"),
    "erf": node_of("Erf"),
    "reciprocal": node_of("Reciprocal"),
    "square": lambda w, x: w.node("Mul", [x, x]),
    "abs": node_of("Abs"),
    "sign": node_of("Sign"),
    "floor": node_of("Floor"),
    "ceil": node_of("Ceil"),
    "round": node_of("Round"),
    "power_by": _power_by,
    "isnan": node_of("IsNaN"),
    "isinf": node_of("IsInf"),
    "isfinite": _isfinite,
    "logical_not": node_of("Not"),
    "cast": cast,
    "stop_gradient": node_of("Identity"),
}


# --- of several


def _floored(w: Writer, x: str, y: str) -> str:
    quotient = w.node("Div", [x, y])
    if not np.issubdtype(w.dtype(w.op.outputs[0]), np.floating):
        w.refuse("the quotient of integers is rounded to zero there")
    return w.node("Floor", [quotient])


def _mod(w: Writer, x: str, y: str) -> str:
    """The remainder with the sign of the divisor, as in Python."""
    if not np.issubdtype(w.dtype(w.op.outputs[0]), np.floating):
        return w.node("Mod", [x, y])
    rest = w.node("Mod", [x, y], fmod=1)
    zero = w.number(0)
    is_other = w.node("Xor", [w.node("Less", [rest, zero]), w.node("Less", [y, zero])])
    is_rest = w.node("Not", [w.node("Equal", [rest, zero])])
    return w.node("Where", [w.node("And", [is_other, is_rest]), w.node("Add", [rest, y]), rest])


def _logaddexp(w: Writer, x: str, y: str) -> str:
    below = w.node("Neg", [w.node("Abs", [w.node("Sub", [x, y])])])
    return w.node("Add", [w.node("Max", [x, y]), log1p(w, w.node("Exp", [below]))])


def _affine(w: Writer, x: str, gamma: str, beta: str) -> str:
    return w.node("Add", [w.node("Mul", [x, gamma]), beta])


def _standardize(w: Writer, x: str, mean: str, variance: str, epsilon: float) -> str:
    deviation = w.node("Sqrt", [w.node("Add", [variance, w.number(epsilon)])])
    return w.node("Div", [w.node("Sub", [x, mean]), deviation])


def _unstandardize(w: Writer, x: str, mean: str, variance: str, epsilon: float) -> str:
    deviation = w.node("Sqrt", [w.node("Add", [variance, w.number(epsilon)])])
    return w.node("Add", [w.node("Mul", [x, deviation]), mean])


OPERANDS: dict[str, Formula] = {
    "add": node_of("Add"),
    "subtract": node_of("Sub"),
    "multiply": node_of("Mul"),
    "divide": node_of("Div"),
    "power": node_of("Pow"),
    "maximum": node_of("Max"),
    "minimum": node_of("Min"),
    "floor_divide": _floored,
    "mod": _mod,
    "logaddexp": _logaddexp,
    "equal": node_of("Equal"),
    "not_equal": _not("Equal"),
    "less": node_of("Less"),
    "less_equal": node_of("LessOrEqual"),
    "greater": node_of("Greater"),
    "greater_equal": node_of("GreaterOrEqual"),
    "logical_and": node_of("And"),
    "logical_or": node_of("Or"),
    "logical_xor": node_of("Xor"),
    "where": node_of("Where"),
    "affine": _affine,
    "bias_add": node_of("Add"),
    "prelu": node_of("PRelu"),
    "standardize": _standardize,
    "unstandardize": _unstandardize,
}


def scale(w: Writer, op: Operation) -> None:
    """x * factor + offset, numbers or one for each entry of the last axis."""
    (x,) = op.inputs
    order, rank, y = w.order(x), w.rank(x), w.want(x, w.order(x))
    for op_type, name, nothing in (("Mul", "factor", 1.0), ("Add", "offset", 0.0)):
        value = np.asarray(op.attrs[name], w.dtype(op.outputs[0]))
        if value.ndim or value != nothing:
            full = value.reshape((1,) * (rank - 1) + value.shape).transpose(order) if value.ndim else value
            y = w.node(op_type, [y, w.constant(full)])
    w.give(op.outputs[0], y, order)


RULES: dict[str, Rule] = {
    **{name: one(formula) for name, formula in FUNCTIONS.items()},
    **{name: many(formula) for name, formula in OPERANDS.items()},
    "scale": scale,
}
