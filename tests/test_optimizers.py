"""Optimisers: declarations, algebra of the updates, clipping. Values against Keras: tests/parity."""

import json

import numpy as np
import pytest

from kernelearn import optimizers
from kernelearn.engine.reference.optimizers import (
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
    one_step,
)
from kernelearn.engine.updates import UPDATES
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.optimizers.schedules import ExponentialDecay

EXAMPLES = [
    optimizers.SGD(0.1),
    optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    optimizers.Adam(0.05),
    optimizers.Adam(0.05, amsgrad=True, clipnorm=1.0),
    optimizers.AdamW(0.05),
    optimizers.RMSprop(0.05),
    optimizers.RMSprop(0.05, momentum=0.5, centered=True),
    optimizers.RMSprop(0.05, centered=True),
    optimizers.Adagrad(0.5, initial_accumulator_value=0.2),
    optimizers.Adadelta(1.0),
    optimizers.Adamax(0.1),
    optimizers.Nadam(0.05),
    optimizers.Lion(0.01, weight_decay=0.1),
    optimizers.Ftrl(0.5, l2_regularization_strength=0.01),
    optimizers.Lamb(0.05),
    optimizers.Adafactor(0.2),
    optimizers.ScheduleFreeAdamW(0.05, warmup_steps=10),
]
# Those whose step keeps the weight as it is, if no gradient moves it.
NAMES = [
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Adamax",
    "Nadam",
    "Lion",
    "Lamb",
    "Adafactor",
]


def start(optimizer, param):
    """The slots of an optimiser for one parameter, filled with their first values."""
    return [np.full(slot.shape, slot.value, param.dtype) for slot in optimizer.slots(param.shape).values()]


def train(optimizer, param, gradient, steps):
    """Parameters and slots after `steps` updates along `gradient(param)`."""
    slots = start(optimizer, param)
    for step in range(1, steps + 1):
        optimizer.iterations = step - 1
        param, *slots = one_step(
            optimizer.kind, param, gradient(param), *slots,
            learning_rate=optimizer.learning_rate, step=step, **optimizer.attrs(),
        )  # fmt: skip
    return param, slots


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_every_optimizer_descends_a_bowl(optimizer):
    centre = np.array([0.3, -0.2, 0.1])
    start_at = centre + np.array([0.5, -0.5, 0.25])
    end, _ = train(optimizer, start_at, lambda w: 2 * (w - centre), 300)
    bound = 0.5 if optimizer.kind == "adadelta_update" else 0.2  # Adadelta starts with tiny steps
    assert np.sum((end - centre) ** 2) < bound * np.sum((start_at - centre) ** 2)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_keep_dtype_and_arguments(optimizer, dtype):
    param, grad = np.ones((2, 3), dtype), np.full((2, 3), 0.5, dtype)
    slots = start(optimizer, param)
    copies = [a.copy() for a in (param, grad, *slots)]
    results = one_step(
        optimizer.kind,
        param,
        grad,
        *slots,
        learning_rate=np.float64(0.1),
        step=np.int64(1),
        **optimizer.attrs(),
    )
    assert [r.dtype for r in results] == [np.dtype(dtype)] * (1 + len(slots))
    assert [r.shape for r in results] == [param.shape, *(s.shape for s in slots)]
    for array, copy in zip((param, grad, *slots), copies):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_that_are_dead_on_both_sides_stay_numbers(optimizer, dtype):
    gradient = np.full((3, 4), 0.01, dtype)
    gradient[0], gradient[:, 1] = 0, 0
    for dead in (gradient, gradient * 0, gradient.reshape(1, 3, 4)):
        end, slots = train(optimizer, np.ones(dead.shape, dtype), lambda w, dead=dead: dead, 3)
        assert all(np.isfinite(found).all() for found in (end, *slots))


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_slot_names_are_those_of_the_update(optimizer):
    assert list(optimizer.slots((2,))) == UPDATES[optimizer.kind].slots_with(optimizer.attrs())


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_shrinks_before_the_gradient_step(name):
    optimizer = getattr(optimizers, name)(learning_rate=0.5, weight_decay=0.1)
    param = np.array([2.0, -4.0])
    end, _ = train(optimizer, param, np.zeros_like, 1)
    np.testing.assert_allclose(end, param * 0.95, rtol=1e-15)


def test_sgd_with_momentum_by_hand():
    end, (velocity,) = train(optimizers.SGD(0.1, momentum=0.5), np.array([1.0]), lambda w: np.array([1.0]), 2)
    assert velocity[0] == pytest.approx(-0.15)
    assert end[0] == pytest.approx(0.75)


