"""Normalisation: to zero mean and unit variance over some axes, with batch statistics or with stored ones.

    normalize     y = (x - mean) / sqrt(var + eps), mean and (biased) variance of x over `axes`
    its gradient  dL/dx = (g - mean(g) - y * mean(g * y)) / sqrt(var + eps), means over the same axes
    standardize   the same with mean and variance given; they are constants, so dL/dx = g / sqrt(var + eps)

Batch, layer and group normalisation are `normalize` over different axes. Source: Ioffe and Szegedy 2015,
algorithm 1. The functions that begin with `batch_` are its parts, for engines that do them in fewer passes.
"""

import numpy as np

from kernelearn.engine.arrays import Array


def normalize(x: Array, *, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Returns y like x, and mean and biased variance of shape x.shape without `axes`."""
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    y = centred / np.sqrt(variance + x.dtype.type(epsilon))
    return y, mean.squeeze(axes), variance.squeeze(axes)


def normalize_grad(
    grad_y: Array, y: Array, variance: Array, *, axes: tuple[int, ...], epsilon: float
) -> Array:
    """dL/dx of `normalize` from its outputs y and variance."""
    inverse = 1 / np.sqrt(np.expand_dims(variance, axes) + y.dtype.type(epsilon))
    common = grad_y.mean(axis=axes, keepdims=True)
    along = (grad_y * y).mean(axis=axes, keepdims=True)
    return inverse * (grad_y - common - y * along)


def standardize(x: Array, mean: Array, variance: Array, *, epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon), statistics acting along the last axes."""
    return (x - mean) / np.sqrt(variance + x.dtype.type(epsilon))


def standardize_grad(grad_y: Array, variance: Array, *, epsilon: float) -> Array:
    """dL/dx of `standardize`."""
    return grad_y / np.sqrt(variance + grad_y.dtype.type(epsilon))


def unstandardize(x: Array, mean: Array, variance: Array, *, epsilon: float) -> Array:
    """x * sqrt(variance + epsilon) + mean: the inverse of `standardize`."""
    return x * np.sqrt(variance + x.dtype.type(epsilon)) + mean


def unstandardize_grad(grad_y: Array, variance: Array, *, epsilon: float) -> Array:
    """dL/dx of `unstandardize`."""
    return grad_y * np.sqrt(variance + grad_y.dtype.type(epsilon))


def moving_average(state: Array, value: Array, *, momentum: float) -> Array:
    """state * momentum + value * (1 - momentum)."""
    return state * state.dtype.type(momentum) + value * state.dtype.type(1 - momentum)


def batch_statistics(x: Array, *, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and biased variance over `axes`, of shape x.shape without them."""
    mean = x.mean(axis=axes, keepdims=True)
    variance = np.square(x - mean).mean(axis=axes)
    return mean.squeeze(axes), variance


def batch_norm_sums(
    grad_y: Array, x: Array, mean: Array, variance: Array, *, epsilon: float
) -> tuple[Array, Array]:
    """Sums of dL/dy and of dL/dy times the standardised x over all axes but the last: dL/dbeta, dL/dgamma."""
    axes = tuple(range(x.ndim - 1))
    standardized = standardize(x, mean, variance, epsilon=epsilon)
    return grad_y.sum(axis=axes), (grad_y * standardized).sum(axis=axes)


def batch_norm_coefficients(
    x: Array, variance: Array, total: Array, along: Array, *gamma: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """What `batch_norm_grad_input` needs per channel; N is the number of images times positions.

    Args:
        x: input of the normalisation; only its shape counts.
        total, along: from `batch_norm_sums`.
        gamma: the scale that follows the normalisation, if there is one.
    Returns: factor f = gamma / deviation, slope -f along / (N deviation) and offset -f total / N.
    """
    inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    factor = gamma[0] * inverse if gamma else inverse
    share = -factor / x.dtype.type(x.size // x.shape[-1])
    return factor, share * inverse * along, share * total


def batch_norm_grad_input(
    grad_y: Array, x: Array, mean: Array, factor: Array, slope: Array, offset: Array
) -> Array:
    """dL/dx of a batch normalisation and its scale, from the coefficients of its channels."""
    return factor * grad_y + (slope * (x - mean) + offset)
