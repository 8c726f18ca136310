"""Hints are said from their bounds on, with the numbers that they are drawn from; a sound run has none."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from kernelearn import explain, optimizers
from kernelearn.errors import ArgumentError
from kernelearn.explain import findings as module
from tests.explain.training_runs import small_network, train


def numbers(events=(), **series):
    """A run that has nothing but numbers of its steps."""
    found = {name: np.asarray(values, float) for name, values in series.items()}
    return SimpleNamespace(
        scalar_names=list(found),
        scalars=lambda name: (np.arange(1, len(found[name]) + 1), found[name]),
        events=list(events),
    )


STEADY = np.linspace(2.0, 1.0, 60)
CASES = {
    "loss not finite": (module._not_finite, numbers([{"kind": "not finite", "step": 3}]), numbers()),
    "loss rose again": (
        module._rising_loss,
        numbers(loss=[*STEADY, *np.linspace(1.0, 5.0, 40)]),
        numbers(loss=[*STEADY, *np.linspace(1.0, 1.5, 40)]),
    ),
    "overfitting": (
        module._overfitting,
        numbers(val_loss=[1.0, 0.5, 0.6]),
        numbers(val_loss=[1.0, 0.5, 0.51]),
    ),
    "learning rate near 0": (
        module._learning_rate,
        numbers(learning_rate=[1e-3] * 5 + [1e-9] * 5),
        numbers(learning_rate=[1e-3] * 99 + [1e-9]),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_hint_is_said_from_its_bound_on(kind):
    look, wrong, sound = CASES[kind]
    (hint,) = look(wrong)
    assert hint.kind == kind and hint.text and json.dumps(hint.to_dict())
    assert list(look(sound)) == []


def test_a_loss_that_rises_near_zero_is_not_overfitting():
    assert list(module._overfitting(numbers(val_loss=[1.0, 0.14, 0.0023, 0.0068, 0.0096]))) == []
    assert list(module._overfitting(numbers(val_loss=[1.0, 0.14, 0.0023, 0.0068, 0.0396])))
    # What is small is measured by the loss itself, whose unit may be any.
    assert list(module._overfitting(numbers(val_loss=[1e-6, 5e-7, 6e-7])))
    assert list(module._overfitting(numbers(val_loss=[1.0, 0.0, 0.6]))) == []


@pytest.fixture(scope="module")
def sound():
    return train(small_network(activation="relu"), optimizers.SGD(0.01), ledger_every=2)


def test_a_sound_run_has_none(sound):
    assert explain.hints(sound) == []


def test_dead_channels_and_repeated_filters_are_counted():
    model = small_network(activation="relu")
    model.set_weights([np.ones((3, 3, 1, 2)), np.full(2, -99.0), *model.get_weights()[2:]])
    run = train(model, optimizers.SGD(0.01), ledger_every=2)
    found = {hint.kind: hint for hint in explain.hints(run)}
    assert found["dead channels"].measured == 1.0 and "2 of 2 channels of conv" in found["dead channels"].text
    assert "1 of 2 filters" in found["repeated filters"].text


def test_a_layer_that_stands_still_is_named():
    run = train(small_network(learning_rate_multiplier=1e-6), optimizers.SGD(0.1), ledger_every=2)
    (hint,) = [hint for hint in explain.hints(run) if hint.kind == "a layer that hardly moves"]
    start, end = (run.kernels("conv", step).astype(float) for step in (0, run.last_step))
    assert hint.layer == "conv"
    assert hint.measured == pytest.approx(np.linalg.norm(end - start) / np.linalg.norm(start))


def test_large_updates_are_told_by_their_share():
    run = train(small_network(activation="tanh"), optimizers.SGD(5.0), ledger_every=1)
    found = [hint for hint in explain.hints(run) if hint.kind == "large updates"]
    assert found
    layer = found[0].layer
    steps = [k for k in range(5, 9)]
    shares = [np.linalg.norm(run.update(layer, k)) / np.linalg.norm(run.kernels(layer, k - 1)) for k in steps]
    assert found[0].measured == pytest.approx(np.median(shares))


def test_runs_beside_each_other(sound):
    other = train(small_network(activation="relu"), optimizers.SGD(0.02), epochs=1, ledger_every=2)
    found = explain.compare_runs(
        [sound, other], ["slow", "fast"], [{"note": 1}, {"note": 2}], [{"top": 0.5}, {}]
    )
    assert found.settings["optimizer learning_rate"] == (0.01, 0.02) and found.settings["note"] == (1, 2)
    assert found.settings["epochs"] == (2, 1) and "seed" not in found.settings
    assert found.results["top"] == (0.5, None) and found.results["updates"] == (8.0, 4.0)
    a, b = (run.kernels("conv", run.last_step).ravel().astype(float) for run in (sound, other))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert found.kernels_table()[0]["cosine of fast"] == pytest.approx(cosine)
    assert found.curves["loss"][1][1].tolist() == other.scalars("loss")[1].tolist()
    assert json.dumps(found.to_dict()) and "<table>" in found._repr_html_()
    with pytest.raises(ArgumentError, match="at least two"):
        explain.compare_runs([sound])
