"""The functions and conditions of `engine.operators.functions` as code on one vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.cpu.kernels.entrywise.elements import ELEMENTS
from kernelearn.engine.cpu.language import angles, powers
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.values import Value

Attrs = Mapping[str, Any]


def larger(x: Value, y: Value) -> Value:
    """max of floats (NaN if either is) or of integers."""
    return fn.maximum(x, y) if x.type.is_float else (x < y).choose(y, x)


def smaller(x: Value, y: Value) -> Value:
    """min of floats (NaN if either is) or of integers."""
    return fn.minimum(x, y) if x.type.is_float else (x > y).choose(y, x)


def _absolute(x: Value) -> Value:
    return fn.absolute(x) if x.type.is_float else (x < 0).choose(-x, x)


def _rounded(name: str) -> Callable[..., Value]:
    """To a whole number, by an intrinsic of this name."""
    return lambda a, x: x.kernel.intrinsic(name, x)


def cast(attrs: Attrs, x: Value) -> Value:
    """To another type of `elements`; floats lose what is behind the point."""
    target, source = ELEMENTS[attrs["dtype"]], x.type.element
    if source == target:
        return x
    if target == "i1":
        return x.test("une" if x.type.is_float else "ne", 0)
    if source == "i1":
        zero = x.kernel.zero_of(x.type.of(target))
        return x.choose(1, zero)
    if x.type.is_float:
        whole = x.to_int("i64" if target == "i64" else "i32")
        return whole.truncated(target) if target == "i8" else whole
    if target == "float":
        return x.converted("uitofp", target) if source == "i8" else x.to_float()
    if source == "i8":
        return x.converted("zext", target)
    return x.converted("sext", target) if target == "i64" else x.truncated(target)


def _is_infinite(a: Attrs, x: Value) -> Value:
    return fn.absolute(x).equals(math.inf)


def _is_finite(a: Attrs, x: Value) -> Value:
    return fn.absolute(x) < math.inf


def _single(function: Callable[[Value], Value]) -> Callable[..., Value]:
    return lambda a, x: function(x)


def _pair(function: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    return lambda a, x, y: function(x, y)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "sqrt": _single(fn.sqrt),
    "rsqrt": lambda a, x: 1.0 / fn.sqrt(x),
    "exp": _single(fn.exp),
    "expm1": _single(fn.expm1),
    "log": _single(fn.log),
    "log1p": _single(fn.log1p),
    "log2": _single(powers.log2),
    "log10": _single(powers.log10),
    "sin": _single(angles.sin),
    "cos": _single(angles.cos),
    "tan": _single(angles.tan),
    "sinh": _single(angles.sinh),
    "cosh": _single(angles.cosh),
    "arcsin": _single(angles.arcsin),
    "arccos": _single(angles.arccos),
    "arctan": _single(angles.arctan),
    "arcsinh": _single(angles.arcsinh),
    "arccosh": _single(angles.arccosh),
    "arctanh": _single(angles.arctanh),
    "erf": _single(powers.erf),
    "erfinv": _single(powers.erfinv),
    "reciprocal": lambda a, x: 1.0 / x,
    "square": lambda a, x: x * x,
    "abs": _single(_absolute),
    "sign": _single(fn.sign),
    "floor": _rounded("floor"),
    "ceil": _rounded("ceil"),
    "round": _rounded("rint"),
    "power_by": lambda a, x: powers.power_by(x, a["exponent"]),
    # of two numbers
    "divide": lambda a, x, y: x / y,
    "power": _pair(powers.power),
    "floor_divide": _pair(powers.floor_divide),
    "mod": _pair(powers.mod),
    "arctan2": _pair(angles.arctan2),
    "logaddexp": _pair(powers.logaddexp),
    # conditions
    "equal": lambda a, x, y: x.equals(y),
    "not_equal": lambda a, x, y: x.differs(y),
    "less": lambda a, x, y: x < y,
    "less_equal": lambda a, x, y: x <= y,
    "greater": lambda a, x, y: x > y,
    "greater_equal": lambda a, x, y: x >= y,
    "logical_and": lambda a, x, y: x & y,
    "logical_or": lambda a, x, y: x | y,
    "logical_xor": lambda a, x, y: x ^ y,
    "logical_not": lambda a, x: ~x,
    "isnan": lambda a, x: x.is_nan(),
    "isinf": _is_infinite,
    "isfinite": _is_finite,
    "where": lambda a, condition, x, y: condition.choose(x, y),
    "cast": cast,
    "stop_gradient": lambda a, x: x,
    "broadcast_to": lambda a, x: x,
}

_NUMBERS = ("float32", "int32", "int64")
_ANY = tuple(ELEMENTS)
# Operator -> types of its inputs for which there is code; float32 where none are named.
TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "maximum", "minimum", "square", "abs"), _NUMBERS),
    **dict.fromkeys(("equal", "not_equal"), (*_NUMBERS, "bool")),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal"), _NUMBERS),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), ("bool",)),
    **dict.fromkeys(("where", "cast", "stop_gradient", "broadcast_to", "fill"), _ANY),
}
