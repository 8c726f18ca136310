"""Sums, means and extremes over axes, and softmax along one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.fx import Node

from kernelearn.engine.arrays import known
from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.activations import number
from kernelearn.torch.translation.arithmetic import scaled
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten
Axes = Sequence[int] | int | None


def _places(value: Value, axes: Axes) -> tuple[int, ...]:
    """Axes of the buffer; all where none is named."""
    rank = len(value.order)
    named = range(rank) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
    return tuple(sorted(value.order.index(axis % rank) for axis in named))


def reduced(value: Value, places: tuple[int, ...], keepdims: bool, buffer: Buffer) -> Value:
    """What a reduction gave, with the reduced axes gone or of size 1."""
    if keepdims:
        return Value(buffer, value.order)
    left = [axis for place, axis in enumerate(value.order) if place not in places]
    order = tuple(sorted(left).index(axis) for axis in left)
    return Value(buffer, order)


def _reduce(region: Region, x: Node, operator: str, axes: Axes, keepdims: bool) -> Value:
    value = region.value(x)
    places = _places(value, axes)
    buffer = region.add(operator, value.buffer, axes=places, keepdims=bool(keepdims))
    return reduced(value, places, keepdims, buffer)


def _no_type(node: Node, dtype: torch.dtype | None) -> None:
    if dtype not in (None, torch.float32):
        raise CannotTranslate(f"a result of type {dtype}")


@rule(aten.mean.dim)
def mean(region: Region, node: Node, x: Node, axes: Axes, keepdims: bool, dtype: torch.dtype | None) -> Value:
    """The mean over axes."""
    _no_type(node, dtype)
    return _reduce(region, x, "reduce_mean", axes, keepdims)


@rule(aten.mean.default)
def mean_of_all(region: Region, node: Node, x: Node, dtype: torch.dtype | None) -> Value:
    """The mean of all numbers."""
    return mean(region, node, x, None, False, dtype)


@rule(aten.sum.dim_IntList)
def total(
    region: Region, node: Node, x: Node, axes: Axes, keepdims: bool, dtype: torch.dtype | None
) -> Value:
    """The sum over axes."""
    _no_type(node, dtype)
    value = region.value(x)
    places = _places(value, axes)
    return reduced(value, places, keepdims, _summed(region, value.buffer, places, keepdims))


def _summed(region: Region, buffer: Buffer, places: tuple[int, ...], keepdims: bool = True) -> Buffer:
    """The sum over axes."""
    shape = _reduced_shape(buffer, places, keepdims)
    found: Buffer = region.add("sum_to", buffer, axes=places, shape=shape)
    return found


def _reduced_shape(buffer: Buffer, places: tuple[int, ...], keepdims: bool) -> tuple[int | None, ...]:
    sizes = enumerate(buffer.shape)
    return tuple(1 if k in places else size for k, size in sizes if keepdims or k not in places)


def _without(region: Region, buffer: Buffer, places: tuple[int, ...], keepdims: bool) -> Buffer:
    """What has size 1 along the reduced axes, without them unless they are to be kept."""
    if keepdims:
        return buffer
    found: Buffer = region.add("reshape", buffer, shape=_reduced_shape(buffer, places, False))
    return found


@rule(aten.sum.default)
def total_of_all(region: Region, node: Node, x: Node, dtype: torch.dtype | None) -> Value:
    """The sum of all numbers."""
    return total(region, node, x, None, False, dtype)


@rule(aten.amax.default)
def largest(region: Region, node: Node, x: Node, axes: Axes, keepdims: bool) -> Value:
    """The largest number; equal ones share the gradient."""
    return _reduce(region, x, "reduce_max", axes, keepdims)


@rule(aten.amin.default)
def smallest(region: Region, node: Node, x: Node, axes: Axes, keepdims: bool) -> Value:
    """The smallest number; equal ones share the gradient."""
    return _reduce(region, x, "reduce_min", axes, keepdims)


@rule(aten.max.dim)
def best(region: Region, node: Node, x: Node, axis: int, keepdims: bool) -> tuple[Value | None, ...]:
    """The largest number along an axis, the first of equal ones; the places are of use to PyTorch only."""
    value = region.value(x)
    return _first_best(region, value, value.buffer, axis, keepdims), None


@rule(aten.min.dim)
def least(region: Region, node: Node, x: Node, axis: int, keepdims: bool) -> tuple[Value | None, ...]:
    """The smallest number along an axis, the first of equal ones."""
    value = region.value(x)
    found = _first_best(region, value, scaled(region, value.buffer, -1.0), axis, keepdims)
    return Value(scaled(region, found.buffer, -1.0), found.order), None


def _first_best(region: Region, value: Value, buffer: Buffer, axis: int, keepdims: bool) -> Value:
    """Max pooling over one axis: to the first of equal numbers goes the whole gradient."""
    (at,) = _places(value, axis)
    shape = buffer.shape
    if not at or shape[0] is not None:
        raise CannotTranslate("the largest of all images, or of no images")
    size, before, after = known(shape[at]), map(known, shape[1:at]), map(known, shape[at + 1 :])
    maps = region.add("reshape", buffer, shape=(None, math.prod(before), size, math.prod(after)))
    window = (1, size)
    found = region.add("max_pool", maps, size=window, stride=window, padding=((0, 0), (0, 0)))[0]
    left = (*shape[:at], *([1] if keepdims else []), *shape[at + 1 :])
    return reduced(value, (at,), keepdims, region.add("reshape", found, shape=left))


@rule(aten.var.correction)
def variance(
    region: Region, node: Node, x: Node, axes: Axes, correction: float | None, keepdims: bool
) -> Value:
    """The mean square of what is left without the mean, times m / (m - correction)."""
    value = region.value(x)
    places = _places(value, axes)
    sizes = [value.buffer.shape[place] for place in places]
    if None in sizes:
        raise CannotTranslate("a variance over images")
    count, lost = math.prod(size or 1 for size in sizes), 1.0 if correction is None else float(correction)
    if count <= lost:
        raise CannotTranslate("a variance of one number")
    middle = region.add("reduce_mean", value.buffer, axes=places, keepdims=True)
    squares = region.add("square", region.add("subtract", value.buffer, middle))
    found = region.add("reduce_mean", squares, axes=places, keepdims=bool(keepdims))
    return reduced(value, places, keepdims, scaled(region, found, count / (count - lost)))


@rule(aten.std.correction)
def deviation(
    region: Region, node: Node, x: Node, axes: Axes, correction: float | None, keepdims: bool
) -> Value:
    """The root of the variance."""
    found = variance(region, node, x, axes, correction, keepdims)
    return Value(region.add("sqrt", found.buffer), found.order)


@rule(aten.std.dim)
def deviation_over(region: Region, node: Node, x: Node, axes: Axes, unbiased: bool, keepdims: bool) -> Value:
    """The same under its other name."""
    return deviation(region, node, x, axes, float(unbiased), keepdims)


@rule(aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim)
def norm(
    region: Region,
    node: Node,
    x: Node,
    power: float | None,
    axes: Axes,
    keepdims: bool,
    dtype: torch.dtype | None = None,
) -> Value:
    """The root of the sum of squares; where that is 0, so is the gradient."""
    _no_type(node, dtype)
    if power not in (None, 2):
        raise CannotTranslate(f"a norm of power {power}")
    value = region.value(x)
    places = _places(value, axes)
    whole = _summed(region, region.add("square", value.buffer), places)
    is_zero = region.add("equal", whole, number(region, 0.0))
    safe = region.add("where", is_zero, number(region, 1.0), whole)
    root = region.add("where", is_zero, number(region, 0.0), region.add("sqrt", safe))
    return reduced(value, places, keepdims, _without(region, root, places, keepdims))


@rule(aten.logsumexp.default)
def logsumexp(region: Region, node: Node, x: Node, axes: Axes, keepdims: bool) -> Value:
    """log of the sum of exponentials, from which the largest is taken out before."""
    value = region.value(x)
    places = _places(value, axes)
    largest_of = region.add("reduce_max", value.buffer, axes=places, keepdims=True)
    fixed = region.add("stop_gradient", largest_of)
    shares = region.add("exp", region.add("subtract", value.buffer, fixed))
    found = region.add("add", region.add("log", _summed(region, shares, places)), fixed)
    return reduced(value, places, keepdims, _without(region, found, places, keepdims))


@rule(aten.var.dim)
def variance_over(region: Region, node: Node, x: Node, axes: Axes, unbiased: bool, keepdims: bool) -> Value:
    """The same under its other name."""
    return variance(region, node, x, axes, float(unbiased), keepdims)


def _along(region: Region, x: Node, axis: int, operator: str) -> Value:
    value = region.value(x)
    at = value.order.index(axis % len(value.order))
    if value.buffer.shape[at] is None:
        raise CannotTranslate("a softmax over images")
    return Value(region.add(operator, value.buffer, axis=at), value.order)


@rule(aten.softmax.int)
def softmax(region: Region, node: Node, x: Node, axis: int, dtype: torch.dtype | None) -> Value:
    """Shares of an axis."""
    _no_type(node, dtype)
    return _along(region, x, axis, "softmax")


@rule(aten._softmax.default)
def softmax_of(region: Region, node: Node, x: Node, axis: int, half_to_float: bool) -> Value:
    """The same under its other name."""
    return _along(region, x, axis, "softmax")


@rule(aten.log_softmax.int)
def log_softmax(region: Region, node: Node, x: Node, axis: int, dtype: torch.dtype | None) -> Value:
    """Logarithms of shares of an axis."""
    _no_type(node, dtype)
    return _along(region, x, axis, "log_softmax")


@rule(aten._log_softmax.default)
def log_softmax_of(region: Region, node: Node, x: Node, axis: int, half_to_float: bool) -> Value:
    """The same under its other name."""
    return _along(region, x, axis, "log_softmax")
