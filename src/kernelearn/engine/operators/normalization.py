"""Operators of normalisation.

Layers use the first ones. Those whose names begin with `batch_` are made by rewrites only: they are what a
batch normalisation falls into when as much of it as possible is done in passes that happen anyway.
"""

import math
from typing import Any

from kernelearn.engine.arrays import Sizes
from kernelearn.engine.operators.expressions import Term, terms
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required, same_as_first
from kernelearn.engine.reference import normalization as reference


def _normalize_shape(x: Spec, *, axes: Sizes, epsilon: float) -> tuple[Spec, Spec, Spec]:
    statistics = Spec(tuple(s for i, s in enumerate(x.shape) if i not in axes), x.dtype)
    return x, statistics, statistics


def _normalize_gradient(c: Context) -> Gradients:
    """By x; mean and variance have gradients where a gradient of the normalisation is differentiated."""
    (y, mean, variance), (by_y, by_mean, by_variance) = c.outputs, c.grads
    parts = [] if by_y is None else [c.builder.add("normalize_grad", by_y, y, variance, **c.attrs)]
    x = c.inputs[0]
    if by_mean is not None:
        share = _over(c, x, _opened(c, x, by_mean))
        parts.append(c.builder.add("add", share.buffer, _zeros(c, x)))
    if by_variance is not None:
        (whole,) = terms(c.builder, x)
        centred = whole - _opened(c, x, mean)
        parts.append((centred * _over(c, x, _opened(c, x, by_variance)) * 2.0).buffer)
    total = parts[0]
    for part in parts[1:]:
        total = c.builder.add("add", total, part)
    return (total,)


def _opened(c: Context, x: Any, statistics: Any) -> Term:
    """Statistics with the axes that they are taken over as axes of size 1."""
    shape = tuple(1 if i in c.attrs["axes"] else s for i, s in enumerate(x.shape))
    (found,) = terms(c.builder, c.builder.add("reshape", statistics, shape=shape))
    return found


def _over(c: Context, x: Any, value: Term) -> Term:
    """A value divided by the number of entries that a statistic is taken over."""
    sizes = [x.shape[axis] for axis in c.attrs["axes"]]
    share: Term = value * (1 / math.prod(size for size in sizes if size is not None))
    (whole,) = terms(c.builder, x)
    return share / whole.apply("image_count", dtype=x.dtype) if None in sizes else share


def _zeros(c: Context, x: Any) -> Any:
    return c.builder.add("scale", x, factor=0.0)


def _normalize_grad_gradient(c: Context) -> Gradients:
    """Of h = (g - mean(g) - y mean(g y)) / d, d = sqrt(variance + epsilon), with G that comes in.

    By g the same function of G; by y -(G mean(g y) + g mean(G y)) / d; by the variance -sum(G h) / 2 d^2.
    """
    grad_y, y_buffer, variance = c.inputs
    to_g = c.builder.add("normalize_grad", c.grad, y_buffer, variance, **c.attrs) if c.needs[0] else None
    g, y, h, result = terms(c.builder, grad_y, y_buffer, c.grad, c.outputs[0])
    axes, to_y, to_variance = c.attrs["axes"], None, None
    squared = _opened(c, grad_y, variance) + c.attrs["epsilon"]
    if c.needs[1]:
        a, b = ((t * y).apply("reduce_mean", axes=axes, keepdims=True) for t in (g, h))
        to_y = (-(h * a + g * b) * squared.apply("rsqrt")).buffer
    if c.needs[2]:
        total = (h * result).apply("sum_to", axes=axes, shape=squared.shape)
        to_variance = (total * -0.5 / squared).apply("reshape", shape=tuple(variance.shape)).buffer
    return to_g, to_y, to_variance


def _standardize_gradient(c: Context) -> Gradients:
    return c.builder.add("standardize_grad", c.grad, c.inputs[2], **c.attrs), None, None


def _standardize_grad_gradient(c: Context) -> Gradients:
    """Self-adjoint; the stored variance is a constant."""
    return c.builder.add("standardize_grad", c.grad, c.inputs[1], **c.attrs), None


def _statistics_shape(x: Spec, *, axes: Sizes) -> tuple[Spec, Spec]:
    statistics = Spec(tuple(s for i, s in enumerate(x.shape) if i not in axes), x.dtype)
    return statistics, statistics


def _sums_shape(grad_y: Spec, x: Spec, mean: Spec, variance: Spec, *, epsilon: float) -> tuple[Spec, Spec]:
    return mean, mean


def _coefficients_shape(x: Spec, variance: Spec, *others: Spec, epsilon: float) -> tuple[Spec, Spec, Spec]:
    return variance, variance, variance


operator(
    "normalize",
    _normalize_shape,
    reference.normalize,
    _normalize_gradient,
    attrs=required("axes", "epsilon"),
    carrying=3,
)
operator(
    "normalize_grad",
    same_as_first,
    reference.normalize_grad,
    _normalize_grad_gradient,
    attrs=required("axes", "epsilon"),
    is_linear=True,
)
operator(
    "standardize", same_as_first, reference.standardize, _standardize_gradient, attrs=required("epsilon")
)
operator(
    "standardize_grad",
    same_as_first,
    reference.standardize_grad,
    _standardize_grad_gradient,
    attrs=required("epsilon"),
    is_linear=True,
)
operator("moving_average", same_as_first, reference.moving_average, attrs=required("momentum"))
operator("batch_statistics", _statistics_shape, reference.batch_statistics, attrs=required("axes"))
operator("batch_norm_sums", _sums_shape, reference.batch_norm_sums, attrs=required("epsilon"), is_linear=True)
operator(
    "batch_norm_coefficients",
    _coefficients_shape,
    reference.batch_norm_coefficients,
    attrs=required("epsilon"),
)
operator("batch_norm_grad_input", same_as_first, reference.batch_norm_grad_input)
