"""The time that a recording may take, by a clock of ours."""

import pytest

from kernelearn.recording.schedule import Schedule, Stream
from kernelearn.watching.book import WatchBook
from kernelearn.watching.thrift import Thrift
from tests.watching.test_book import EVERY, Program


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("seconds", "share"), [(1.0, 0.025), (1e-3, 0.04)])
def test_what_is_spent_waits_for_its_time(seconds, share):
    """Of long steps a smaller share."""
    clock = Clock()
    thrift = Thrift(clock)
    for step in range(10):
        clock.now += seconds
        thrift.arrive(step == 5)
        clock.now += 0.5 * seconds if step == 0 else 0.0
        thrift.leave()
    assert thrift.spent == pytest.approx(0.5 * seconds) and not thrift.has_time
    clock.now = 0.49 * seconds / share
    assert not thrift.has_time
    clock.now = 0.51 * seconds / share
    assert thrift.has_time


def test_a_step_that_was_slowed_down_is_counted():
    clock = Clock()
    thrift = Thrift(clock)
    for seconds, is_taken in ((1.0, False), (1.0, False), (1.25, True)):
        clock.now += seconds
        thrift.arrive(is_taken)
        thrift.leave()
    assert thrift.spent == 0.25


def test_hooks_of_a_step_are_counted_and_not_taken_for_training():
    clock = Clock()
    thrift = Thrift(clock)
    for is_taken, hooks in ((False, 0.125), (False, 0.125), (True, 0.5)):
        since = clock.now
        clock.now += hooks
        thrift.aside(since)
        clock.now += 1.0
        thrift.arrive(is_taken)
        thrift.leave()
    assert thrift.spent == 0.75


def test_what_happened_before_the_training_is_not_counted():
    clock = Clock()
    thrift = Thrift(clock)
    since = clock.now
    clock.now = 100.0  # the model is read
    thrift.begin()
    clock.now = 101.0
    thrift.aside(since)
    thrift.arrive(False)
    assert thrift.spent == 1.0


@pytest.mark.parametrize(("records", "lost"), [(4, 0.5), (40, 0.25)])
def test_what_the_step_behind_a_record_loses_is_counted(records, lost):
    """Half of the record's time until both kinds of steps are known; then what it is."""
    clock = Clock()
    thrift = Thrift(clock)
    for _ in range(records):
        clock.now += 10.0
        thrift.arrive(False)
        clock.now += 1.0
        thrift.leave(is_written=True)
        clock.now += 10.25  # behind a record
        before = thrift.spent
        thrift.arrive(False)
        found = thrift.spent - before
        thrift.leave()
    assert found == lost


def test_the_end_is_owed_from_the_beginning_on():
    clock = Clock()
    thrift = Thrift(clock)
    thrift.begin()
    thrift.arrive(False)
    thrift.leave(is_written=True)
    assert thrift.spent == 0.0 and thrift.owed > 0.0 and not thrift.has_time
    clock.now = 1.01 * thrift.owed / 0.025
    assert thrift.has_time


def test_a_pause_is_no_step():
    clock = Clock()
    thrift = Thrift(clock)
    for seconds in (1.0, 1.0):
        clock.now += seconds
        thrift.arrive(False)
        thrift.leave()
    thrift.pause()
    clock.now += 100.0
    thrift.arrive(True)
    assert thrift.spent == 0.0


def test_a_ledger_that_is_put_off_needs_nothing_before_it():
    whole = Schedule({Stream.KERNELS: 0, Stream.LEDGER: 4})
    none = whole.without({Stream.LEDGER})
    assert Stream.KERNELS in whole.due(3)
    assert whole.due(3, none) == frozenset() and none.due(4, whole) == frozenset()
    assert whole.is_beside_ledger(3) and not whole.is_beside_ledger(3, none)


def test_tiny_steps_are_recorded_when_there_is_time(tmp_path, monkeypatch):
    """Every record takes ten steps' time: few can be recorded, but what was asked for is."""
    for automatic, least, most in ((["kernels", "ledger"], 1, 8), ([], 300, 300)):
        clock = Clock()
        monkeypatch.setattr("kernelearn.watching.book.Thrift", lambda clock=clock: Thrift(clock))
        about = {"model": None, "metadata": {}, "weights": {"layer/kernel": [3, 2]}, "engine": "other"}
        book = WatchBook(tmp_path / str(least), about, EVERY, automatic, None, 2**24, False)
        write, program, recorded = book._record_due, Program(), []

        def slow(step, seen, write=write, clock=clock, recorded=recorded):
            clock.now += 10.0
            recorded.append(step)
            write(step, seen)

        monkeypatch.setattr(book, "_record_due", slow)
        monkeypatch.setattr(program, "told", {"loss": float("nan"), "images": None})
        for _ in range(300):
            clock.now += 1.0
            program.step(book)
        book.close()
        assert least <= len(recorded) <= most, len(recorded)
