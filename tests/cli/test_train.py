"""`kernelearn train`: what a run leaves, what it refuses, and that an interrupted one goes on bitwise."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kernelearn
from kernelearn.cli import main
from kernelearn.cli.train.record_options import RecordOptions
from kernelearn.models import zoo
from tests.sweeps import some

SMALL = ("--epochs", "1", "--augment", "none", "--quiet")


def weights(folder):
    return kernelearn.load_model(folder / "model.kernelearn").get_weights()


def test_a_run_keeps_everything(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"run.json", "model.kernelearn", "history.csv", "kernels.png"}
    manifest = json.loads((finished / "run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["arguments"]["epochs"] == 2
    assert manifest["data"]["class_names"] == [str(i) for i in range(10)]
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["results"]["test"]["accuracy"] > 0.5
    with open(finished / "history.csv") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_model_knows_its_data(finished):
    metadata = kernelearn.load_model(finished / "model.kernelearn").metadata
    assert metadata["input_shape"] == [8, 8, 1]
    assert metadata["name"] == "digits"


def test_same_seed_same_weights_other_seed_others(run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("train", "digits", *SMALL, "--seed", seed, "--run", tmp_path / name).code == 0
    first, same, other = (weights(tmp_path / name) for name in "abc")
    assert all(np.array_equal(x, y) for x, y in zip(first, same))
    assert not np.array_equal(first[0], other[0])


def test_prints_accuracy_and_where_the_picture_is(run, tmp_path):
    result = run("train", "digits", *SMALL, "--run", tmp_path / "r")
    assert "Test accuracy" in result.out
    assert f"Kernels: {tmp_path / 'r' / 'kernels.png'}" in result.out


def test_json_is_all_that_is_printed(run, tmp_path):
    result = run("train", "digits", "--epochs", "1", "--json", "--run", tmp_path / "r")
    assert result.json["status"] == "finished"
    assert result.json["run"] == str(tmp_path / "r")


def test_folders_are_numbered(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("train", "digits", *SMALL).code == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["digits-lenet-1", "digits-lenet-2"]


def test_an_existing_run_is_not_replaced_unless_told(run, tmp_path):
    arguments = ("train", "digits", *SMALL, "--run", tmp_path / "r")
    assert run(*arguments).code == 0
    refused = run(*arguments)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    (tmp_path / "r" / "notes.txt").write_text("mine")
    assert run(*arguments, "--overwrite").code == 0
    assert (tmp_path / "r" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("augment", ["flip", "crop", "shift,rotate", "zoom,contrast"])
def test_augmentation_stands_in_front(run, tmp_path, augment):
    result = run("train", "digits", "--epochs", "1", "--augment", augment, "-q", "--run", tmp_path / "r")
    assert result.code == 0, result.err
    first = kernelearn.load_model(tmp_path / "r" / "model.kernelearn").layers[0]
    assert "Random" in type(first).__name__ or augment == "crop"


def test_augmentation_before_a_functional_model(run, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((24, 8, 8, 1)), y=np.arange(24) % 2)
    arguments = ("--model", "resnet20", "--augment", "flip", "--epochs", "1", "--quiet", "--test", "none")
    result = run("train", tmp_path / "d.npz", *arguments, "--run", tmp_path / "r")
    assert result.code == 0, result.err
    assert (tmp_path / "r" / "kernels.png").exists()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle", "exponential"])
def test_schedules(run, tmp_path, schedule):
    options = ("--schedule", schedule, "--optimizer", "sgd", "--lr", "0.05")
    assert run("train", "digits", *SMALL, *options, "--run", tmp_path / "r").code == 0


def test_the_policy_is_kept_with_the_run(run, tmp_path):
    words = ("train", "digits", *SMALL, "--policy", "mixed_bfloat16", "--run", tmp_path / "run")
    assert run(*words).code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["arguments"]["policy"] == "mixed_bfloat16"
    assert kernelearn.load_model(tmp_path / "run" / "model.kernelearn").policy == "mixed_bfloat16"
    assert "Policy: mixed_bfloat16" in run("summary", tmp_path / "run").out


def test_model_from_python_json_and_file(run, tmp_path, finished):
    (tmp_path / "net.py").write_text(
        "from kernelearn.models import zoo\n\ndef build(input_shape, classes):\n"
        "    return zoo.lenet(input_shape, classes, name='mine')\n"
    )
    config = {"class_name": "Sequential", "config": zoo.lenet((8, 8, 1), 10).get_config()}
    (tmp_path / "net.json").write_text(json.dumps(config))
    for i, model in enumerate(
        (tmp_path / "net.py", tmp_path / "net.json", finished, finished / "model.kernelearn")
    ):
        result = run("train", "digits", *SMALL, "--model", model, "--run", tmp_path / str(i))
        assert result.code == 0, result.err
    assert kernelearn.load_model(tmp_path / "0" / "model.kernelearn").name == "mine"


def test_regression(run, tmp_path):
    x = np.random.default_rng(0).random((80, 8, 8, 1))
    np.savez(tmp_path / "d.npz", x=x, y=x.mean(axis=(1, 2, 3)))
    result = run("train", tmp_path / "d.npz", "--epochs", "2", "--json", "--run", tmp_path / "r")
    assert result.code == 0, result.err
    assert set(result.json["results"]["test"]) == {"loss", "mae"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nothing-there",), "no file or folder"),
        (("digits", "--model", "lenett"), "Did you mean 'lenet'"),
        (("digits", "--model", "gone.py"), "no file 'gone.py'"),
        (("digits", "--optimizer", "adamm"), "Did you mean 'adam'"),
        (("digits", "--schedule", "sine"), "Unknown schedule"),
        (("digits", "--augment", "flop"), "Did you mean 'flip'"),
        (("digits", "--val", "1.5"), "--val must be"),
        (("digits", "--test", "gone/"), "--test takes"),
        (("digits", "--resize", "3xx"), "--resize takes"),
        (("digits", "--lr", "-1"), "--lr must be"),
        (("digits", "--engine", "warp"), "Unknown engine"),
        (("digits", "--policy", "mixed_float16"), "Unknown precision policy"),
        (("digits", "--record", "--record-budget", "lots"), "--record-budget takes a size"),
        (("digits", "--record", "--record-budget", "-3MB"), "--record-budget takes a size"),
        (("--resume",), "no run.json"),
    ],
)
def test_mistakes_get_one_message_and_leave_nothing(run, tmp_path, words, says):
    result = run("train", *words, "--run", tmp_path / "r")
    assert result.code == 1
    assert result.err.startswith("Error: ")
    assert says in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "r").exists()


def test_record_options_are_arguments_of_a_recorder():
    assert RecordOptions(False, *[None] * 6).recorder_arguments() is None
    assert RecordOptions(True, *[None] * 6).recorder_arguments() == {}
    assert RecordOptions(True, "conv1, conv2", 3, 0, 10, "conv1", "0.5 GB").recorder_arguments() == {
        "layers": ["conv1", "conv2"],
        "kernels_every": 3,
        "ledger_every": 0,
        "gradients_every": 10,
        "full_layers": ["conv1"],
        "max_bytes": 500_000_000,
    }
    assert RecordOptions(True, "all", None, None, None, "none", "4096").recorder_arguments() == {
        "layers": "all",
        "full_layers": [],
        "max_bytes": 4096,
    }


def test_errors_of_a_model_file_are_told(run, tmp_path):
    (tmp_path / "bad.py").write_text("def build(input_shape, classes):\n    return 1 / 0\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    result = run("train", "digits", "--model", tmp_path / "bad.py", "--run", tmp_path / "r")
    assert (result.code, "ZeroDivisionError" in result.err) == (1, True)
    result = run("train", "digits", "--model", tmp_path / "empty.py", "--run", tmp_path / "r")
    assert "build(input_shape, classes)" in result.err


def test_a_file_in_the_way_is_told_before_training(run, tmp_path):
    (tmp_path / "r").write_text("a file")
    result = run("train", "digits", "--run", tmp_path / "r")
    assert result.code == 1
    assert "a file is in the way" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("train", "digits", "--epochs", "x"),
        ("train", "digits", "--nope"),
        ("train", "digits", "--record-kernels", "2"),
        ("train", "--resume"),
        ("train", "--epochs", "2"),
        ("fly",),
    ],
)
def test_usage_errors(run, words):
    assert run(*words).code == 2


# --- interrupted runs: real processes, real signals

# After its second epoch it waits for the end of its input, so that it is always stopped there.
PROGRAM = """
import sys
from kernelearn.callbacks import CSVLogger
from kernelearn.cli import main

