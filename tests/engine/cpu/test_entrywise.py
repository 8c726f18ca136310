"""Compiled activations and other operators entry by entry against the float64 reference."""

import numpy as np
import pytest

from kernelearn.engine.reference.activations import ACTIVATIONS
from tests.engine.cpu.harness import TARGETS, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages

# Attributes besides the defaults.
VARIANTS = {
    "relu": [{"negative_slope": 0.1}, {"max_value": 1.0}, {"threshold": 0.5, "negative_slope": 0.3}],
    "leaky_relu": [{"negative_slope": 0.01}],
    "elu": [{"alpha": 0.5}],
    "celu": [{"alpha": 2.0}, {"alpha": 0.25}],
    "threshold": [{"threshold": 0.25, "default_value": -1.0}],
    "gelu": [{"approximate": True}],
    "squareplus": [{"b": 0.5}],
    "soft_shrink": [{"threshold": 0.75}],
    "hard_shrink": [{"threshold": 0.0}],
}
KINDS = [(kind, attrs) for kind in ACTIVATIONS for attrs in [{}, *VARIANTS.get(kind, [])]]
KINDS.remove(("threshold", {}))
# Sums of terms that cancel, for negative x: their rounding is as large as that of the terms.
CANCELLING = {"tanh_shrink", "squareplus"}


def name(given) -> str:
    return f"{given[0]}-{'-'.join(given[1])}"


def arguments() -> np.ndarray:
    """From tiny to large, both signs, and the kinks; 3 images."""
    rng = np.random.default_rng(0)
    small = rng.normal(size=600) * np.exp(rng.uniform(-12, 0, 600))
    plain = rng.uniform(-12, 12, 600)
    kinks = [0.0, -0.0, 1, -1, 3, -3, 6, -6, 0.5, -0.5, 0.25, 0.75, -0.75, 20, -20, 90, -90, 1e-40]
    return np.concatenate([small, plain, kinks]).astype("float32").reshape(3, -1)


def bound_by_entry(ulps: float):
    """Errors relative to each expected entry, not to the largest one."""

    def bound(inputs, wide):
        unit = 2 * ulps * 2.0**-24
        return [unit * (np.abs(e) + 2.0**-126) for e in wide]

    return bound


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("given", KINDS, ids=name)
def test_an_activation_keeps_its_precision_for_small_and_large_arguments(given, target):
    kind, attrs = given
    # NOTE: the reference's approximate GELU is 1 + tanh(u), which cancels even in float64.
    cancels = kind in CANCELLING or "approximate" in attrs
    bound = None if cancels else bound_by_entry(12)
    x = np.minimum(arguments(), 88)
    check(Problem("activation", (x,), {"kind": kind, **attrs}, bound=bound, ulps=2), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("given", KINDS, ids=name)
def test_the_gradient_of_an_activation(given, target):
    kind, attrs = given
    x = np.clip(arguments(), -80, 80)
    with np.errstate(all="ignore"):
        y = ACTIVATIONS[kind].forward(x, **attrs)
    # NOTE: the largest output of the exponential would hide all other errors.
    x, y = (x[:, :100], y[:, :100]) if kind == "exponential" else (x, y)
    grad = np.random.default_rng(1).uniform(0.5, 2, x.shape).astype("float32")
    check(Problem("activation_grad", (grad, x, y), {"kind": kind, **attrs}, ulps=4), target)


@pytest.mark.parametrize("given", KINDS, ids=name)
def test_an_activation_does_not_hide_nan(given):
    kind, attrs = given
    x = np.random.default_rng(0).normal(size=(2, 21)).astype("float32")
    x[0, ::5] = np.nan
    check_special(Problem("activation", (x,), {"kind": kind, **attrs}))
    if ACTIVATIONS[kind].needs_x:
        check_special(Problem("activation_grad", (x[::-1].copy(), x, x), {"kind": kind, **attrs}))


@pytest.mark.parametrize("operator", ["maximum", "minimum", "multiply", "add", "subtract"])
def test_an_operator_of_two_tensors_does_not_hide_nan(operator):
    x, y = np.random.default_rng(0).normal(size=(2, 2, 21)).astype("float32")
    x[0, 3], y[1, 4], x[1, 5], y[0, 6] = np.nan, np.nan, np.inf, -np.inf
    check_special(Problem(operator, (x, y)))


def others() -> list[Problem]:
    """The rest of the table, with an odd number of channels and with more than fit into registers."""
    result = []
    for shape in ((3, 2, 5), (2, 3, 4, 37), (2, 1, 700)):
        rng = np.random.default_rng(shape)
        x, y, g = (rng.normal(size=shape).astype("float32") for _ in range(3))
        x[0, 0, :2] = y[0, 0, :2]
        row = rng.uniform(0.1, 1, shape[-1]).astype("float32")
        statistics, attrs = (row, row[::-1].copy()), {"epsilon": 1e-3}
        result += [
            Problem("prelu", (x, row), ulps=2),
            Problem("prelu_grad_input", (g, x, row), ulps=2),
            Problem("prelu_grad_alpha", (g, x), ulps=2),
            Problem("extreme_grad", (g, x, y, np.maximum(x, y)), ulps=2),
            Problem("standardize", (x, *statistics), attrs, ulps=8),
            Problem("standardize_grad", (g, row), attrs, ulps=8),
            Problem("unstandardize", (x, *statistics), attrs, ulps=8, weights=(1, 2)),
            Problem("unstandardize_grad", (g, row), attrs, ulps=8, weights=(1,)),
            Problem("penalty_grad", (np.array(1.5), x), {"l1": 0.1, "l2": 0.3}, ulps=4),
            Problem("clip_by_value", (x,), {"limit": 0.3}, ulps=1),
            Problem("moving_average", (row, row[::-1].copy()), {"momentum": 0.99}, ulps=2),
        ]
    return result


@pytest.mark.parametrize("target", TARGETS)
def test_other_operators(target):
    for problem in others():
        check(problem, target)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_entrywise_operator_leaves_its_buffers(target):
    check_guarded(others(), target)
