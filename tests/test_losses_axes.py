"""Losses and their metrics along another axis than the last: what they give when that is moved to the end."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, losses, metrics, optimizers
from kernelearn.errors import ShapeError

RNG = np.random.default_rng(4)
P = RNG.dirichlet(np.ones(3), (2, 4, 5)).transpose(0, 3, 1, 2)  # (2, 3, 4, 5), classes first
LABELS = RNG.integers(0, 3, (2, 4, 5))
ONE_HOT = np.eye(3)[LABELS].transpose(0, 3, 1, 2)

MAKERS = [
    (lambda **a: losses.CategoricalCrossentropy(**a), ONE_HOT),
    (lambda **a: losses.CategoricalFocalCrossentropy(**a), ONE_HOT),
    (lambda **a: losses.SparseCategoricalCrossentropy(ignore_class=2, **a), LABELS),
    (lambda **a: losses.BinaryCrossentropy(**a), ONE_HOT),
    (lambda **a: losses.BinaryFocalCrossentropy(**a), ONE_HOT),
    (lambda **a: losses.CosineSimilarity(**a), ONE_HOT),
    (lambda **a: metrics.CategoricalCrossentropy(**a), ONE_HOT),
    (lambda **a: metrics.SparseCategoricalCrossentropy(**a), LABELS),
    (lambda **a: metrics.CosineSimilarity(**a), ONE_HOT),
]


@pytest.mark.parametrize(("make", "y_true"), MAKERS)
def test_an_axis_is_as_good_as_the_last(make, y_true):
    moved = y_true if y_true is LABELS else np.moveaxis(y_true, 1, -1)
    expected = make()(moved, np.moveaxis(P, 1, -1))
    for axis in (1, -3):
        given = make(axis=axis)
        assert given(y_true, P) == pytest.approx(expected, rel=1e-12)
        assert type(given).from_config(given.get_config()).get_config()["axis"] == axis


@pytest.mark.parametrize("make", [losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy])
def test_networks_train_along_any_axis(make):
    x = RNG.normal(size=(4, 4, 5, 2)).astype("float32")
    labels = RNG.integers(0, 3, (4, 4, 5))
    is_sparse = make is losses.SparseCategoricalCrossentropy
    weights = RNG.normal(size=(1, 1, 2, 3)).astype("float32")
    found = []
    for axis in (-1, 1):
        turn = [layers.Permute((3, 1, 2))] if axis == 1 else []
        model = Sequential([Input((4, 5, 2)), layers.Conv2D(3, 1), *turn])
        model.set_weights([weights, np.zeros(3, "float32")])
        model.compile(optimizers.SGD(0.5), make(from_logits=True, axis=axis))
        one_hot = np.eye(3)[labels]
        y = labels if is_sparse else np.moveaxis(one_hot, -1, axis)
        model.fit(x, y, epochs=2, batch_size=2, shuffle=False, verbose=0)
        found.append(model.get_weights()[0])
    np.testing.assert_allclose(*found, rtol=2e-4, atol=1e-6)


def test_an_axis_that_is_not_there_is_refused():
    for axis in (0, 4, -5):
        with pytest.raises(ShapeError, match=f"axis {axis}"):
            losses.CategoricalCrossentropy(axis=axis)(ONE_HOT, P)
