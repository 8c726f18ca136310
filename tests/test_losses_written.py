"""Losses of regions, pairs, noisy labels and sequences: the numbers of live Keras 3.15 on jax."""

import itertools

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, losses, optimizers
from kernelearn.errors import ArgumentError, ShapeError


def wave(*shape):
    return np.sin(np.arange(1, 1 + np.prod(shape)) * 1.7).reshape(shape).astype("float32")


def rows_of_length_one(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


REGIONS, SHARES = (wave(2, 3, 2) > 0) * 1.0, np.abs(wave(2, 3, 2)[::-1])
CLASSES, VECTORS = np.array([0, 1, 0, 2, 1]), rows_of_length_one(wave(5, 3))
CHANCES = np.abs(wave(4, 3)) / np.abs(wave(4, 3)).sum(1, keepdims=True)
SPOKEN, HEARD = np.array([[1, 2, 0], [3, 3, 0], [2, 0, 0], [1, 3, 2]]), 2 * wave(4, 6, 4)

KERAS = [
    (losses.Dice, {}, REGIONS, SHARES, 0.48978, [0.48978]),
    (losses.Dice, {"axis": (1, 2)}, REGIONS, SHARES, 0.48997, [0.50502, 0.47492]),
    (losses.Tversky, {"alpha": 0.3, "beta": 0.6}, REGIONS, SHARES, 0.48804, [0.48804]),
    (losses.Tversky, {"axis": [1]}, REGIONS, SHARES, 0.48988, [0.51507, 0.4967, 0.50171, 0.44606]),
    (losses.Circle, {}, CLASSES, VECTORS, 264.75372, [251.41631, 285.66754, 248.68185, 0.0, 273.24921]),
    (
        losses.Circle,
        {"gamma": 10.0, "margin": 0.2, "remove_diagonal": False},
        CLASSES,
        VECTORS,
        29.05159,
        [33.91827, 38.19537, 33.60552, 2.63256, 36.9062],
    ),
    (
        losses.CategoricalGeneralizedCrossEntropy,
        {"q": 0.7},
        np.array([0, 2, 1, 1]),
        CHANCES,
        0.78789,
        [0.60365, 0.74175, 0.60099, 1.20516],
    ),
    (losses.CTC, {}, SPOKEN, HEARD, 8.03188, [5.77113, 12.83479, 4.39764, 9.12397]),
]


@pytest.mark.parametrize(("make", "arguments", "y_true", "y_pred", "reduced", "values"), KERAS)
def test_a_loss_has_the_values_of_keras(make, arguments, y_true, y_pred, reduced, values):
    loss = losses.deserialize(losses.serialize(make(**arguments)))
    assert loss(y_true, y_pred) == pytest.approx(reduced, rel=2e-5)
    each = make(**arguments, reduction=None)(y_true, y_pred)
    np.testing.assert_allclose(np.ravel(each), values, rtol=2e-5, atol=1e-5)


TRAINED = [
    (losses.Dice(axis=[1, 2]), 2, "sigmoid", (wave(5, 4, 2) > 0) * 1.0, [0.49687, 0.49316, 0.48956, 0.48606]),
    (
        losses.Tversky(0.3, 0.6),
        2,
        "sigmoid",
        (wave(5, 4, 2) > 0) * 1.0,
        [0.47161, 0.46993, 0.46829, 0.46669],
    ),
    (
        losses.CategoricalGeneralizedCrossEntropy(0.7),
        3,
        "softmax",
        np.array([[0, 1, 2, 1]] * 5),
        [0.7692, 0.76434, 0.75961, 0.755],
    ),
    (
        losses.CTC(),
        4,
        None,
        np.array([[1, 2], [3, 3], [2, 0], [1, 3], [2, 2]]),
        [3.37065, 3.02099, 2.88663, 2.82068],
    ),
    (losses.Circle(gamma=2.0), 3, None, CLASSES, [7.59051, 2.35416, 2.07472, 2.01213]),
]


@pytest.mark.parametrize(("loss", "units", "activation", "y", "expected"), TRAINED, ids=lambda v: str(v)[:12])
def test_training_goes_the_way_of_keras(loss, units, activation, y, expected):
    is_circle = isinstance(loss, losses.Circle)
    x = wave(5, 4, 3)[:, 0] if is_circle else wave(5, 4, 3)
    last = [layers.UnitNormalization()] if is_circle else []
    model = Sequential([Input(x.shape[1:]), layers.Dense(units, activation), *last])
    model.set_weights([wave(3, units) * 0.5, wave(units) * 0.1])
    model.compile(optimizers.SGD(0.5), loss)
    history = model.fit(x, y, batch_size=5, epochs=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=3e-5)


def test_ways_to_read_labels_are_counted_one_by_one():
    """All sequences of 4 steps that collapse to the labels, summed as they are."""
    logits = wave(1, 4, 3).astype("float64")
    chances = np.exp(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[0]
    for labels in ([1, 2], [1, 1], [2, 0], [0, 0]):
        total = 0.0
        for path in itertools.product(range(3), repeat=4):
            read = [symbol for symbol, _ in itertools.groupby(path) if symbol]
            if read == [label for label in labels if label]:
                total += np.prod([chances[step, symbol] for step, symbol in enumerate(path)])
        assert losses.ctc(np.array([labels]), logits)[0] == pytest.approx(-np.log(total), rel=1e-9)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "mean_with_sample_weight"])
def test_one_number_for_a_batch_counts_once(reduction):
    model = Sequential([Input((3,)), layers.Dense(2, "sigmoid")])
    loss = losses.Dice(reduction=reduction)
    model.compile("sgd", loss)
    x, y = wave(5, 3), (wave(5, 2) > 0) * 1.0
    assert model.evaluate(x, y, batch_size=5, verbose=0) == pytest.approx(
        losses.Dice()(y, model(x)), rel=1e-5
    )


def test_what_these_losses_cannot_be_given():
    with pytest.raises(ArgumentError, match="got 1"):
        losses.CategoricalGeneralizedCrossEntropy(q=1.5)
    with pytest.raises(ShapeError, match="labels"):
        losses.CTC()(np.zeros((2, 3, 1)), np.zeros((2, 3, 4)))
