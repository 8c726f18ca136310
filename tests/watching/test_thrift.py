"""The time that a recording may take, by a clock of ours."""

import pytest

from kernelearn.recording.schedule import Schedule, Stream
from kernelearn.watching.book import WatchBook
from kernelearn.watching.thrift import Room, Thrift
from tests.watching.test_book import EVERY, Program


@pytest.fixture(autouse=True)
def hooks_take_nothing_by_themselves(monkeypatch):
    monkeypatch.setattr("kernelearn.watching.thrift._AROUND", 0.0)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def trained(thrift, clock, seconds, steps, record=0.0, size=0):
    """Steps, with a record behind each of them."""
    for _ in range(steps):
        clock.now += seconds
        thrift.arrive(False)
        clock.now += record
        thrift.leave(size)


@pytest.mark.parametrize(("seconds", "share"), [(1.0, 0.025), (1e-3, 0.04)])
def test_what_is_spent_waits_for_its_time(seconds, share):
    """Of long steps a smaller share."""
    clock = Clock()
    thrift = Thrift(clock)
    trained(thrift, clock, seconds, 8)
    clock.now += seconds
    thrift.arrive(True)
    clock.now += 100 * seconds
    thrift.leave()
    assert thrift.spent == pytest.approx(100 * seconds) and thrift.room == Room.NOTHING
    needed = (thrift.spent + thrift.owed) / share
    trained(thrift, clock, seconds, int(0.99 * needed / seconds - thrift.trained / seconds))
    assert thrift.room == Room.NOTHING
    trained(thrift, clock, seconds, int(0.02 * needed / seconds))
    assert thrift.room == Room.ALL and thrift.spent == pytest.approx(100 * seconds)


def test_a_record_has_to_fit():
    """Ten bytes a second: what is larger waits longer, and weights leave room for it."""
    clock = Clock()
    thrift = Thrift(clock)
    trained(thrift, clock, 10.0, 10)
    trained(thrift, clock, 10.0, 1, record=1.0, size=10)
    thrift.expect(weights=10, everything=100, last=0)
    found = []
    for _ in range(1000):
        trained(thrift, clock, 10.0, 1)
        found.append(thrift.room)
        left = 0.025 * thrift.trained - thrift.spent - thrift.owed
        assert left >= {Room.NOTHING: -99, Room.WEIGHTS: 1.5, Room.ALL: 15.0}[found[-1]]
    assert found == sorted(found) and set(found) == set(Room)


def test_weights_leave_time_for_ledgers():
    """Weights are recorded whenever there is room; ledgers come all the same."""
    clock = Clock()
    thrift = Thrift(clock)
    thrift.expect(weights=10, everything=500, last=0)
    ledgers, room = [], Room.ALL
    for step in range(20_000):
        clock.now += 1.0
        is_ledger = room == Room.ALL and step % 100 == 0
        thrift.arrive(is_ledger)
        size = 500 if is_ledger else 10 if room else 0
        clock.now += size / 100
        thrift.leave(size, not is_ledger)
        ledgers += [step] * is_ledger
        room = thrift.room
    assert len(ledgers) > 10 and ledgers[-1] > 18_000
    assert 0.5 * 0.025 < thrift.spent / thrift.trained <= 0.025


def test_a_step_that_was_slowed_down_is_counted():
    clock = Clock()
    thrift = Thrift(clock)
    for seconds, is_taken in ((1.0, False), (1.0, False), (1.25, True)):
        clock.now += seconds
        thrift.arrive(is_taken)
        thrift.leave()
    assert thrift.spent == 0.25 and thrift.trained == 2.0


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
    assert thrift.spent == 0.75 and thrift.trained == 2.0


def test_what_is_done_once_is_not_counted():
    """The model is read within a hook."""
    clock = Clock()
    thrift = Thrift(clock)
    since = thrift.now()
    clock.now = 1.0
    apart = thrift.now()
    clock.now = 100.0
    thrift.set_apart(apart)
    thrift.aside(since)
    thrift.arrive(False)
    thrift.leave()
    assert thrift.spent == 1.0
    trained(thrift, clock, 1.0, 1)
    assert thrift.trained == 1.0


def test_a_pause_at_the_keyboard_earns_nothing():
    clock = Clock()
    thrift = Thrift(clock)
    trained(thrift, clock, 1.0, 20)
    trained(thrift, clock, 3600.0, 1)
    assert thrift.trained == 19.0 + 32.0


@pytest.mark.parametrize(("records", "lost"), [(4, 0.5), (40, 0.25)])
def test_what_the_step_behind_a_record_loses_is_counted(records, lost):
    """Half of the record's time until both kinds of steps are known; then what it is."""
    clock = Clock()
    thrift = Thrift(clock)
    for _ in range(records):
        trained(thrift, clock, 10.0, 1, record=1.0, size=1)
        clock.now += 10.25  # behind a record
        before = thrift.spent
        thrift.arrive(False)
        found = thrift.spent - before
        thrift.leave()
    assert found == lost


def test_the_end_is_owed_from_the_beginning_on():
    """With the last weights, as far as it is known what writing takes."""
    clock = Clock()
    thrift = Thrift(clock)
    assert thrift.owed > 0.0
    trained(thrift, clock, 1.0, 2, record=1.0, size=10)
    before = thrift.owed
    thrift.expect(weights=0, everything=0, last=100)
    assert thrift.owed == pytest.approx(before + 15.0)


def test_a_short_training_has_what_nobody_misses():
    """A tenth of a second behind its first record, whatever that took."""
    clock = Clock()
    thrift = Thrift(clock)
    trained(thrift, clock, 0.01, 1, record=0.5, size=10)
    assert thrift.room == Room.ALL
    while thrift.room:
        assert thrift.spent + thrift.owed < 0.85 and not thrift.steps_without_room
        trained(thrift, clock, 0.01, 1, record=0.005, size=1)
    assert 0.83 < thrift.spent + thrift.owed < 0.87
    waits = thrift.steps_without_room
    trained(thrift, clock, 0.01, waits // 2)
    assert thrift.room == Room.NOTHING and 1_500 < waits < 4_000


def test_a_pause_is_no_step():
    clock = Clock()
    thrift = Thrift(clock)
    trained(thrift, clock, 1.0, 2)
    thrift.pause()
    clock.now += 100.0
    thrift.arrive(True)
    assert thrift.spent == 0.0 and thrift.trained == 1.0


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