def test_first_step_of_adam_has_the_length_of_the_learning_rate():
    end, _ = train(optimizers.Adam(0.01), np.zeros(2), lambda w: np.array([3.0, -1e-3]), 1)
    np.testing.assert_allclose(end, [-0.01, 0.01], rtol=4e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spelling", [str, str.lower, str.upper])
def test_names_in_any_case(name, spelling):
    assert type(optimizers.get(spelling(name))).__name__ == name


@pytest.mark.parametrize("optimizer", EXAMPLES, ids=repr)
def test_config_round_trip_through_json(optimizer):
    config = json.loads(json.dumps(optimizers.serialize(optimizer)))
    again = optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.attrs() == optimizer.attrs()


def test_config_with_a_schedule_and_with_arguments_of_keras():
    optimizer = optimizers.Adam(ExponentialDecay(0.1, 10, 0.5))
    config = {
        **optimizer.get_config(),
        "use_ema": False,
        "ema_momentum": 0.99,
        "gradient_accumulation_steps": None,
    }
    again = optimizers.Adam.from_config(json.loads(json.dumps(config)))
    again.iterations = 10
    assert again.learning_rate == 0.05


def test_muon_makes_steps_of_matrices_orthogonal_and_leaves_the_rest_to_adam():
    muon = optimizers.Muon(1.0, rms_rate=None, momentum=0.0, exclude_layers=["head"], weight_decay=None)
    grad = np.random.default_rng(0).normal(size=(4, 7))
    moved, _ = one_step("muon_update", np.zeros((4, 7)), grad, np.zeros((4, 7)), learning_rate=1.0, step=1,
                        **muon.attrs())  # fmt: skip
    sizes = np.linalg.svd(moved, compute_uv=False)
    assert sizes.min() > 0.6 and sizes.max() < 1.3  # what the iteration is made for, whatever the gradient
    for path, shape, kind in (
        ("d/kernel", (3, 2), "muon_update"),
        ("d/bias", (2,), "adam_update"),
        ("c/kernel", (3, 3, 1, 2), "adam_update"),
        ("head/kernel", (3, 2), "adam_update"),
        ("embedding/embeddings", (3, 2), "adam_update"),
    ):
        weight = Variable(np.zeros(shape), path)
        assert muon.kind_for(weight) == kind
        assert list(muon.slots_for(weight)) == UPDATES[kind].slots_with(
            {**muon.attrs(weight), "amsgrad": False}
        )


def test_scaling_the_loss_is_said_to_change_nothing():
    with pytest.warns(UserWarning, match="uses Adam itself"):
        assert isinstance(optimizers.LossScaleOptimizer("adam", initial_scale=128.0), optimizers.Adam)


def test_learning_rate_is_assignable_only_without_a_schedule():
    optimizer = optimizers.SGD(1)
    optimizer.learning_rate = np.float32(0.5)
    assert optimizer.learning_rate == 0.5
    assert isinstance(optimizer.learning_rate, float)
    optimizer.learning_rate = ExponentialDecay(0.1, 10, 0.5)
    with pytest.raises(ArgumentError, match="set by a schedule"):
        optimizer.learning_rate = 0.1


def test_function_as_learning_rate_works_but_cannot_be_saved():
    optimizer = optimizers.SGD(lambda step: 1 / (step + 1))
    optimizer.iterations = 3
    assert optimizer.learning_rate == 0.25
    with pytest.raises(ArgumentError, match="cannot be saved"):
        optimizer.get_config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(-0.1),
        lambda: optimizers.SGD(float("nan")),
        lambda: optimizers.SGD("fast"),
        lambda: optimizers.SGD(True),
        lambda: optimizers.SGD(momentum=1.5),
        lambda: optimizers.Adam(beta_1=1.0),
        lambda: optimizers.Adam(clipnorm=1.0, clipvalue=0.5),
        lambda: optimizers.Adam(clipvalue=-0.5),
        lambda: optimizers.Adam(weight_decay=-1),
        lambda: optimizers.AdamW(weight_decay=None),
        lambda: optimizers.Lion(beta_1=0.0),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


def test_unknown_names_suggest_known_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'adam'"):
        optimizers.get("adamm")


def test_exclusion_from_weight_decay_by_object_and_by_name():
    class Variable:
        name, path = "gamma", "bn/gamma"

    gamma, optimizer = Variable(), optimizers.AdamW(weight_decay=0.1)
    assert optimizer.attrs(gamma)["weight_decay"] == 0.1
    optimizer.exclude_from_weight_decay(var_list=[gamma], var_names=["bias"])
    assert optimizer.attrs(gamma)["weight_decay"] == 0.0
    assert optimizer.attrs("conv/bias")["weight_decay"] == 0.0
    assert optimizer.attrs(Variable())["weight_decay"] == optimizer.attrs()["weight_decay"] == 0.1
    optimizer.exclude_from_weight_decay(var_names=["^bn/"])
    assert not optimizer.uses_weight_decay(gamma)


def test_clipping_is_declared():
    assert optimizers.SGD().clipping is None
    assert optimizers.SGD(clipnorm=2).clipping == ("clip_by_norm", 2.0)
    assert optimizers.SGD(clipvalue=0.5).clipping == ("clip_by_value", 0.5)
    assert optimizers.SGD(global_clipnorm=3).clipping == ("clip_by_global_norm", 3.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping(dtype):
    grad = np.array([3.0, -4.0], dtype)
    results = [clip_by_value(grad, 3.5), clip_by_norm(grad, 1.0), clip_by_global_norm(grad, 10.0, 5.0)]
    expected = [[3.0, -3.5], [0.6, -0.8], [1.5, -2.0]]
    for result, values in zip(results, expected):
        assert result.dtype == dtype
        np.testing.assert_allclose(result, values, rtol=1e-6)
    np.testing.assert_array_equal(clip_by_norm(grad, 50.0), grad)
    np.testing.assert_array_equal(clip_by_norm(0 * grad, 1.0), 0 * grad)
    assert global_norm([grad, grad]) == pytest.approx(50**0.5)


def test_clipping_does_not_hide_a_broken_gradient():
    assert np.isnan(clip_by_norm(np.array([np.inf, 1.0]), 1.0)).all()
    assert np.isnan(clip_by_global_norm(np.array([1.0]), float("inf"), 1.0)).all()
