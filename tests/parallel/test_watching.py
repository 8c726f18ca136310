"""What the first process records and does by hand is that of all: ledgers add up, interventions reach all."""

import threading

import numpy as np
import pytest

import kernelearn as kl
from kernelearn import explain, layers
from kernelearn.recording import Recorder, Run, control
from kernelearn.view import Microscope
from tests.parallel.threads import as_processes

ROWS = 26
X = np.random.default_rng(0).normal(size=(ROWS, 6, 6, 1)).astype("float32")
Y = np.arange(ROWS) % 3
lock = threading.Lock()


def model_of():
    kl.set_random_seed(1)
    model = kl.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, name="conv"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="dense"),
        ]
    )
    loss = kl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], shards=6)
    return model


def fitted(*callbacks, epochs=2):
    with lock:
        model = model_of()
    model.fit(X, Y, batch_size=8, epochs=epochs, seed=3, verbose=0, callbacks=list(callbacks))
    return b"".join(array.tobytes() for array in model.get_weights())


class Sender(kl.callbacks.Callback):
    """Gives commands to the training, as the page does; it stands before what listens."""

    on_first_only = True
    commands = (
        {},
        {"do": "edit", "layer": "conv", "weight": "kernel", "index": [0, 0, 0, 1], "value": 0.75},
        {"do": "freeze", "layer": "conv"},
        {"do": "learning_rate", "value": 0.25},
        {"do": "unfreeze", "layer": "conv"},
        {"do": "reset", "layer": "conv", "filter": 2},
    )

    def __init__(self, folder):
        super().__init__()
        self.folder, self.steps = folder, 0

    def on_train_batch_begin(self, batch, logs=None):
        if 0 < self.steps < len(self.commands):
            control.send(self.folder, self.commands[self.steps])
        self.steps += 1


@pytest.mark.parametrize("size", [2, 3])
def test_what_is_done_by_hand_is_done_on_all(tmp_path, size):
    def steered(folder):
        with lock:
            microscope = Microscope(folder, serve=False, control=True)
        return fitted(Sender(folder), microscope)

    alone = steered(tmp_path / "one")
    assert alone != fitted()
    assert as_processes(size, lambda: steered(tmp_path / "several")) == [alone] * size
    kinds = [[done.kind for done in Run(tmp_path / name).interventions] for name in ("one", "several")]
    assert kinds[0] == kinds[1] == ["edited", "frozen", "learning rate", "unfrozen", "reset"]


def test_a_ledger_sums_over_the_images_of_all(tmp_path):
    def recorded(folder):
        with lock:
            recorder = Recorder(folder, kernels_every=1, ledger_every=2, gradients_every=2)
        return fitted(recorder)

    alone = recorded(tmp_path / "one")
    assert as_processes(3, lambda: recorded(tmp_path / "several")) == [alone] * 3
    one, several = Run(tmp_path / "one"), Run(tmp_path / "several")
    (step, *_) = several.ledger_steps
    np.testing.assert_array_equal(one.ledger_steps, several.ledger_steps)
    for layer, place in (("conv", (0, 1, 0, 2)), ("dense", (5, 1))):
        book, other = explain.ledger(several, layer, step, place), explain.ledger(one, layer, step, place)
        assert len(set(book.images.tolist())) == 8
        assert book.relative_residual < 1e-5
        np.testing.assert_array_equal(book.terms, other.terms)
