"""Updates split into named parts: they add up for every optimiser, and mean what they say."""

import json

import numpy as np
import pytest

from kernelearn import constraints, explain, regularizers
from kernelearn.engine.updates import UPDATES
from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.explain.update.run_updates import RunUpdates
from kernelearn.explain.update.splits import split_update
from tests.explain.training_runs import OPTIMIZERS, run_with, small_network, train

GRID = [(name, dtype, rules) for name in OPTIMIZERS for dtype, rules in (("float32", 0), ("float64", 1))]


def test_every_optimiser_is_split_here():
    assert {OPTIMIZERS[name]().kind for name in OPTIMIZERS} == set(UPDATES)


@pytest.mark.parametrize(("name", "dtype", "rules"), GRID)
def test_the_parts_of_every_update_add_up(name, dtype, rules):
    run = run_with(name, dtype, bool(rules))
    for layer, weight in [("conv", "kernel"), ("conv", "bias"), ("dense", "kernel")]:
        for step in (1, 2, 5, 8):
            split = explain.update_split(run, layer, step, weight)
            assert split.is_exact, (layer, weight, step, np.abs(split.residual).max())
            assert np.array_equal(split.update, run.update(layer, step, weight))
            size = np.abs(split.before).max() + sum(np.abs(p).max() for p in split.parts.values())
            assert np.abs(split.residual).max() < 1e-6 * size if dtype == "float32" else 1e-14 * size


@pytest.mark.parametrize(("name", "dtype", "rules"), GRID)
def test_the_updates_of_a_run_add_up_to_its_change(name, dtype, rules):
    run = run_with(name, dtype, bool(rules))
    last = int(run.steps[-1])
    for layer in ("conv", "dense"):
        whole = explain.update_split(run, layer)
        change = run.kernels(layer, last).astype(float) - run.kernels(layer, 0)
        assert whole.steps == (1, last) == (1, 8) and whole.is_exact
        np.testing.assert_allclose(whole.update, change, rtol=0, atol=1e-15)
        updates = sum(run.update(layer, k) for k in range(1, last + 1))
        np.testing.assert_allclose(updates, change, rtol=0, atol=1e-14)
        total = sum(whole.parts.values())
        scale = np.abs(whole.before).max() + np.abs(change).max()
        np.testing.assert_allclose(
            total, change, rtol=0, atol=(1e-6 if dtype == "float32" else 1e-14) * scale
        )


def test_the_parts_that_a_training_has():
    expected = {
        "sgd": {"gradient"},
        "sgd-nesterov": {"gradient", "momentum", "weight_decay"},
        "adam-amsgrad": {"gradient", "momentum", "clipping"},
        "adagrad": {"gradient", "clipping"},
        "lion": {"gradient", "momentum", "weight_decay"},
    }
    for name, parts in expected.items():
        assert set(explain.update_split(run_with(name), "conv", 3).parts) == parts
        with_rules = set(explain.update_split(run_with(name, "float64", True), "conv", 3).parts)
        assert with_rules == parts | {"penalty", "constraint"}
        assert set(explain.update_split(run_with(name, "float64", True), "conv", 3, "bias").parts) == parts


