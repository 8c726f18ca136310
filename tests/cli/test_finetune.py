"""`kernelearn finetune`: what is frozen, new and moved; what is assumed; interrupted and gone on bitwise."""

import json
import shutil

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, Sequential, layers, utils
from kernelearn.callbacks import Callback
from kernelearn.cli.train import job
from tests import fake_format
from tests.sweeps import some

QUICK = ("--epochs", "2", "--augment", "none", "-q")


def transfer(folder):
    return json.loads((folder / "transfer.json").read_text())


def states(folder):
    return {row["layer"]: (row["state"], row["is_frozen"]) for row in transfer(folder)["layers"]}


def test_a_run_and_its_report(run, finished, tmp_path):
    folder = tmp_path / "r"
    done = run("finetune", finished, "digits", "--freeze", "conv1", *QUICK, "--run", folder)
    assert done.code == 0, done.err
    assert states(folder) == {
        "conv1": ("as it was", True),
        "conv2": ("taken over, moved", False),
        "dense": ("taken over, moved", False),
        "classifier": ("taken over, moved", False),
    }
    assert "53,002 of 53,002 weights (100.0 %) were taken over" in done.out
    assert "because it was trained on numbers up to 1" in done.err
    names = {path.name for path in folder.iterdir()}
    assert names == {"run.json", "model.kernelearn", "history.csv", "kernels.png", "transfer.json"}
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["results"]["transfer"] == {"taken_over": 53002, "total": 53002}
    assert manifest["arguments"]["lr"] == pytest.approx(5e-4), "a tenth of that of train"
    again = run("finetune", "--resume", "--run", folder)
    assert again.code == 0 and "is finished" in again.err


def test_the_head_alone_on_stored_features(run, finished, tmp_path):
    done = run(
        "finetune",
        finished,
        "digits",
        "--head",
        "--new-head",
        "--epochs",
        2,
        "--augment",
        "none",
        "--run",
        tmp_path / "r",
    )
    assert done.code == 0, done.err
    assert "goes once through the frozen layers (up to dense)" in done.err
    assert states(tmp_path / "r")["head"] == ("new", False)
    plain = (
        "finetune",
        finished,
        "digits",
        "--head",
        "--new-head",
        *QUICK,
        "--no-cache",
        "--run",
        tmp_path / "p",
    )
    assert run(*plain).code == 0
    stored, usual = (kernelearn.load_model(tmp_path / n / "model.kernelearn").get_weights() for n in "rp")
    for a, b in zip(stored, usual):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_json_is_all_that_is_printed(run, finished, tmp_path):
    words = ("--head", "--epochs", 1, "--augment", "none", "--json", "--run", tmp_path / "r")
    done = run("finetune", finished, "digits", *words)
    assert done.json["results"]["transfer"]["taken_over"] == 53002


def test_features_are_not_stored_behind_augmentation(run, finished, tmp_path):
    done = run(
        "finetune", finished, "digits", "--head", "--epochs", 1, "--augment", "flip", "--run", tmp_path / "r"
    )
    assert done.code == 0, done.err
    assert "Features are not stored" in done.err and "random_flip" in done.err
    layer = kernelearn.load_model(tmp_path / "r" / "model.kernelearn").layers[0]
    assert type(layer).__name__ == "RandomFlip"


def two_classes(folder, size=(9, 7), channels=3):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(15):
            pixels = rng.integers(0, 256, (*size, channels), np.uint8)
            image.fromarray(pixels.squeeze()).save(folder / name / f"{number}.png")
    return folder


def test_other_classes_sizes_and_channels(run, finished, tmp_path):
    pictures = two_classes(tmp_path / "pictures")
    words = ("--class-weight", "balanced", "--gradual", "--layer-rates", "0.5", *QUICK)
    done = run("finetune", finished, pictures, *words, "--run", tmp_path / "r")
    assert done.code == 0, done.err
    assert "Images: made 8 x 8 x 1, as the network takes them." in done.err
    assert "had 10 outputs and begins anew with 2" in done.err
    found = states(tmp_path / "r")
    assert found["conv1"] == ("as it was", True) and found["dense"][0] == "taken over, moved"
    model = kernelearn.load_model(tmp_path / "r" / "model.kernelearn")
    assert model.metadata["class_names"] == ["cat", "dog"] and model.output_shape == (None, 2)
    assert model.get_layer("dense").learning_rate_multiplier == 0.5
    predicted = run("predict", tmp_path / "r", pictures / "cat" / "0.png", "--json")
    assert predicted.json[0]["class"] in ("cat", "dog")
    assert run("evaluate", tmp_path / "r").code == 0


def foreign(path, *front, top=True):
    """A functional network with a branch, as a file of another program."""
    utils.set_random_seed(1)
    x = tensor = Input((12, 12, 3), name="pixels")
    for layer in front:
        tensor = layer(tensor)
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(tensor)
    b = layers.Conv2D(4, 3, padding="same", name="b")(a)
    tensor = layers.Add(name="sum")([a, b])
    if top:
        tensor = layers.Dense(5, activation="softmax", name="top")(layers.GlobalAveragePooling2D()(tensor))
    Model(x, tensor).save(path)
    return path


