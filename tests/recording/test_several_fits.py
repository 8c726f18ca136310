"""Runs of several fits and fits with several recorders: what stays known, and what belongs to which fit."""

import numpy as np
import pytest

from kernelearn import Sequential, optimizers, set_random_seed
from kernelearn.callbacks import Callback
from kernelearn.errors import ArgumentError
from kernelearn.layers import Conv2D, Dense, Flatten
from kernelearn.recording import Recorder, Run
from kernelearn.recording.files.manifest import read_manifest, write_manifest

from .helpers import SHAPE, make_data, make_model, record


def fit_again(model, folder, optimizer, frozen=(), epochs=1, **options):
    """Go on training with these layers frozen and another optimiser."""
    for layer in model.layers:
        layer.trainable = layer.name not in frozen
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return record(folder, model, epochs=epochs, ledger_every=1, **options)


def forget_what_changes(folder):
    """The manifest as earlier versions wrote it."""
    content = read_manifest(folder)
    for segment in content["segments"]:
        del segment["changing"]
    write_manifest(folder, content)


# --- several recorders


def test_two_recorders_record_what_each_records_alone(tmp_path):
    options = {"a": {"ledger_every": 1, "layers": ["conv"]}, "b": {"ledger_every": 2, "layers": ["dense"]}}
    for name, own in options.items():
        record(tmp_path / f"{name} alone", **own)
    record(tmp_path / "a", callbacks=[Recorder(tmp_path / "b", **options["b"])], **options["a"])
    for name, layer in {"a": "conv", "b": "dense"}.items():
        alone, together = Run(tmp_path / f"{name} alone"), Run(tmp_path / name)
        assert together.ledger_steps.tolist() == alone.ledger_steps.tolist()
        for step in alone.ledger_steps.tolist():
            mine, theirs = together.ledger(layer, step), alone.ledger(layer, step)
            for field in ("x", "delta", "gradient"):
                assert np.array_equal(getattr(mine, field), getattr(theirs, field))


def test_one_label_for_two_buffers_is_told():
    class Watcher(Callback):
        def __init__(self, buffer):
            super().__init__()
            self.buffer = buffer

        def on_train_batch_begin(self, batch, logs=None):
            self.model.watch_step({"mine": self.buffer})

    model, (x, y) = make_model(norm=False), make_data()
    gradients = model.program().gradients
    with pytest.raises(ArgumentError, match="another callback has the label 'mine'"):
        model.fit(
            x, y, verbose=0, callbacks=[Watcher(gradients["conv/kernel"]), Watcher(gradients["conv/bias"])]
        )


# --- frozen for a while


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("stride", [1, 4])
def test_a_layer_that_a_later_fit_freezes_keeps_its_last_value(tmp_path, is_old, stride):
    model, run = record(tmp_path, make_model("adam"), ledger_every=0, kernels_every=stride, full_layers=())
    last, end = model.get_layer("conv").kernel.numpy(), run.last_step
    fit_again(model, tmp_path, "sgd", frozen=["conv"])
    if is_old:
        forget_what_changes(tmp_path)
    run = Run(tmp_path)
    assert run.last_step == end + 3 and run.weight_steps("conv").tolist() == run.steps.tolist()
    for step in range(end, end + 4):
        assert np.array_equal(run.kernels("conv", step), last)
    steps, values = run.trace("conv", (0, 0, 0, 1))
    assert steps.tolist() == run.steps.tolist() and set(values[steps >= end]) == {last[0, 0, 0, 1]}
    assert not run.update("conv", end + 2).any()
    assert not run.is_frozen("conv", end) and run.is_frozen("conv", end + 1)
    assert run.frozen_updates("conv", 1, end + 3) == 3
    with pytest.raises(ArgumentError, match="conv/kernel was frozen at step"):
        run.ledger("conv", end + 1)


def test_a_layer_that_a_later_fit_trains_had_its_first_value(tmp_path):
    model = make_model("adam")
    first = model.get_layer("conv").kernel.numpy()
    fit_again(model, tmp_path, "adam", frozen=["conv"])
    fit_again(model, tmp_path, "adam")
    run = Run(tmp_path)
    assert set(run.layers) == {"conv", "norm", "dense"}
    assert all(np.array_equal(run.kernels("conv", step), first) for step in range(4))
    assert run.update("conv", 4).any() and run.ledger_steps_of("conv").tolist() == [4, 5, 6]


def test_what_was_trained_and_not_recorded_is_not_made_up(tmp_path):
    model, run = record(tmp_path, layers=["conv"])
    record(tmp_path, model, layers=["dense"])
    run = Run(tmp_path)
    assert run.weight_steps("conv").tolist() == list(range(7))
    with pytest.raises(ArgumentError, match="Step 8 has no record"):
        run.kernels("conv", 8)
    with pytest.raises(ArgumentError, match="was not recorded at step 7"):
        run.ledger("conv", 7)


def test_normalisation_that_stands_still_is_known_with_its_statistics(tmp_path):
    model, _ = record(tmp_path)
    statistics = model.get_layer("norm").moving_mean.numpy()
    fit_again(model, tmp_path, "sgd", frozen=["norm"])
    assert np.array_equal(Run(tmp_path).kernels("norm", 8, "moving_mean"), statistics)


# --- another optimiser


def test_every_fit_has_its_own_optimiser_and_arrays(tmp_path):
    model, _ = record(tmp_path, make_model("adam"), ledger_every=1, gradients_every=1)
    fit_again(model, tmp_path, optimizers.SGD(0.1, momentum=0.9, clipvalue=0.5))
    run = Run(tmp_path)
    assert {first: own["kind"] for first, own in run.optimizers.items()} == {
        1: "adam_update",
        7: "sgd_update",
    }
    assert run.optimizer_of(6)["kind"] == "adam_update" and run.optimizer_of(7)["clipping"] is not None
    assert set(run.state_before("conv", 6)) == {"momentum", "velocity"}
    assert not run.state_before("conv", 7)["momentum"].any()  # not what Adam left under the same name
    assert run.state_before("conv", 8)["momentum"].any()


# --- classes


@pytest.mark.parametrize("dtype", ["int64", "float32", "bool"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_binary_targets_of_any_type_have_classes(tmp_path, dtype, shape):
    x, y = make_data(classes=2)
    set_random_seed(0)
    model = Sequential(
        [Conv2D(2, 3, name="conv", input_shape=SHAPE), Flatten(), Dense(1, activation="sigmoid")]
    )
    model.compile("sgd", "binary_crossentropy")
    _, run = record(tmp_path, model, data=(x, y.astype(dtype).reshape(shape)), ledger_every=1)
    batch = run.batch(2)
    assert batch.labels is not None and np.array_equal(batch.labels, y[batch.images])
    assert [run.about.class_name(number) for number in (0, 1.0)] == ["0", "1"]
