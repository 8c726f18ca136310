"""Compiled optimisers, moving averages, clipping and constraints against the float64 reference."""

import numpy as np
import pytest

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.updates import UPDATES
from tests.engine.cases import normal
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages

# Smaller and larger than a vector, a block and an unrolled turn, and none of them.
SHAPES = [(1,), (3,), (17,), (3, 5, 7), (8192,), (2, 4099)]
# Operator -> slots and attributes.
VARIANTS = [
    ("sgd_update", 0, {}),
    ("sgd_update", 1, {"momentum": 0.9}),
    ("sgd_update", 1, {"momentum": 0.9, "nesterov": True}),
    ("sgd_update", 1, {"momentum": 0.9, "weight_decay": 0.01, "multiplier": 0.5}),
    ("adam_update", 2, {}),
    ("adam_update", 2, {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "weight_decay": 0.004}),
    ("adam_update", 3, {"amsgrad": True, "multiplier": 3.0}),
    ("rmsprop_update", 1, {}),
    ("rmsprop_update", 2, {"momentum": 0.9}),
    ("rmsprop_update", 2, {"centered": True, "epsilon": 1e-3}),
    ("rmsprop_update", 3, {"centered": True, "momentum": 0.7, "epsilon": 1e-3, "weight_decay": 0.1}),
    ("adagrad_update", 1, {"weight_decay": 0.02}),
    ("adadelta_update", 2, {"rho": 0.9}),
    ("adamax_update", 2, {"weight_decay": 0.02}),
    ("nadam_update", 2, {"weight_decay": 0.02, "multiplier": 0.3}),
    ("lion_update", 1, {"weight_decay": 0.02}),
    ("ftrl_update", 2, {"l1_regularization_strength": 0.4, "beta": 0.5, "weight_decay": 0.02}),
    ("ftrl_update", 2, {"learning_rate_power": -0.7, "l2_shrinkage_regularization_strength": 0.1}),
    ("lamb_update", 2, {"weight_decay": 0.02, "multiplier": 0.5}),
    ("lamb_update", 2, {"every": 2}),
    ("schedule_free_adamw_update", 2, {"weight_decay": 0.02}),
    ("schedule_free_adamw_update", 2, {"warmup_steps": 5, "every": 3}),
    ("adam_update", 2, {"every": 3, "weight_decay": 0.02}),
    ("nadam_update", 2, {"every": 3}),
    ("adam_update", 2, {"every": 2, "amsgrad": False}),
    ("nadam_update", 2, {"every": 2, "weight_decay": 0.02}),
]


def test_every_optimiser_is_tried():
    by_entries = {name for name, update in UPDATES.items() if update.whole is None}
    assert {operator for operator, _, _ in VARIANTS} == by_entries


def problem(operator: str, slots: int, attrs: dict, shape=(3, 5, 7), step: int = 3) -> Problem:
    """One step of an optimiser from slots that a few steps may have left."""
    param, grad = normal(*shape), normal(*shape, seed=1)
    # NOTE: mean squares that hold the square of the mean: a centred variance that cancels is all rounding.
    carried = [1.5 + np.abs(normal(*shape, seed=2 + i)) for i in range(slots)]
    if attrs.get("centered"):
        carried[-1] = 0.1 * normal(*shape, seed=9)
    if operator == "nadam_update":
        carried.append(np.array(0.75))
    arrays = (param, grad, np.array(0.0123), np.array(step), *carried)
    # NOTE: what FTRL takes the difference of is as large as 1 / learning rate.
    ulps = 512 if operator == "ftrl_update" else 8
    return Problem(operator, arrays, attrs, ulps=ulps, label=f"{operator}")


def name(variant) -> str:
    operator, _, attrs = variant
    return f"{operator}-{'-'.join(attrs)}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("variant", VARIANTS, ids=name)
def test_an_optimiser(variant, target):
    for shape in SHAPES:
        check(problem(*variant, shape=shape), target)


@pytest.mark.parametrize("step", [1, 2, 10, 1000, 10**6, 2**40])
@pytest.mark.parametrize("operator", ["adam_update", "adamax_update", "nadam_update"])
def test_bias_corrections_at_any_step(operator, step):
    check(problem(operator, 2, {}, step=step))


@pytest.mark.parametrize("variant", VARIANTS, ids=name)
def test_one_kernel_serves_all_sizes(variant):
    keys = set()
    for shape in SHAPES:
        bench = Bench(problem(*variant, shape=shape))
        keys.add(tuple(call.key for call in bench.executable.calls()))
    assert len(keys) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=name)
def test_an_optimiser_does_not_hide_nan_and_infinity(variant):
    shape = (2, 40)
    given = problem(*variant, shape=shape)
    arrays = [np.array(a) for a in given.arrays]
    arrays[1][0, :3] = np.nan, np.inf, -np.inf
    arrays[0][1, :3] = np.nan, np.inf, -np.inf
    if np.ndim(arrays[-1]):
        arrays[-1][1, 5] = np.nan
    check_special(Problem(given.operator, tuple(arrays), given.attrs))


def test_the_sign_of_zero_is_zero():
    shape = (20,)
    zeros = np.zeros(shape)
    arrays = (normal(*shape), zeros, np.array(0.1), np.array(1), zeros)
    found, _ = Bench(Problem("lion_update", arrays)).run()
    np.testing.assert_array_equal(found, np.float32(arrays[0]))


def test_a_centred_variance_that_rounding_made_negative_counts_as_zero():
    param, grad = normal(20), np.full(20, 0.5)
    # The mean square is less than the square of the mean, so that epsilon alone divides: by its root, 0.01.
    slots = (np.full(20, 0.249), np.full(20, 0.5))
    attrs = {"centered": True, "epsilon": 1e-4}
    given = Problem("rmsprop_update", (param, grad, np.array(0.1), np.array(1), *slots), attrs)
    found, *_ = Bench(given).run()
    np.testing.assert_allclose(found, param - 0.1 * 0.5 / 0.01, rtol=1e-5)
    expected, *_ = OPERATORS["rmsprop_update"].run(*given.arrays, **attrs)
    np.testing.assert_allclose(expected, param - 0.1 * 0.5 / 0.01, rtol=1e-12)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_optimiser_leaves_its_buffers(target):
    check_guarded([problem(*v, shape=s) for v in VARIANTS for s in [(1,), (37,), (8193,)]], target)
