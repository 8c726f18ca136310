"""`kernelearn explain ...` and `kernelearn report`, as a user meets them."""

import csv
import io
import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from kernelearn import explain
from kernelearn.recording import Run
from tests.sweeps import some

SMALL = ("--epochs", "1", "--augment", "none", "--quiet", "--batch-size", "128")
EVERY = ("--record", "--record-kernels", "1", "--record-ledger", "1", "--record-gradients", "1")


# Layers as LeNet has them, with few filters: most of a figure's time goes into its panels.
NETWORK = """
from kernelearn import Input, Sequential, layers

def build(input_shape, classes):
    return Sequential([
        Input(input_shape),
        layers.Conv2D(5, 3, activation="relu", name="conv1"),
        layers.MaxPooling2D(2, name="pool1"),
        layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2"),
        layers.Flatten(),
        layers.Dense(classes, activation="softmax", name="classifier"),
    ])
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    from kernelearn.cli import main

    folder, network = tmp_path_factory.mktemp("runs") / "one", tmp_path_factory.mktemp("code") / "small.py"
    network.write_text(NETWORK)
    words = ["train", "digits", "--model", str(network), *SMALL, *EVERY, "--run", str(folder)]
    assert main(words) == 0
    return folder


COMMANDS = {
    "ledger": ("ledger",),
    "bias": ("ledger", "--weight", "bias,3"),
    "dense ledger": ("ledger", "--layer", "classifier"),
    "update": ("update",),
    "history": ("history",),
    "dense": ("dense",),
    "unit": ("unit", "--filter", "1", "--at", "3,4"),
    "unit of an image": ("unit", "--layer", "classifier", "--image", "40", "--neuron"),
    "delta": ("delta", "--filter", "1"),
    "path": ("delta", "--layer", "conv2", "--path"),
    "image": ("image",),
    "activation": ("activation", "--layer", "conv2"),
    "geometry": ("geometry", "--layer", "conv2"),
    "filters": ("filters",),
    "filters of a step": ("filters", "--step", "0", "--details"),
    "curves": ("curves",),
    "curves of a layer": ("curves", "--layer", "conv2"),
    "maps": ("maps",),
    "maps of a layer": ("maps", "--layer", "conv1", "--images", "2"),
    "field": ("field",),
    "field of a unit": ("field", "--layer", "conv2", "--unit", "0,0"),
    "patches": ("patches", "--filters", "0,1", "--top", "2"),
    "saliency": ("saliency", "--images", "2"),
    "smooth": ("saliency", "--method", "smooth_grad", "--images", "2"),
    "integrated": ("saliency", "--method", "integrated_gradients", "--images", "2", "--target", "3"),
    "cam": ("saliency", "--method", "grad_cam", "--images", "2"),
}


# Other targets of a command that has another line above.
OTHERS = ("bias", "dense ledger", "unit of an image", "path", "filters of a step", "curves of a layer",
          "maps of a layer", "field of a unit", "smooth", "integrated")  # fmt: skip


@pytest.mark.parametrize("name", some(COMMANDS, quick=lambda name: name not in OTHERS))
def test_every_command_prints_draws_and_writes(run, recorded, tmp_path, name):
    command, *options = COMMANDS[name]
    files = {ending: tmp_path / f"out.{ending}" for ending in ("png", "json", "csv")}
    words = [*options, "--figure", files["png"], "--json", files["json"], "--csv", files["csv"]]
    result = run("explain", command, recorded, *words)
    assert result.code == 0, result.err
    assert all(str(path) in result.out for path in files.values()) and len(result.out.splitlines()) > 5
    assert files["png"].read_bytes().startswith(b"\x89PNG") and files["png"].stat().st_size > 5_000
    assert json.loads(files["json"].read_text())
    rows = list(csv.reader(io.StringIO(files["csv"].read_text())))
    assert len(rows) > 1 and len({len(row) for row in rows}) == 1


def test_the_ledger_is_that_of_the_library(run, recorded):
    words = ("--layer", "conv2", "--step", "4", "--weight", "0,1,3,7")
    found = run("explain", "ledger", recorded, *words, "--json", "-").json
    book = explain.ledger(Run(recorded), "conv2", 4, (0, 1, 3, 7))
    assert found["total"] == book.total and found["gradient"] == book.gradient
    np.testing.assert_array_equal(found["terms"], book.terms)
    printed = run("explain", "ledger", recorded, *words).out
    assert book.formula in printed and f"{book.total:.9g}" in printed


def test_all_terms_are_in_the_csv(run, recorded):
    out = run("explain", "ledger", recorded, "--csv", "-").out
    rows = list(csv.DictReader(io.StringIO(out)))
    run_ = Run(recorded)
    index = explain.moved_most(run_, "conv1")[0]
    steps, values = run_.trace("conv1", index)
    moves = {int(k): abs(values[i] - values[i - 1]) for i, k in enumerate(steps) if k in run_.ledger_steps}
    book = explain.ledger(run_, "conv1", max(moves, key=moves.get), index)
    assert [float(row["term"]) for row in rows] == book.terms.tolist()
    assert [int(row["image"]) for row in rows] == book.images.tolist()


def test_defaults_are_the_first_convolution_and_what_moved_most(run, recorded):
    found = run("explain", "update", recorded, "--json", "-").json
    trained = Run(recorded)
    first, last = (trained.kernels("conv1", int(trained.steps[i])).astype(float) for i in (0, -1))
    _, path = trained.trace("conv1", tuple(found["index"]))
    moved = abs(np.diff(path.astype(float)))
    assert found["layer"] == "conv1" and moved[found["step"] - 1] == moved.max()
    assert abs(last - first)[tuple(found["index"])] == abs(last - first).max()
    parts = found["of_the_number"]
    total = sum(value for name, value in parts.items() if name != "update")
    assert found["is_exact"] and total == pytest.approx(parts["update"], abs=1e-15)


def test_a_whole_history_is_explained(run, recorded):
    found = run("explain", "history", recorded, "--json", "-").json
    assert found["explained"] == 1.0 and found["covered"] == pytest.approx(1.0)
    assert sum(found["by_image"].values()) == pytest.approx(found["change"], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("ledger", "--weight", "1,x"), "--weight takes an index such as 1,0,0,3"),
        (("ledger", "--weight", "9,9,9,9"), "9"),
        (("ledger", "--layer", "conv9"), "conv1"),
        (("ledger", "--step", "999"), "999"),
        (("update", "--step", "999"), "--record-full conv1"),
        (("saliency", "--method", "guess"), "integrated_gradients"),
        (("saliency", "--layer", "conv1"), "grad_cam"),
        (("dense", "--layer", "pool1"), "no kernel"),
        (("patches", "--filters", "99"), "0..4"),
        (("curves", "--figure", "a.docx"), "png"),
    ],
)
def test_refusals_say_what_to_do(run, recorded, words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *options = words
    result = run("explain", command, recorded, *options)
    assert result.code == 1 and says in result.err and "Traceback" not in result.err


def test_a_model_without_recording(run, finished):
    for command in ("ledger", "update", "history", "curves"):
        result = run("explain", command, finished)
        assert result.code == 1 and "--record" in result.err
    assert run("report", finished).code == 1
    for words in (("filters",), ("dense",), ("field",), ("maps", "--images", "2")):
        assert run("explain", words[0], finished, *words[1:]).code == 0
    for words in (("filters",), ("dense",), ("field",), ("maps", "--data", "digits")):
        assert run("explain", words[0], finished / "model.kernelearn", *words[1:]).code == 0
    result = run("explain", "maps", finished / "model.kernelearn")
    assert result.code == 1 and "--data" in result.err
    result = run("explain", "filters", finished, "--step", "3")
    assert result.code == 1 and "--record" in result.err


def test_report(run, recorded, tmp_path):
    result = run("report", recorded)
    text = (recorded / "report.html").read_text("utf-8")
    assert result.code == 0 and "report.html" in result.out and "&quot;gradients_every&quot;: 1" in text
    assert "359 images" in text and "Test accuracy" in text and 'class="missing"' not in text
    words = ("-o", tmp_path / "r.html", "--title", "Mine & yours", "--experiments", tmp_path)
    result = run("report", recorded, *words)
    assert result.code == 1 and "--save" in result.err and not (tmp_path / "r.html").exists()


def test_report_with_experiments(run, recorded, tmp_path):
    words = ("--epochs", "1", "--seeds", "2", "--images", "60", "--test-images", "30")
    assert run("experiment", "sharing", *words, "--save", tmp_path / "sharing.json").code == 0
    result = run("report", recorded, "-o", tmp_path / "r.html", "--experiments", tmp_path, "--title", "A & B")
    assert result.code == 0, result.err
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "<h1>A &amp; B</h1>" in text and "Sharing:" in text and "dense, started as convolution" in text
    (tmp_path / "other.json").write_text("{}")
    assert run("report", recorded, "--experiments", tmp_path).code == 1
