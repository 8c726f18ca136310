"""Updates of PyTorch's optimisers, done again and taken apart, against what PyTorch did."""

import json
from pathlib import Path

import numpy as np
import pytest

from kernelearn.errors import UnknownNameError
from kernelearn.explain import split_update
from kernelearn.explain.update.linear_steps import coupled_decay, replay
from kernelearn.explain.update.torch_steps import TORCH_STEPS

GOLDEN = np.load(Path(__file__).parents[1] / "parity" / "golden_torch_steps.npz")
ABOUT = json.loads(str(GOLDEN["about"]))
STEPS = range(1, 5)


def given(name, step):
    about = ABOUT[name]
    slots = {slot: GOLDEN[f"{name}/{step}/slot/{slot}"] for slot in about["slots"]}
    return GOLDEN[f"{name}/{step}/before"], GOLDEN[f"{name}/{step}/gradient"], slots


@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_that_of_pytorch(name, step):
    before, gradient, slots = given(name, step)
    about, after = ABOUT[name], GOLDEN[f"{name}/{step}/after"]
    done = replay(before, gradient, slots, about["kind"], about["attrs"], about["rate"], step)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(done.weight, after, rtol=0, atol=8 * eps * np.abs(before).max())
    for slot, value in done.slots.items():
        if step < max(STEPS):
            np.testing.assert_allclose(
                value, GOLDEN[f"{name}/{step + 1}/slot/{slot}"], rtol=8 * eps, atol=1e-7
            )


@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("step", STEPS)
def test_its_parts_add_up(name, step):
    before, gradient, slots = given(name, step)
    about = ABOUT[name]
    split = split_update(
        before, gradient, slots, kind=about["kind"], attrs=about["attrs"], learning_rate=about["rate"],
        iteration=step, after=GOLDEN[f"{name}/{step}/after"],
    )  # fmt: skip
    assert split.is_exact
    assert ("weight_decay" in split.parts) == bool(about["attrs"]["weight_decay"])


@pytest.mark.parametrize("name", ABOUT)
def test_the_linear_step_is_the_step_in_the_gradient(name):
    """The coefficients of the gradient say what the first entry would do, with denominators held."""
    before, gradient, slots = (
        values if isinstance(values, dict) else values.astype(np.float64) for values in given(name, 3)
    )
    slots = {slot: value.astype(np.float64) for slot, value in slots.items()}
    about = ABOUT[name]
    done = replay(before, gradient, slots, about["kind"], about["attrs"], about["rate"], 3)
    linear = done.step
    history = slots.get(linear.slot, 0.0)
    moved = before - linear.decay * before + linear.gradient * gradient + linear.history * history
    np.testing.assert_allclose(moved, done.weight, rtol=1e-12)


def test_weight_decay_that_momentum_remembers_is_part_of_the_gradient():
    assert coupled_decay("torch_sgd", {"momentum": 0.9, "weight_decay": 0.1}) == 0.1
    assert coupled_decay("torch_sgd", {"momentum": 0.9, "weight_decay": 0.1, "maximize": True}) == -0.1
    assert coupled_decay("torch_sgd", {"weight_decay": 0.1}) == 0.0
    assert coupled_decay("torch_adam", {"weight_decay": 0.1, "decoupled_weight_decay": False}) == 0.1
    assert coupled_decay("torch_adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}) == 0.0
    assert coupled_decay("torch_rmsprop", {"weight_decay": 0.1}) == 0.0
    assert coupled_decay("torch_adagrad", {"weight_decay": 0.1}) == 0.0


def test_every_kind_has_a_golden_step():
    assert {about["kind"] for about in ABOUT.values()} == set(TORCH_STEPS)


def test_another_kind_is_named():
    with pytest.raises(UnknownNameError, match=r"torch\.RAdam.*torch_adam"):
        replay(np.zeros(2), np.zeros(2), {}, "torch.RAdam", {}, 0.1, 1)
