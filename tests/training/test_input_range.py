"""A model warns where it meets numbers on another scale than it was trained on."""

import pickle
import warnings

import numpy as np
import pytest

from kernelearn import layers, models
from kernelearn.data import as_dataset
from kernelearn.training.checkpoint import load_checkpoint, save_checkpoint

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (12, 4, 4, 1), dtype=np.uint8)
PICTURES[:, 0, 0, 0] = 255
SCALED = PICTURES / np.float32(255)
LABELS = np.arange(12) % 3


def network(shape=(4, 4, 1)):
    model = models.Sequential(
        [layers.Input(shape), layers.Flatten(), layers.Dense(3, activation="softmax", name="dense")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", engine="reference")
    return model


def trained(x=SCALED):
    model = network(x.shape[1:])
    model.fit(x, LABELS, epochs=1, verbose=0, batch_size=4)
    return model


USES = {
    "evaluate": lambda model, x: model.evaluate(x, LABELS, verbose=0),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "predict_on_batch, ready": lambda model, x: model.predict_on_batch(x.astype(np.float32)),
    "test_on_batch": lambda model, x: model.test_on_batch(x, LABELS),
    "fit": lambda model, x: model.fit(x, LABELS, epochs=1, verbose=0),
    "validation": lambda model, x: model.fit(
        SCALED, LABELS, validation_data=(x, LABELS), epochs=1, verbose=0
    ),
}


@pytest.mark.parametrize("use", USES)
def test_raw_pictures_after_a_training_on_scaled_ones(use):
    model = trained()
    with pytest.warns(UserWarning, match=r"up to 1 and now .* up to 255"):
        USES[use](model, PICTURES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(PICTURES, verbose=0)  # once is enough


@pytest.mark.parametrize("use", ["evaluate", "predict", "fit"])
def test_scaled_pictures_after_a_training_on_raw_ones(use):
    model = trained(PICTURES)
    with pytest.warns(UserWarning, match="up to 255 and now .* up to 1"):
        USES[use](model, SCALED)


def test_a_dataset_scales_and_arrays_are_taken_as_they_are():
    data = as_dataset(PICTURES, LABELS)
    model = network()
    model.fit(data, epochs=1, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = model.evaluate(data, verbose=0)
        assert same == pytest.approx(model.evaluate(SCALED, LABELS, verbose=0), rel=1e-6)
    with pytest.warns(UserWarning, match="divide those by 255"):
        model.evaluate(PICTURES, LABELS, verbose=0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PICTURES / 255, PICTURES / 127.5 - 1),
        (PICTURES / 255, np.zeros((12, 4, 4, 1))),
        (PICTURES / 255, PICTURES / 2550 + 0.1),
        (RNG.normal(size=(12, 5)), RNG.normal(size=(12, 5)) * 3),
        (RNG.normal(size=(12, 5)) + 2, RNG.normal(size=(12, 5)) * 100),
    ],
)
def test_no_word_of_what_may_be_right(before, after):
    model = trained(before.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(after.astype(np.float32), verbose=0)


def test_flat_rows_that_were_scaled():
    flat = (SCALED).reshape(12, 16)
    model = trained(flat)
    with pytest.warns(UserWarning, match="up to 255"):
        model.predict(PICTURES.reshape(12, 16), verbose=0)


def test_a_saved_model_remembers(tmp_path):
    trained().save(tmp_path / "m.kernelearn")
    model = models.load_model(tmp_path / "m.kernelearn")
    with pytest.warns(UserWarning, match="up to 255"):
        model.predict(PICTURES, verbose=0)


def test_a_pickled_model_remembers():
    model = pickle.loads(pickle.dumps(trained()))
    with pytest.warns(UserWarning, match="up to 255"):
        model.predict(PICTURES, verbose=0)


def test_a_resumed_training_remembers_the_first_batch(tmp_path):
    model = trained()
    save_checkpoint(tmp_path / "c.kernelearn", model)
    other = network()
    load_checkpoint(tmp_path / "c.kernelearn", other)
    assert other.input_range.largest == model.input_range.largest
    other.train_on_batch(PICTURES / np.float32(510), LABELS)
    assert other.input_range.largest == model.input_range.largest
