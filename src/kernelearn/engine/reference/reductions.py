"""Means, extremes, products and places over axes, running sums, softmax over one axis, and gradients."""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.dtypes import INDEX
from kernelearn.engine.reference import activations


def reduce_mean(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Mean over `axes`."""
    return x.mean(axis=axes, keepdims=keepdims, dtype=x.dtype)


def reduce_max(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Maximum over `axes`; of booleans: whether one holds."""
    return x.max(axis=axes, keepdims=keepdims)


def reduce_min(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Minimum over `axes`; of booleans: whether all hold."""
    return x.min(axis=axes, keepdims=keepdims)


def reduce_prod(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Product over `axes`."""
    return x.prod(axis=axes, keepdims=keepdims, dtype=x.dtype)


def image_count(x: Array, *, dtype: str) -> Array:
    """How many images x holds, as a float."""
    return np.asarray(x.shape[0], dtype)


def argmax(x: Array, *, axis: int, keepdims: bool) -> Array:
    """Place of the largest entry along an axis, the first of equal ones."""
    return np.argmax(x, axis=axis, keepdims=keepdims).astype(INDEX)


def argmin(x: Array, *, axis: int, keepdims: bool) -> Array:
    """Place of the smallest entry along an axis, the first of equal ones."""
    return np.argmin(x, axis=axis, keepdims=keepdims).astype(INDEX)


def cumsum(x: Array, *, axis: int, reverse: bool) -> Array:
    """y[i] = x[0] + ... + x[i] along an axis; reverse: x[i] + ... + x[-1]."""
    if reverse:
        return np.flip(np.cumsum(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)
    return np.cumsum(x, axis=axis, dtype=x.dtype)


def cumprod(x: Array, *, axis: int) -> Array:
    """y[i] = x[0] * ... * x[i] along an axis."""
    return np.cumprod(x, axis=axis, dtype=x.dtype)


def cumprod_grad(grad_y: Array, x: Array, *, axis: int) -> Array:
    """dL/dx of `cumprod`, without division: zeros in x do no harm.

    dL/dx[i] = (x[0] ... x[i-1]) s[i] with s[i] = dL/dy[i] + x[i+1] s[i+1].
    """
    grad, factors = np.moveaxis(grad_y, axis, 0), np.moveaxis(x, axis, 0)
    before = np.concatenate([np.ones_like(factors[:1]), np.cumprod(factors[:-1], axis=0, dtype=x.dtype)])
    result = np.empty_like(grad)
    later = np.zeros_like(grad[0])
    for i in range(len(grad) - 1, -1, -1):
        later = grad[i] + (factors[i + 1] * later if i + 1 < len(grad) else 0)
        result[i] = before[i] * later
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def softmax(x: Array, *, axis: int) -> Array:
    """exp(x) / sum exp(x) along one axis."""
    return activations.softmax(x, axis)


def softmax_grad(grad_y: Array, y: Array, *, axis: int) -> Array:
    """dL/dx of `softmax` from its output y."""
    return activations.softmax_grad(y, grad_y, axis)


def log_softmax(x: Array, *, axis: int) -> Array:
    """x - log sum exp(x) along one axis."""
    return activations.log_softmax(x, axis)


def log_softmax_grad(grad_y: Array, y: Array, *, axis: int) -> Array:
    """dL/dx of `log_softmax` from its output y."""
    return activations.log_softmax_grad(y, grad_y, axis)
