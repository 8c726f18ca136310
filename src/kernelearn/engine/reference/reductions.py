"""Means and maxima over axes (global pooling), softmax over one axis, and their gradients."""

import numpy as np

from kernelearn.engine.arrays import Array, Sizes
from kernelearn.engine.reference import activations


def reduce_mean(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Mean over `axes`."""
    return x.mean(axis=axes, keepdims=keepdims, dtype=x.dtype)


def reduce_mean_grad(grad_y: Array, *, axes: Sizes, sizes: tuple[int, ...], keepdims: bool) -> Array:
    """dL/dx of `reduce_mean`: every entry along `axes` (of these `sizes`) gets an equal share."""
    expanded = _expand(grad_y, axes, keepdims)
    shape = list(expanded.shape)
    for axis, size in zip(axes, sizes):
        shape[axis] = size
    return np.broadcast_to(expanded / grad_y.dtype.type(np.prod(sizes)), shape).copy()


def reduce_max(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Maximum over `axes`."""
    return x.max(axis=axes, keepdims=keepdims)


def reduce_max_grad(grad_y: Array, x: Array, y: Array, *, axes: Sizes, keepdims: bool) -> Array:
    """dL/dx of `reduce_max`: to the maximum, in equal shares if several entries attain it."""
    winners = (x == _expand(y, axes, keepdims)).astype(x.dtype)
    return winners / winners.sum(axis=axes, keepdims=True) * _expand(grad_y, axes, keepdims)


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


def _expand(y: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return y if keepdims else np.expand_dims(y, axes)
