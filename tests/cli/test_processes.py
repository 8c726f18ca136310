"""`kernelearn train --processes N`: what it starts, what it leaves, and how it ends."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from kernelearn.cli import run_folder
from kernelearn.cli.application import app
from kernelearn.cli.train import processes
from kernelearn.models import load_model
from kernelearn.parallel import starting
from kernelearn.training.callbacks.backup import FILE_NAME
from tests.parallel.mpi import MPIEXEC, environment, needs_mpi
from tests.sweeps import some

SMALL = ("digits", "--epochs", "1", "--augment", "none", "--batch-size", "256", "--val", "100")


def bits(folder):
    return [array.tobytes() for array in load_model(folder / run_folder.MODEL).get_weights()]


def kernelearn(*words, **options):
    """A process of the command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "kernelearn", *map(str, words)],
        env=environment(**options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@needs_mpi
def test_processes_give_what_one_gives_and_one_of_them_writes(run, tmp_path):
    alone, several = tmp_path / "alone", tmp_path / "several"
    assert run("train", *SMALL, "--shards", 12, "--run", alone, "--quiet").code == 0
    code, out, err = finish(kernelearn("train", *SMALL, "--run", several, "--processes", 2, "--json"))
    assert code == 0, err
    assert json.loads(out)["run"] == str(several)
    assert f"{MPIEXEC} -n 2" in err
    assert bits(alone) == bits(several)
    histories = [(folder / run_folder.HISTORY).read_text() for folder in (alone, several)]
    assert histories[0] == histories[1]
    assert {path.name for path in several.iterdir()} == {path.name for path in alone.iterdir()}


@needs_mpi
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
@pytest.mark.parametrize(("number", "expected"), some([(signal.SIGINT, 130), (signal.SIGTERM, 143)], quick=1))
def test_a_stopped_training_is_saved_and_another_number_goes_on(tmp_path, run, number, expected):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    words = [word if word != "1" else "3" for word in SMALL]
    process = kernelearn("train", *words, "--run", stopped, "--processes", 2)
    while not (stopped / run_folder.CHECKPOINT / FILE_NAME).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    code, _, err = finish(process)
    if code != 0:  # it was not over already
        assert code == expected, err
        assert "Go on with: kernelearn train --resume" in err
        assert run("train", "--resume", "--run", stopped, "--quiet").code == 0
    assert run("train", *words, "--shards", 12, "--run", whole, "--quiet").code == 0
    assert bits(whole) == bits(stopped)


@needs_mpi
def test_an_error_is_told_once(tmp_path):
    code, out, err = finish(kernelearn("train", tmp_path / "missing", "--processes", 3))
    assert code == 1
    assert out == ""
    assert err.count("Error:") == 1
    assert "Abort" not in err


@needs_mpi
def test_fewer_shards_than_processes_are_refused(tmp_path):
    words = ("--processes", 2, "--shards", 1, "--run", tmp_path / "r")
    code, _, err = finish(kernelearn("train", *SMALL, *words))
    assert code == 1
    assert "without work" in err
    assert not (tmp_path / "r").exists()


def test_gradients_are_rounded_on_request(run, tmp_path):
    """It is a part of the settings, for one process as for several; without shards it is refused."""
    folders = [tmp_path / name for name in ("plain", "rounded")]
    assert run("train", *SMALL, "--shards", 2, "--run", folders[0], "--quiet").code == 0
    words = ("--shards", 2, "--transport", "bfloat16")
    assert run("train", *SMALL, *words, "--run", folders[1], "--quiet").code == 0
    assert bits(folders[0]) != bits(folders[1])
    assert run_folder.Training.load(folders[1]).arguments["transport"] == "bfloat16"
    refused = run("train", *SMALL, "--transport", "bfloat16", "--run", tmp_path / "r")
    assert refused.code == 1
    assert "would have no effect" in refused.err
    assert not (tmp_path / "r").exists()


def test_a_run_of_one_shard_is_resumed_by_one_process_only(monkeypatch):
    from kernelearn.cli.train.settings import Settings

    old = {name: None for name in ("data", "model", "epochs", "batch_size", "optimizer", "lr", "schedule")}
    old |= {name: None for name in ("seed", "split_seed", "val", "test", "augment", "resize", "channels")}
    assert Settings.from_dict({**old, "patience": None, "engine": None}).shards == 1


def test_the_command_is_said_again_without_the_number(monkeypatch, tmp_path):
    """Options in any spelling, of the command and before it; what was not said is not added."""
    said = []

    def start(context: typer.Context, count, remedy):
        said.append((count, processes._words(context)))
        return 3

    monkeypatch.setattr(processes, "start", start)
    own = tmp_path / "own.py"
    own.write_text("")
    words = ["--code", str(own), "train", "--lr=0.5", "digits", "-q", "--processes", "4", "--no-such"]
    assert CliRunner().invoke(app, words).exit_code == 2
    result = CliRunner().invoke(app, words[:-1])
    assert result.exit_code == 3
    assert said == [(4, ["--code", str(own), "train", "digits", "--lr", "0.5", "--quiet"])]


def test_without_mpiexec_it_says_what_to_install(monkeypatch, run):
    monkeypatch.setattr(starting.shutil, "which", lambda name, path=None: None)
    pytest.importorskip("mpi4py")
    result = run("train", "digits", "--processes", 2)
    assert result.code == 1
    assert "pip install mpich" in result.err


def test_another_number_than_mpiexec_started_is_refused(monkeypatch, run):
    from kernelearn.parallel import world

    class Three:
        rank, size = 0, 3

    monkeypatch.setenv("PMI_SIZE", "3")
    with world.pretending(Three()):
        monkeypatch.setattr(world, "exchange", lambda: Three())
        result = run("train", "digits", "--processes", 2)
    assert result.code == 1
    assert "leave --processes out" in result.err


@needs_mpi
def test_an_experiment_is_shared_out(tmp_path, run):
    words = ["experiment", "frozen", "--epochs", 1, "--seeds", 2, "--images", 40, "--test-images", 20]
    code, out, err = finish(kernelearn(*words, "--processes", 2, "--save", tmp_path / "two.csv"))
    assert code == 0, err
    assert out.count("Table: ") == 1
    assert run(*words, "--save", tmp_path / "one.csv").code == 0

    def numbers(name):
        rows = csv.DictReader((tmp_path / name).read_text().splitlines())
        return [{title: value for title, value in row.items() if title != "seconds"} for row in rows]

    assert numbers("two.csv") == numbers("one.csv")


@needs_mpi
@pytest.mark.parametrize("words", some([["--head"], ["--gradual"]], quick=[["--gradual"]]))
def test_fine_tuning_gives_what_one_process_gives(tmp_path, run, words):
    assert run("train", *SMALL, "--run", tmp_path / "first", "--quiet").code == 0
    words = ["finetune", tmp_path / "first", "digits", "--epochs", 1, "--augment", "none", "-q", *words]
    assert run(*words, "--shards", 12, "--run", tmp_path / "one").code == 0
    code, _, err = finish(kernelearn(*words, "--processes", 2, "--run", tmp_path / "two"))
    assert code == 0, err
    assert bits(tmp_path / "one") == bits(tmp_path / "two")
