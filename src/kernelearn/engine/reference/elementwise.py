"""Operations entry by entry, and the sums that undo broadcasting.

Two inputs may have different shapes if NumPy can broadcast them; the gradient to the smaller one is then
summed over the axes along which it was repeated (`sum_to`).
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.engine.reference.regularizers import REGULARIZERS


def activation(x: Array, *, kind: str, **attrs: Any) -> Array:
    """y = f(x) with f from the table of activations."""
    return ACTIVATIONS[kind].forward(x, **attrs)


def activation_grad(grad_y: Array, x: Array, y: Array, *, kind: str, **attrs: Any) -> Array:
    """dL/dx = dL/dy * f'(x)."""
    return grad_y * ACTIVATIONS[kind].derivative(x, y, **attrs)


def scale(x: Array, *, factor: float | tuple[float, ...], offset: float | tuple[float, ...]) -> Array:
    """x * factor + offset; tuples act along the last axis."""
    return x * np.asarray(factor, x.dtype) + np.asarray(offset, x.dtype)


def prelu(x: Array, alpha: Array) -> Array:
    """x where positive, alpha * x elsewhere; alpha broadcasts against x."""
    return np.where(x > 0, x, alpha * x)


def prelu_grad_input(grad_y: Array, x: Array, alpha: Array) -> Array:
    """dL/dx of `prelu`."""
    return np.where(x > 0, grad_y, alpha * grad_y)


def prelu_grad_alpha(grad_y: Array, x: Array) -> Array:
    """dL/dalpha of `prelu` at every entry, not yet summed."""
    return np.where(x > 0, x.dtype.type(0), x * grad_y)


def extreme_grad(grad_y: Array, x: Array, other: Array, y: Array) -> Array:
    """dL/dx of y = maximum(x, other) or minimum(x, other): to the winner, half each in a tie."""
    won = (x == y).astype(grad_y.dtype)
    return grad_y * won * np.where(x == other, grad_y.dtype.type(0.5), grad_y.dtype.type(1))


def sum_to(x: Array, *, axes: tuple[int, ...], shape: tuple[int | None, ...]) -> Array:
    """Sum over `axes` and shape the result to `shape` (None: number of images)."""
    total = x.sum(axis=axes, dtype=x.dtype) if axes else x
    return total.reshape([-1 if s is None else s for s in shape])


def penalty(weight: Array, *, kind: str, custom: Any = None, **attrs: Any) -> Array:
    """The penalty on a weight: a kind of the table of regularisers, or an object with `value`."""
    rule = custom or REGULARIZERS[kind]
    return np.asarray(rule.value(weight, **attrs), weight.dtype)


def penalty_grad(grad: Array, weight: Array, *, kind: str, custom: Any = None, **attrs: Any) -> Array:
    """Gradient of `penalty`."""
    rule = custom or REGULARIZERS[kind]
    return np.asarray(grad * rule.gradient(weight, **attrs), weight.dtype)


def activity_penalty(x: Array, **attrs: Any) -> Array:
    """`penalty` of a layer's output per image: an `activity_regularizer`, as in Keras."""
    return np.asarray(penalty(x, **attrs) / x.shape[0], x.dtype)


def activity_penalty_grad(grad: Array, x: Array, **attrs: Any) -> Array:
    """Gradient of `activity_penalty`."""
    return penalty_grad(grad / x.dtype.type(x.shape[0]), x, **attrs)


def affine(x: Array, gamma: Array, beta: Array) -> Array:
    """x * gamma + beta, the weights acting along the last axes."""
    return x * gamma + beta
