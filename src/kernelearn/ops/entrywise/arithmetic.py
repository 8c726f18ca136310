"""Arithmetic of two values entry by entry, broadcast as NumPy does it.

Results have the type that `engine.dtypes` says: an integer beside a float takes the float's type, Python
numbers take that of the value beside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, combined, emit, floats
from kernelearn.tracing import Traced


@operation
def add(x1: Value, x2: Value) -> Any:
    """x1 + x2; of booleans: whether one holds.

    >>> from kernelearn import ops
    >>> ops.add([1.0, 2.0], 1.0)
    array([2., 3.])
    """
    for x, number in ((x1, x2), (x2, x1)):
        if _is_scaled(x, number):
            return emit("scale", x, offset=float(number))
    a, b = combined(x1, x2)
    return emit("logical_or" if a.dtype == "bool" else "add", a, b)


@operation
def subtract(x1: Value, x2: Value) -> Any:
    """x1 - x2."""
    if _is_scaled(x1, x2):
        return emit("scale", x1, offset=-float(x2))
    if _is_scaled(x2, x1):
        return emit("scale", x2, factor=-1.0, offset=float(x1))
    return emit("subtract", *combined(x1, x2))


@operation
def multiply(x1: Value, x2: Value) -> Any:
    """x1 * x2; of booleans: whether both hold."""
    for x, number in ((x1, x2), (x2, x1)):
        if _is_scaled(x, number):
            return emit("scale", x, factor=float(number))
    a, b = combined(x1, x2)
    return emit("logical_and" if a.dtype == "bool" else "multiply", a, b)


@operation
def divide(x1: Value, x2: Value) -> Any:
    """x1 / x2, a float also for integers.

    >>> from kernelearn import ops
    >>> ops.divide([1, 2], 4)
    array([0.25, 0.5 ], dtype=float32)
    """
    if _is_scaled(x1, x2) and abs(float(x2)) in _EXACT:
        return emit("scale", x1, factor=1 / float(x2))
    return emit("divide", *floats(x1, x2))


true_divide = divide
# Powers of two: multiplying by their inverse rounds as dividing does.
_EXACT = frozenset(2.0**i for i in range(-20, 21))


@operation
def floor_divide(x1: Value, x2: Value) -> Any:
    """The largest whole number below x1 / x2; its gradient is zero."""
    return emit("floor_divide", *combined(x1, x2))


@operation
def mod(x1: Value, x2: Value) -> Any:
    """What is left of x1 by whole multiples of x2, with the sign of x2: Python's %."""
    return emit("mod", *combined(x1, x2))


@operation
def power(x1: Value, x2: Value) -> Any:
    """x1 to the power of x2.

    >>> from kernelearn import ops
    >>> ops.power([1.0, 4.0], 0.5)
    array([1., 2.])
    """
    if isinstance(x1, Traced) and x1.dtype.startswith("float") and isinstance(x2, int | float):
        return _to_a_number(x1, float(x2))
    return emit("power", *combined(x1, x2))


def _to_a_number(x: Traced, exponent: float) -> Value:
    """A power whose exponent is known when the program is made."""
    if exponent == 1:
        return x
    named = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
    if exponent in named:
        return emit(named[exponent], x)
    return emit("power_by", x, exponent=exponent)


@operation
def maximum(x1: Value, x2: Value) -> Any:
    """The larger of two values; NaN if one is. In a tie, the gradient is shared, half each."""
    return _extreme("maximum", x1, x2)


@operation
def minimum(x1: Value, x2: Value) -> Any:
    """The smaller of two values; NaN if one is. In a tie, the gradient is shared, half each."""
    return _extreme("minimum", x1, x2)


def _extreme(operator: str, x1: Value, x2: Value) -> Value:
    a, b = combined(x1, x2)
    if a.dtype == "bool":
        return emit("logical_or" if operator == "maximum" else "logical_and", a, b)
    return emit(operator, a, b)


@operation
def clip(x: Value, x_min: Value, x_max: Value) -> Any:
    """x moved into [x_min, x_max]; outside the gradient is zero, on a bound it is shared (see `maximum`).

    >>> from kernelearn import ops
    >>> ops.clip([-2, 0, 2], -1, 1)
    array([-1,  0,  1])
    """
    return minimum(maximum(x, x_min), x_max)


@operation
def arctan2(x1: Value, x2: Value) -> Any:
    """The angle of the point (x2, x1) in radians, from -pi to pi."""
    return emit("arctan2", *floats(x1, x2))


atan2 = arctan2


@operation
def logaddexp(x1: Value, x2: Value) -> Any:
    """log(exp(x1) + exp(x2)) without overflow."""
    return emit("logaddexp", *floats(x1, x2))


def _is_scaled(x: Value, number: Value) -> bool:
    """Whether the second is a Python number that the operator `scale` holds for the first."""
    is_number = isinstance(number, int | float) and not isinstance(number, np.ndarray)
    return isinstance(x, Traced) and x.dtype.startswith("float") and is_number
