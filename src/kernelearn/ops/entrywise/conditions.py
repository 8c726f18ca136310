"""Comparisons, conditions and choices entry by entry; and types.

Comparisons give booleans. What is no boolean counts as true where it is not zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelearn.engine.dtypes import checked
from kernelearn.errors import ArgumentError
from kernelearn.ops._dispatch import operation, operation_named
from kernelearn.ops._run import Value, cast_to, combined, emit, floats, values


def _comparison(name: str, text: str) -> Callable[[Value, Value], Any]:
    def function(x1: Value, x2: Value) -> Any:
        a, b = combined(x1, x2)
        if a.dtype == "bool" and name not in ("equal", "not_equal"):
            a, b = cast_to(a, "int32"), cast_to(b, "int32")
        return emit(name, a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


equal = _comparison("equal", "Whether x1 == x2, entry by entry; NaN equals nothing.")
not_equal = _comparison("not_equal", "Whether x1 != x2, entry by entry.")
less = _comparison("less", "Whether x1 < x2, entry by entry.")
less_equal = _comparison("less_equal", "Whether x1 <= x2, entry by entry.")
greater = _comparison("greater", "Whether x1 > x2, entry by entry.")
greater_equal = _comparison("greater_equal", "Whether x1 >= x2, entry by entry.")


def _logical(name: str, text: str) -> Callable[[Value, Value], Any]:
    def function(x1: Value, x2: Value) -> Any:
        return emit(name, *(cast_to(x, "bool") for x in values(x1, x2)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


logical_and = _logical("logical_and", "Whether both hold.")
logical_or = _logical("logical_or", "Whether one holds, or both.")
logical_xor = _logical("logical_xor", "Whether one holds, but not both.")


@operation
def logical_not(x: Value) -> Any:
    """Whether it does not hold."""
    (x,) = values(x)
    return emit("logical_not", cast_to(x, "bool"))


def _test(name: str, text: str) -> Callable[[Value], Any]:
    def function(x: Value) -> Any:
        (x,) = floats(x)
        return emit(name, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


isnan = _test("isnan", "Where x is not a number.")
isinf = _test("isinf", "Where x is infinite.")
isfinite = _test("isfinite", "Where x is neither infinite nor NaN.")


@operation
def where(condition: Value, x1: Value = None, x2: Value = None) -> Any:
    """x1 where the condition holds, else x2; all three are broadcast.

    A gradient goes to what was chosen only. NOTE: a NaN or infinite slope of what was not chosen still makes
    NaN (0 times infinity), as in Keras: choose safe arguments before, not results after.

    >>> from kernelearn import ops
    >>> ops.where([True, False], [1.0, 2.0], 0.0)
    array([1., 0.])
    """
    if x1 is None or x2 is None:
        raise ArgumentError("where needs all three arguments: ops.where(condition, x1, x2).")
    a, b = combined(x1, x2)
    (condition, *_) = values(condition, a)
    return emit("where", cast_to(condition, "bool"), a, b)


@operation
def cast(x: Value, dtype: Any) -> Any:
    """x in another type; floats lose what is behind the point when they become integers.

    Args:
        dtype: such as "float32", "int32", "bool".

    >>> from kernelearn import ops
    >>> ops.cast([1.7, -1.7], "int32")
    array([ 1, -1], dtype=int32)
    """
    (x,) = values(x)
    return cast_to(x, checked(dtype))
