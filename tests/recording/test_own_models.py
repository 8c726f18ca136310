"""Models with a `call` of their own are recorded and explained, under the paths of their layers."""

import numpy as np
import pytest

from kernelearn import Model, explain, layers, ops, saving
from kernelearn.errors import ArgumentError
from kernelearn.recording import Recorder, Run

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 6, 6, 1)).astype("float32"), RNG.integers(0, 3, 8)
LAYER = "blocks/1/conv"


class Block(layers.Layer):
    def __init__(self, filters):
        super().__init__()
        self.conv = layers.Conv2D(filters, 3, padding="same")

    def call(self, x):
        return ops.relu(self.conv(x))


class Net(Model):
    def __init__(self):
        super().__init__()
        self.blocks = [Block(2), Block(3)]
        self.head = layers.Dense(3, activation="softmax")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(ops.mean(x, axis=(1, 2)))


@saving.register(package="recorded")
class Registered(Net):
    pass


def recorded(model, folder, engine=None):
    model.compile("sgd", "sparse_categorical_crossentropy", engine=engine)
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0, callbacks=[Recorder(folder, layers="all")])
    return Run(folder)


def test_a_run_of_an_own_model_is_explained(tmp_path):
    model = Registered()
    run = recorded(model, tmp_path / "run")
    assert list(run.layers) == ["blocks/0/conv", LAYER, "head"]
    ledger = explain.ledger(run, LAYER, int(run.ledger_steps[0]), (1, 1, 0, 2))
    assert ledger.layer == LAYER
    again = run.model(int(run.model_steps[-1]))
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    unit = explain.unit(run, LAYER, filter=1, at=(2, 3), image=0)
    maps = model.feature_maps(X[:1], [LAYER, "blocks/1", "head"])
    assert [m.shape for m in maps] == [(1, 6, 6, 3), (1, 6, 6, 3), (1, 3)]
    np.testing.assert_array_equal(maps[1], np.maximum(maps[0], 0))
    assert unit.layer == LAYER
    assert explain.receptive_field(model, "blocks/1").size == (5, 5)
    assert explain.saliency(model, X[:2]).values.shape[:1] == (2,)


def test_a_run_of_an_own_model_that_is_not_registered_holds_everything_but_the_model(tmp_path):
    with pytest.warns(UserWarning, match="not say what its model is.*Net cannot be saved"):
        run = recorded(Net(), tmp_path / "run", engine="reference")
    assert LAYER in run.layers and len(run.ledger_steps)
    with pytest.raises(ArgumentError, match="does not say what its model is"):
        run.model(int(run.model_steps[-1]))
