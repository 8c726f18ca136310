"""Normalisation: to zero mean and unit variance over some axes, with batch statistics or with stored ones.

    normalize     y = (x - mean) / sqrt(var + eps), mean and (biased) variance of x over `axes`
    its gradient  dL/dx = (g - mean(g) - y * mean(g * y)) / sqrt(var + eps), means over the same axes
    standardize   the same with mean and variance given; they are constants, so dL/dx = g / sqrt(var + eps)

Batch, layer and group normalisation are `normalize` over different axes. Source: Ioffe and Szegedy 2015,
algorithm 1.
"""

import numpy as np


def normalize(x, *, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns y like x, and mean and biased variance of shape x.shape without `axes`."""
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    y = centred / np.sqrt(variance + x.dtype.type(epsilon))
    return y, mean.squeeze(axes), variance.squeeze(axes)


def normalize_grad(grad_y, y, variance, *, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """dL/dx of `normalize` from its outputs y and variance."""
    inverse = 1 / np.sqrt(np.expand_dims(variance, axes) + y.dtype.type(epsilon))
    common = grad_y.mean(axis=axes, keepdims=True)
    along = (grad_y * y).mean(axis=axes, keepdims=True)
    return inverse * (grad_y - common - y * along)


def standardize(x, mean, variance, *, epsilon: float) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon), statistics acting along the last axes."""
    return (x - mean) / np.sqrt(variance + x.dtype.type(epsilon))


def standardize_grad(grad_y, variance, *, epsilon: float) -> np.ndarray:
    """dL/dx of `standardize`."""
    return grad_y / np.sqrt(variance + grad_y.dtype.type(epsilon))


def unstandardize(x, mean, variance, *, epsilon: float) -> np.ndarray:
    """x * sqrt(variance + epsilon) + mean: the inverse of `standardize`."""
    return x * np.sqrt(variance + x.dtype.type(epsilon)) + mean


def unstandardize_grad(grad_y, variance, *, epsilon: float) -> np.ndarray:
    """dL/dx of `unstandardize`."""
    return grad_y * np.sqrt(variance + grad_y.dtype.type(epsilon))


def moving_average(state, value, *, momentum: float) -> np.ndarray:
    """state * momentum + value * (1 - momentum)."""
    return state * state.dtype.type(momentum) + value * state.dtype.type(1 - momentum)