def test_a_foreign_network_and_the_range_of_its_images(run, tmp_path, monkeypatch):
    fake_format.enter(monkeypatch)
    pictures = two_classes(tmp_path / "pictures")
    plain = foreign(tmp_path / "plain.fake")
    done = run(
        "finetune", plain, pictures, *QUICK, "--scale", "0..255", "--augment", "flip", "--run", tmp_path / "a"
    )
    assert done.code == 0, done.err
    model = kernelearn.load_model(tmp_path / "a" / "model.kernelearn")
    assert [layer.name for layer in model.layers][:4] == ["pixels", "random_flip", "input_scale", "a"]
    assert set(states(tmp_path / "a")) == {"a", "b", model.layers[-1].name}
    scaled = foreign(tmp_path / "scaled.fake", layers.Rescaling(1 / 255, name="to_one"))
    done = run("finetune", scaled, pictures, *QUICK, "--freeze", "sum", "--run", tmp_path / "b")
    assert "images of 0..255, because its first layer 'to_one' divides by 255" in done.err
    assert [n for n, s in states(tmp_path / "b").items() if s[1]] == ["a", "b"]
    again = run("finetune", tmp_path / "b", pictures, *QUICK, "--run", tmp_path / "c")
    assert again.code == 0 and "layer in front that scales them" in again.err
    base = foreign(tmp_path / "base.fake", top=False)
    done = run("finetune", base, pictures, *QUICK, "--head", "--run", tmp_path / "d")
    assert done.code == 0 and "a pooling and a new layer for 2 classes follow it" in done.err


def test_what_cannot_be_is_refused_before_anything_is_written(run, finished, tmp_path):
    folder = tmp_path / "r"
    two = Model(x := Input((8, 8, 1)), [layers.Flatten()(x), layers.Flatten()(x)])
    two.save(tmp_path / "two.kernelearn")
    rows = Sequential([Input((4,)), layers.Dense(3)])
    rows.save(tmp_path / "rows.kernelearn")
    for words, message in (
        ([finished, "digits", "--freeze", "conv9"], "Did you mean"),
        ([finished, "digits", "--freeze", "classifier"], "Nothing is left to train"),
        ([finished, "digits", "--gradual", "--head"], "leave out --freeze and --head"),
        ([finished, "digits", "--head", "--freeze", "conv1"], "leave out --freeze"),
        ([finished, "digits", "--layer-rates", "conv1:x"], "--layer-rates takes"),
        ([finished, "digits", "--layer-rates", "conf1:0.1"], "Did you mean 'conv1'"),
        ([finished, "digits", "--scale", "big"], "--scale takes"),
        (["lenet", "digits"], "nothing to take over"),
        ([tmp_path / "none.keras", "digits"], "no run folder and no model file"),
        ([tmp_path / "two.kernelearn", "digits"], "several outputs"),
        ([tmp_path / "rows.kernelearn", "digits"], "network of images"),
    ):
        refused = run("finetune", *words, *QUICK, "--run", folder)
        assert refused.code != 0 and message in refused.err, refused.err
        assert not folder.exists()
    assert run("finetune", finished, "--run", folder).code == 2
    assert "options of the run" in run("finetune", "--resume", "--run", finished, "--head").err


WAYS = {"freeze": ("--freeze", "conv1"), "head": ("--head", "--new-head"), "gradual": ("--gradual",)}


@pytest.mark.parametrize("way", some(WAYS, quick=("gradual",)))
def test_interrupted_and_gone_on_bitwise(run, finished, tmp_path, monkeypatch, way):
    words = WAYS[way]
    origin = tmp_path / "origin"
    shutil.copytree(finished, origin)
    arguments = ("finetune", origin, "digits", *words, "--epochs", "3", "--augment", "none", "-q")
    assert run(*arguments, "--run", tmp_path / "whole").code == 0

    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if (self.model.fit_state.epoch, batch) == (1, 5):
                raise KeyboardInterrupt

    usual = job._callbacks
    with monkeypatch.context() as patched:
        patched.setattr(job, "_callbacks", lambda data, one: [Stop(), *usual(data, one)])
        stopped = run(*arguments, "--run", tmp_path / "r")
    assert stopped.code != 0 and (tmp_path / "r" / "start.kernelearn").exists()
    shutil.rmtree(origin)  # the run has what it needs
    resumed = run("train" if "--gradual" in words else "finetune", "--resume", "--run", tmp_path / "r", "-q")
    assert resumed.code == 0, resumed.err
    first, last = (
        kernelearn.load_model(tmp_path / n / "model.kernelearn").get_weights() for n in ("whole", "r")
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, last))
    assert transfer(tmp_path / "whole") == transfer(tmp_path / "r")
    assert not (tmp_path / "r" / "start.kernelearn").exists()


def test_recorded_and_in_the_report(run, finished, tmp_path):
    folder = tmp_path / "r"
    done = run("finetune", finished, "digits", "--gradual", *QUICK, "--record", "--run", folder)
    assert done.code == 0, done.err
    assert run("report", folder).code == 0
    page = (folder / "report.html").read_text()
    assert "Taken over from another network" in page and "taken over, moved" in page
    (folder / "transfer.json").write_text("{")
    assert "damaged" in run("report", folder).err
