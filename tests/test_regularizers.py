"""Regularisers: values by hand, gradients by central differences. Keras's values: tests/parity."""

import json

import numpy as np
import pytest

from kernelearn import regularizers
from kernelearn.errors import ArgumentError, UnknownNameError

EXAMPLES = [
    regularizers.L1(0.3),
    regularizers.L2(0.2),
    regularizers.L1L2(0.1, 0.4),
    regularizers.OrthogonalRegularizer(0.5),
    regularizers.OrthogonalRegularizer(0.5, mode="columns"),
]


def test_values_by_hand():
    w = np.array([[1.0, -2.0], [3.0, 0.0]])
    assert regularizers.L1(0.5)(w) == 3.0
    assert regularizers.L2(0.5)(w) == 7.0
    assert regularizers.L1L2(0.5, 0.25)(w) == 6.5
    assert regularizers.OrthogonalRegularizer(1.0)([[1.0, 0.0], [1.0, 1.0]]) == pytest.approx(0.5**0.5)
    assert regularizers.OrthogonalRegularizer(1.0)(np.eye(3)) == 0
    assert regularizers.OrthogonalRegularizer(1.0)(np.ones((1, 3))) == 0


@pytest.mark.parametrize("regularizer", EXAMPLES, ids=repr)
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 2, 3), (1, 4)])
def test_gradient_is_the_slope(regularizer, shape):
    w = np.random.default_rng(0).normal(size=shape)
    slope = np.zeros_like(w)
    for index in np.ndindex(*shape):
        step = np.zeros_like(w)
        step[index] = 1e-6
        slope[index] = (regularizer(w + step) - regularizer(w - step)) / 2e-6
    np.testing.assert_allclose(regularizer.gradient(w), slope, atol=1e-8)
    assert regularizer.gradient(w.astype("float32")).dtype == np.float32


@pytest.mark.parametrize("regularizer", EXAMPLES, ids=repr)
def test_config_round_trip_through_json(regularizer):
    again = regularizers.deserialize(json.loads(json.dumps(regularizers.serialize(regularizer))))
    assert type(again) is type(regularizer)
    assert again.attrs() == regularizer.attrs() == json.loads(json.dumps(regularizer.attrs()))


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("l1", "L1"),
        ("l2", "L2"),
        ("L2", "L2"),
        ("l1_l2", "L1L2"),
        ("orthogonal_regularizer", "OrthogonalRegularizer"),
    ],
)
def test_names_of_keras(name, class_name):
    assert type(regularizers.get(name)).__name__ == class_name
    assert regularizers.get(None) is None


def test_own_regularizer():
    class Quartic(regularizers.Regularizer):
        def value(self, w):
            return float(np.sum(w**4))

    assert regularizers.get(Quartic)([1, 2]) == 17
    with pytest.raises(NotImplementedError, match="gradient"):
        Quartic().gradient(np.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: regularizers.L1(-1),
        lambda: regularizers.L2(float("nan")),
        lambda: regularizers.L2("strong"),
        lambda: regularizers.OrthogonalRegularizer(mode="diagonals"),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="Known: "):
        regularizers.get("l3")
