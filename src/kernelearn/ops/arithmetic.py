"""Sums, differences and products of two values, entry by entry."""

from __future__ import annotations

from typing import Any

from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, floats
from kernelearn.tracing import Traced


@operation
def add(x1: Value, x2: Value) -> Any:
    """x1 + x2, broadcast.

    >>> from kernelearn import ops
    >>> ops.add([1.0, 2.0], 1.0)
    array([2., 3.])
    """
    for x, number in ((x1, x2), (x2, x1)):
        if _is_scaled(x, number):
            return emit("scale", x, offset=float(number))
    return emit("add", *floats(x1, x2))


@operation
def subtract(x1: Value, x2: Value) -> Any:
    """x1 - x2, broadcast."""
    if _is_scaled(x1, x2):
        return emit("scale", x1, offset=-float(x2))
    if _is_scaled(x2, x1):
        return emit("scale", x2, factor=-1.0, offset=float(x1))
    return emit("subtract", *floats(x1, x2))


@operation
def multiply(x1: Value, x2: Value) -> Any:
    """x1 * x2, broadcast."""
    for x, number in ((x1, x2), (x2, x1)):
        if _is_scaled(x, number):
            return emit("scale", x, factor=float(number))
    return emit("multiply", *floats(x1, x2))


@operation
def negative(x: Value) -> Any:
    """-x."""
    return multiply(x, -1.0)


@operation
def maximum(x1: Value, x2: Value) -> Any:
    """The larger of two values at every entry, broadcast."""
    return emit("maximum", *floats(x1, x2))


@operation
def minimum(x1: Value, x2: Value) -> Any:
    """The smaller of two values at every entry, broadcast."""
    return emit("minimum", *floats(x1, x2))


def _is_scaled(x: Value, number: Value) -> bool:
    """Whether the second is a Python number that the operator `scale` holds for the first."""
    return isinstance(x, Traced) and x.dtype.startswith("float") and isinstance(number, int | float)