def test_clipping_constraint_and_penalty_do_something_here():
    for name in ("adam-amsgrad", "adagrad", "adamax"):
        assert np.abs(explain.update_split(run_with(name), "conv", 1).parts["clipping"]).max() > 0
    whole = explain.update_split(run_with("sgd", "float64", True), "conv")
    assert np.abs(whole.parts["constraint"]).max() > 1e-3 and np.abs(whole.parts["penalty"]).max() > 1e-3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_gradient_part_is_linear_in_the_ledger(name):
    """Coefficient times the terms of the ledger, summed, is the gradient part."""
    run = run_with(name, "float64", True)
    split = explain.update_split(run, "conv", 4)
    book = explain.ledger(run, "conv", 4, weight=(1, 2, 0, 1))
    coefficient = np.broadcast_to(split.step.gradient, split.before.shape)[1, 2, 0, 1]
    assert coefficient * book.total == pytest.approx(split.parts["gradient"][1, 2, 0, 1], rel=1e-10)
    assert coefficient * book.penalty == pytest.approx(
        split.parts["penalty"][1, 2, 0, 1], rel=1e-9, abs=1e-16
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_momentum_slot_is_linear_too(name):
    run = run_with(name, "float64")
    split = explain.update_split(run, "dense", 5)
    step = split.step
    if split.optimizer == "ftrl_update":  # its sum takes from the weight, too
        return
    if not step.slot:
        assert step.history == step.keep == step.take == 0
        return
    before, after = (run.optimizer_state("dense", k)[step.slot] for k in (4, 5))
    gradient = RunUpdates(run, "dense").clipped(5)
    np.testing.assert_allclose(step.keep * before + step.take * gradient, after, rtol=1e-10, atol=1e-17)


def test_by_hand_adam():
    w, g, m, v = (np.array([x]) for x in (0.5, 0.2, 0.1, 0.04))
    attrs = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3, "weight_decay": 0.1, "multiplier": 2.0}
    split = split_update(
        w, g, {"momentum": m, "velocity": v}, kind="adam_update", attrs=attrs, learning_rate=0.01, iteration=3
    )
    rate, new_v = 0.02, 0.99 * 0.04 + 0.01 * 0.04
    scale = np.sqrt(1 - 0.99**3) / (1 - 0.9**3) / (np.sqrt(new_v) + 1e-3)
    assert split.parts["gradient"][0] == pytest.approx(-rate * scale * 0.1 * 0.2)
    assert split.parts["momentum"][0] == pytest.approx(-rate * scale * 0.9 * 0.1)
    assert split.parts["weight_decay"][0] == pytest.approx(-rate * 0.1 * 0.5)
    assert split.is_exact and abs(split.residual[0]) < 1e-16
    plain = split.with_scaling()
    assert plain["gradient"][0] == pytest.approx(-rate * 0.1 * 0.2)
    assert sum(p[0] for p in plain.values()) == pytest.approx(split.update[0])


def test_by_hand_lion_shares_the_sign_out():
    attrs = {"beta_1": 0.9, "beta_2": 0.99}
    slots = {"momentum": np.array([0.1, -0.1, 0.0])}
    gradient = np.array([-0.3, 0.0, 0.0])
    split = split_update(
        np.ones(3), gradient, slots, kind="lion_update", attrs=attrs, learning_rate=0.01, iteration=2
    )
    # z = 0.09 - 0.03 = 0.06: a step of -0.01, to which the gradient gave -0.03 / 0.06 = -1/2.
    np.testing.assert_allclose(split.parts["gradient"], [0.005, 0.0, 0.0], atol=1e-17)
    np.testing.assert_allclose(split.parts["momentum"], [-0.015, 0.01, 0.0], atol=1e-17)
    np.testing.assert_allclose(split.update, [-0.01, 0.01, 0.0], atol=1e-16)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_second_moment_as_a_part_of_its_own(name):
    split = explain.update_split(run_with(name, "float64"), "conv", 3)
    parts = split.with_scaling()
    np.testing.assert_allclose(sum(parts.values()), sum(split.parts.values()), rtol=0, atol=1e-15)
    assert ("second_moment" in parts) == (not name.startswith("sgd"))


def test_a_part_that_is_wrong_is_seen():
    """The sum is a check: a wrong learning rate, slot or weight leaves more than rounding."""
    w, g = np.array([0.5, -0.25], "float32"), np.array([0.2, 0.1], "float32")
    kwargs = {"kind": "sgd_update", "attrs": {}, "learning_rate": 0.01, "iteration": 1}
    assert split_update(w, g, **kwargs, after=w - g * np.float32(0.01)).is_exact
    assert not split_update(w, g, **kwargs, after=w - g * np.float32(0.0101)).is_exact


