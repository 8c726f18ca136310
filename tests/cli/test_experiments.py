"""The commands of the experiments: every one runs, files are whole, Ctrl-C keeps what is finished."""

import json
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("sklearn")

from kernelearn.explain.experiments import EXPERIMENTS, ExperimentResult
from tests.sweeps import some

TINY = ["--epochs", "1", "--seeds", "2", "--images", "64", "--test-images", "50"]


# The others differ in what they train, which tests/explain/experiments looks at.
@pytest.mark.parametrize("name", some(EXPERIMENTS, quick=("frozen", "transfer")))
def test_every_command_prints_its_table(run, name):
    own = ["--new-epochs", "1", "--per-class", "3"] if name == "transfer" else []
    result = run("experiment", name, *TINY, *own)
    assert result.code == 0, result.err
    assert "Answer: " in result.out and "95 % interval" in result.out and "digits (8 x 8 x 1)" in result.out
    assert result.err.count("seed ") == 2  # not a terminal: a line for each seed
    assert max(map(len, result.out.splitlines()[2:6])) == min(map(len, result.out.splitlines()[2:6]))


def test_json_figure_and_table(run, tmp_path):
    pytest.importorskip("matplotlib")
    figure, table = tmp_path / "f.png", tmp_path / "t.json"
    result = run("experiment", "depth", *TINY, "--depths", "1,2", "--json", "-o", figure, "--save", table)
    assert result.code == 0, result.err
    assert result.json["settings"]["depths"] == [1, 2] and len(result.json["rows"]) == 2
    assert set(result.json["summaries"]["2 convolutions"]["accuracy"]) == {"mean", "std", "low", "high"}
    assert ExperimentResult.load(table).to_dict() == ExperimentResult.from_dict(result.json).to_dict()
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Picture:" in result.err and "Table:" in result.err


def test_defaults_of_the_command_are_those_of_the_library(run):
    from kernelearn.cli.experiment.kernels import _COMMON
    from kernelearn.explain.experiments import Depth, ExperimentSettings, Transfer

    settings = {name: default for name, (_, default, _) in _COMMON.items()}
    assert (
        ExperimentSettings(
            **{name: settings[name] for name in ("epochs", "seeds", "images", "test_images", "batch_size")},
            learning_rate=settings["lr"],
        )
        == ExperimentSettings()
    )
    words = run("experiment", "transfer", "--help").out
    assert all(f"[default: {value}]" in words for value in Transfer().options().values())
    assert f"[default: {' '.join(map(str, Depth().depths))}]" in run("experiment", "depth", "--help").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frozen", "--figure", "f.doc"], "--figure can be saved as"),
        (["frozen", "--save", "t.xls"], "saved as .json, .csv, .md or .txt"),
        (["depth", "--depths", "one"], "--depths takes whole numbers"),
        (["depth", "--match", "flops"], "match must be one of"),
        (["transfer", "--per-class", "500"], "Ask for fewer"),
        (["frozen", "--lr", "0"], "learning_rate must be greater than 0"),
        (["frozen", "--data", "nothing-here"], "There is no file or folder"),
    ],
)
def test_errors_come_before_the_run_and_say_what_to_do(run, words, message):
    result = run("experiment", *words, *TINY)
    assert result.code == 1 and message in result.err and "seed 1" not in result.err


def test_seeds_and_images_have_to_be_positive(run):
    assert run("experiment", "frozen", "--seeds", "0").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
@pytest.mark.parametrize("number", some([signal.SIGINT, signal.SIGTERM], quick=1))
def test_a_stopped_run_leaves_the_finished_seeds(tmp_path, number):
    table = tmp_path / "t.json"
    words = [
        "experiment",
        "frozen",
        "--epochs",
        "1",
        "--seeds",
        "5000",
        "--images",
        "64",
        "--save",
        str(table),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from kernelearn.cli import main; sys.exit(main())", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(600):
            if table.exists():
                break
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else 143), err
    saved = ExperimentResult.from_dict(json.loads(table.read_text()))
    assert 1 <= len(saved.seeds) < 5000 and saved.is_partial
    assert f"Stopped: the table holds the {len(saved.seeds)} of 5000 seeds that were finished." in err
    # The lines are broken at the width of the terminal.
    assert " ".join(saved.answer.split()) in " ".join(out.split()) and "Not finished" in out
