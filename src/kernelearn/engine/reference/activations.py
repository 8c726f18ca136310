"""Activation functions and their derivatives: one pair of short functions each, collected in `ACTIVATIONS`.

Every function keeps the dtype of its input and is finite, without warnings, wherever the result is.
Those that mix elements along an axis (softmax, log_softmax, sparsemax) stand at the end with their gradients.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import pi, sqrt
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.attributes import REQUIRED
from kernelearn.engine.reference.special import erfc

# Klambauer et al., "Self-normalizing neural networks" (2017), https://arxiv.org/abs/1706.02515
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its derivative.

    forward(x, **attrs) gives y, shape and dtype of x.
    derivative(x, y, **attrs) gives dy/dx, same shape and dtype; at a kink, the value Keras uses (mostly 0).
    attrs: its attributes with their defaults, REQUIRED where there is none; both functions take all of them.
    needs_x / needs_y say which of its two arguments the derivative reads, so that the other need not be kept.
    """

    function: Callable[..., Array]
    slope: Callable[..., Array]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    needs_x: bool = True
    needs_y: bool = False

    def forward(self, x: Array, **attrs: Any) -> Array:
        return self.function(x, **{**self.attrs, **attrs})

    def derivative(self, x: Array, y: Array, **attrs: Any) -> Array:
        return self.slope(x, y, **{**self.attrs, **attrs})


# --- building blocks


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that no exponential overflows.

    NOTE: two exponentials are faster here than one and a `where`, which is slow on mixed signs.
    """
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _indicator(condition: Array, x: Array) -> Array:
    """1 where the condition holds, else 0, in the dtype of x."""
    return condition.astype(x.dtype)


def _select(condition: Array, yes: Any, no: Any, x: Array) -> Array:
    """`where` that stays in the dtype of x when a branch is a plain number."""
    return np.where(condition, np.asarray(yes, dtype=x.dtype), np.asarray(no, dtype=x.dtype))


# --- the ReLU family


def _linear(x: Array) -> Array:
    return x


def _linear_derivative(x: Array, y: Array) -> Array:
    return np.ones_like(x)


def _relu(x: Array, negative_slope: float, max_value: float | None, threshold: float) -> Array:
    """x above the threshold (at most max_value), negative_slope * (x - threshold) below it."""
    if max_value is None and threshold == 0:
        y = np.maximum(x, 0)
        return y + negative_slope * np.minimum(x, 0) if negative_slope else y
    y = _select(x > threshold, x, negative_slope * (x - threshold), x)
    return y if max_value is None else np.minimum(y, max_value)


def _relu_derivative(
    x: Array,
    y: Array,
    negative_slope: float,
    max_value: float | None,
    threshold: float,
) -> Array:
    slope = _indicator(x > threshold, x)
    if negative_slope:
        slope += negative_slope * _indicator(x <= threshold, x)
    return slope if max_value is None else slope * (x < max_value)


def _leaky_relu(x: Array, negative_slope: float) -> Array:
    return _relu(x, negative_slope, None, 0.0)


def _leaky_relu_derivative(x: Array, y: Array, negative_slope: float) -> Array:
    return _relu_derivative(x, y, negative_slope, None, 0.0)


def _relu6(x: Array) -> Array:
    return np.clip(x, 0, 6)


def _relu6_derivative(x: Array, y: Array) -> Array:
    return _indicator((x > 0) & (x < 6), x)


def _elu(x: Array, alpha: float) -> Array:
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


def _elu_derivative(x: Array, y: Array, alpha: float) -> Array:
    is_positive = x > 0
    return is_positive + alpha * np.exp(np.minimum(x, 0)) * ~is_positive


def _selu(x: Array) -> Array:
    return SELU_SCALE * _elu(x, SELU_ALPHA)


def _selu_derivative(x: Array, y: Array) -> Array:
    return SELU_SCALE * _elu_derivative(x, y, SELU_ALPHA)


def _celu(x: Array, alpha: float) -> Array:
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


def _celu_derivative(x: Array, y: Array, alpha: float) -> Array:
    return np.exp(np.minimum(x, 0) / alpha)


def _threshold(x: Array, threshold: float, default_value: float) -> Array:
    return _select(x > threshold, x, default_value, x)


def _threshold_derivative(x: Array, y: Array, threshold: float, default_value: float) -> Array:
    return _indicator(x > threshold, x)


# --- smooth gates


def _gaussian_cdf(x: Array) -> Array:
    return 0.5 * erfc(x * (-sqrt(0.5)))


def _gelu_tanh(x: Array) -> Array:
    """The inner tanh of the approximate GELU."""
    return np.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))


def _gelu(x: Array, approximate: bool) -> Array:
    """x Phi(x): Hendrycks and Gimpel (2016), https://arxiv.org/abs/1606.08415."""
    if approximate:
        return 0.5 * x * (1 + _gelu_tanh(x))
    return x * _gaussian_cdf(x)


