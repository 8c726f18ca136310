"""A backup goes on with the training that made it and with no other one, and says what differs."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, optimizers, schedules
from kernelearn.callbacks import BackupAndRestore, Callback, ReduceLROnPlateau
from kernelearn.errors import ArgumentError, FormatError
from kernelearn.training.fingerprint import differences
from kernelearn.utils import set_random_seed

RNG = np.random.default_rng(0)
X, Y = RNG.random((20, 4, 4, 1)).astype("float32"), RNG.integers(0, 3, 20)


class Stop(Callback):
    """Ends the training as a crash would, before epoch 2."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise RuntimeError("crash")


def train(
    folder,
    crash=False,
    x=X,
    y=Y,
    optimizer=None,
    loss="sparse_categorical_crossentropy",
    metrics=None,
    filters=2,
    activation="relu",
    frozen=False,
    callbacks=(),
    **options,
):
    set_random_seed(1)
    model = Sequential(
        [
            Input((4, 4, 1)),
            layers.Conv2D(filters, 3, activation=activation),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.layers[0].trainable = not frozen
    model.compile(optimizer or optimizers.Adam(0.01), loss, metrics=metrics, engine="reference")
    options = {"batch_size": 5, "epochs": 4, "seed": 3, "verbose": 0, **options}
    found = [BackupAndRestore(folder), *callbacks, *([Stop()] if crash else [])]
    return model.fit(x, y, callbacks=found, **options)


@pytest.fixture
def backup(tmp_path):
    """A folder with the state behind epoch 1."""
    with pytest.raises(RuntimeError, match="crash"):
        train(tmp_path / "b", crash=True)
    return tmp_path / "b"


PERMUTED = np.arange(20)[::-1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"x": X + 1}, "training data"),
        ({"x": X[PERMUTED], "y": Y[PERMUTED]}, "training data"),
        ({"x": X[:18], "y": Y[:18]}, "training data"),
        ({"y": (Y + 1) % 3}, "training data"),
        ({"sample_weight": np.linspace(0, 1, 20)}, "training data"),
        ({"class_weight": {0: 1.0, 1: 2.0, 2: 3.0}}, "class_weight"),
        ({"validation_data": (X, Y)}, "validation data"),
        ({"validation_data": (X, Y), "validation_freq": 2}, "validation_freq"),
        ({"activation": "tanh"}, "network"),
        ({"filters": 3}, "network"),
        ({"frozen": True}, "network"),
        ({"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}, "loss"),
        ({"optimizer": optimizers.SGD(0.01)}, "optimizer"),
        ({"optimizer": optimizers.Adam(0.01, beta_1=0.8)}, "optimizer"),
        ({"optimizer": optimizers.Adam(0.02)}, "learning rate"),
        ({"optimizer": optimizers.Adam(schedules.ExponentialDecay(0.01, 5, 0.5))}, "learning rate"),
        ({"batch_size": 4}, "batch size"),
        ({"steps_per_epoch": 3}, "steps_per_epoch"),
        ({"shuffle": False}, "shuffle"),
        ({"seed": 4}, "seed"),
    ],
)
def test_another_training_is_refused_by_name(backup, change, named):
    with pytest.raises(ArgumentError, match=f"differs: .*{named}.*another backup_dir"):
        train(backup, **change)
    assert (backup / "checkpoint.kernelearn").exists()


def test_a_network_that_is_built_again_goes_on(backup, tmp_path):
    whole = train(tmp_path / "whole")
    found = train(backup)
    assert found.epoch == [0, 1, 2, 3]
    assert found.history == whole.history
    for a, b in zip(found.model.get_weights(), whole.model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    assert found.model.layers[0].name != whole.model.layers[0].name


def test_a_rate_that_was_changed_in_training_is_state(tmp_path):
    plateau = ReduceLROnPlateau("loss", patience=1, min_delta=10.0)
    with pytest.raises(RuntimeError):
        train(tmp_path / "b", crash=True, callbacks=[plateau])
    found = train(tmp_path / "b", callbacks=[ReduceLROnPlateau("loss", patience=1, min_delta=10.0)])
    assert found.history["learning_rate"][:3] == pytest.approx([0.01, 0.01, 0.001])
    # The rate of the saved state is as good as that of the beginning.
    with pytest.raises(RuntimeError):
        train(tmp_path / "c", crash=True, callbacks=[plateau])
    assert train(tmp_path / "c", optimizer=optimizers.Adam(0.001), callbacks=[plateau]).epoch == [0, 1, 2, 3]


def test_a_stream_goes_on_with_a_warning(tmp_path):
    def stream():
        for start in range(0, 20, 5):
            yield X[start : start + 5], Y[start : start + 5]

    with pytest.raises(RuntimeError):
        train(tmp_path / "b", crash=True, x=stream, y=None, batch_size=None)
    with pytest.warns(UserWarning, match="cannot tell whether it is the same.*stream"):
        assert train(tmp_path / "b", x=stream, y=None, batch_size=None).epoch == [0, 1, 2, 3]


def test_a_state_without_fingerprint_is_compared_by_steps_and_batch_size(backup):
    from kernelearn.formats import native

    path = backup / "checkpoint.kernelearn"
    config, arrays = native.read(path)
    for name in ("fingerprint", "rate"):
        del config["about"][name]
    for name in ("data_pass", "pass_batch"):
        del config["training"]["fit"][name]
    native.write(path, config, arrays)
    with pytest.raises(ArgumentError, match="batch_size was 5 and is 10"):
        train(backup, batch_size=10)
    assert train(backup).epoch == [0, 1, 2, 3]


def test_arrays_of_another_optimizer_are_refused_without_a_fingerprint(backup):
    model = Sequential([Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])
    model.compile(optimizers.SGD(0.01, momentum=0.9), "mse", engine="reference")
    from kernelearn.training.checkpoint import load_checkpoint

    with pytest.raises(FormatError, match="another model or optimiser"):
        load_checkpoint(backup / "checkpoint.kernelearn", model)


def test_parts_that_one_side_lacks_say_nothing():
    assert differences({"policy": "float32"}, {"batch_size": "3"}) == []
    assert differences({"policy": "float32"}, {"policy": "mixed_bfloat16"}) == ["the precision policy"]
    assert differences({"seed": "none"}, {"seed": "3"}) == []
