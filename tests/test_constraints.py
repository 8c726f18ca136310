"""Constraints: the bounds hold, projections stay where they are, names. Keras's values: tests/parity."""

import json

import numpy as np
import pytest

from kernelearn import constraints
from kernelearn.errors import ArgumentError, UnknownNameError

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
EXAMPLES = [
    constraints.MaxNorm(1.5, axis=(0, 1, 2)),
    constraints.NonNeg(),
    constraints.UnitNorm(axis=[0, 1, 2]),
    constraints.MinMaxNorm(0.5, 1.0, axis=(0, 1, 2)),
]


def lengths(w):
    return np.sqrt((w**2).sum((0, 1, 2)))


def test_bounds_hold():
    longest, non_negative, unit, between = EXAMPLES
    np.testing.assert_allclose(lengths(longest(KERNEL)), np.minimum(lengths(KERNEL), 1.5), rtol=1e-6)
    np.testing.assert_array_equal(non_negative(KERNEL), np.maximum(KERNEL, 0))
    np.testing.assert_allclose(lengths(unit(KERNEL)), 1, rtol=1e-6)
    np.testing.assert_allclose(lengths(between(0.01 * KERNEL)), 0.5, rtol=1e-5)


def test_rate_moves_part_of_the_way():
    w = np.array([[3.0], [4.0]])
    half = constraints.MinMaxNorm(0.0, 1.0, rate=0.5)(w)
    assert np.linalg.norm(half) == pytest.approx(3.0)


@pytest.mark.parametrize("constraint", EXAMPLES, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_projecting_twice_changes_nothing_and_keeps_the_dtype(constraint, dtype):
    once = constraint(KERNEL.astype(dtype))
    assert once.dtype == dtype
    np.testing.assert_allclose(constraint(once), once, rtol=1e-5)
    np.testing.assert_array_equal(constraint(np.zeros((2, 2, 2, 2), dtype)), 0)


@pytest.mark.parametrize("constraint", EXAMPLES, ids=repr)
def test_config_round_trip_through_json(constraint):
    again = constraints.deserialize(json.loads(json.dumps(constraints.serialize(constraint))))
    np.testing.assert_array_equal(again(KERNEL), constraint(KERNEL))


@pytest.mark.parametrize("name", ["MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"])
def test_names_of_keras(name):
    cls = getattr(constraints, name)
    snake = {
        "MaxNorm": "max_norm",
        "NonNeg": "non_neg",
        "UnitNorm": "unit_norm",
        "MinMaxNorm": "min_max_norm",
    }[name]
    assert type(constraints.get(name)) is type(constraints.get(snake)) is cls
    assert getattr(constraints, snake) is cls


def test_own_constraint():
    class Symmetric(constraints.Constraint):
        def __call__(self, w):
            return (w + w[::-1]) / 2

    assert constraints.get(Symmetric())(np.array([0.0, 2.0])).tolist() == [1.0, 1.0]
    assert constraints.get(np.abs)(np.array([-1.0])) == [1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: constraints.MaxNorm(-1),
        lambda: constraints.MaxNorm(axis="rows"),
        lambda: constraints.MinMaxNorm(2.0, 1.0),
        lambda: constraints.MinMaxNorm(rate=2),
        lambda: constraints.get(3),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


def test_unknown_names_suggest_known_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'max_norm'"):
        constraints.get("maxnrm")
