"""Operators of normalisation.

Layers use the first ones. Those whose names begin with `batch_` are made by rewrites only: they are what a
batch normalisation falls into when as much of it as possible is done in passes that happen anyway.
"""

from kernelearn.engine.arrays import Sizes
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required, same_as_first
from kernelearn.engine.reference import normalization as reference


def _normalize_shape(x: Spec, *, axes: Sizes, epsilon: float) -> tuple[Spec, Spec, Spec]:
    statistics = Spec(tuple(s for i, s in enumerate(x.shape) if i not in axes), x.dtype)
    return x, statistics, statistics


def _normalize_gradient(c: Context) -> Gradients:
    y, _, variance = c.outputs
    return (c.builder.add("normalize_grad", c.grad, y, variance, **c.attrs),)


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
    "normalize", _normalize_shape, reference.normalize, _normalize_gradient, attrs=required("axes", "epsilon")
)
operator(
    "normalize_grad",
    same_as_first,
    reference.normalize_grad,
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