def write_and_wait(self, epoch, logs=None, write=CSVLogger.on_epoch_end):
    write(self, epoch, logs)
    if epoch == 1:
        sys.stdin.read()

CSVLogger.on_epoch_end = write_and_wait
sys.exit(main())
"""
COMMAND = [sys.executable, "-c", PROGRAM, "train"]
LONG = ["digits", "--epochs", "6", "--augment", "shift"]


def start(*words):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    words = [*COMMAND, *map(str, words)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(words, text=True, env=environment, **pipes)


def wait_for_lines(folder, count):
    for _ in range(2400):
        path = folder / "history.csv"
        if path.exists() and len(path.read_text().splitlines()) > count:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not get on")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["train", *LONG, "--quiet", "--run", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("number", some([signal.SIGINT, signal.SIGKILL], quick=1))
def test_an_interrupted_run_goes_on_bitwise(run, whole, tmp_path, number):
    broken = tmp_path / "broken"
    process = start(*LONG, "--run", broken)
    wait_for_lines(broken, 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)  # which ends its input
    status = json.loads((broken / "run.json").read_text())["status"]
    if number == signal.SIGINT:
        assert (process.returncode, status) == (130, "interrupted")
        assert f"kernelearn train --resume --run {broken}" in err
    else:
        assert (process.returncode, status) == (-signal.SIGKILL, "running")
    assert run("train", "--resume", "--run", broken, "--epochs", "13").code == 1
    result = run("train", "--resume", "--run", broken, "--quiet")
    assert result.code == 0, result.err
    assert all(np.array_equal(x, y) for x, y in zip(weights(whole), weights(broken)))
    assert (whole / "history.csv").read_bytes() == (broken / "history.csv").read_bytes()
    assert "finished" in run("train", "--resume", "--run", broken).err


def test_resume_refuses_other_data(run, tmp_path):
    x = np.random.default_rng(0).random((40, 8, 8, 1))
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(40) % 2)
    folder = tmp_path / "r"
    assert run("train", tmp_path / "d.npz", "--epochs", "1", "--quiet", "--run", folder).code == 0
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    np.savez(tmp_path / "d.npz", x=1 - x, y=np.arange(40) % 2)
    result = run("train", "--resume", "--run", folder)
    assert result.code == 1
    assert "fingerprint" in result.err