def _gelu_derivative(x: Array, y: Array, approximate: bool) -> Array:
    if approximate:
        gate = _gelu_tanh(x)
        inner_slope = sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x)
        return 0.5 * (1 + gate) + 0.5 * x * (1 - gate * gate) * inner_slope
    density = np.exp(-0.5 * x * x) * (1 / sqrt(2 * pi))
    return _gaussian_cdf(x) + x * density


def _silu(x: Array) -> Array:
    return x * sigmoid(x)


def _silu_derivative(x: Array, y: Array) -> Array:
    gate = sigmoid(x)
    return gate * (1 + x * (1 - gate))


def _mish(x: Array) -> Array:
    """x tanh(softplus(x)): Misra (2019), https://arxiv.org/abs/1908.08681."""
    return x * np.tanh(softplus(x))


def _mish_derivative(x: Array, y: Array) -> Array:
    gate = np.tanh(softplus(x))
    return gate + x * sigmoid(x) * (1 - gate * gate)


def _sigmoid_derivative(x: Array, y: Array) -> Array:
    return y * (1 - y)


def _log_sigmoid(x: Array) -> Array:
    return -softplus(-x)


def _log_sigmoid_derivative(x: Array, y: Array) -> Array:
    return sigmoid(-x)


def _softplus_derivative(x: Array, y: Array) -> Array:
    return sigmoid(x)


def _softsign(x: Array) -> Array:
    return x / (1 + np.abs(x))


def _softsign_derivative(x: Array, y: Array) -> Array:
    return 1 / np.square(1 + np.abs(x))


def _squareplus(x: Array, b: float) -> Array:
    """(x + sqrt(x^2 + b)) / 2: Barron (2021), https://arxiv.org/abs/2112.11687."""
    return 0.5 * (x + np.sqrt(x * x + b))


def _squareplus_derivative(x: Array, y: Array, b: float) -> Array:
    return 0.5 * (1 + x / np.sqrt(x * x + b))


def _exponential(x: Array) -> Array:
    with np.errstate(over="ignore"):  # infinity is the right answer
        return np.exp(x)


def _exponential_derivative(x: Array, y: Array) -> Array:
    return y


def _tanh(x: Array) -> Array:
    return np.tanh(x)


def _tanh_derivative(x: Array, y: Array) -> Array:
    return 1 - y * y


def _tanh_shrink(x: Array) -> Array:
    return x - np.tanh(x)


def _tanh_shrink_derivative(x: Array, y: Array) -> Array:
    return np.square(np.tanh(x))


# --- piecewise polynomials


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x + 3, 0, 6) * (1 / 6)


def _hard_sigmoid_derivative(x: Array, y: Array) -> Array:
    return _select((x > -3) & (x < 3), 1 / 6, 0.0, x)


def _hard_silu(x: Array) -> Array:
    return x * _hard_sigmoid(x)


def _hard_silu_derivative(x: Array, y: Array) -> Array:
    return _hard_sigmoid(x) + x * _hard_sigmoid_derivative(x, y)


def _hard_tanh(x: Array) -> Array:
    return np.clip(x, -1, 1)


def _hard_tanh_derivative(x: Array, y: Array) -> Array:
    return _indicator((x > -1) & (x < 1), x)


def _soft_shrink(x: Array, threshold: float) -> Array:
    return x - np.clip(x, -threshold, threshold)


def _hard_shrink(x: Array, threshold: float) -> Array:
    return _select(np.abs(x) > threshold, x, 0.0, x)


def _shrink_derivative(x: Array, y: Array, threshold: float) -> Array:
    return _indicator(np.abs(x) > threshold, x)


def _sparse_plus(x: Array) -> Array:
    return _select(x >= 1, x, 0.25 * np.square(np.clip(x, -1, 1) + 1), x)


def _sparse_plus_derivative(x: Array, y: Array) -> Array:
    return 0.5 * (np.clip(x, -1, 1) + 1)


def _sparse_sigmoid(x: Array) -> Array:
    return 0.5 * (np.clip(x, -1, 1) + 1)


