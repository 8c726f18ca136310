"""Several fits in one run folder, runs that are resumed, budgets and disks that end."""

import errno
import os
import sqlite3
import warnings

import numpy as np
import pytest

from kernelearn.callbacks import BackupAndRestore, Callback
from kernelearn.errors import ArgumentError, StorageError
from kernelearn.recording import Recorder, Run, RunWriter
from kernelearn.recording.files.streams import StreamWriter
from kernelearn.recording.index import update_index
from tests.told import texts

from .helpers import KeepWeights, make_data, make_model, record, write_run


class StopAfter(Callback):
    """Ends the process of training, as Ctrl-C or a fault would, after so many batches."""

    def __init__(self, batches, error=KeyboardInterrupt):
        super().__init__()
        self.left, self.error = batches, error

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise self.error("stopped")


def test_a_second_fit_goes_on_in_the_same_files(tmp_path):
    keeper = KeepWeights()
    model, first = record(tmp_path, make_model("adam"), callbacks=[keeper])
    model, run = record(tmp_path, model, callbacks=[keeper])
    assert run.last_step == 12 and len(run.manifest["segments"]) == 1
    for step, weights in enumerate(keeper.weights):
        assert np.array_equal(run.kernels("conv", step), weights["conv/kernel"])
    assert [e["kind"] for e in run.events].count("begun") == 2
    assert run.scalars("loss")[0].tolist() == list(range(1, 13))
    assert first.manifest["run"] == run.manifest["run"]


def test_a_fit_with_another_optimizer_goes_on_in_a_new_segment(tmp_path):
    keeper = KeepWeights()
    model, _ = record(tmp_path, make_model("adam"), callbacks=[keeper])
    model.get_layer("conv").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    model, run = record(tmp_path, model, callbacks=[keeper])
    assert run.last_step == 12 and len(run.manifest["segments"]) == 2
    assert [run.iteration(k) for k in (1, 6, 7, 12)] == [1, 6, 1, 6]
    for step, weights in enumerate(keeper.weights):
        assert np.array_equal(run.kernels("dense", step), weights["dense/kernel"])
    assert run.update_rule("dense", 6)["kind"] == "adam_update"
    assert run.update_rule("dense", 7)["kind"] == "sgd_update"
    assert run.trace("dense", (0, 0))[0].tolist() == list(range(13))
    assert run.ledger("conv", 1).step == 1 and run.trace("conv")[0].tolist() == list(range(13))


def test_a_run_that_was_interrupted_and_resumed_is_as_one_that_never_stopped(tmp_path):
    _, whole = record(tmp_path / "whole", make_model("adam"), epochs=4, ledger_every=2)
    for batches in (5, 3):
        with pytest.raises(KeyboardInterrupt):
            again(tmp_path, StopAfter(batches))
        assert Run(tmp_path / "run").status == "interrupted"
    again(tmp_path)
    run = Run(tmp_path / "run")
    assert run.last_step == whole.last_step == 12 and run.status == "finished"
    for step in range(13):
        assert np.array_equal(run.kernels("conv", step), whole.kernels("conv", step))
    for step in range(1, 13):
        assert np.array_equal(run.batch(step).images, whole.batch(step).images)
    assert np.array_equal(run.scalars("loss")[1], whole.scalars("loss")[1])
    assert np.array_equal(run.ledger("conv", 8).delta, whole.ledger("conv", 8).delta)
    assert [e["step"] for e in run.events if e["kind"] == "epoch"] == [3, 6, 9, 12]


def again(folder, *callbacks):
    """Start the same program (again)."""
    x, y = make_data()
    recorder = Recorder(folder / "run", ledger_every=2)
    backup = BackupAndRestore(folder / "backup")
    model = make_model("adam")
    model.fit(x, y, epochs=4, batch_size=8, verbose=0, seed=0, callbacks=[recorder, backup, *callbacks])


def test_a_run_that_died_before_its_first_checkpoint_begins_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, callbacks=[StopAfter(2)])
    assert Run(tmp_path).last_step == 2
    assert record(tmp_path)[1].last_step == 6


def test_another_training_is_refused_and_replaces_only_when_told(tmp_path):
    _, run = record(tmp_path)
    same = r"ends at step 6 \(finished\).*the same training, at update 0 again.*overwrite=True"
    with pytest.raises(ArgumentError, match=same):
        record(tmp_path)
    with pytest.raises(
        ArgumentError, match=r"another one\. What differs: the batch size; steps_per_epoch\. Record"
    ):
        record(tmp_path, batch_size=4)
    with pytest.raises(ArgumentError, match="of another model"):
        record(tmp_path, make_model(norm=False))
    assert np.array_equal(Run(tmp_path).kernels("conv", 6), run.kernels("conv", 6))
    _, new = record(tmp_path, epochs=1, overwrite=True)
    assert new.last_step == 3 and new.manifest["run"] != run.manifest["run"]


def test_a_run_that_died_is_not_replaced_by_another_training_with_the_same_start(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, callbacks=[StopAfter(5)])
    with pytest.raises(ArgumentError, match="What differs: the optimizer"):
        record(tmp_path, make_model("adam"))
    assert Run(tmp_path).last_step == 5
    events = tmp_path / "events.jsonl"
    events.unlink()  # as in a run of an earlier version, which does not say what it is of
    assert record(tmp_path)[1].last_step == 6


