"""The folder of a run: one writer, a checkpoint that belongs to it, an end that can be cut anywhere."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kernelearn
from kernelearn import locks
from kernelearn.cli.train.settings import make_settings
from kernelearn.cli.train.settings_guard import SettingsGuard
from kernelearn.errors import ArgumentError, StorageError
from kernelearn.locks import LOCK_NAME, FolderLock, is_locked
from kernelearn.models import Model

SMALL = ("--epochs", "2", "--batch-size", "256", "--quiet")


def weights(folder):
    return kernelearn.load_model(folder / "model.kernelearn").get_weights()


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("words", [("--run", ""), ("--run=",)])
@pytest.mark.parametrize(
    "command", [("train", "digits"), ("train", "--resume"), ("finetune", "lenet", "digits")]
)
def test_an_empty_name_of_the_folder_is_refused(run, tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    found = run(*command, *words)
    assert found.code == 2 and "it is empty" in found.err and "--run" in found.err
    assert list(tmp_path.iterdir()) == []


# --- one writer


@pytest.mark.parametrize(
    "words",
    [
        ("digits", *SMALL, "--seed", "9"),
        ("digits", *SMALL, "--seed", "9", "--record"),
        ("digits", *SMALL, "--overwrite"),
        ("--resume",),
    ],
    ids=["plain", "recorded", "overwrite", "resume"],
)
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_second_training_is_refused_and_changes_nothing(run, tmp_path, words, has_begun):
    if has_begun or "--resume" in words:
        (tmp_path / "run.json").write_text('{"arguments": {}, "data": {}}')
    with FolderLock(tmp_path):
        before = content(tmp_path)
        result = run("train", *words, "--run", tmp_path)
        assert content(tmp_path) == before
    assert result.code == 1
    assert f"process {os.getpid()}" in result.err and result.err.count("\n") == 1


def test_the_lock_goes_with_its_holder(run, tmp_path):
    code = (
        "import os, sys, pathlib; from kernelearn.locks import FolderLock;"
        "FolderLock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=pipe, stdout=pipe)
    assert process.stdout.readline() == b"held\n"
    assert is_locked(tmp_path)
    with pytest.raises(StorageError, match=f"process {process.pid}"):
        FolderLock(tmp_path).acquire()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert (tmp_path / LOCK_NAME).exists() and not is_locked(tmp_path)
    assert run("train", "digits", *SMALL, "--run", tmp_path).code == 0
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_lock_whose_file_was_removed_guards_nothing(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    (tmp_path / LOCK_NAME).unlink()
    second.acquire()
    with pytest.raises(StorageError):
        FolderLock(tmp_path).acquire()
    second.release()
    first.release()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.warns(UserWarning, match="No locks available"), FolderLock(tmp_path):
        pass


def test_numbered_folders_are_taken_once(tmp_path):
    from kernelearn.cli.run_folder import next_folder

    made = [next_folder("digits", "lenet", tmp_path) for _ in range(3)]
    assert [path.name for path in made] == ["digits-lenet-1", "digits-lenet-2", "digits-lenet-3"]


# --- what goes on


@pytest.fixture
def cut(run, tmp_path, monkeypatch):
    """A run that ended right before its model was saved."""

    def die(*arguments, **named):
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "save", die)
        assert run("train", "digits", *SMALL, "--run", tmp_path / "cut").code == 137
    return tmp_path / "cut"


def test_a_run_cut_behind_its_last_step_is_not_trained_again(run, tmp_path, cut):
    assert run("train", "digits", *SMALL, "--run", tmp_path / "whole").code == 0
    epochs = run("train", "--resume", "--run", cut).out.count("Epoch ")
    assert epochs == 0
    assert all(np.array_equal(x, y) for x, y in zip(weights(cut), weights(tmp_path / "whole")))
    assert (cut / "history.csv").read_bytes() == (tmp_path / "whole" / "history.csv").read_bytes()
    assert {path.name for path in cut.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def test_resuming_a_finished_run_changes_nothing(run, tmp_path):
    assert run("train", "digits", *SMALL, "--run", tmp_path).code == 0
    before = content(tmp_path)
    result = run("train", "--resume", "--run", tmp_path)
    assert result.code == 0 and "is finished" in result.err
    assert content(tmp_path) == before


@pytest.mark.parametrize(("name", "value"), [("lr", 0.1), ("seed", 7), ("optimizer", "sgd"), ("augment", [])])
def test_a_checkpoint_goes_on_with_its_own_options_only(run, cut, name, value):
    about = json.loads((cut / "run.json").read_text())
    other = {**about, "arguments": {**about["arguments"], name: value}}
    (cut / "run.json").write_text(json.dumps(other))
    result = run("train", "--resume", "--run", cut)
    assert result.code == 1
    assert not (cut / "model.kernelearn").exists()
    (cut / "run.json").write_text(json.dumps(about))
    assert run("train", "--resume", "--run", cut).code == 0


def test_the_guard_of_settings_names_the_option():
    ours, theirs = (make_settings({"data": "digits", "lr": rate}) for rate in (0.1, 0.2))
    state = SettingsGuard(theirs, Path("r")).get_state()
    with pytest.raises(ArgumentError, match=r"lr=0\.2.*0\.1"):
        SettingsGuard(ours, Path("r")).set_state(state)
    SettingsGuard(theirs, Path("r")).set_state(state)
    del state["settings"]["lr"]  # written before there was such an option
    SettingsGuard(ours, Path("r")).set_state(state)


def test_what_a_training_left_is_not_replaced_unasked(run, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    result = run("train", "digits", *SMALL, "--run", tmp_path)
    assert result.code == 1 and "--overwrite" in result.err


def test_options_that_cannot_be_leave_the_old_run(run, tmp_path):
    assert run("train", "digits", *SMALL, "--run", tmp_path).code == 0
    before = content(tmp_path)
    result = run("train", "digits", *SMALL, "--run", tmp_path, "--overwrite", "--optimizer", "adamm")
    assert result.code == 1 and content(tmp_path) == before
    assert result.err.count(" adam,") == 1  # each known name once


def test_all_pixels_count_for_the_same_data(run, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((400, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(400) % 2)
    folder = tmp_path / "r"
    assert run("train", tmp_path / "d.npz", *SMALL, "--run", folder).code == 0
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "status": "interrupted"}))
    x[311, 5, 5, 0] += 0.25
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(400) % 2)
    result = run("train", "--resume", "--run", folder)
    assert result.code == 1 and "fingerprint" in result.err


# --- run.json damaged


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": "x"},
        {"format_version": None},
        {"format_version": 99},
        {"data": []},
        {"data": {"input_shape": 3}},
        {"arguments": None},
        {"results": 4},
        {"versions": "new"},
        {"status": ["finished"]},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_damaged_manifest_is_one_clear_error(run, tmp_path, finished, change):
    about = json.loads((finished / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**about, **change}))
    for words in (("evaluate",), ("summary",), ("kernels",), ("explain", "filters"), ("train", "--resume")):
        result = run(*words, *(("--run",) if "--resume" in words else ()), tmp_path)
        assert result.code == 1, words
        assert "run.json" in result.err and result.err.count("\n") == 1
    assert run("runs", "list", tmp_path).code == 0


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"arguments": {}}', "[" * 100_000])
def test_a_manifest_that_is_none(run, tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    result = run("evaluate", tmp_path)
    assert result.code == 1 and "is damaged" in result.err and "Traceback" not in result.err


# --- kill -9


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each attempt is a copy of one process")
@pytest.mark.parametrize(
    "words", [("--every", "5"), ("--record", "--every", "19")], ids=["plain", "recorded"]
)
def test_a_kill_behind_the_last_step_costs_nothing(words):
    """Some of the operations; `make kills` tries all of them."""
    script = Path(__file__).with_name("kills.py")
    command = [sys.executable, str(script), *words, "--json"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(tried) >= 3, done.stderr
    assert done.returncode == 0, [one for one in tried if one["resumed"] or not one["same"]]
    assert {one["status"] for one in tried} <= {"running", "finished"}
