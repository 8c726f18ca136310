"""Schedules: fixed points, edges, configs and messages. Values against Keras: tests/parity."""

import json

import pytest

from kernelearn import optimizers, schedules
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.optimizers.schedules import CosineDecay, OneCycle

EXAMPLES = [
    schedules.ConstantSchedule(0.25),
    schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
    schedules.InverseTimeDecay(0.1, 10, 0.5),
    schedules.PiecewiseConstantDecay([3, 7], [1.0, 0.5, 0.25]),
    schedules.PolynomialDecay(0.1, 10, 0.01, power=2.0, cycle=True),
    schedules.CosineDecay(0.0, 20, alpha=0.1, warmup_target=0.3, warmup_steps=5),
    schedules.CosineDecayRestarts(0.1, 4, t_mul=2.0, m_mul=0.5, alpha=0.01),
    schedules.OneCycle(0.5, 30, pct_start=0.4, anneal_strategy="linear"),
]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda s: type(s).__name__)
def test_config_round_trip_through_json(schedule):
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    again = schedules.deserialize(config)
    assert type(again) is type(schedule)
    assert [again(step) for step in range(40)] == [schedule(step) for step in range(40)]
    assert all(isinstance(schedule(step), float) for step in range(3))


def test_cosine_warms_up_then_decays_and_stays():
    schedule = CosineDecay(0.1, decay_steps=10, alpha=0.5, warmup_target=1.0, warmup_steps=9)
    assert schedule(0) == 0.1
    assert schedule(9) == 1.0
    assert schedule(14) == pytest.approx(0.75)
    assert schedule(19) == schedule(1000) == pytest.approx(0.5)


def test_restarts_happen_at_exact_steps():
    schedule = schedules.CosineDecayRestarts(1.0, 5, t_mul=2.0, m_mul=0.5)
    assert [schedule(step) for step in (0, 5, 15, 35)] == [1.0, 0.5, 0.25, 0.125]
    assert schedules.CosineDecayRestarts(1.0, 3, t_mul=1.0)(9) == 1.0


def test_one_cycle_ends():
    schedule = OneCycle(1.0, total_steps=100, pct_start=0.3, div_factor=10, final_div_factor=100)
    assert schedule(0) == pytest.approx(0.1)
    assert max(schedule(step) for step in range(100)) == schedule(29) == 1.0
    assert schedule(99) == schedule(500) == pytest.approx(0.001)


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_one_cycle_of_few_steps_is_finite(total, share):
    rates = [OneCycle(1.0, total, pct_start=share)(step) for step in range(total + 2)]
    assert all(0 < rate <= 1 for rate in rates)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.ExponentialDecay(0.1, 0, 0.5),
        lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]),
        lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]),
        lambda: schedules.CosineDecay(0.1, 10, warmup_steps=-1),
        lambda: schedules.CosineDecayRestarts(0.1, 10, t_mul=0.5),
        lambda: schedules.OneCycle(0.1, 10, pct_start=1.5),
        lambda: schedules.OneCycle(0.1, 10, anneal_strategy="exp"),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


def test_unknown_class_is_refused():
    with pytest.raises(KernelearnError, match="CosineDekay"):
        schedules.get({"class_name": "CosineDekay", "config": {}})


def test_own_schedule_works_in_an_optimizer():
    class Halving(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.5**step

    optimizer = optimizers.SGD(Halving())
    optimizer.iterations = 3
    assert optimizer.learning_rate == 0.125