def test_a_model_that_was_changed_in_between_is_refused(tmp_path):
    model, _ = record(tmp_path)
    model.get_layer("conv").kernel.assign(np.zeros((3, 3, 1, 2)))
    with pytest.raises(ArgumentError, match="its weights differ"):
        record(tmp_path, model)


def test_a_folder_that_another_process_records_is_refused_before_training(tmp_path):
    with RunWriter.create(tmp_path, {}):
        model = make_model()
        with pytest.raises(StorageError, match="is being recorded by"):
            record(tmp_path, model)
        with pytest.raises(StorageError, match="is being recorded by"):
            record(tmp_path, model, overwrite=True)
    assert model.optimizer.iterations == 0


# --- budget


@pytest.mark.parametrize("kilobytes", [25, 60, 270])
def test_a_budget_is_kept_and_what_it_costs_is_said(tmp_path, kilobytes):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        _, run = record(tmp_path, epochs=20, max_bytes=1000 * kilobytes, ledger_every=2, maps_every=2)
    said = texts(heard)
    assert "it records" in said[0] and any("Recording ends" in text for text in said) is (kilobytes == 25)
    assert (tmp_path / "index.sqlite").exists() is (kilobytes == 270)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000 * kilobytes
    told = [e for e in run.events if e["kind"] == "thinned"]
    assert told and told[-1]["every"] != told[0]["before"] and run.problems == []


def test_a_budget_with_an_unknown_number_of_steps(tmp_path):
    x, y = make_data()

    def batches():
        while True:
            yield x[:4], y[:4]

    recorder = Recorder(tmp_path, max_bytes=150_000, maps_every=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        make_model(norm=False).fit(batches, steps_per_epoch=2, epochs=60, verbose=0, callbacks=[recorder])
    assert sum(path.stat().st_size for path in tmp_path.glob("*.bin")) <= 150_000
    assert Run(tmp_path).last_step == 120


def test_a_budget_without_room_for_anything_ends_the_recording_openly(tmp_path):
    fewer = pytest.warns(UserWarning, match=r"it records .* instead of")
    with fewer, pytest.warns(UserWarning, match=r"max_bytes .* is reached.*training goes on"):
        model, run = record(tmp_path, epochs=5, max_bytes=18_000, maps_every=0, ledger_every=0)
    assert model.optimizer.iterations == 15 and 0 < run.last_step < 15


def test_a_budget_below_the_first_state_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="no room for the first state"):
        record(tmp_path, max_bytes=500)


# --- disks


def test_a_full_disk_ends_the_recording_and_not_the_training(tmp_path, monkeypatch):
    write, calls = os.write, []

    def full(file, data):
        if len(data) > 500 and calls.append(1) is None and len(calls) > 12:
            write(file, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("kernelearn.recording.files.streams.os.write", full)
    keeper = KeepWeights()
    with pytest.warns(UserWarning, match=r"the disk is full.*training goes on without it"):
        model, run = record(tmp_path, callbacks=[keeper])
    assert model.optimizer.iterations == 6 and 0 < run.last_step < 6 and run.problems == []
    for step in run.steps:
        assert np.array_equal(run.kernels("conv", step), keeper.weights[step]["conv/kernel"])


def test_an_interrupt_in_the_middle_of_a_step_leaves_whole_steps(tmp_path, monkeypatch):
    append, calls = StreamWriter.append, []

    def interrupted(self, step, rows=0):
        result = append(self, step, rows)
        if self.layout.name == "kernels" and step == 4 and not calls:
            calls.append(1)
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(StreamWriter, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path)
    run = Run(tmp_path)
    assert run.last_step == 3 and run.steps.tolist() == [0, 1, 2, 3] and run.status == "interrupted"
    sizes = {p.name: p.stat().st_size for p in tmp_path.glob("kernels-*.bin")}
    assert set(sizes.values()) == {4 * run._segments[0].streams["kernels"].layout.record_bytes}


# --- the index


def test_the_index_holds_what_the_records_do(tmp_path):
    x, y = make_data()
    _, run = record(tmp_path, fit={"validation_data": (x, y)})
    (tmp_path / "index.sqlite").unlink()
    connection = sqlite3.connect(update_index(tmp_path))
    rows = connection.execute("SELECT step, loss, learning_rate, images FROM steps ORDER BY step").fetchall()
    assert [row[0] for row in rows] == list(range(1, 7))
    assert [row[1] for row in rows] == run.scalars("loss")[1].tolist()
    assert all(np.array_equal(np.frombuffer(row[3], "<i8"), run.batch(row[0]).images) for row in rows)
    found = connection.execute("SELECT value FROM scalars WHERE name = 'val_loss' ORDER BY step").fetchall()
    assert [value for (value,) in found] == run.scalars("val_loss")[1].tolist()
    kinds = [kind for (kind,) in connection.execute("SELECT kind FROM events ORDER BY number")]
    assert kinds == [e["kind"] for e in run.events]
    connection.close()


def test_the_index_follows_the_run_and_survives_damage(tmp_path):
    model, _ = record(tmp_path)
    record(tmp_path, model)
    assert count_steps(tmp_path) == 12
    (tmp_path / "index.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 50)
    update_index(tmp_path)
    assert count_steps(tmp_path) == 12


def count_steps(folder):
    connection = sqlite3.connect(folder / "index.sqlite")
    (count,) = connection.execute("SELECT COUNT(*) FROM steps").fetchone()
    connection.close()
    return count


def test_a_run_without_a_model_says_so(tmp_path):
    with pytest.raises(ArgumentError, match="does not say what its model is"):
        Run(write_run(tmp_path)).model()
