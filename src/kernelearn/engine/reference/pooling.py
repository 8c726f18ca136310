"""Max and average pooling over spatial windows, with their gradients; channels last, any dimension.

max:      y[n,p,q,c] = max over the window of x_pad (-inf outside); its gradient goes to the first maximum,
          and the gradient of that comes from there
average:  y[n,p,q,c] = sum over the window / number of real pixels in it, which share the gradient equally
"""

from collections.abc import Callable
from functools import reduce

import numpy as np
from numpy.typing import DTypeLike

from kernelearn.engine.arrays import Array, Pairs, Sizes
from kernelearn.engine.geometry import output_sizes, window_counts
from kernelearn.engine.reference.windows import pad_spatial, padded_sizes, taps, unpad_spatial


def max_pool(x: Array, *, size: Sizes, stride: Sizes, padding: Pairs) -> tuple[Array, Array]:
    """Largest value of every window, and which tap of the window it was.

    Args:
        x: (n, *spatial, c).
        size, stride: ints per spatial axis.
    Returns: y (n, *outputs, c) and int32 tap numbers of the same shape (row-major in the window; the first of
        equals).
    """
    ones = (1,) * len(size)
    outputs = output_sizes(x.shape[1:-1], size, stride, ones, padding, "pool")
    padded = pad_spatial(x, padding, -np.inf)
    best = np.full((x.shape[0], *outputs, x.shape[-1]), -np.inf, x.dtype)
    where = np.zeros(best.shape, np.int32)
    for number, (_, region) in enumerate(taps(size, stride, ones, outputs)):
        tap = padded[region]
        np.copyto(where, np.int32(number), where=tap > best)
        # NOTE: np.maximum, unlike a comparison, lets a NaN win, so that it is seen downstream instead of
        # vanishing.
        np.maximum(best, tap, out=best)
    return best, where


def max_pool_grad(
    grad_y: Array, where: Array, *, input_size: Sizes, size: Sizes, stride: Sizes, padding: Pairs
) -> Array:
    """Gradient of `max_pool`: every dL/dy goes to the pixel that won. Returns (n, *input_size, c)."""
    return _scatter(
        grad_y,
        input_size,
        size,
        stride,
        padding,
        lambda number: np.where(where == number, grad_y, grad_y.dtype.type(0)),
    )


def max_pool_take(x: Array, where: Array, *, size: Sizes, stride: Sizes, padding: Pairs) -> Array:
    """What x has at the pixel that won in every window: the adjoint of `max_pool_grad`.

    Args:
        x: (n, *spatial, c).
        where: (n, *outputs, c) tap numbers from `max_pool`.
    Returns: (n, *outputs, c).
    """
    padded = pad_spatial(x, padding)
    taken = np.zeros(where.shape, x.dtype)
    for number, (_, region) in enumerate(taps(size, stride, (1,) * len(size), where.shape[1:-1])):
        np.copyto(taken, padded[region], where=where == number)
    return taken


def average_pool(x: Array, *, size: Sizes, stride: Sizes, padding: Pairs) -> Array:
    """Mean of the real (not padded) pixels of every window: (n, *outputs, c)."""
    ones = (1,) * len(size)
    outputs = output_sizes(x.shape[1:-1], size, stride, ones, padding, "pool")
    padded = pad_spatial(x, padding)
    total = np.zeros((x.shape[0], *outputs, x.shape[-1]), x.dtype)
    for _, region in taps(size, stride, ones, outputs):
        total += padded[region]
    return total / _counts(x.shape[1:-1], size, stride, padding, x.dtype)


def average_pool_grad(
    grad_y: Array, *, input_size: Sizes, size: Sizes, stride: Sizes, padding: Pairs
) -> Array:
    """Gradient of `average_pool`. Returns (n, *input_size, c)."""
    share = grad_y / _counts(input_size, size, stride, padding, grad_y.dtype)
    return _scatter(grad_y, input_size, size, stride, padding, lambda number: share)


def _scatter(
    grad_y: Array,
    input_size: Sizes,
    size: Sizes,
    stride: Sizes,
    padding: Pairs,
    tap_gradient: Callable[[int], Array],
) -> Array:
    """Add `tap_gradient(number)` to the pixels that this tap of the window read."""
    ones = (1,) * len(size)
    n, channels = grad_y.shape[0], grad_y.shape[-1]
    padded = np.zeros((n, *padded_sizes(tuple(input_size), padding), channels), grad_y.dtype)
    for number, (_, region) in enumerate(taps(size, stride, ones, grad_y.shape[1:-1])):
        padded[region] += tap_gradient(number)
    return np.ascontiguousarray(unpad_spatial(padded, padding, tuple(input_size)))


def _counts(sizes: Sizes, size: Sizes, stride: Sizes, padding: Pairs, dtype: DTypeLike) -> Array:
    """Real pixels per window position, shaped (*outputs, 1) to divide (n, *outputs, c)."""
    per_axis = [window_counts(*axis) for axis in zip(sizes, size, stride, padding)]
    return reduce(np.multiply.outer, [np.asarray(c, dtype) for c in per_axis])[..., None]
