"""Sums, means, extremes and their kin over any axes, and running sums and products along one.

`axis` is one axis, several, or None for all; `keepdims` leaves reduced axes as axes of size 1. Over the axis
of images a traced value is reduced for any number of them.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.engine.dtypes import INDEX, as_sum, checked
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation, operation_named
from kernelearn.ops._run import Value, cast_to, emit, floats, reshaped, values
from kernelearn.ops.entrywise.arithmetic import add, maximum, minimum, power, subtract
from kernelearn.ops.entrywise.conditions import isfinite, not_equal, where
from kernelearn.ops.entrywise.functions import abs, exp, log, sqrt, square, stop_gradient
from kernelearn.tracing import fixed

# One axis, several, or None for all.
Axis = int | Sequence[int] | None


def _axes(x: Value, axis: Axis) -> tuple[int, ...]:
    """Axes counted from the front, in order.

    Raises: ShapeError for one that x does not have, or that is named twice.
    """
    rank = len(x.shape)
    if axis is None:
        return tuple(range(rank))
    given = [axis] if isinstance(axis, int | np.integer) else list(axis)
    fits = builtins.all(isinstance(a, int | np.integer) and -rank <= a < rank for a in given)
    found = {int(a) % rank for a in given} if fits else set[int]()
    if not fits or len(found) < len(given):
        raise ShapeError(
            f"axis={axis!r} must name axes of a value of shape {tuple(x.shape)}, each once: from {-rank} to "
            f"{rank - 1}."
        )
    return tuple(sorted(found))


def _kept(x: Value, axes: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(1 if i in axes else s for i, s in enumerate(_sizes(x)))


def _sizes(x: Value) -> tuple[int | None, ...]:
    """The shape as operators see it: None where the first axis counts the images of a program."""
    buffer = getattr(x, "buffer", None)
    return tuple(x.shape if buffer is None else buffer.shape)


def _reduced(x: Value, axes: tuple[int, ...], keepdims: bool) -> tuple[int | None, ...]:
    return tuple(s for i, s in enumerate(_kept(x, axes)) if keepdims or i not in axes)


def _without(y: Value, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """A result whose reduced axes have size 1, without them unless they are wanted."""
    return y if keepdims or not axes else reshaped(y, _reduced(x, axes, False))


@operation
def sum(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum; of booleans and small integers as int32.

    >>> from kernelearn import ops
    >>> ops.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([4., 6.])
    """
    (x,) = values(x)
    axes = _axes(x, axis)
    x = cast_to(x, as_sum(str(x.dtype)))
    return emit("sum_to", x, axes=axes, shape=_reduced(x, axes, keepdims))


