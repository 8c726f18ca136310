"""`kernelearn experiment kernel-head`: few-shot comparison that is repeatable, told as it comes out."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kernelearn.cli.application import app
from kernelearn.errors import ArgumentError, DataError, UnknownNameError
from kernelearn.kernel_machines.experiments import (
    BEST,
    FINE_TUNING,
    LAST,
    LEARNED,
    METHODS,
    UNIFORM,
    FewShotSettings,
    few_shot_experiment,
)

SMALL = FewShotSettings(shots=(1, 4), seeds=2, epochs=2, test_images=60, fine_tune_epochs=3)


def stripes(n=240, classes=6):
    """(n, 8, 8, 1) noisy images with a bright row whose place is the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    images = 0.2 * rng.random((n, 8, 8, 1))
    images[np.arange(n), labels + 1] += 1.0
    return images.astype(np.float32), labels


@pytest.fixture(scope="module")
def result():
    return few_shot_experiment(*stripes(), SMALL)


def test_every_method_is_scored_for_every_shot_and_seed(result):
    assert tuple(result.accuracy) == METHODS
    for name, values in result.accuracy.items():
        assert values.shape == (2, 2)
        scored = values[1:] if name == BEST else values
        assert np.all((scored >= 0) & (scored <= 1))
    assert np.all(np.isnan(result.accuracy[BEST][0])), "one shot cannot be cross-validated"
    assert result.new_classes == 3
    assert len(result.pretrained) == 2


def test_new_classes_are_told_apart_by_weights_that_sum_to_one(result):
    assert result.accuracy[LEARNED][1].mean() > 0.9
    total = sum(weights for weights in result.importance.values())
    np.testing.assert_allclose(total, 1.0)
    assert "classifier" not in result.importance


def test_gain_is_the_paired_difference(result):
    difference = result.accuracy[LEARNED] - result.accuracy[UNIFORM]
    mean, error = result.gain()
    np.testing.assert_allclose(mean, difference.mean(axis=1))
    np.testing.assert_allclose(error, np.abs(difference[:, 0] - difference[:, 1]) / 2)


def test_labels_without_meaning_give_chance():
    images, _ = stripes()
    labels = np.random.default_rng(1).permutation(np.arange(len(images)) % 6)
    result = few_shot_experiment(images, labels, FewShotSettings(**{**SMALL.__dict__, "test_images": 120}))
    for name, values in result.accuracy.items():
        assert np.nanmean(values) == pytest.approx(1 / 3, abs=0.15), name


def test_the_same_seed_gives_the_same_figures(result):
    again = few_shot_experiment(*stripes(), FewShotSettings(**{**SMALL.__dict__, "seeds": 1}))
    for name in (LEARNED, LAST, FINE_TUNING):
        np.testing.assert_array_equal(again.accuracy[name][:, 0], result.accuracy[name][:, 0])
    assert np.all(np.isnan(again.gain()[1]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shots": (0, 1)}, ArgumentError, "from 1 on"),
        ({"epochs": 0}, ArgumentError, "epochs must be above 0, got 0"),
        ({"shots": (40,)}, DataError, "the smallest has 40"),
        ({"network": "lenot"}, UnknownNameError, "lenet"),
    ],
)
def test_impossible_settings_are_explained(change, error, message):
    with pytest.raises(error, match=message):
        few_shot_experiment(*stripes(), FewShotSettings(**{**SMALL.__dict__, **change}))


def test_too_few_classes_are_explained():
    with pytest.raises(DataError, match="at least 4; the data has 3"):
        few_shot_experiment(*stripes(classes=3), SMALL)


def run(*arguments):
    command = ["experiment", "kernel-head", *map(str, arguments)]
    return CliRunner().invoke(app, command, env={"COLUMNS": "120"})


QUICK = ("--seeds", 1, "--epochs", 1, "--pretrain-images", 200, "--test-images", 50)


def test_the_command_prints_tables_and_saves_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "few-shot.png"
    done = run(*QUICK, "--shots", "1 2", "-o", picture)
    assert done.exit_code == 0, done.output
    for name in (*METHODS, "flatten", "Chance 20.00 %", "minus uniform sum"):
        assert name in done.output
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_command_prints_json():
    done = run(*QUICK, "--shots", "1", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["settings"]["shots"] == [1]
    assert content["accuracy"][BEST] == [[None]]
    assert 0.0 <= content["accuracy"][LEARNED][0][0] <= 1.0


def test_the_command_explains_shots():
    done = run("--shots", "many")
    assert isinstance(done.exception, ArgumentError)
    assert "'1 2 5 10', got 'many'" in str(done.exception)
