"""`kernelearn train --freeze`, `--class-weight`, `--model OTHER`: what they do to layers and losses."""

import numpy as np
import pytest

import kernelearn
from kernelearn.cli.train.recipe import class_weights
from kernelearn.data import load

SMALL = ("--epochs", "1", "--batch-size", "64", "--augment", "none", "--quiet")


@pytest.fixture
def three(tmp_path):
    """90 images of three classes, 60 of the first."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 0, 0, 0, 1, 2], 15)
    names = np.array(["ape", "bee", "cow"])
    np.savez(tmp_path / "d.npz", x=rng.random((90, 8, 8, 1)), y=y, class_names=names)
    return tmp_path / "d.npz"


def kernels(folder):
    model = kernelearn.load_model(folder / "model.kernelearn")
    return {path: weight.numpy() for path, weight in model.weight_paths().items()}


def test_frozen_layers_keep_their_weights(run, tmp_path, finished):
    words = ("train", "digits", *SMALL, "--model", finished, "--freeze", "conv*", "--run", tmp_path / "r")
    assert run(*words).code == 0
    before, after = kernels(finished), kernels(tmp_path / "r")
    same = {path for path in before if np.array_equal(before[path], after[path])}
    assert {"conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias"} <= same
    assert "dense/kernel" not in same


@pytest.mark.parametrize(("freeze", "says"), [("conv9", "Did you mean 'conv"), ("*", "nothing to train")])
def test_freezing_nothing_or_all_is_refused(run, tmp_path, freeze, says):
    result = run("train", "digits", *SMALL, "--freeze", freeze, "--run", tmp_path / "r")
    assert result.code == 1 and says in result.err and not (tmp_path / "r").exists()


def test_class_weights(three):
    data = load(three, validation=0.0, test=False)
    assert class_weights(None, data) is None
    assert class_weights("balanced", data) == pytest.approx({0: 0.5, 1: 2.0, 2: 2.0})
    assert class_weights("1,2.5,0", data) == {0: 1.0, 1: 2.5, 2: 0.0}
    assert class_weights("cow:3, ape:0.5", data) == {2: 3.0, 0: 0.5}


@pytest.mark.parametrize("text", ["1,2", "gnu:2", "cow:much", "1,2,-1", "even", "cow:inf", ""])
def test_class_weights_that_are_none(run, tmp_path, three, text):
    result = run("train", three, *SMALL, "--class-weight", text, "--run", tmp_path / "r")
    assert result.code == 1 and "ape, bee, cow" in result.err and not (tmp_path / "r").exists()


def test_class_weights_reach_the_loss(run, tmp_path, three):
    for name, options in (("plain", ()), ("ones", ("1,1,1",)), ("other", ("balanced",))):
        words = ("--class-weight", *options) if options else ()
        assert run("train", three, *SMALL, *words, "--run", tmp_path / name).code == 0
    plain, ones, other = (kernels(tmp_path / name)["conv1/kernel"] for name in ("plain", "ones", "other"))
    np.testing.assert_allclose(plain, ones, rtol=1e-4, atol=1e-6)
    assert np.abs(plain - other).max() > 1e-4


def test_a_head_of_other_classes_begins_anew_and_says_so(run, tmp_path, three, finished):
    words = ("--model", finished, "--lr", "1e-9", "--optimizer", "sgd")
    result = run("train", three, *SMALL, *words, "--run", tmp_path / "r")
    assert result.code == 0, result.err
    assert "'classifier'" in result.err and "begins anew" in result.err
    before, after = kernels(finished), kernels(tmp_path / "r")
    np.testing.assert_allclose(before["conv1/kernel"], after["conv1/kernel"], atol=1e-6)
    assert after["classifier/kernel"].shape[-1] == 3
    result = run("train", "digits", *SMALL, "--model", finished, "--run", tmp_path / "s")
    assert "are kept" in result.err


def test_a_model_of_other_images_is_refused(run, tmp_path, finished):
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 9, 9, 1)), y=np.arange(20) % 2)
    result = run("train", tmp_path / "d.npz", *SMALL, "--model", finished, "--run", tmp_path / "r")
    assert result.code == 1 and "(8, 8, 1)" in result.err and "--resize" in result.err


def test_a_trained_model_is_not_augmented_twice(run, tmp_path):
    words = ("train", "digits", "--epochs", "1", "--batch-size", "256", "-q")
    assert run(*words, "--run", tmp_path / "a").code == 0
    assert run(*words, "--model", tmp_path / "a", "--run", tmp_path / "b").code == 0
    names = [layer.name for layer in kernelearn.load_model(tmp_path / "b" / "model.kernelearn").layers]
    assert sum("translation" in name for name in names) == 1


def test_a_report_is_html(run, finished, tmp_path):
    result = run("report", finished, "-o", tmp_path / "r.pdf")
    assert result.code == 1 and ".html" in result.err
