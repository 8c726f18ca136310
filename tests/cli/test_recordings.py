"""`kernelearn train --record` and `kernelearn runs ...`, as a user meets them."""

import shutil

import numpy as np
import pytest

import kernelearn
from kernelearn.recording import Run

SMALL = ("--epochs", "1", "--augment", "none", "--quiet", "--batch-size", "128")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    from kernelearn.cli import main

    folder = tmp_path_factory.mktemp("runs") / "one"
    words = ["train", "digits", *SMALL, "--record", "--record-ledger", "5", "--run", str(folder)]
    assert main(words) == 0
    return folder


def test_a_recorded_training_has_its_run(recorded):
    run, model = Run(recorded), kernelearn.load_model(recorded / "model.kernelearn")
    assert run.status == "finished" and run.ledger_steps.tolist() == [1, 5, 10]
    assert run.manifest["about"]["class_names"] == [str(i) for i in range(10)]
    for mine, saved in zip(run.model().get_weights(), model.get_weights()):
        assert np.array_equal(mine, saved)


def test_recording_changes_no_number(run, recorded, tmp_path):
    run("train", "digits", *SMALL, "--run", tmp_path / "plain")
    plain = kernelearn.load_model(tmp_path / "plain" / "model.kernelearn").get_weights()
    same = kernelearn.load_model(recorded / "model.kernelearn").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(plain, same))


def test_options_of_the_recording(run, tmp_path):
    words = ("--record", "--record-layers", "conv1", "--record-ledger", "0", "--record-budget", "3 MB")
    assert run("train", "digits", *SMALL, *words, "--run", tmp_path / "r").code == 0
    found = Run(tmp_path / "r")
    assert found.layers == ["conv1"] and len(found.ledger_steps) == 0
    result = run("train", "digits", *SMALL, "--record", "--record-budget", "much", "--run", tmp_path / "s")
    assert result.code == 1 and "a size such as 500MB" in result.err
    result = run("train", "digits", *SMALL, "--record-ledger", "5", "--run", tmp_path / "s")
    assert result.code == 2 and "give --record too" in result.err


def test_overwrite_replaces_the_recording(run, tmp_path):
    for _ in range(2):
        words = ("--record", "--overwrite", "--run", tmp_path / "r")
        assert run("train", "digits", *SMALL, *words).code == 0
    first = Run(tmp_path / "r")
    assert [e["kind"] for e in first.events].count("begun") == 1
    assert run("train", "digits", *SMALL, "--overwrite", "--run", tmp_path / "r").code == 0
    assert not (tmp_path / "r" / "record").exists()


def test_list(run, recorded):
    result = run("runs", "list", recorded.parent)
    assert result.code == 0 and "finished" in result.out and "%" in result.out
    (one,) = run("runs", "list", recorded.parent, "--json").json
    assert one["status"] == "finished" and one["steps"] == 11 and one["numbers"]["accuracy"] > 0


def test_list_of_nothing(run, tmp_path):
    assert "No runs" in run("runs", "list", tmp_path).out
    result = run("runs", "list", tmp_path / "none")
    assert result.code == 1 and "There is no folder" in result.err


def test_show(run, recorded):
    result = run("runs", "show", recorded, "--check")
    assert (
        "Every record is what was written." in result.out
        and "Layer conv1: kernel 3 x 3 x 1 x 32" in result.out
    )
    content = run("runs", "show", recorded, "--json").json
    assert content["recorded"]["ledger"] == {"count": 3, "first": 1, "last": 10}
    assert content["optimizer"] == "Adam" and content["problems"] == []


def test_export_and_prune(run, recorded, tmp_path):
    result = run("runs", "export", recorded, "-o", tmp_path / "run.csv")
    assert result.code == 0 and len((tmp_path / "run.csv").read_text().splitlines()) == 12
    pruned = shutil.copytree(recorded, tmp_path / "pruned")
    result = run("runs", "prune", pruned, "--ledger", "0")
    assert result.code == 0 and "before" in result.out and len(Run(pruned).ledger_steps) == 0
    assert run("runs", "prune", pruned).code == 2


def test_a_training_without_a_recording(run, finished):
    result = run("runs", "show", finished)
    assert result.code == 1 and "train --record" in result.err


def test_runs_are_compared(run, recorded, tmp_path):
    result = run("runs", "compare", recorded, recorded, "--figure", tmp_path / "compared.png")
    assert result.code == 0, result.err
    assert "Where they ended" in result.out and (tmp_path / "compared.png").stat().st_size > 5_000
    assert run("runs", "compare", recorded).code == 1
