"""Activation functions on vectors and their gradients, kind by kind as in `engine.reference.activations`.

ACTIVATIONS: kind -> (forward(k, x, attrs), gradient(k, g, x, y, attrs) = g times the derivative). Where the
reference needs only the output y for the derivative, x may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.reference.activations import SELU_ALPHA, SELU_SCALE

Attrs = Mapping[str, Any]
Forward = Callable[[Kernel, Value, Attrs], Value]
Gradient = Callable[[Kernel, Value, Value, Value, Attrs], Value]


def _times(derivative: Callable[[Kernel, Value, Value, Attrs], Value]) -> Gradient:
    """The gradient of a derivative(k, x, y, attrs)."""
    return lambda k, g, x, y, a: k.mul(g, derivative(k, x, y, a))


def _within(k: Kernel, x: Value, low: float, high: float) -> Value:
    """Where low < x < high."""
    above, below = k.test("ogt", x, k.constant(low)), k.test("olt", x, k.constant(high))
    return above & below


def _one_minus(k: Kernel, x: Value) -> Value:
    return k.sub(k.constant(1.0), x)


def _one_minus_square(k: Kernel, x: Value) -> Value:
    """1 - x^2, as a product that does not cancel."""
    return k.mul(_one_minus(k, x), k.add(k.constant(1.0), x))


# --- the ReLU family


def _relu(k: Kernel, x: Value, attrs: Attrs) -> Value:
    limit, slope, threshold = attrs["max_value"], attrs["negative_slope"], attrs["threshold"]
    if not slope and not threshold:
        y = k.larger(x, k.zero)
    else:
        below = k.mul(k.sub(x, k.constant(threshold)), k.constant(slope))
        y = k.select(k.test("ogt", x, k.constant(threshold)), x, below)
    return y if limit is None else k.smaller(y, k.constant(limit))


def _relu_grad(k: Kernel, g: Value, x: Value, y: Value, attrs: Attrs) -> Value:
    limit, slope, threshold = attrs["max_value"], attrs["negative_slope"], attrs["threshold"]
    # NOTE: a product, not a choice between g and 0: a NaN in g must not vanish.
    factor = k.select(k.test("ogt", x, k.constant(threshold)), k.constant(1.0), k.constant(slope))
    if limit is not None:
        factor = k.select(k.test("olt", x, k.constant(limit)), factor, k.zero)
    return k.mul(g, factor)


def _leaky(attrs: Attrs) -> Attrs:
    """The attributes of the ReLU that a leaky one is."""
    return {**attrs, "max_value": None, "threshold": 0.0}


def _exponential_unit(k: Kernel, x: Value, alpha: float, scale: float = 1.0, inner: float = 1.0) -> Value:
    """scale x where positive, scale alpha (e^(x / inner) - 1) elsewhere."""
    negative = x if inner == 1.0 else k.div(x, k.constant(inner))
    below = k.mul(k.constant(scale * alpha), fn.expm1(k.smaller(negative, k.zero)))
    above = x if scale == 1.0 else k.mul(x, k.constant(scale))
    return k.select(k.test("ogt", x, k.zero), above, below)


def _exponential_unit_slope(
    k: Kernel, x: Value, alpha: float, scale: float = 1.0, inner: float = 1.0
) -> Value:
    negative = x if inner == 1.0 else k.div(x, k.constant(inner))
    below = k.mul(k.constant(scale * alpha / inner), fn.exp(k.smaller(negative, k.zero)))
    return k.select(k.test("ogt", x, k.zero), k.constant(scale), below)


def _alpha(attrs: Attrs) -> float:
    return float(attrs["alpha"])


def _threshold(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.select(k.test("ogt", x, k.constant(a["threshold"])), x, k.constant(a["default_value"]))


def _threshold_grad(k: Kernel, g: Value, x: Value, y: Value, a: Attrs) -> Value:
    return k.select(k.test("ogt", x, k.constant(a["threshold"])), g, k.mul(g, k.zero))


# --- smooth gates


def _gelu_inner(k: Kernel, x: Value) -> Value:
    """Twice the argument of the tanh of the approximate GELU: (1 + tanh(u)) / 2 is sigmoid(2 u)."""
    cube = k.mul(k.mul(k.mul(k.constant(0.044715), x), x), x)
    return k.mul(k.constant(2 * math.sqrt(2 / math.pi)), k.add(x, cube))


def _gelu(k: Kernel, x: Value, a: Attrs) -> Value:
    if a.get("approximate"):
        return k.mul(x, fn.sigmoid(_gelu_inner(k, x)))
    return k.mul(x, fn.gaussian_cdf(x))


def _gelu_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    if a.get("approximate"):
        gate, rest = fn.sigmoids(_gelu_inner(k, x))
        factor = 2 * math.sqrt(2 / math.pi)
        inner_slope = k.fma(k.mul(x, x), k.constant(factor * 3 * 0.044715), k.constant(factor))
        return k.fma(k.mul(x, k.mul(gate, rest)), inner_slope, gate)
    size = k.smaller(fn.absolute(x), k.constant(15.0))
    density = k.mul(fn.exp_minus_square(size, 0.5), k.constant(1 / math.sqrt(2 * math.pi)))
    return k.fma(x, density, fn.gaussian_cdf(x))


def _silu(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.mul(x, fn.sigmoid(x))


def _silu_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    gate, rest = fn.sigmoids(x)
    return k.mul(gate, k.fma(x, rest, k.constant(1.0)))


def _mish(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.mul(x, fn.tanh(fn.softplus(x)))


def _mish_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    gate = fn.tanh(fn.softplus(x))
    return k.fma(k.mul(x, fn.sigmoid(x)), _one_minus_square(k, gate), gate)


def _sigmoid(k: Kernel, x: Value, a: Attrs) -> Value:
    return fn.sigmoid(x)


def _minus_softplus_of_minus(k: Kernel, x: Value, a: Attrs) -> Value:
    return -fn.softplus(-x)


def _softsign(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.div(x, k.add(k.constant(1.0), fn.absolute(x)))


def _softsign_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    inverse = k.div(k.constant(1.0), k.add(k.constant(1.0), fn.absolute(x)))
    return k.mul(inverse, inverse)


def _squareplus_root(k: Kernel, x: Value, a: Attrs) -> Value:
    return fn.sqrt(k.fma(x, x, k.constant(a.get("b", 4))))


def _squareplus(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.mul(k.constant(0.5), k.add(x, _squareplus_root(k, x, a)))


def _squareplus_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    return k.mul(k.constant(0.5), k.add(k.constant(1.0), k.div(x, _squareplus_root(k, x, a))))


def _tanh_shrink(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.sub(x, fn.tanh(x))


def _tanh_shrink_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    gate = fn.tanh(x)
    return k.mul(gate, gate)


# --- piecewise polynomials


def _hard_sigmoid(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.mul(fn.clip(k.add(x, k.constant(3.0)), 0.0, 6.0), k.constant(1 / 6))


def _step(k: Kernel, x: Value, low: float, high: float, height: float = 1.0) -> Value:
    """`height` between low and high, else 0."""
    return k.select(_within(k, x, low, high), k.constant(height), k.zero)


def _hard_silu(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.mul(x, _hard_sigmoid(k, x, a))


def _hard_silu_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    return k.add(_hard_sigmoid(k, x, a), k.mul(x, _step(k, x, -3.0, 3.0, 1 / 6)))


def _shrink_threshold(a: Attrs) -> float:
    return float(a.get("threshold", 0.5))


def _soft_shrink(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.sub(x, fn.clip(x, -_shrink_threshold(a), _shrink_threshold(a)))


def _is_outside(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.test("ogt", fn.absolute(x), k.constant(_shrink_threshold(a)))


def _hard_shrink(k: Kernel, x: Value, a: Attrs) -> Value:
    return k.select(_is_outside(k, x, a), x, k.zero)


def _shrink_derivative(k: Kernel, x: Value, y: Value, a: Attrs) -> Value:
    return k.select(_is_outside(k, x, a), k.constant(1.0), k.zero)


def _ramp(k: Kernel, x: Value) -> Value:
    """0 below -1, 1 above 1, straight between."""
    return k.mul(k.constant(0.5), k.add(fn.clip(x, -1.0, 1.0), k.constant(1.0)))


def _sparse_plus(k: Kernel, x: Value, a: Attrs) -> Value:
    ramp = _ramp(k, x)
    return k.select(k.test("oge", x, k.constant(1.0)), x, k.mul(ramp, ramp))


_SILU: tuple[Forward, Gradient] = (_silu, _times(_silu_derivative))
_HARD_SILU: tuple[Forward, Gradient] = (_hard_silu, _times(_hard_silu_derivative))

ACTIVATIONS: dict[str, tuple[Forward, Gradient]] = {
    "linear": (lambda k, x, a: x, lambda k, g, x, y, a: g),
    "relu": (_relu, _relu_grad),
    "relu6": (
        lambda k, x, a: fn.clip(x, 0.0, 6.0),
        lambda k, g, x, y, a: k.mul(g, _step(k, x, 0.0, 6.0)),
    ),
    "leaky_relu": (
        lambda k, x, a: _relu(k, x, _leaky(a)),
        lambda k, g, x, y, a: _relu_grad(k, g, x, y, _leaky(a)),
    ),
    "elu": (
        lambda k, x, a: _exponential_unit(k, x, _alpha(a)),
        _times(lambda k, x, y, a: _exponential_unit_slope(k, x, _alpha(a))),
    ),
    "selu": (
        lambda k, x, a: _exponential_unit(k, x, SELU_ALPHA, SELU_SCALE),
        _times(lambda k, x, y, a: _exponential_unit_slope(k, x, SELU_ALPHA, SELU_SCALE)),
    ),
    "celu": (
        lambda k, x, a: _exponential_unit(k, x, _alpha(a), inner=_alpha(a)),
        _times(lambda k, x, y, a: _exponential_unit_slope(k, x, _alpha(a), inner=_alpha(a))),
    ),
    "threshold": (_threshold, _threshold_grad),
    "gelu": (_gelu, _times(_gelu_derivative)),
    "silu": _SILU,
    "swish": _SILU,
    "mish": (_mish, _times(_mish_derivative)),
    "sigmoid": (_sigmoid, _times(lambda k, x, y, a: k.mul(y, _one_minus(k, y)))),
    "log_sigmoid": (
        _minus_softplus_of_minus,
        _times(lambda k, x, y, a: fn.sigmoid(-x)),
    ),
    "softplus": (lambda k, x, a: fn.softplus(x), _times(lambda k, x, y, a: fn.sigmoid(x))),
    "softsign": (_softsign, _times(_softsign_derivative)),
    "squareplus": (_squareplus, _times(_squareplus_derivative)),
    "exponential": (lambda k, x, a: fn.exp(x), _times(lambda k, x, y, a: y)),
    "tanh": (lambda k, x, a: fn.tanh(x), _times(lambda k, x, y, a: _one_minus_square(k, y))),
    "tanh_shrink": (_tanh_shrink, _times(_tanh_shrink_derivative)),
    "hard_sigmoid": (_hard_sigmoid, _times(lambda k, x, y, a: _step(k, x, -3.0, 3.0, 1 / 6))),
    "hard_silu": _HARD_SILU,
    "hard_swish": _HARD_SILU,
    "hard_tanh": (
        lambda k, x, a: fn.clip(x, -1.0, 1.0),
        _times(lambda k, x, y, a: _step(k, x, -1.0, 1.0)),
    ),
    "soft_shrink": (_soft_shrink, _times(_shrink_derivative)),
    "hard_shrink": (_hard_shrink, _times(_shrink_derivative)),
    "sparse_plus": (_sparse_plus, _times(lambda k, x, y, a: _ramp(k, x))),
    "sparse_sigmoid": (
        lambda k, x, a: _ramp(k, x),
        _times(lambda k, x, y, a: _step(k, x, -1.0, 1.0, 0.5)),
    ),
}
