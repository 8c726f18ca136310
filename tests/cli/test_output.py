"""What commands print: names that would act on a terminal are shown, tables fit it, hints are options."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from kernelearn.cli.hints import in_options
from kernelearn.cli.output import say, say_lines, say_prose, say_table, visible

NAMES = ("cat\x1b[2J", "[red]dog", "owl\nError: none", "\x9b31m\u202efox")
SMALL = ("--epochs", "2", "--batch-size", "256", "--augment", "none")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    from kernelearn.cli import main

    folder = tmp_path_factory.mktemp("runs") / "a-name-of-some-length"
    assert main(["train", "digits", *SMALL, "--quiet", "--record", "--run", str(folder)]) == 0
    return folder


@pytest.fixture
def window(monkeypatch, recorded):
    """A window of 80 columns, and runs under short names."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(recorded.parent)
    return recorded.name


def acts_on_terminal(text):
    return re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 字", "plain é 字"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("two\nlines\r", r"two\x0alines\x0d"),
        ("\udcff.png", r"\xff.png"),
        ("a\u2028b\u2066", r"a\u2028b\u2066"),
    ],
)
def test_what_acts_on_a_terminal_is_written_out(name, shown):
    assert visible(name) == shown


def test_every_door_shows_names(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in NAMES:
        say(name)
        say_prose(name)
        say_table(("name", "count"), [(name, "3")], title=name)
        say_lines(f"first\n{name}")
    out = capsys.readouterr().out
    assert not acts_on_terminal(out)
    assert "[red]dog" in out


def test_class_names_of_a_data_set_stay_text(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 8, 8, 1)), np.arange(40) % 4
    np.savez(tmp_path / "d.npz", x=x, y=y, class_names=np.array(NAMES))
    place = tmp_path / "r"
    for words in (
        ("data", tmp_path / "d.npz"),
        ("train", tmp_path / "d.npz", "--epochs", "1", "--run", place),
        ("evaluate", place),
        ("evaluate", place, tmp_path / "d.npz", "--part", "nope\x1b[2J"),
        ("train", tmp_path / "d.npz", "--class-weight", "gnu:2", "--run", tmp_path / "s"),
        ("summary", "le\x1b[2Jnet"),
    ):
        result = run(*words)
        assert not acts_on_terminal(result.out + result.err), words
    assert "[red]dog" in run("evaluate", place).out
    assert r"owl\x0aError" in run("evaluate", place).out


