"""The change of one weight over a run, shared out to steps, epochs, classes and images."""

import itertools
import json

import numpy as np
import pytest

from kernelearn import explain, optimizers
from kernelearn.engine.updates import UPDATES
from kernelearn.errors import ArgumentError, UnknownNameError
from tests.explain.training_runs import CLASSES, OPTIMIZERS, SAMPLES, data, run_with, small_network, train
from tests.sweeps import some

INDEX = (1, 2, 0, 1)


FOLLOWED = [name for name, make in OPTIMIZERS.items() if UPDATES[make().kind].is_followed]


# Each optimiser in one of the float types.
TYPES = ("float32", "float64")
PAIRS = list(zip(FOLLOWED, itertools.cycle(TYPES)))


@pytest.mark.parametrize(("name", "dtype"), some(itertools.product(FOLLOWED, TYPES), quick=PAIRS))
def test_the_history_adds_up_to_the_change(name, dtype):
    run = run_with(name, dtype, dtype == "float64")
    for layer, weight in [("conv", INDEX), ("dense", (5, 2)), ("conv", ("bias", 1))]:
        past = explain.history(run, layer, weight)
        assert past.is_exact, (layer, past)
        assert "unexplained" not in past.totals and past.covered == pytest.approx(1)
        assert past.covered_change == pytest.approx(past.totals["gradient"], rel=1e-12)
        scale = np.abs(past.moved).sum()
        for sums in (past.by_image(), past.by_class(), past.by_epoch()):
            assert abs(sums.sums.sum() - past.totals["gradient"]) < 1e-6 * scale
        assert past.by_position().sum() == pytest.approx(past.by_image().sums.sum(), abs=1e-10 * scale)


def test_a_step_that_depends_on_the_whole_weight_has_no_history():
    with pytest.raises(ArgumentError, match="a history cannot follow it"):
        explain.history(run_with("lamb", "float64", True), "conv", INDEX)


def test_influence_is_what_a_gradient_changes_in_the_end():
    """Checked by a training whose gradient is changed by hand: SGD is linear in it."""
    run = run_with("sgd-nesterov", "float64")
    past = explain.history(run, "conv", INDEX)
    rule, rates = run.update_rule("conv", 1)["attrs"], past.influence
    gradients = past.gradients.copy()

    def weight_at_the_end(gradients):
        w, v = past.before, 0.0
        for g in gradients:
            w *= 1 - rule["weight_decay"] * 0.05
            v = 0.9 * v - 0.05 * g
            w += 0.9 * v - 0.05 * g
        return w

    assert weight_at_the_end(gradients) == pytest.approx(past.after, abs=1e-14)
    # Weight decay of what a gradient moved is counted as decay: compare without it.
    rule = {"weight_decay": 0.0}
    for j in range(8):
        changed = gradients.copy()
        changed[j] += 1.0
        assert weight_at_the_end(changed) - weight_at_the_end(gradients) == pytest.approx(rates[j])


def test_without_momentum_influence_is_the_learning_rate():
    past = explain.history(run_with("sgd"), "conv", INDEX)
    np.testing.assert_allclose(past.influence, -0.1)
    assert past.epochs.tolist() == [0] * 4 + [1] * 4 and past.by_epoch().counts.tolist() == [4, 4]


def test_images_and_classes_are_those_of_the_data():
    past = explain.history(run_with("sgd", "float64"), "conv", INDEX)
    images = past.by_image()
    assert images.keys.tolist() == list(range(SAMPLES)) and set(images.counts) == {2}
    labels = data()[1]
    classes = past.by_class()
    assert classes.keys.tolist() == list(range(CLASSES))
    for c in range(CLASSES):
        assert classes.sums[c] == pytest.approx(images.sums[labels == c].sum(), rel=1e-12)


@pytest.mark.parametrize("name", ["adam", "rmsprop-momentum", "lion", "nadam"])
def test_a_part_of_a_run_begins_with_earlier_momentum(name):
    run = run_with(name, "float64")
    past = explain.history(run, "conv", INDEX, first=4, last=7)
    assert past.totals["earlier_momentum"] != 0 and past.is_exact
    assert past.steps.tolist() == [4, 5, 6, 7]
    weights = [run.kernels("conv", k)[INDEX] for k in (3, 7)]
    assert (past.before, past.after) == tuple(weights)
    whole = explain.history(run, "conv", INDEX)
    assert "earlier_momentum" not in whole.totals


def test_every_third_ledger_says_what_it_covers():
    run = train(small_network(), optimizers.Adam(0.01), ledger_every=3, gradients_every=1)
    past = explain.history(run, "conv", INDEX)
    assert past.is_exact and past.ledger_steps.tolist() == [1, 3, 6]
    assert 0 < past.covered < 1 and past.explained == 1
    has = np.isin(past.steps, past.ledger_steps)
    assert past.by_image().sums.sum() == pytest.approx(past.moved[has].sum(), rel=1e-5)
    assert f"{len(past.ledger_steps)} have a ledger" in past.note()


def test_steps_that_are_not_recorded_are_unexplained():
    rare = {"kernels_every": 2, "ledger_every": 3, "full_layers": ()}
    run = train(small_network(), optimizers.SGD(0.1, momentum=0.9), **rare)
    past = explain.history(run, "conv", INDEX)
    assert past.steps.tolist() == [1, 3, 6] and 0 < past.explained < 1
    assert past.covered == pytest.approx(past.explained)
    assert past.is_exact and past.totals["unexplained"] != 0
    assert sum(past.totals.values()) == pytest.approx(past.change, abs=1e-6)


def test_text_and_json():
    past = explain.history(run_with("adamw"), "conv", INDEX)
    text = str(past)
    assert "History of conv/kernel[1, 2, 0, 1], steps 1 to 8" in text
    assert "weight_decay" in text and "8 of 8 updates" in text and "image " in text
    assert "<table>" in past._repr_html_()
    values = json.loads(json.dumps(past.to_dict()))
    assert values["totals"] == past.totals and len(values["by_image"]) == SAMPLES


def test_messages():
    run = run_with("sgd")
    with pytest.raises(ArgumentError, match="one whole number per axis"):
        explain.history(run, "conv", (0, 0))
    with pytest.raises(ArgumentError, match="weights of the steps 98 and 8"):
        explain.history(run, "conv", INDEX, first=99)


def test_a_history_of_an_optimiser_that_is_not_known(monkeypatch):
    """Such as one of PyTorch's that is recorded without being taken apart."""
    run = train(small_network(), "sgd")
    monkeypatch.setattr(type(run), "update_rule", lambda *_: RULE)
    with pytest.raises(UnknownNameError, match=r"torch\.Adadelta"):
        explain.history(run, "conv", INDEX)


RULE = {"kind": "torch.Adadelta", "attrs": {}, "slots": []}
