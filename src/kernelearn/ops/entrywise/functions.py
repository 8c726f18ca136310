"""Functions of one value entry by entry: roots, logarithms, angles, roundings.

Integers and booleans become floats, but where a function says that it keeps the type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelearn.engine.dtypes import INDEX, as_float, is_float
from kernelearn.ops._dispatch import operation, operation_named
from kernelearn.ops._run import Value, cast_to, emit, floats, values
from kernelearn.ops.entrywise.arithmetic import multiply
from kernelearn.ops.entrywise.conditions import equal, isnan, where


def _named(name: str, text: str) -> Callable[[Value], Any]:
    """The function of floats of this name."""

    def function(x: Value) -> Any:
        (x,) = floats(x)
        return emit(name, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


sqrt = _named("sqrt", "The square root; NaN of negative numbers.")
rsqrt = _named("rsqrt", "1 / sqrt(x).")
exp = _named("exp", "e to the power of x.")
expm1 = _named("expm1", "e^x - 1, precise near zero.")
log = _named("log", "The natural logarithm; -infinity of zero, NaN of negative numbers.")
log1p = _named("log1p", "log(1 + x), precise near zero.")
log2 = _named("log2", "The logarithm to the base 2.")
log10 = _named("log10", "The logarithm to the base 10.")
sin = _named("sin", "The sine of x in radians.")
cos = _named("cos", "The cosine of x in radians.")
tan = _named("tan", "The tangent of x in radians.")
sinh = _named("sinh", "The hyperbolic sine.")
cosh = _named("cosh", "The hyperbolic cosine.")
arcsin = asin = _named("arcsin", "The inverse of sin, from -pi/2 to pi/2; NaN beyond -1 and 1.")
arccos = acos = _named("arccos", "The inverse of cos, from 0 to pi; NaN beyond -1 and 1.")
arctan = atan = _named("arctan", "The inverse of tan, from -pi/2 to pi/2.")
arcsinh = asinh = _named("arcsinh", "The inverse of sinh.")
arccosh = acosh = _named("arccosh", "The inverse of cosh; NaN below 1.")
arctanh = atanh = _named("arctanh", "The inverse of tanh; NaN beyond -1 and 1.")
erf = _named("erf", "The error function, the integral of 2 / sqrt(pi) exp(-t^2) from 0 to x.")
erfinv = _named("erfinv", "The inverse of `erf`; NaN beyond -1 and 1.")
reciprocal = _named("reciprocal", "1 / x.")


def _kept(name: str, text: str) -> Callable[[Value], Any]:
    """The function of this name that keeps integers what they are; booleans become int32."""

    def function(x: Value) -> Any:
        (x,) = values(x)
        x = cast_to(x, INDEX) if x.dtype == "bool" else x
        return x if name == "round" and not is_float(str(x.dtype)) else emit(name, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


abs = _kept("abs", "The size of x without its sign.")
absolute = abs
sign = _kept("sign", "-1, 0 or 1; its gradient is zero.")
square = _kept("square", "x * x.")
floor = _named("floor", "The largest whole number up to x, as a float; its gradient is zero.")
ceil = _named("ceil", "The smallest whole number from x on, as a float; its gradient is zero.")
_round = _kept("round", "")


@operation(name="round")
def round(x: Value, decimals: int = 0) -> Any:
    """The nearest number with so many digits behind the point; of two the one with an even last digit.

    Its gradient is zero.

    >>> from kernelearn import ops
    >>> ops.round([0.5, 1.5, 2.347], 2)
    array([0.5 , 1.5 , 2.35])
    """
    if not decimals:
        return _round(x)
    factor = 10.0**decimals
    (x,) = floats(x)
    return multiply(_round(multiply(x, factor)), 1 / factor)


@operation
def trunc(x: Value) -> Any:
    """x without what is behind the point; its gradient is zero."""
    (x,) = values(x)
    return where(x < 0, ceil(x), floor(x))


@operation
def negative(x: Value) -> Any:
    """-x."""
    return multiply(x, -1)


@operation
def nan_to_num(x: Value, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """x with numbers in place of NaN and of the infinities; by default the largest and smallest of its type.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.nan_to_num([1.0, np.nan, np.inf], posinf=9.0)
    array([1., 0., 9.])
    """
    import numpy as np

    (x,) = floats(x)
    limits = np.finfo(as_float(str(x.dtype)))
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    finite = where(equal(x, np.inf), high, where(equal(x, -np.inf), low, x))
    return where(isnan(x), nan, finite)


@operation
def stop_gradient(variable: Value) -> Any:
    """The value itself, as a constant: gradients do not go through it."""
    (x,) = values(variable)
    return emit("stop_gradient", x)
