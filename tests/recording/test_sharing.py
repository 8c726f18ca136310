"""Runs exported, pruned and listed: the numbers stay those that were recorded."""

import csv
import os

import numpy as np
import pytest

from kernelearn.errors import ArgumentError, StorageError, UnknownNameError
from kernelearn.recording import Recorder, Run, RunWriter, export, list_runs, prune
from kernelearn.recording.files.writer import record_files

from .helpers import make_data, record, write_run


@pytest.fixture
def run(tmp_path):
    x, y = make_data()
    options = {
        "ledger_every": 2,
        "maps_every": 2,
        "full_layers": ["dense"],
        "fit": {"validation_data": (x, y)},
    }
    return record(tmp_path / "run", epochs=3, **options)[1]


def test_npz_holds_all_steps(run, tmp_path):
    with np.load(export(run, tmp_path / "run.npz")) as file:
        arrays = dict(file)
    assert arrays["steps"].tolist() == list(range(10))
    for step in (0, 4, 9):
        assert np.array_equal(arrays["weights/conv/kernel"][step], run.kernels("conv", step))
    assert arrays["gradient_steps/conv/kernel"].tolist() == [1, 2, 4, 6, 8]
    assert np.array_equal(arrays["gradients/conv/kernel"][2], run.gradient("conv", 4))
    assert arrays["gradient_steps/dense/kernel"].tolist() == list(range(1, 10))
    assert np.array_equal(arrays["scalars/loss"], run.scalars("loss")[1])
    assert arrays["scalar_steps/val_loss"].tolist() == [3, 6, 9]


@pytest.mark.parametrize("step", [None, 3, 4])
def test_safetensors(run, tmp_path, step):
    package = pytest.importorskip("safetensors.numpy", reason="the extra interop is not installed")
    tensors = package.load_file(export(run, tmp_path / "run.safetensors", step=step))
    if step is None:
        assert np.array_equal(tensors["weights/conv/kernel"][5], run.kernels("conv", 5))
        return
    assert np.array_equal(tensors["conv/kernel"], run.kernels("conv", step))
    assert set(tensors) >= {"conv/bias", "dense/kernel", "norm/gamma"}


def test_csv_has_a_line_a_step(run, tmp_path):
    with open(export(run, tmp_path / "run.csv")) as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    assert [float(row["loss"]) for row in rows] == run.scalars("loss")[1].tolist()
    assert [row["val_loss"] == "" for row in rows] == [True, True, False] * 3
    assert [row["epoch"] for row in rows] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3


def test_tensorboard_shows_the_numbers(run, tmp_path):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra tensorboard is not installed",
    )
    folder = export(run, tmp_path / "logs")
    train = events.EventAccumulator(str(folder / "train"))
    train.Reload()
    losses = [(event.step, event.value) for event in train.Scalars("batch_loss")]
    expected = [(step, np.float32(loss)) for step, loss in zip(*run.scalars("loss"))]
    assert losses == expected
    assert "conv/kernel" in train.Tags()["histograms"] and "conv/kernel/image" in train.Tags()["images"]


