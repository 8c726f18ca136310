"""Weights of classes and samples: for each position of a mask, and for each output."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, optimizers
from kernelearn.data import as_dataset
from kernelearn.errors import ArgumentError, ShapeError
from tests.rounding import assert_same_but_for_rounding

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4, 5, 2)).astype("float32")
LABELS = RNG.integers(0, 3, (6, 4, 5))
FACTORS = {0: 0.5, 1: 2.0, 2: 5.0}
BY_CLASS = np.array([0.5, 2.0, 5.0])[LABELS]
ENGINES = pytest.mark.parametrize("engine", ["cpu", "reference"])


def segmenter(engine="cpu", units=3, loss="sparse_categorical_crossentropy", rate=0.0, **compile):
    activation = "sigmoid" if units == 1 else "softmax"
    model = Sequential([Input((4, 5, 2)), layers.Conv2D(units, 3, padding="same", activation=activation)])
    model.compile(optimizers.SGD(rate), loss, engine=engine, **compile)
    return model


def crossentropies(model):
    """Of each position, in float64."""
    p = model.predict(X, verbose=0).astype("float64")
    return -np.log(np.take_along_axis(p, LABELS[..., None], -1)[..., 0])


@ENGINES
@pytest.mark.parametrize("is_one_hot", [False, True])
def test_a_class_weighs_its_positions(engine, is_one_hot):
    model = segmenter(
        engine, loss="categorical_crossentropy" if is_one_hot else "sparse_categorical_crossentropy"
    )
    y = np.eye(3)[LABELS] if is_one_hot else LABELS
    found = model.fit(X, y, class_weight=FACTORS, batch_size=6, verbose=0).history["loss"][0]
    assert found == pytest.approx((crossentropies(model) * BY_CLASS).mean(), rel=1e-5)


@ENGINES
def test_class_and_sample_weights_multiply(engine):
    model = segmenter(engine)
    samples = np.arange(1.0, 7.0)
    found = model.train_on_batch(X, LABELS, sample_weight=samples, class_weight=FACTORS)
    expected = (crossentropies(model) * BY_CLASS * samples[:, None, None]).mean()
    assert found == pytest.approx(expected, rel=1e-5)


@ENGINES
def test_weighted_positions_pull_as_much_as_their_weight_says(engine):
    """The gradient of the bias is the mean of weight (p - t)."""
    model = segmenter(engine, rate=1.0)
    p, before = model.predict(X, verbose=0).astype("float64"), model.get_weights()[1]
    model.fit(X, LABELS, class_weight=FACTORS, batch_size=6, shuffle=False, verbose=0)
    terms = BY_CLASS[..., None] * (p - np.eye(3)[LABELS])
    size = LABELS.size
    assert_same_but_for_rounding(
        before - model.get_weights()[1],
        terms.sum((0, 1, 2)) / size,
        size,
        4 * np.abs(terms).sum((0, 1, 2)) / size,
    )


@ENGINES
def test_positions_that_are_ignored_need_no_factor(engine):
    from kernelearn.losses import SparseCategoricalCrossentropy

    y = LABELS.copy()
    y[:, :2] = 255
    model = segmenter(engine, loss=SparseCategoricalCrossentropy(ignore_class=255))
    found = model.train_on_batch(X, y, class_weight=FACTORS)
    expected = (crossentropies(model) * BY_CLASS)[:, 2:].mean()
    assert found == pytest.approx(expected, rel=1e-5)


@ENGINES
@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 4, 5, 1), (6, 4)])
def test_a_weight_for_each_position(engine, shape):
    model = segmenter(engine, units=1, loss="mse", weighted_metrics=["mae"])
    t, w = RNG.random((6, 4, 5, 1)).astype("float32"), RNG.random(shape)
    error = (model.predict(X, verbose=0) - t)[..., 0].astype("float64")
    full = np.broadcast_to(w.reshape(6, 4, -1), (6, 4, 5))
    loss, mae = model.evaluate(X, t, sample_weight=w, verbose=0, batch_size=6)
    assert loss == pytest.approx((error**2 * full).mean(), rel=1e-5)
    assert mae == pytest.approx((np.abs(error) * full).sum() / full.sum(), rel=1e-5)


def test_batches_of_positions_are_cut_and_shuffled_with_their_images():
    model = segmenter(units=1, loss="mse")
    t, w = RNG.random((6, 4, 5, 1)).astype("float32"), RNG.random((6, 4, 5)).astype("float32")
    error = (model.predict(X, verbose=0) - t)[..., 0].astype("float64")
    found = model.fit(as_dataset(X, t, w), batch_size=4, verbose=0).history["loss"][0]
    assert found == pytest.approx((error**2 * w).mean(), rel=1e-5)
    part = as_dataset(X, t, w).subset([3, 1])
    assert model.evaluate(part, verbose=0) == pytest.approx((error**2 * w)[[3, 1]].mean(), rel=1e-5)


def test_weights_of_positions_in_a_stream():
    model = segmenter(units=1, loss="mse")
    t, w = RNG.random((6, 4, 5, 1)).astype("float32"), RNG.random((6, 4, 5)).astype("float32")
    error = (model.predict(X, verbose=0) - t)[..., 0].astype("float64")
    batches = [(X[:3], t[:3], w[:3]), (X[3:], t[3:], w[3:])]
    assert model.evaluate(batches.__iter__, verbose=0) == pytest.approx((error**2 * w).mean(), rel=1e-5)


@pytest.mark.parametrize("shape", [(5,), (6, 3), (6, 4, 5, 2), (6, 5, 4)])
def test_other_shapes_of_weights_are_refused(shape):
    with pytest.raises(ShapeError, match="sample_weight"):
        segmenter(units=1, loss="mse").evaluate(X, X[..., :1], sample_weight=np.ones(shape), verbose=0)


def test_a_class_without_a_factor_is_found_before_the_first_step():
    model = segmenter()
    with pytest.raises(ArgumentError, match=r"no entry for the classes \[2\]"):
        model.fit(X, LABELS, class_weight={0: 1.0, 1: 2.0}, batch_size=1, verbose=0)
    assert model.optimizer.iterations == 0


# --- several outputs


def two_outputs(**compile):
    i = Input((4, 5, 2))
    flat = layers.Flatten()(i)
    outputs = [layers.Dense(1, name="a")(flat), layers.Dense(3, activation="softmax", name="b")(flat)]
    model = Model(i, outputs)
    model.compile(optimizers.SGD(0.0), ["mse", "sparse_categorical_crossentropy"], **compile)
    return model


TARGETS = [RNG.random((6, 1)).astype("float32"), RNG.integers(0, 3, 6)]


def losses_of(model):
    a, b = (p.astype("float64") for p in model.predict(X, verbose=0))
    return ((a - TARGETS[0]) ** 2)[:, 0], -np.log(b[np.arange(6), TARGETS[1]])


U, V = RNG.random(6), RNG.random(6)


@pytest.mark.parametrize(
    ("weights", "factors"),
    [
        ([U, V], (U, V)),
        ((U, V), (U, V)),
        ({"a": U, "b": V}, (U, V)),
        ({"b": V}, (np.ones(6), V)),
        ([U, None], (U, np.ones(6))),
        (U, (U, U)),
    ],
)
def test_weights_of_each_output(weights, factors):
    model = two_outputs()
    expected = [(values * w).mean() for values, w in zip(losses_of(model), factors)]
    for batch_size in (6, 4):
        found = model.evaluate(X, TARGETS, sample_weight=weights, verbose=0, batch_size=batch_size)
        np.testing.assert_allclose(found, [sum(expected), *expected], rtol=1e-5)
    fitted = model.fit(X, TARGETS, sample_weight=weights, verbose=0, batch_size=4).history
    assert fitted["loss"][0] == pytest.approx(sum(expected), rel=1e-5)
    assert model.train_on_batch(X, TARGETS, sample_weight=weights)[0] == pytest.approx(
        sum(expected), rel=1e-5
    )


def test_class_weights_by_output():
    model = two_outputs()
    a, b = losses_of(model)
    expected = a.mean() + (b * np.array([0.5, 2.0, 5.0])[TARGETS[1]]).mean()
    found = model.fit(X, TARGETS, class_weight={"b": FACTORS}, verbose=0).history["loss"][0]
    assert found == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ArgumentError, match="dict by output name"):
        model.fit(X, TARGETS, class_weight=FACTORS, verbose=0)
    with pytest.raises(ArgumentError, match=r"class_weight names outputs \['c'\]"):
        model.fit(X, TARGETS, class_weight={"c": FACTORS}, verbose=0)


def test_weights_of_outputs_that_there_are_not():
    model = two_outputs()
    with pytest.raises(ArgumentError, match=r"sample_weight names outputs \['c'\]"):
        model.evaluate(X, TARGETS, sample_weight={"c": U}, verbose=0)
    with pytest.raises(ShapeError, match="sample_weight has 3 parts"):
        model.evaluate(X, TARGETS, sample_weight=[U, V, U], verbose=0)
