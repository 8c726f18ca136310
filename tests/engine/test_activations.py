"""Activation functions: derivatives against central differences, dtypes, extremes, erf against math.erf."""

import math
import warnings

import numpy as np
import pytest

from kernelearn.engine.reference.activations import (
    ACTIVATIONS,
    log_softmax,
    log_softmax_grad,
    softmax,
    softmax_grad,
    sparsemax,
    sparsemax_grad,
)
from kernelearn.engine.reference.special import erf, erfc

SETTINGS = [
    *[(name, {}) for name in ACTIVATIONS if name != "threshold"],
    ("threshold", {"threshold": 0.35, "default_value": -2.0}),
    ("relu", {"negative_slope": 0.25, "max_value": 1.5, "threshold": 0.35}),
    ("relu", {"max_value": 2.0}),
    ("leaky_relu", {"negative_slope": 0.01}),
    ("elu", {"alpha": 1.7}),
    ("celu", {"alpha": 0.6}),
    ("gelu", {"approximate": True}),
    ("squareplus", {"b": 1}),
    ("soft_shrink", {"threshold": 0.2}),
    ("hard_shrink", {"threshold": 0.2}),
]
AXIS_FUNCTIONS = [(softmax, softmax_grad), (log_softmax, log_softmax_grad), (sparsemax, sparsemax_grad)]


@pytest.mark.parametrize(("name", "attrs"), SETTINGS)
def test_derivative_is_the_slope(name, attrs):
    x = np.random.default_rng(0).uniform(-8, 8, 400).reshape(20, 20)
    activation, step = ACTIVATIONS[name], 1e-6
    slope = (activation.forward(x + step, **attrs) - activation.forward(x - step, **attrs)) / (2 * step)
    derivative = activation.derivative(x, activation.forward(x, **attrs), **attrs)
    np.testing.assert_allclose(derivative, slope, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize(("name", "attrs"), SETTINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_extremes_give_no_warning(name, attrs, dtype):
    x = np.array([-1e4, -90.0, -1.0, 0.0, 1.0, 90.0, 1e4], dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = ACTIVATIONS[name].forward(x, **attrs)
        slope = ACTIVATIONS[name].derivative(x, y, **attrs)
    assert y.dtype == slope.dtype == x.dtype
    assert not np.isnan(y).any() and not np.isnan(slope).any()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_declared_needs_are_enough(name):
    attrs = {"threshold": 0.35, "default_value": -2.0} if name == "threshold" else {}
    activation = ACTIVATIONS[name]
    x = np.linspace(-2, 2, 9)
    y = activation.forward(x, **attrs)
    part = activation.derivative(
        x if activation.needs_x else None, y if activation.needs_y else None, **attrs
    )
    np.testing.assert_array_equal(part, activation.derivative(x, y, **attrs))


@pytest.mark.parametrize(
    "name", sorted(set(ACTIVATIONS) - {"threshold", "hard_shrink", "relu6", "hard_tanh"})
)
def test_nan_stays_visible(name):
    y = ACTIVATIONS[name].forward(np.array([np.nan, 1.0]))
    assert np.isnan(y[0]) and not np.isnan(y[1])


@pytest.mark.parametrize(("forward", "gradient"), AXIS_FUNCTIONS)
@pytest.mark.parametrize("axis", [-1, 1])
def test_axis_functions_have_the_right_gradient(forward, gradient, axis):
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5, 4))
    result = gradient(forward(x, axis), g, axis)
    for index in [(0, 0, 0), (1, 3, 2), (2, 4, 3)]:
        step = np.zeros_like(x)
        step[index] = 1e-6
        slope = np.sum(g * (forward(x + step, axis) - forward(x - step, axis))) / 2e-6
        assert result[index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    x = np.random.default_rng(2).normal(size=(50, 6))
    y = sparsemax(x)
    np.testing.assert_allclose(y.sum(-1), 1)
    # Optimality: x - y is one number on the support, and x is not above it elsewhere.
    tau = np.max(np.where(y > 0, x - y, -np.inf), axis=-1, keepdims=True)
    np.testing.assert_allclose(np.where(y > 0, x - y, tau), np.broadcast_to(tau, x.shape))
    assert np.all(np.where(y > 0, tau, x) <= tau)
    assert np.any(np.count_nonzero(y, axis=-1) > 1)


@pytest.mark.parametrize(("forward", "gradient"), AXIS_FUNCTIONS)
def test_axis_functions_keep_float32_and_survive_large_logits(forward, gradient):
    x = np.array([[1e4, -1e4, 0.0], [3.0, 3.0, 3.0]], dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = forward(x)
        back = gradient(y, np.ones_like(x))
    assert y.dtype == back.dtype == np.float32
    assert np.isfinite(y).all() and np.isfinite(back).all()


def test_erf_agrees_with_the_c_library():
    x = np.concatenate([np.linspace(-30, 30, 6001), [0.46875, 0.5, 4.0, 4.0000001, -4.0, 0.0]])
    expected = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), expected, rtol=4e-16, atol=0)
    tail = np.array([math.erfc(v) for v in x])
    np.testing.assert_allclose(erfc(x), tail, rtol=2e-15, atol=1e-307)


def test_erf_keeps_float32_nan_and_infinity():
    x = np.array([0.3, 2.0, 5.0, np.nan, np.inf, -np.inf], dtype="float32")
    assert erf(x).dtype == erfc(x).dtype == np.float32
    np.testing.assert_array_equal(erf(x)[3:], [np.nan, 1, -1])
    np.testing.assert_array_equal(erfc(x)[3:], [np.nan, 0, 2])
