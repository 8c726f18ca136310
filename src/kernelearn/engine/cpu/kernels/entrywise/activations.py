"""Activation functions on vectors and their gradients, kind by kind as in `engine.reference.activations`.

ACTIVATIONS: kind -> (forward(x, attrs), gradient(g, x, y, attrs) = g times the derivative). Where the
reference needs only the output y for the derivative, x may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.reference.activations import SELU_ALPHA, SELU_SCALE

Attrs = Mapping[str, Any]
Forward = Callable[[Value, Attrs], Value]
Gradient = Callable[[Value, Value, Value, Attrs], Value]


def _times(derivative: Callable[[Value, Value, Attrs], Value]) -> Gradient:
    """The gradient of a derivative(x, y, attrs)."""
    return lambda g, x, y, a: g * derivative(x, y, a)


def _within(x: Value, low: float, high: float) -> Value:
    """Where low < x < high."""
    return (x > low) & (x < high)


def _one_minus_square(x: Value) -> Value:
    """1 - x^2, as a product that does not cancel."""
    return (1.0 - x) * (1.0 + x)


# --- the ReLU family


def _relu_parts(attrs: Attrs) -> tuple[float | None, float, float]:
    limit = attrs["max_value"]
    return None if limit is None else float(limit), float(attrs["negative_slope"]), float(attrs["threshold"])


def _relu(x: Value, attrs: Attrs) -> Value:
    limit, slope, threshold = _relu_parts(attrs)
    if not slope and not threshold:
        y = fn.larger(x, x.kernel.zero)
    else:
        below = (x - threshold) * slope
        y = (x > threshold).choose(x, below)
    return y if limit is None else fn.smaller(y, limit)


def _relu_grad(g: Value, x: Value, y: Value, attrs: Attrs) -> Value:
    limit, slope, threshold = _relu_parts(attrs)
    # NOTE: a product, not a choice between g and 0: a NaN in g must not vanish.
    factor = (x > threshold).choose(x.kernel.constant(1.0), slope)
    if limit is not None:
        factor = (x < limit).choose(factor, x.kernel.zero)
    return g * factor


def _leaky(attrs: Attrs) -> Attrs:
    """The attributes of the ReLU that a leaky one is."""
    return {**attrs, "max_value": None, "threshold": 0.0}


def _exponential_unit(x: Value, alpha: float, scale: float = 1.0, inner: float = 1.0) -> Value:
    """scale x where positive, scale alpha (e^(x / inner) - 1) elsewhere."""
    zero = x.kernel.zero
    negative = x if inner == 1.0 else x / inner
    below = scale * alpha * fn.expm1(fn.smaller(negative, zero))
    above = x if scale == 1.0 else x * scale
    return (x > zero).choose(above, below)


def _exponential_unit_slope(x: Value, alpha: float, scale: float = 1.0, inner: float = 1.0) -> Value:
    zero = x.kernel.zero
    negative = x if inner == 1.0 else x / inner
    below = scale * alpha / inner * fn.exp(fn.smaller(negative, zero))
    return (x > zero).choose(scale, below)


def _alpha(attrs: Attrs) -> float:
    return float(attrs["alpha"])


def _threshold(x: Value, a: Attrs) -> Value:
    return (x > float(a["threshold"])).choose(x, float(a["default_value"]))


def _threshold_grad(g: Value, x: Value, y: Value, a: Attrs) -> Value:
    return (x > float(a["threshold"])).choose(g, g * g.kernel.zero)


# --- smooth gates


def _gelu_inner(x: Value) -> Value:
    """Twice the argument of the tanh of the approximate GELU: (1 + tanh(u)) / 2 is sigmoid(2 u)."""
    cube = 0.044715 * x * x * x
    return 2 * math.sqrt(2 / math.pi) * (x + cube)


def _gelu(x: Value, a: Attrs) -> Value:
    if a.get("approximate"):
        return x * fn.sigmoid(_gelu_inner(x))
    return x * fn.gaussian_cdf(x)


def _gelu_derivative(x: Value, y: Value, a: Attrs) -> Value:
    if a.get("approximate"):
        gate, rest = fn.sigmoids(_gelu_inner(x))
        factor = 2 * math.sqrt(2 / math.pi)
        inner_slope = fn.fma(x * x, factor * 3 * 0.044715, factor)
        return fn.fma(x * (gate * rest), inner_slope, gate)
    below, bell = fn.gaussian(x)
    return fn.fma(x, bell * (1 / math.sqrt(2 * math.pi)), below)


def _silu(x: Value, a: Attrs) -> Value:
    return x * fn.sigmoid(x)


def _silu_derivative(x: Value, y: Value, a: Attrs) -> Value:
    gate, rest = fn.sigmoids(x)
    return gate * fn.fma(x, rest, 1.0)


def _mish(x: Value, a: Attrs) -> Value:
    return x * fn.tanh(fn.softplus(x))


def _mish_derivative(x: Value, y: Value, a: Attrs) -> Value:
    gate = fn.tanh(fn.softplus(x))
    return fn.fma(x * fn.sigmoid(x), _one_minus_square(gate), gate)


def _softsign(x: Value, a: Attrs) -> Value:
    return x / (1.0 + fn.absolute(x))


def _softsign_derivative(x: Value, y: Value, a: Attrs) -> Value:
    inverse = 1.0 / (1.0 + fn.absolute(x))
    return inverse * inverse


def _squareplus_root(x: Value, a: Attrs) -> Value:
    return fn.sqrt(fn.fma(x, x, a.get("b", 4)))


def _squareplus(x: Value, a: Attrs) -> Value:
    return 0.5 * (x + _squareplus_root(x, a))


def _squareplus_derivative(x: Value, y: Value, a: Attrs) -> Value:
    return 0.5 * (1.0 + x / _squareplus_root(x, a))


def _tanh_shrink(x: Value, a: Attrs) -> Value:
    return x - fn.tanh(x)


def _tanh_shrink_derivative(x: Value, y: Value, a: Attrs) -> Value:
    gate = fn.tanh(x)
    return gate * gate


# --- piecewise polynomials


def _hard_sigmoid(x: Value, a: Attrs) -> Value:
    return fn.clip(x + 3.0, 0.0, 6.0) * (1 / 6)


def _step(x: Value, low: float, high: float, height: float = 1.0) -> Value:
    """`height` between low and high, else 0."""
    return _within(x, low, high).choose(height, x.kernel.zero)


def _hard_silu(x: Value, a: Attrs) -> Value:
    return x * _hard_sigmoid(x, a)


def _hard_silu_derivative(x: Value, y: Value, a: Attrs) -> Value:
    return _hard_sigmoid(x, a) + x * _step(x, -3.0, 3.0, 1 / 6)


def _shrink_threshold(a: Attrs) -> float:
    return float(a.get("threshold", 0.5))


def _soft_shrink(x: Value, a: Attrs) -> Value:
    return x - fn.clip(x, -_shrink_threshold(a), _shrink_threshold(a))


def _is_outside(x: Value, a: Attrs) -> Value:
    return fn.absolute(x) > _shrink_threshold(a)


def _hard_shrink(x: Value, a: Attrs) -> Value:
    return _is_outside(x, a).choose(x, x.kernel.zero)


def _shrink_derivative(x: Value, y: Value, a: Attrs) -> Value:
    return _is_outside(x, a).choose(1.0, x.kernel.zero)


def _ramp(x: Value) -> Value:
    """0 below -1, 1 above 1, straight between."""
    return 0.5 * (fn.clip(x, -1.0, 1.0) + 1.0)


def _sparse_plus(x: Value, a: Attrs) -> Value:
    ramp = _ramp(x)
    return (x >= 1.0).choose(x, ramp * ramp)


_SILU: tuple[Forward, Gradient] = (_silu, _times(_silu_derivative))
_HARD_SILU: tuple[Forward, Gradient] = (_hard_silu, _times(_hard_silu_derivative))

ACTIVATIONS: dict[str, tuple[Forward, Gradient]] = {
    "linear": (lambda x, a: x, lambda g, x, y, a: g),
    "relu": (_relu, _relu_grad),
    "relu6": (lambda x, a: fn.clip(x, 0.0, 6.0), _times(lambda x, y, a: _step(x, 0.0, 6.0))),
    "leaky_relu": (
        lambda x, a: _relu(x, _leaky(a)),
        lambda g, x, y, a: _relu_grad(g, x, y, _leaky(a)),
    ),
    "elu": (
        lambda x, a: _exponential_unit(x, _alpha(a)),
        _times(lambda x, y, a: _exponential_unit_slope(x, _alpha(a))),
    ),
    "selu": (
        lambda x, a: _exponential_unit(x, SELU_ALPHA, SELU_SCALE),
        _times(lambda x, y, a: _exponential_unit_slope(x, SELU_ALPHA, SELU_SCALE)),
    ),
    "celu": (
        lambda x, a: _exponential_unit(x, _alpha(a), inner=_alpha(a)),
        _times(lambda x, y, a: _exponential_unit_slope(x, _alpha(a), inner=_alpha(a))),
    ),
    "threshold": (_threshold, _threshold_grad),
    "gelu": (_gelu, _times(_gelu_derivative)),
    "silu": _SILU,
    "swish": _SILU,
    "mish": (_mish, _times(_mish_derivative)),
    "sigmoid": (lambda x, a: fn.sigmoid(x), _times(lambda x, y, a: y * (1.0 - y))),
    "log_sigmoid": (lambda x, a: -fn.softplus(-x), _times(lambda x, y, a: fn.sigmoid(-x))),
    "softplus": (lambda x, a: fn.softplus(x), _times(lambda x, y, a: fn.sigmoid(x))),
    "softsign": (_softsign, _times(_softsign_derivative)),
    "squareplus": (_squareplus, _times(_squareplus_derivative)),
    "exponential": (lambda x, a: fn.exp(x), _times(lambda x, y, a: y)),
    "tanh": (lambda x, a: fn.tanh(x), _times(lambda x, y, a: _one_minus_square(y))),
    "tanh_shrink": (_tanh_shrink, _times(_tanh_shrink_derivative)),
    "hard_sigmoid": (_hard_sigmoid, _times(lambda x, y, a: _step(x, -3.0, 3.0, 1 / 6))),
    "hard_silu": _HARD_SILU,
    "hard_swish": _HARD_SILU,
    "hard_tanh": (lambda x, a: fn.clip(x, -1.0, 1.0), _times(lambda x, y, a: _step(x, -1.0, 1.0))),
    "soft_shrink": (_soft_shrink, _times(_shrink_derivative)),
    "hard_shrink": (_hard_shrink, _times(_shrink_derivative)),
    "sparse_plus": (_sparse_plus, _times(lambda x, y, a: _ramp(x))),
    "sparse_sigmoid": (lambda x, a: _ramp(x), _times(lambda x, y, a: _step(x, -1.0, 1.0, 0.5))),
}
