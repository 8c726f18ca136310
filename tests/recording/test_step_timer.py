"""What was left to the Recorder comes less often where it would take too long; what was asked for stays."""

import numpy as np
import pytest

from kernelearn.recording.capture import step_timer
from kernelearn.recording.capture.step_timer import FIRST_DECISION, StepTimer

from .helpers import make_model, record

EVERY = {"kernels": 1, "gradients": 0, "ledger": 10, "maps": 10, "snapshots": 1}
AUTOMATIC = {"kernels": 1, "ledger": 10, "maps": 10}


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def pass_(self, seconds):
        self.seconds += seconds


def timed(automatic=AUTOMATIC, step=1e-3, numbers=1e-5, steps=FIRST_DECISION, **records):
    """A StepTimer that has seen so many steps, with records of these streams and their seconds in each."""
    clock = Clock()
    found, decisions = StepTimer(automatic, clock), []
    for number in range(1, steps + 1):
        clock.pass_(step)
        found.arrive(False)
        for stream, seconds in records.items():
            began = found.now()
            clock.pass_(seconds)
            found.wrote(stream, began)
        clock.pass_(numbers)
        if found.leave():
            decisions.append(number)
    return found, decisions


def test_decisions_come_after_twice_as_many_steps_each():
    assert timed(steps=300)[1] == [32, 64, 128, 256]
    assert timed(automatic={}, steps=300)[1] == []


def test_what_takes_little_time_stays():
    found, _ = timed(kernels=2e-5, ledger=5e-5)
    assert found.step_seconds == pytest.approx(1e-3)
    assert found.strides(EVERY, 100_000, 1000) == EVERY


@pytest.mark.parametrize(("kernels", "stride"), [(2.6e-5, 1), (4.5e-5, 2), (8e-5, 4), (1e-2, 16), (9.0, 16)])
def test_kernels_come_as_often_as_the_share_allows(kernels, stride):
    """Of 1000 us a step 40 are free, 10 of them for the numbers; never more rarely than 16 times."""
    found, _ = timed(kernels=kernels)
    assert found.strides(EVERY, 100_000, 1000)["kernels"] == stride


def test_a_stride_that_was_given_stays_and_takes_its_share():
    found, _ = timed(automatic={"ledger": 10}, kernels=2.5e-5, ledger=1e-4)
    assert found.strides(EVERY, 100_000, 1000) == {**EVERY, "ledger": 40}


def test_the_rest_of_a_short_fit_is_recorded_as_often_as_wished():
    found, _ = timed(kernels=1e-3)
    assert found.strides(EVERY, 50, 1000) == EVERY
    assert found.strides(EVERY, 5000, 1000)["kernels"] > 1


def test_long_steps_leave_less_of_their_time():
    assert timed(step=0.009)[0].share > timed(step=0.011)[0].share


def test_what_was_slow_for_a_while_becomes_as_often_again():
    clock = Clock()
    found = StepTimer(AUTOMATIC, clock)
    for seconds in [1e-3] * 64 + [1e-5] * 64:
        clock.pass_(1e-3)
        found.arrive(False)
        began = found.now()
        clock.pass_(seconds)
        found.wrote("kernels", began)
        if found.leave():
            chosen = found.strides(EVERY, 100_000, 1000)["kernels"]
            assert chosen == (16 if seconds == 1e-3 else 1)


def test_a_pause_is_no_step():
    clock = Clock()
    found = StepTimer(AUTOMATIC, clock)
    for _ in range(3):
        clock.pass_(1.0)
        found.arrive(False)
        found.leave()
        found.pause()
        clock.pass_(60.0)
        found.arrive(False)
        found.leave()
    assert found.step_seconds == 1.0


@pytest.mark.parametrize("asked", [{}, {"kernels_every": 1, "ledger_every": 5, "maps_every": 6}])
def test_a_recorder_says_what_became_rarer(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(step_timer, "SHARE", 0.0)
    monkeypatch.setattr(step_timer, "SHARE_OF_LONG", 0.0)
    monkeypatch.setattr(step_timer, "UNNOTICED", 0.0)
    _, run = record(tmp_path, make_model("adam"), epochs=40, **asked)
    paced = [event for event in run.events if event["kind"] == "paced"]
    assert run.last_step == 120 and run.scalars("loss")[0].tolist() == list(range(1, 121))
    if asked:
        assert not paced and run.steps.tolist() == list(range(121))
        return
    event = paced[0]
    assert event["step"] == FIRST_DECISION and event["every"]["kernels"] == 16 and event["step_seconds"] > 0
    assert set(range(FIRST_DECISION + 1)) | {48, 64, 112} <= set(run.steps.tolist())
    assert len(run.steps) < 100 and run.check() == []
    for step in run.ledger_steps:  # a ledger brings the weights on both sides of it
        assert np.isfinite(run.update("conv", int(step))).all()
        assert {step - 1, step} <= set(run.steps.tolist())