@operation
def mean(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean.

    >>> from kernelearn import ops
    >>> ops.mean([[1.0, 2.0], [3.0, 4.0]], axis=1)
    array([1.5, 3.5])
    """
    (x,) = floats(x)
    return emit("reduce_mean", x, axes=_axes(x, axis), keepdims=bool(keepdims))


def _extreme(name: str, join: Callable[..., Any], text: str) -> Callable[..., Any]:
    def function(x: Value, axis: Axis = None, keepdims: bool = False, initial: Value = None) -> Any:
        (x,) = values(x)
        y = emit(f"reduce_{name}", x, axes=_axes(x, axis), keepdims=bool(keepdims))
        return y if initial is None else join(y, initial)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text} NaN if one entry is; equal ones share the gradient in equal parts."
    return operation_named(function, name)


max = _extreme("max", maximum, "The largest entry, or `initial` if that is larger.")
min = _extreme("min", minimum, "The smallest entry, or `initial` if that is smaller.")
amax = max
amin = min


@operation
def prod(x: Value, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product; of booleans and small integers as int32."""
    (x,) = values(x)
    x = cast_to(x, checked(dtype) if dtype is not None else as_sum(str(x.dtype)))
    return emit("reduce_prod", x, axes=_axes(x, axis), keepdims=bool(keepdims))


@operation
def var(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean square of what is left without the mean (divided by n, not by n - 1)."""
    (x,) = floats(x)
    centred = subtract(x, mean(x, axis, keepdims=True))
    return mean(square(centred), axis, keepdims)


@operation
def std(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The square root of `var`."""
    return sqrt(var(x, axis, keepdims))


@operation
def moments(x: Value, axes: Axis, keepdims: bool = False, synchronized: bool = False) -> tuple[Any, Any]:
    """Mean and variance (divided by n) over axes.

    >>> from kernelearn import ops
    >>> ops.moments([1.0, 3.0], axes=0)
    (array(2.), array(1.))
    """
    if synchronized:
        raise ArgumentError("synchronized=True is for training on several machines, which this is not.")
    (x,) = floats(x)
    centre = mean(x, axes, keepdims=True)
    spread = mean(square(subtract(x, centre)), axes, keepdims)
    return _without(centre, x, _axes(x, axes), keepdims), spread


def _quantifier(name: str, operator: str, text: str) -> Callable[..., Any]:
    def function(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
        (x,) = values(x)
        return emit(operator, cast_to(x, "bool"), axes=_axes(x, axis), keepdims=bool(keepdims))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


any = _quantifier("any", "reduce_max", "Whether one entry holds (is not zero).")
all = _quantifier("all", "reduce_min", "Whether every entry holds (is not zero).")


@operation
def count_nonzero(x: Value, axis: Axis = None) -> Any:
    """How many entries are not zero (int32)."""
    (x,) = values(x)
    return sum(cast_to(not_equal(x, 0) if x.dtype != "bool" else x, INDEX), axis)


@operation
def logsumexp(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))), without overflow.

    >>> from kernelearn import ops
    >>> ops.logsumexp([1000.0, 1000.0]).round(4)
    np.float64(1000.6931)
    """
    (x,) = floats(x)
    largest = stop_gradient(max(x, axis, keepdims=True))
    # NOTE: infinity less infinity is NaN; it is enough that no exponential overflows.
    shift = where(isfinite(largest), largest, 0.0)
    y = add(log(sum(exp(subtract(x, shift)), axis, keepdims=True)), shift)
    return _without(y, x, _axes(x, axis), keepdims)


@operation
def norm(x: Value, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """The norm of vectors along an axis, or of matrices along two; of all entries by default.

    Args:
        ord: of vectors a number, inf or -inf (2 by default); of matrices "fro" (the default), 1, -1, inf or
            -inf.

    >>> from kernelearn import ops
    >>> ops.norm([3.0, 4.0])
    array(5.)
    """
    (x,) = floats(x)
    axes = _axes(x, axis)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        return sqrt(sum(square(x), axes, keepdims))
    if len(axes) == 1 and isinstance(ord, int | float):
        return _vector_norm(abs(x), float(ord), axes, keepdims)
    if len(axes) == 2 and ord in (1, -1, math.inf, -math.inf):
        return _matrix_norm(abs(x), ord, axis if isinstance(axis, Sequence) else axes, keepdims)
    raise ArgumentError(
        f"norm has no ord={ord!r} over {len(axes)} axes: a number for vectors, 'fro', 1, -1, inf or -inf for "
        "matrices."
    )


def _vector_norm(size: Value, ord: float, axes: tuple[int, ...], keepdims: bool) -> Value:
    if math.isinf(ord):
        return (max if ord > 0 else min)(size, axes, keepdims)
    if ord == 0:
        return sum(cast_to(not_equal(size, 0.0), str(size.dtype)), axes, keepdims)
    if ord == 1:
        return sum(size, axes, keepdims)
    return power(sum(power(size, ord), axes, keepdims), 1 / ord)


def _matrix_norm(size: Value, ord: float, axes: Sequence[int], keepdims: bool) -> Value:
    """The largest or smallest sum of a column (1) or of a row (inf)."""
    row, column = axes if math.isfinite(ord) else reversed(list(axes))
    sums = sum(size, int(row), keepdims=True)
    y = (max if ord > 0 else min)(sums, int(column), keepdims=True)
    return _without(y, size, _axes(size, axes), keepdims)


def _place(name: str, text: str) -> Callable[..., Any]:
    def function(x: Value, axis: int | None = None, keepdims: bool = False) -> Any:
        (x,) = values(x)
        if x.dtype == "bool":
            x = cast_to(x, INDEX)
        if axis is not None:
            return emit(name, x, axis=_axes(x, axis)[0], keepdims=bool(keepdims))
        x = fixed(x)
        place = emit(name, reshaped(x, (math.prod(s or 0 for s in x.shape),)), axis=0)
        return reshaped(place, (1,) * len(x.shape)) if keepdims else place

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text} along an axis, or among all (int32); the first of equal ones."
    return operation_named(function, name)


argmax = _place("argmax", "The place of the largest entry")
argmin = _place("argmin", "The place of the smallest entry")


def _running(name: str, text: str) -> Callable[..., Any]:
    def function(x: Value, axis: int | None = None, dtype: Any = None) -> Any:
        (x,) = values(x)
        x = cast_to(x, checked(dtype) if dtype is not None else as_sum(str(x.dtype)))
        if axis is None:
            x = fixed(x)
            x, axis = reshaped(x, (math.prod(s or 0 for s in x.shape),)), 0
        return emit(name, x, axis=_axes(x, axis)[0])

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return operation_named(function, name)


cumsum = _running("cumsum", "The sum of all entries up to each, along an axis or through all of them.")
cumprod = _running("cumprod", "The product of all entries up to each, along an axis or through all of them.")
