"""Which batches an epoch has: it goes on where the one before stopped, and data that ends is told."""

import warnings

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, optimizers
from kernelearn.callbacks import BackupAndRestore, Callback, EarlyStopping
from kernelearn.errors import DataError
from tests.told import texts

X = np.arange(20, dtype="float32")[:, None]
ZEROS = np.zeros((5, 1), "float32")


class Seen(Callback):
    """The mean of the inputs of each batch, epoch by epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append([])

    def on_train_batch_begin(self, batch, logs=None):
        self.model.watch_step()

    def on_train_batch_end(self, batch, logs=None):
        self.epochs[-1].append(int(self.model.last_step.batch.arrays["x_0"].mean()))


def fit(data=X, callbacks=(), **options):
    model = Sequential([Input((1,)), layers.Dense(1)])
    model.compile(optimizers.SGD(1e-9), "mae", engine="reference")
    seen = Seen()
    y = np.zeros((20, 1), "float32") if data is X else None
    options = {"shuffle": False, "verbose": 0, **({"batch_size": 5} if data is X else {}), **options}
    history = model.fit(data, y, callbacks=[seen, *callbacks], **options)
    return seen.epochs, history


def stream():
    for start in range(0, 20, 5):
        yield X[start : start + 5], ZEROS


ENDS = pytest.mark.filterwarnings("ignore:The data ran out")


@ENDS
@pytest.mark.parametrize("data", [X, stream, list(stream()).__iter__])
def test_an_epoch_goes_on_where_the_one_before_stopped(data):
    assert fit(data, steps_per_epoch=3, epochs=4)[0] == [[2, 7, 12], [17], [2, 7, 12], [17]]
    assert fit(data, steps_per_epoch=2, epochs=3)[0] == [[2, 7], [12, 17], [2, 7]]
    assert fit(data, steps_per_epoch=4, epochs=2)[0] == [[2, 7, 12, 17]] * 2
    assert fit(data, epochs=2)[0] == [[2, 7, 12, 17]] * 2


@pytest.mark.parametrize("data", [X, stream])
def test_a_short_epoch_is_told(data):
    with pytest.warns(UserWarning, match="ran out in epoch 2: 1 of 3 steps"):
        fit(data, steps_per_epoch=3, epochs=2)


def test_every_pass_has_its_own_order_and_all_rows():
    epochs = fit(steps_per_epoch=2, epochs=6, batch_size=1, shuffle=True, seed=0)[0]
    longer = fit(steps_per_epoch=2, epochs=20, batch_size=1, shuffle=True, seed=0)[0]
    rows = [row for epoch in longer for row in epoch]
    assert longer[:6] == epochs
    assert sorted(rows[:20]) == sorted(rows[20:]) == list(range(20)) and rows[:20] != rows[20:]


@ENDS
@pytest.mark.parametrize("data", [X, stream])
@pytest.mark.parametrize("save_freq", ["epoch", 1])
@pytest.mark.parametrize("steps", [2, 3])
def test_a_resumed_training_takes_the_batches_that_are_left(tmp_path, data, save_freq, steps):
    class Crash(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 5:
                raise RuntimeError

    options = {"steps_per_epoch": steps, "epochs": 5, "seed": 2, "shuffle": True}
    whole = [row for epoch in fit(data, **options)[0] for row in epoch]
    backup = BackupAndRestore(tmp_path / "b", save_freq=save_freq)
    with pytest.raises(RuntimeError):
        fit(data, callbacks=[Crash(), backup], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        epochs, history = fit(
            data, callbacks=[BackupAndRestore(tmp_path / "b", save_freq=save_freq)], **options
        )
    rest = [row for epoch in epochs for row in epoch]
    assert rest == whole[len(whole) - len(rest) :]
    assert history.epoch == [0, 1, 2, 3, 4]


class Values(Callback):
    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        logs["v"] = [1.0, 0.5, 0.9, 0.9][epoch]
        self.weights.append(self.model.get_weights()[0].copy())


def test_a_generator_that_ends_ends_the_training_as_any_end():
    values, best = Values(), EarlyStopping("v", mode="min", patience=8, restore_best_weights=True)
    with pytest.warns(UserWarning) as heard:
        epochs, history = fit(stream(), callbacks=[values, best], steps_per_epoch=2, epochs=9)
    assert ["ran out in the training: 2 of 9 epochs" in text for text in texts(heard)] == [True]
    assert epochs == [[2, 7], [12, 17]] and history.epoch == [0, 1]
    assert np.array_equal(history.model.get_weights()[0], values.weights[1])


def test_a_generator_that_ends_within_an_epoch():
    with pytest.warns(UserWarning) as heard:
        epochs, history = fit(stream(), steps_per_epoch=3, epochs=9)
    told = texts(heard)
    assert "epoch 2: 1 of 3 steps" in told[0] and "the training: 2 of 9 epochs" in told[1]
    assert epochs == [[2, 7, 12], [17]] and len(history.history["loss"]) == 2


def test_a_generator_that_has_ended_before():
    used = stream()
    fit(used)
    with pytest.raises(DataError, match=r"gave no batch|has ended"):
        fit(used)


def test_stopping_in_the_middle_of_an_epoch_is_no_end_of_data():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    assert fit(steps_per_epoch=3, epochs=5, callbacks=[Stop()])[0] == [[2]]