def _sparse_sigmoid_derivative(x: Array, y: Array) -> Array:
    return _select((x > -1) & (x < 1), 0.5, 0.0, x)


_SILU = Activation(_silu, _silu_derivative)
_HARD_SILU = Activation(_hard_silu, _hard_silu_derivative)

ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(_linear, _linear_derivative),
    "relu": Activation(_relu, _relu_derivative, {"negative_slope": 0.0, "max_value": None, "threshold": 0.0}),
    "relu6": Activation(_relu6, _relu6_derivative),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_derivative, {"negative_slope": 0.2}),
    "elu": Activation(_elu, _elu_derivative, {"alpha": 1.0}),
    "selu": Activation(_selu, _selu_derivative),
    "celu": Activation(_celu, _celu_derivative, {"alpha": 1.0}),
    "threshold": Activation(
        _threshold, _threshold_derivative, {"threshold": REQUIRED, "default_value": REQUIRED}
    ),
    "gelu": Activation(_gelu, _gelu_derivative, {"approximate": False}),
    "silu": _SILU,
    "swish": _SILU,
    "mish": Activation(_mish, _mish_derivative),
    "sigmoid": Activation(sigmoid, _sigmoid_derivative, needs_x=False, needs_y=True),
    "log_sigmoid": Activation(_log_sigmoid, _log_sigmoid_derivative),
    "softplus": Activation(softplus, _softplus_derivative),
    "softsign": Activation(_softsign, _softsign_derivative),
    "squareplus": Activation(_squareplus, _squareplus_derivative, {"b": 4}),
    "exponential": Activation(_exponential, _exponential_derivative, needs_x=False, needs_y=True),
    "tanh": Activation(_tanh, _tanh_derivative, needs_x=False, needs_y=True),
    "tanh_shrink": Activation(_tanh_shrink, _tanh_shrink_derivative),
    "hard_sigmoid": Activation(_hard_sigmoid, _hard_sigmoid_derivative),
    "hard_silu": _HARD_SILU,
    "hard_swish": _HARD_SILU,
    "hard_tanh": Activation(_hard_tanh, _hard_tanh_derivative),
    "soft_shrink": Activation(_soft_shrink, _shrink_derivative, {"threshold": 0.5}),
    "hard_shrink": Activation(_hard_shrink, _shrink_derivative, {"threshold": 0.5}),
    "sparse_plus": Activation(_sparse_plus, _sparse_plus_derivative),
    "sparse_sigmoid": Activation(_sparse_sigmoid, _sparse_sigmoid_derivative),
}


# --- functions of a whole axis: y_i depends on every x_j along it


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x_i) / sum_j exp(x_j) along `axis`; shape and dtype of x."""
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    weights /= weights.sum(axis=axis, keepdims=True)
    return weights


def softmax_grad(y: Array, grad_y: Array, axis: int = -1) -> Array:
    """Gradient of softmax with respect to x: y_i (g_i - sum_j g_j y_j), from its output y."""
    return y * (grad_y - (grad_y * y).sum(axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x_i - log(sum_j exp(x_j)) along `axis`; shape and dtype of x."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_grad(y: Array, grad_y: Array, axis: int = -1) -> Array:
    """Gradient of log_softmax with respect to x: g_i - exp(y_i) sum_j g_j, from its output y."""
    return grad_y - np.exp(y) * grad_y.sum(axis=axis, keepdims=True)


def sparsemax(x: Array, axis: int = -1) -> Array:
    """The point of the simplex nearest to x along `axis`; shape and dtype of x.

    Source: Martins and Astudillo (2016), https://arxiv.org/abs/1602.02068, algorithm 1.
    """
    descending = -np.sort(-x, axis=axis)
    excess = np.cumsum(descending, axis=axis, dtype=x.dtype) - 1
    counts = np.arange(1, x.shape[axis] + 1, dtype=x.dtype)
    counts = np.expand_dims(counts, tuple(a for a in range(x.ndim) if a != axis % x.ndim))
    support = (descending * counts > excess).sum(axis=axis, keepdims=True)
    tau = np.take_along_axis(excess, support - 1, axis=axis) / support.astype(x.dtype)
    return np.maximum(x - tau, 0)


def sparsemax_grad(y: Array, grad_y: Array, axis: int = -1) -> Array:
    """Gradient of sparsemax with respect to x: g minus its mean over the support of y, zero outside it."""
    support = _indicator(y > 0, y)
    mean = (grad_y * support).sum(axis=axis, keepdims=True) / support.sum(axis=axis, keepdims=True)
    return support * (grad_y - mean)
