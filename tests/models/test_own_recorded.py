"""A model of the user's own, with options handed on, is saved, recorded and explained like a built-in one."""

import numpy as np
import pytest

from kernelearn import Model, explain, layers, load_model, ops, saving
from kernelearn.recording import Recorder, Run


@saving.register_keras_serializable(package="tests")
class Branch(layers.Layer):
    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.conv = layers.Conv2D(filters, 3, padding="same")
        self.norm = layers.BatchNormalization()
        self.shortcut = layers.Conv2D(filters, 1)

    def call(self, x, training=None):
        return ops.relu(self.norm(self.conv(x), training=training) + self.shortcut(x))


@saving.register_keras_serializable(package="tests")
class Branches(Model):
    def __init__(self, classes=3, **options):
        super().__init__(**options)
        self.classes = classes
        self.blocks = [Branch(4), Branch(5)]
        self.pool = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(classes, activation="softmax")

    def call(self, x, training=None):
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.pool(x))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "run"
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 24)
    model = Branches()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=8, epochs=1, verbose=0, callbacks=[Recorder(folder, ledger_every=1)])
    return model, Run(folder), x, y


def test_it_is_saved_and_read_with_its_options(trained, tmp_path):
    model, _, x, _ = trained
    model.save(tmp_path / "own.kernelearn")
    again = load_model(tmp_path / "own.kernelearn")
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert "inputs" not in model.get_config()
    assert np.array_equal(model.clone().predict(x, verbose=0), model.predict(x, verbose=0))


def test_its_weights_are_explained_under_their_paths(trained):
    model, run, x, y = trained
    assert "blocks/0/conv" in run.layers
    book = explain.ledger(run, "blocks/0/conv", 2, (1, 1, 0, 1))
    assert book.relative_residual < 1e-5
    assert explain.update_split(run, "blocks/0/conv", 2).layer == "blocks/0/conv"
    path = explain.delta(run, "blocks/0/conv", x, y, filter=1, step=2)
    assert path.error == pytest.approx(path.recorded, rel=1e-4) and path.residual < 1e-5
    number = explain.unit(run, "blocks/1/shortcut", filter=2, image=x[0])
    assert number.relative_residual < 1e-6
    assert explain.receptive_field(run.model(), "blocks/1/conv").size == (5, 5)
    assert np.array_equal(run.model(step=3).predict(x, verbose=0), model.predict(x, verbose=0))