@pytest.mark.skipif(os.name == "nt", reason="Windows names are Unicode")
def test_names_that_are_not_utf8_are_printed(run, finished, tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    image.new("L", (8, 8)).save("a.png")
    os.rename(b"a.png", b"a\xff.png")
    result = run("predict", finished, os.fsdecode(b"a\xff.png"))
    assert result.code == 0 and r"a\xff.png: " in result.out
    assert r"gone\udcff" in run("predict", finished, os.fsdecode(b"gone\xff.png")).err


COMMANDS = (
    ("runs", "list", "."),
    ("runs", "show", "RUN"),
    ("evaluate", "RUN"),
    ("summary", "RUN"),
    ("summary", "resnet20"),
    ("data", "digits"),
    pytest.param(("doctor",), marks=pytest.mark.slow),
    ("kernels", "RUN"),
    pytest.param(("report", "RUN"), marks=pytest.mark.slow),
    ("explain", "filters", "RUN"),
    ("explain", "filters", "RUN", "--details"),
    ("explain", "curves", "RUN"),
    ("explain", "curves", "RUN", "--layer", "conv2"),
    ("explain", "update", "RUN"),
    ("explain", "history", "RUN"),
    ("explain", "dense", "RUN"),
    ("explain", "maps", "RUN"),
    ("explain", "field", "RUN"),
    ("explain", "patches", "RUN", "--filters", "0,1"),
    ("explain", "saliency", "RUN", "--images", "2"),
    pytest.param(
        ("experiment", "sharing", "--epochs", "1", "--seeds", "2", "--images", "60", "--test-images", "30"),
        marks=pytest.mark.slow,
    ),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_fits_80_columns(run, window, words):
    result = run(*(window if word == "RUN" else word for word in words))
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines and max(map(len, lines)) <= 80, max(lines, key=len)


def test_a_ledger_fits_but_for_its_formula(run, window):
    lines = run("explain", "ledger", window).out.splitlines()
    assert all(len(line) <= 80 for line in lines if "sum over" not in line)


def test_a_training_fits_80_columns_with_one_row_an_epoch(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    out = run("train", "digits", *SMALL, "--schedule", "cosine", "--run", "r").out.splitlines()
    assert max(map(len, out)) <= 80
    epochs = [line for line in out if line.startswith("Epoch ")]
    assert len(epochs) == 2
    assert all("val_acc" in line and "loss" in line for line in epochs)
    assert "lr 0.0000" not in epochs[-1]


def test_a_wide_table_comes_in_pieces_with_every_cell(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    columns = ("name", *(f"column {i}" for i in range(9)))
    rows = [(f"row{k}", *(f"{k}.{i}0000" for i in range(9))) for k in range(3)]
    say_table(columns, rows)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40
    assert all(cell in out for row in rows for cell in row[1:])
    assert out.count("row1") > 1


def test_a_name_is_not_split_while_the_row_has_room(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "runs/photos-of-the-whole-year-resnet20-without-augmentation-12"
    say_table(("run", "date", "status"), [(name, "2026-01-01 10:00", "finished")])
    out = capsys.readouterr().out
    assert name in out and "2026-01-01 10:00" in out


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Give resize=(16, 16).", "Give --resize 16."),
        ("Give resize=(16, 24) or channels=3", "Give --resize 16x24 or --channels 3"),
        ("pass overwrite=True to", "pass --overwrite to"),
        ("with gradients_every=1.", "with --record-gradients 1."),
        ("learn_tau=True", "learn_tau=True"),
    ],
)
def test_hints_are_options(message, said):
    assert in_options(message) == said


def test_pictures_of_many_sizes_get_a_hint_that_works(run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, size in (("a", 16), ("b", 20)):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(4):
            image.new("L", (size, size), i).save(tmp_path / "d" / name / f"{i}.png")
    result = run("data", tmp_path / "d")
    assert result.code == 1 and "--resize " in result.err and "resize=" not in result.err


def test_runs_are_listed_with_date_and_accuracy_recorded_or_not(
    run, recorded, finished, tmp_path, monkeypatch
):
    shutil.copytree(finished, tmp_path / "plain")
    shutil.copytree(recorded, tmp_path / "recorded")
    (tmp_path / "killed").mkdir()
    about = json.loads((finished / "run.json").read_text())
    (tmp_path / "killed" / "run.json").write_text(json.dumps({**about, "status": "running", "results": {}}))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    found = {os.path.basename(one["path"]): one for one in run("runs", "list", tmp_path, "--json").json}
    assert {name: one["status"] for name, one in found.items()} == {
        "plain": "finished",
        "recorded": "finished",
        "killed": "killed",
        "broken": "damaged",
    }
    assert found["plain"]["bytes"] is None and found["recorded"]["bytes"] > 10_000
    assert found["plain"]["accuracy"] == about["results"]["test"]["accuracy"]
    assert found["plain"]["accuracy_of"] == "test"
    monkeypatch.chdir(tmp_path)
    out = run("runs", "list", ".").out
    assert re.search(r"plain +20\d\d-\d\d-\d\d \d\d:\d\d +finished", out) and "(test)" in out


INTERRUPTED_LOADING = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from kernelearn.cli import main
main(["--version"])
"""


@pytest.mark.parametrize("name", ["typer", "kernelearn.cli.output", "kernelearn.errors"])
def test_ctrl_c_while_the_program_loads_ends_it_without_a_trace(name):
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_LOADING.format(name=name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")
