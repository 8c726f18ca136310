"""Every command takes a file of another program where it takes one of ours: shown with a made-up kind."""

import json
import os

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Sequential, layers, utils
from kernelearn.models import zoo
from tests import fake_format

pytestmark = pytest.mark.usefixtures("fake")


@pytest.fixture
def fake(monkeypatch):
    fake_format.enter(monkeypatch)


@pytest.fixture
def foreign(tmp_path):
    """A LeNet for the digits in a file that says nothing but structure and weights."""
    utils.set_random_seed(0)
    path = tmp_path / "lenet.fake"
    zoo.get("lenet")((8, 8, 1), 10).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (10, 12, 3), np.uint8)
            image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_summary_network_and_explain(run, foreign, tmp_path):
    summary = run("summary", foreign, "--json")
    assert [layer["name"] for layer in summary.json["layers"]][:2] == ["conv1", "pool1"]
    assert run("network", foreign, "--figure", tmp_path / "n.svg").code == 0
    data = ("--data", "digits")
    for words in (
        ("filters", foreign),
        ("field", foreign, "--layer", "conv2"),
        ("dense", foreign),
        ("maps", foreign, "--layer", "conv1", *data),
        ("patches", foreign, "--layer", "conv1", *data),
        ("saliency", foreign, *data),
        ("unit", foreign, *data),
        ("activation", foreign, *data),
    ):
        done = run("explain", *words, "--json", "-")
        assert done.code == 0 and json.loads(done.out), (words, done.err)


def test_predict_with_names_and_range(run, foreign, pictures, tmp_path):
    picture = pictures / "cat" / "0.png"
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {i}" for i in range(10)))
    plain = run("predict", foreign, picture, "--resize", "--json").json[0]
    assert plain["class"].isdigit()
    named = run("predict", foreign, picture, "--resize", "--json", "--class-names", names).json[0]
    assert named["class"] == f"class {plain['class']}"
    scaled = run("predict", foreign, picture, "--resize", "--json", "--scale", "-1..1").json[0]
    assert scaled["probabilities"] != plain["probabilities"]
    model = kernelearn.load_model(foreign)
    from kernelearn.data import load_image

    x = load_image(picture, (8, 8, 1), resize=True)[None]
    expected = model.predict(2 * x - 1, verbose=0)[0]
    np.testing.assert_allclose(list(scaled["probabilities"].values()), expected, rtol=1e-4)
    for words, message in (
        (["--class-names", "a,b"], "gives 2 names; the model has 10"),
        (["--scale", "imagenet"], "three colours"),
        (["--scale", "0..0"], "--scale takes"),
    ):
        refused = run("predict", foreign, picture, "--resize", *words)
        assert refused.code == 1 and message in refused.err


def test_evaluate_says_which_loss_it_takes(run, foreign, tmp_path):
    found = run("evaluate", foreign, "digits", "--json")
    assert found.code == 0 and set(found.json["metrics"]) == {"accuracy", "loss"}
    assert "Loss: the file names none; cross-entropy is taken." in found.err
    logits = Sequential([Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    logits.save(tmp_path / "logits.fake")
    told = run("evaluate", tmp_path / "logits.fake", "digits")
    assert told.code == 0 and "no probabilities yet" in told.err


def test_train_goes_on_from_it(run, foreign, tmp_path):
    words = ("--epochs", 1, "--augment", "none", "-q", "--freeze", "conv*", "--run", tmp_path / "r")
    assert run("train", "digits", "--model", foreign, *words).code == 0
    kept = kernelearn.load_model(tmp_path / "r" / "model.kernelearn").get_layer("conv1").get_weights()
    origin = kernelearn.load_model(foreign).get_layer("conv1").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, origin))


def test_export_and_finetune(run, foreign, tmp_path):
    assert run("export", foreign, "--standalone", tmp_path / "out").code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predict.py", "weights.npz"}
    refused = run("export", foreign, "--standalone", tmp_path / "out")
    assert refused.code == 1 and "--overwrite" in refused.err
    assert run("export", foreign, "--standalone", tmp_path / "out", "--overwrite").code == 0
    tuned = run(
        "finetune", foreign, "digits", "--epochs", 1, "--augment", "none", "-q", "--run", tmp_path / "r"
    )
    assert tuned.code == 0 and "which is assumed, for the file does not say" in tuned.err


def test_what_is_no_model_is_told(run, tmp_path, foreign):
    missing = run("summary", tmp_path / "none.fake")
    assert missing.code == 1 and "no run folder and no model file" in missing.err
    damaged = tmp_path / "damaged.fake"
    damaged.write_bytes(foreign.read_bytes()[:200])
    for command in (["summary"], ["explain", "filters"], ["evaluate"]):
        refused = run(*command, damaged)
        assert refused.code == 1 and "damaged.fake" in refused.err
    weights = tmp_path / "w.fakeweights"
    kernelearn.load_model(foreign).save_weights(weights)
    refused = run("convert", weights, tmp_path / "x.kernelearn")
    assert refused.code == 1 and "--weights-into" in refused.err


def test_pipes_and_devices_are_told_as_what_they_are(run, tmp_path):
    os.mkfifo(tmp_path / "model.keras")
    for words in (
        ("summary",),
        ("explain", "filters"),
        ("evaluate",),
        ("predict",),
        ("finetune",),
        ("convert",),
    ):
        more = () if words[0] in ("summary", "explain") else (tmp_path / "new.onnx",)
        refused = run(*words, tmp_path / "model.keras", *more)
        assert refused.code == 1 and "is a named pipe, not a file" in refused.err, words


def test_warnings_are_single_lines(run, tmp_path):
    code = tmp_path / "own.py"
    code.write_text("import warnings\nwarnings.warn('set overwrite=True')\n")
    assert run("--code", code, "summary", "lenet").err == "Warning: set --overwrite\n"


@pytest.fixture
def logits(tmp_path):
    """A network for pictures of 8 x 8, whose answers are no probabilities."""
    path = tmp_path / "logits.fake"
    Sequential([Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]).save(path)
    return path


def test_pictures_become_as_the_network_takes_them(run, logits, pictures):
    for words in (("evaluate", logits, pictures), ("explain", "saliency", logits, "--data", pictures)):
        done = run(*words)
        assert done.code == 0 and "Images: made 8 x 8 x 3" in done.err, done.err
    assert run("predict", logits, pictures / "cat" / "0.png").code == 0


def test_numbers_that_are_no_probabilities_become_some(run, logits, pictures):
    done = run("predict", logits, pictures / "cat", "--json")
    assert "the softmax of the outputs" in done.err and done.err.count("softmax") == 1
    assert all(abs(sum(one["probabilities"].values()) - 1) < 1e-5 for one in done.json)
