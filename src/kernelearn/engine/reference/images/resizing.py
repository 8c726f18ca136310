"""Resizing images to any size: on every spatial axis a constant matrix times the pixels.

Output pixel q of an axis lies at u = (q + 0.5) * size / new_size - 0.5 in input pixels (half-pixel centres)
and weighs input pixel p by h((u - p) / width), the weights scaled to sum to one. `width` is 1, or with
antialiasing size / new_size when that is larger.
"""

import functools

import numpy as np

from kernelearn.engine.arrays import Array, Sizes
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS


def resize(x: Array, *, size: tuple[int, ...], method: str, antialias: bool) -> Array:
    """x (n, *spatial, c) resampled to (n, *size, c)."""
    for axis, new in enumerate(size, start=1):
        if method == "nearest":
            x = np.take(x, _nearest_pixels(x.shape[axis], new), axis=axis)
            continue
        x = _along(sampling_matrix(x.shape[axis], new, method, antialias), x, axis)
    return x


def resize_grad(
    grad_y: Array, *, size: Sizes, input_size: tuple[int, ...], method: str, antialias: bool
) -> Array:
    """Gradient of `resize`: the transposed matrices."""
    for axis, old in enumerate(input_size, start=1):
        grad_y = _along(sampling_matrix(old, grad_y.shape[axis], method, antialias).T, grad_y, axis)
    return grad_y


@functools.lru_cache(maxsize=64)
def sampling_matrix(size: int, new: int, method: str, antialias: bool) -> Array:
    """The (new, size) matrix of one axis, float64."""
    if method == "nearest":
        return np.eye(size)[_nearest_pixels(size, new)]
    positions = (np.arange(new) + 0.5) * size / new - 0.5
    width = max(size / new, 1.0) if antialias else 1.0
    weights = RESIZE_WINDOWS[method]((positions[:, None] - np.arange(size)[None, :]) / width)
    return weights / weights.sum(axis=1, keepdims=True)


def _nearest_pixels(size: int, new: int) -> Array:
    """The input pixel that every output pixel of an axis takes."""
    return np.floor((np.arange(new) + 0.5) * size / new).astype(int)


def _along(matrix: Array, x: Array, axis: int) -> Array:
    """Multiply `matrix` into one axis of x."""
    return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix.astype(x.dtype), x, axes=(1, axis)), 0, axis))