def test_shares_and_text():
    run = run_with("adamw")
    split = explain.update_split(run, "conv", 6)
    assert sum(split.shares().values()) == pytest.approx(1, abs=1e-5)
    text = str(split)
    assert "Update of conv/kernel, step 6, adam" in text and "weight_decay" in text
    assert "steps 2 to 4" in str(explain.update_split(run, "conv", range(2, 5)))
    assert "<table>" in split._repr_html_()
    values = json.loads(json.dumps(split.to_dict()))
    assert set(values["parts"]) == set(split.parts) and values["is_exact"]
    at = split.at((0, 1, 0, 1))
    assert at["update"] == pytest.approx(sum(v for n, v in at.items() if n != "update"), abs=1e-18)


def test_a_resumed_optimiser_goes_on_from_its_state():
    """The first recorded update is not the optimiser's first: momentum of before counts."""
    model = small_network()
    train(model, "adam", epochs=1)
    run = train(model, epochs=1)
    split = explain.update_split(run, "conv", 1)
    assert np.abs(split.parts["momentum"]).max() > 0 and split.is_exact


class Cubes(regularizers.Regularizer):
    """A regulariser of the user's own."""

    def value(self, w):
        return float(np.sum(np.abs(w) ** 3))

    def gradient(self, w):
        return 3 * w * np.abs(w)


class Shrink(constraints.Constraint):
    """A constraint of the user's own."""

    def __call__(self, w):
        return np.asarray(w) * np.asarray(w).dtype.type(0.9)


@pytest.mark.parametrize("is_known_later", [True, False])
def test_rules_of_the_users_own(monkeypatch, is_known_later):
    """Where their classes are not known when the run is read, the ledger tells penalties apart."""
    with monkeypatch.context() as patch:
        patch.setitem(regularizers.REGULARIZERS._classes, "Cubes", Cubes)
        patch.setitem(constraints.CONSTRAINTS._classes, "Shrink", Shrink)
        run = train(small_network(kernel_regularizer=Cubes(), kernel_constraint=Shrink()), "adam")
    if is_known_later:
        monkeypatch.setitem(regularizers.REGULARIZERS._classes, "Cubes", Cubes)
        monkeypatch.setitem(constraints.CONSTRAINTS._classes, "Shrink", Shrink)
    for step in (1, 4):
        split = explain.update_split(run, "conv", step)
        expected = split.step.gradient * Cubes().gradient(run.kernels("conv", step - 1))
        np.testing.assert_allclose(split.parts["penalty"], expected, rtol=1e-3, atol=1e-7)
        assert np.abs(split.parts["constraint"]).max() > 1e-3 and split.is_exact
    past = explain.history(run, "conv", (0, 0, 0, 0))
    assert past.is_exact and past.totals["penalty"] != 0 and past.totals["constraint"] != 0


def test_a_frozen_layer_has_no_update():
    model = small_network()
    model.get_layer("conv").trainable = False
    run = train(model, "sgd")
    with pytest.raises(ArgumentError, match="was frozen at step 1"):
        explain.update_split(run, "conv", 1)
    assert explain.update_split(run, "dense", 1).is_exact


def test_messages():
    run = run_with("sgd")
    with pytest.raises(ArgumentError, match="weights of steps 98 and 99"):
        explain.update_split(run, "conv", 99)
    with pytest.raises(ArgumentError, match="successive"):
        explain.update_split(run, "conv", [1, 3])
    with pytest.raises(UnknownNameError):
        explain.update_split(run, "conf", 1)
    arrays = {"before": np.ones(2), "gradient": np.ones(2), "attrs": {}, "learning_rate": 0.1, "iteration": 1}
    with pytest.raises(UnknownNameError, match="update"):
        split_update(**arrays, kind="sgb_update")
    with pytest.raises(ArgumentError, match="velocity"):
        split_update(**arrays, slots={"momentum": np.ones(2)}, kind="adam_update")
    with pytest.raises(ArgumentError, match="global_norm="):
        split_update(**arrays, kind="sgd_update", clipping=("clip_by_global_norm", 1.0))