def test_formats_that_do_not_go(run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'csv'"):
        export(run, tmp_path / "run.csw")
    with pytest.raises(ArgumentError, match="goes with npz"):
        export(run, tmp_path / "run.csv", step=3)
    with pytest.raises(ArgumentError, match="Step 99"):
        export(run, tmp_path / "run.npz", step=99)
    assert not (tmp_path / "run.npz").exists()


def test_pruning_keeps_what_it_keeps_as_it_was(run):
    before = {k: run.kernels("conv", k) for k in run.steps.tolist()}
    ledgers = {k: run.ledger("conv", k) for k in (1, 4, 8)}
    losses = run.scalars("loss")[1]
    done = prune(run.folder, kernels=5, ledger=4, maps=4)
    assert done.after < done.before
    pruned = Run(run.folder)
    assert pruned.check() == [] and pruned.ledger_steps.tolist() == [1, 4, 8]
    assert pruned.steps.tolist() == [0, 1, 3, 4, 5, 7, 8, 9]
    assert pruned.map_steps.tolist() == [0, 4, 8]
    for step in pruned.steps.tolist():
        assert np.array_equal(pruned.kernels("conv", step), before[step])
    for step, factors in ledgers.items():
        assert np.array_equal(pruned.ledger("conv", step).delta, factors.delta)
        assert np.array_equal(pruned.ledger("conv", step).gradient, factors.gradient)
        assert pruned.optimizer_state("conv", step - 1).keys() == pruned.optimizer_state("conv", step).keys()
    assert np.array_equal(pruned.scalars("loss")[1], losses)
    assert [e["kind"] for e in pruned.events][-1] == "pruned" and pruned.status == "finished"


def test_an_open_reader_sees_that_a_run_was_pruned(run):
    prune(run.folder, kernels=0, ledger=0)
    run.refresh()
    assert run.steps.tolist() == [0, 9] and len(run.ledger_steps) == 0


def test_a_pruned_run_can_be_gone_on_with(tmp_path):
    model, run = record(tmp_path)
    prune(tmp_path, ledger=0, kernels=3)
    _, run = record(tmp_path, model)
    assert run.steps.tolist() == [0, 3, 6, 7, 8, 9, 10, 11, 12] and run.check() == []


def test_pruning_that_fails_leaves_the_run(run, monkeypatch):
    def fail(*arguments):
        raise StorageError("the disk is full")

    monkeypatch.setattr("kernelearn.recording.pruning.write_manifest", fail)
    with pytest.raises(StorageError):
        prune(run.folder, ledger=0)
    monkeypatch.undo()
    again = Run(run.folder)
    assert again.check() == [] and again.ledger_steps.tolist() == [1, 2, 4, 6, 8]
    with RunWriter.reopen(run.folder):
        pass
    named = {s["file"] for s in again.manifest["segments"][0]["streams"].values()}
    assert {path.name for path in record_files(run.folder)} <= named


def test_pruning_refuses_what_it_does_not_know(run):
    with pytest.raises(ArgumentError, match="What can be pruned"):
        prune(run.folder, steps=2)
    with pytest.raises(ArgumentError, match="0 or a number"):
        prune(run.folder, ledger=-1)
    with RunWriter.reopen(run.folder), pytest.raises(StorageError, match="is being recorded"):
        prune(run.folder, ledger=0)


def test_a_list_of_runs_names_damaged_ones_too(tmp_path):
    record(tmp_path / "b" / "record")
    write_run(tmp_path / "a")
    write_run(tmp_path / "broken")
    os.truncate(tmp_path / "broken" / "manifest.json", 200)
    (tmp_path / "broken" / "manifest.json").write_text('{"format": "kernelearn run", "format_version": 1}')
    (tmp_path / "else").mkdir()
    found = {one.path: one for one in list_runs(tmp_path)}
    assert [os.path.relpath(path, tmp_path) for path in found] == ["a", "b/record", "broken"]
    good, broken = found[str(tmp_path / "b" / "record")], found[str(tmp_path / "broken")]
    assert (good.status, good.steps, good.epochs) == ("finished", 6, 2)
    assert good.bytes > 1000 and set(good.numbers) == {"loss", "learning_rate", "accuracy"}
    assert broken.status == "damaged" and "checksum" in broken.problem
    assert [one.path for one in list_runs(tmp_path / "b")] == [str(tmp_path / "b" / "record")]


def test_default_strides_follow_the_length_of_the_fit(tmp_path):
    recorder = Recorder(tmp_path)
    for total, expected in ((6, 1), (82, 4), (8_000, 400), (90_000, 500), (None, 500)):
        recorder.set_params({"steps": total, "epochs": 1})
        every = recorder._strides()
        assert every["ledger"] == every["maps"] == expected
