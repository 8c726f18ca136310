"""Gradual unfreezing: which layers are released when, what of batch normalisation, and resuming bitwise."""

from itertools import product

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, optimizers, utils
from kernelearn.callbacks import BackupAndRestore, Callback, GradualUnfreezing
from kernelearn.errors import ArgumentError, UnknownNameError
from tests.sweeps import some

RNG = np.random.default_rng(0)
X, Y = RNG.random((24, 8, 8, 1), "float32"), RNG.integers(0, 3, 24)
LOSS = "sparse_categorical_crossentropy"


def network():
    utils.set_random_seed(0)
    return Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.Conv2D(4, 3, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


class Watch(Callback):
    """Which layers with weights are trained in each epoch, and in how many operations."""

    def __init__(self):
        super().__init__()
        self.trained, self.updates = [], []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.trained.append(
                [la.name for la in self.model.flat_layers() if la.trainable and la.own_weights]
            )
            operations = self.model.program("train").operations
            self.updates.append(sum(op.phase == "update" for op in operations))


def fit(callback, epochs=4, model=None, optimizer="adam", place=None, **options):
    model, watch = model or network(), Watch()
    model.compile(optimizers.get(optimizer) if isinstance(optimizer, str) else optimizer, LOSS)
    callbacks = [callback, watch]
    if place is not None:
        callbacks.append(BackupAndRestore(place, delete_checkpoint=False, **options))
    model.fit(X, Y, 8, epochs=epochs, verbose=0, seed=3, callbacks=callbacks, validation_data=(X[:8], Y[:8]))
    return model, watch


def test_from_the_head_down_and_normalisation_keeps_its_statistics():
    model = network()
    before = model.get_layer("norm2").get_weights()
    model, watch = fit(GradualUnfreezing(), model=model)
    assert watch.trained == [["head"], ["conv2", "head"], *[["conv1", "conv2", "head"]] * 2]
    assert watch.updates[0] < watch.updates[1] < watch.updates[2], "what is frozen is not updated"
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_layer("norm2").get_weights()))


def test_every_so_many_epochs_until_a_layer():
    _, watch = fit(GradualUnfreezing(every=2, until="conv2"), epochs=6)
    assert watch.trained == [["head"]] * 2 + [["conv2", "head"]] * 4


def test_with_normalisation():
    model = network()
    before = model.get_layer("norm2").get_weights()
    model, watch = fit(GradualUnfreezing(normalization=True), epochs=2, model=model)
    assert watch.trained[1] == ["conv2", "norm2", "head"]
    assert not np.array_equal(before[2], model.get_layer("norm2").get_weights()[2])


def test_groups_of_ones_own():
    _, watch = fit(GradualUnfreezing(groups=["head", ["conv*"]]), epochs=2)
    assert watch.trained == [["head"], ["conv1", "conv2", "head"]]


def test_when_validation_stops_improving():
    class Script(Callback):
        """Values in place of the real ones."""

        values = iter([1.0, 0.5, 0.6, 0.4, 0.4, 0.4])

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = next(self.values)

    model, watch = network(), Watch()
    model.compile("sgd", LOSS)
    gradual = GradualUnfreezing(every=1, monitor="val_loss")
    model.fit(X, Y, 8, epochs=6, verbose=0, callbacks=[Script(), gradual, watch], validation_data=(X, Y))
    assert [len(names) for names in watch.trained] == [1, 1, 1, 2, 2, 3]


def test_a_second_fit_begins_with_the_head_again():
    gradual = GradualUnfreezing()
    model, _ = fit(gradual, epochs=3)
    _, watch = fit(gradual, epochs=1, model=model)
    assert watch.trained == [["head"]]


class Stop(Callback):
    """Ctrl-C before a batch of an epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = epoch, batch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.model.fit_state.epoch, batch) == self.at:
            raise KeyboardInterrupt


RULES = {
    "sgd": {},
    "adam": {},
    "adafactor": {},
    "averaged": {"use_ema": True, "gradient_accumulation_steps": 2},
}


# Where it is interrupted: (epoch, batch).
PLACES = [(1, 0), (1, 2), (2, 0), (3, 1)]


@pytest.mark.parametrize(("rule", "place"), some(product(RULES, PLACES), quick=list(zip(RULES, PLACES))))
def test_resumed_bitwise(tmp_path, rule, place):
    epoch, batch = place

    def optimizer():
        return optimizers.Adam(**RULES[rule]) if rule == "averaged" else optimizers.get(rule)

    whole, _ = fit(GradualUnfreezing(), optimizer=optimizer())
    model = network()
    model.compile(optimizer(), LOSS)
    callbacks = [GradualUnfreezing(), Stop(epoch, batch), BackupAndRestore(tmp_path / "b", save_freq=1)]
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, 8, epochs=4, verbose=0, seed=3, callbacks=callbacks, validation_data=(X[:8], Y[:8]))
    gone_on, _ = fit(GradualUnfreezing(), optimizer=optimizer(), place=tmp_path / "b")
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), gone_on.get_weights()))


def test_a_callback_of_ones_own_that_freezes_is_resumed_too(tmp_path):
    class Freeze(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.freeze(until="norm1")

    class Release(Callback):
        def on_train_begin(self, logs=None):
            self.model.freeze(until="flat")

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.unfreeze()

    for kind in (Freeze, Release):
        whole, _ = fit(kind())
        place = tmp_path / kind.__name__
        fit(kind(), epochs=2, place=place)
        gone_on, _ = fit(kind(), place=place)
        assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), gone_on.get_weights()))


def test_what_cannot_be_is_refused_before_the_first_step():
    with pytest.raises(ArgumentError, match="at least 1"):
        GradualUnfreezing(every=0)
    with pytest.raises(UnknownNameError, match="conv2"):
        fit(GradualUnfreezing(until="conv3"))
    for groups in ("head", []):
        with pytest.raises(ArgumentError, match="at least one group"):
            GradualUnfreezing(groups=groups)
    for groups in (["head", "head"], ["head", "flat"]):
        with pytest.raises(ArgumentError, match="no layers with weights that no group before"):
            fit(GradualUnfreezing(groups=groups))
    with pytest.raises(ArgumentError, match="none of the groups"):
        fit(GradualUnfreezing(until="flat"))
    model = Sequential([Input((4,)), layers.Flatten()])
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match="no layers with weights"):
        model.fit(np.ones((2, 4)), np.ones((2, 4)), verbose=0, callbacks=[GradualUnfreezing()])
