"""Targets for which a loss means nothing are refused before the step, on every engine, and by metrics."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, load_model, losses, metrics
from kernelearn import layers as L
from kernelearn.errors import DataError, UnknownNameError
from kernelearn.losses.base import LOSSES

ENGINES = ("cpu", "reference")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
MASKS = ((RNG.random((12, 1)) > 0.5) * 255).astype("uint8")
ONE_TWO = (RNG.random((12, 1)) > 0.5) + 1
SCALED = np.eye(3)[np.arange(12) % 3] * 255


def trained(loss, y, engine="reference", units=None, **fit):
    """A network that has seen the targets once; gives its losses."""
    units = units or (1 if y.shape[-1] == 1 else 3)
    activation = "sigmoid" if units == 1 else "softmax"
    model = Sequential([Input((4,)), L.Dense(units, activation=activation)])
    model.compile("sgd", loss, engine=engine)
    return model, model.fit(X, y, verbose=0, **fit).history["loss"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("binary_crossentropy", MASKS),
        ("binary_crossentropy", ONE_TWO),
        ("binary_crossentropy", -ONE_TWO),
        (losses.BinaryCrossentropy(label_smoothing=0.1), MASKS),
        ("binary_focal_crossentropy", ONE_TWO),
        ("categorical_crossentropy", SCALED),
        ("categorical_crossentropy", np.eye(3)[np.arange(12) % 3] - 0.5),
        ("categorical_focal_crossentropy", SCALED),
        ("kl_divergence", SCALED),
        ("poisson", -ONE_TWO),
    ],
)
def test_targets_out_of_range_are_refused_before_the_step(loss, targets, engine):
    with pytest.raises(DataError, match=r"takes targets .*; got targets from"):
        trained(loss, targets, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("binary_crossentropy", MASKS / 255),
        ("binary_crossentropy", MASKS > 0),
        ("binary_crossentropy", np.full((12, 1), 0.25)),
        ("categorical_crossentropy", np.zeros((12, 3))),  # rows of zeros do not count
        ("categorical_crossentropy", np.ones((12, 3))),  # several classes a row count each
        ("poisson", ONE_TWO * 100),
        ("mean_squared_error", MASKS),
        ("hinge", ONE_TWO),
    ],
)
def test_targets_with_a_meaning_are_taken(loss, targets, engine):
    assert np.isfinite(trained(loss, targets, engine)[1]).all()


@pytest.mark.parametrize("call", ["evaluate", "train_on_batch", "validation"])
def test_other_ways_to_give_targets_are_watched_too(call):
    model, _ = trained("binary_crossentropy", MASKS / 255)
    with pytest.raises(DataError, match="from 0 to 1"):
        if call == "evaluate":
            model.evaluate(X, MASKS, verbose=0)
        elif call == "train_on_batch":
            model.train_on_batch(X, MASKS)
        else:
            model.fit(X, MASKS / 255, validation_data=(X, MASKS), verbose=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: losses.BinaryCrossentropy()([[2.0]], [[0.5]]),
        lambda: losses.binary_crossentropy([[2.0]], [[0.5]]),
        lambda: losses.categorical_crossentropy([[-1.0, 1.0]], [[0.5, 0.5]]),
        lambda: metrics.BinaryCrossentropy()([2.0, 1.0], [0.5, 0.5]),
        lambda: metrics.KLDivergence()([[0.0, 3.0]], [[0.5, 0.5]]),
    ],
)
def test_losses_and_metrics_on_arrays_refuse_the_same(call):
    with pytest.raises(DataError, match="got targets from"):
        call()


# --- class numbers with a fraction

HALVES = (np.arange(12) % 3) * 0.5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("targets", [HALVES, HALVES[:, None], np.where(HALVES > 0, 1.998, 0.0)])
def test_class_numbers_with_a_fraction_are_refused(targets, engine):
    with pytest.raises(DataError, match=r"Class numbers must be whole, got (0\.5|1\.998)"):
        trained("sparse_categorical_crossentropy", targets, engine, units=3)


def test_whole_numbers_of_any_type_are_classes():
    for kind in ("uint8", "int64", "float32", "float64"):
        trained("sparse_categorical_crossentropy", (np.arange(12) % 3).astype(kind), units=3)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.SparseCategoricalAccuracy(),
        metrics.SparseTopKCategoricalAccuracy(2),
        metrics.SparseCategoricalCrossentropy(),
        metrics.ConfusionMatrix(3),
        metrics.Precision(),
        metrics.AUC(),
        metrics.F1Score(),
    ],
    ids=lambda metric: metric.name,
)
def test_metrics_that_take_class_numbers_refuse_fractions(metric):
    scores = np.full((3, 3), 0.2)
    metric.update_state(np.array([0.0, 1.0, 2.0]), scores)
    with pytest.raises(DataError, match="Class numbers must be whole"):
        metric.update_state(np.array([0.0, 0.5, 1.0]), scores)


# --- losses of one's own


@LOSSES.register("tilted")
class Tilted(losses.Loss):
    """Three times the error above, once the error below."""

    def __init__(self, slope=3.0, name=None):
        super().__init__(name)
        self.slope = slope

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        return np.mean(np.maximum(self.slope * error, -error), axis=-1)

    def gradient(self, y_true, y_pred):
        return np.where(y_true > y_pred, -self.slope, 1.0) / y_pred.shape[-1]


@pytest.mark.parametrize("identifier", ["tilted", "Tilted", Tilted, Tilted(5.0)])
def test_a_registered_loss_trains_is_saved_and_goes_on(identifier, tmp_path):
    model, _ = trained(identifier, MASKS / 255)
    model.save(tmp_path / "m.kernelearn")
    again = load_model(tmp_path / "m.kernelearn")
    assert again.evaluate(X, MASKS / 255, verbose=0) == model.evaluate(X, MASKS / 255, verbose=0)
    again.fit(X, MASKS / 255, verbose=0)


def test_registering_without_a_decorator_is_the_same():
    class Mine(Tilted):
        pass

    with pytest.raises(UnknownNameError, match="Unknown loss 'Mine'"):
        losses.get("Mine")
    assert LOSSES.register(Mine) is Mine
    try:
        assert type(losses.get("Mine")) is Mine
    finally:
        del LOSSES._classes["Mine"]
