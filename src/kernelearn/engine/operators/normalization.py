"""Operators of normalisation."""

from kernelearn.engine.operators.table import Context, Spec, operator, same_as_first
from kernelearn.engine.reference import normalization as reference


def _normalize_shape(x: Spec, *, axes, epsilon) -> tuple[Spec, Spec, Spec]:
    statistics = Spec(tuple(s for i, s in enumerate(x.shape) if i not in axes), x.dtype)
    return x, statistics, statistics


def _normalize_gradient(c: Context):
    y, _, variance = c.outputs
    return (c.builder.add("normalize_grad", c.grad, y, variance, **c.attrs),)


def _standardize_gradient(c: Context):
    return c.builder.add("standardize_grad", c.grad, c.inputs[2], **c.attrs), None, None


operator("normalize", _normalize_shape, reference.normalize, _normalize_gradient)
operator("normalize_grad", same_as_first, reference.normalize_grad, is_linear=True)
operator("standardize", same_as_first, reference.standardize, _standardize_gradient)
operator("standardize_grad", same_as_first, reference.standardize_grad, is_linear=True)
operator("moving_average", same_as_first, reference.moving_average)
