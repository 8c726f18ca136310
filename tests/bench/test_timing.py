"""Medians and ratios, taking turns, and workers, on fake clocks; nothing asserts how fast a machine is."""

import json
import os

import numpy as np
import pytest

from kernelearn.bench import machine, worker
from kernelearn.bench.interleave import MOST_STEPS, Rounds, burst_length, measure
from kernelearn.bench.processes import Worker, WorkerError, environment
from kernelearn.bench.rivals import OURS, Entry, Workers
from kernelearn.bench.statistics import fit_line, ratio, spread
from kernelearn.bench.worker import Session
from tests.bench.helpers import FakeClock, FakeRunner, local_workers

PLAN = Rounds(rounds=4, burst=1.0, rest=0.5)


class Contestant:
    """Takes `step` seconds a step, and notes when it was asked."""

    def __init__(self, name, step, least=1, log=None, fails_at=None):
        self.name, self.step, self.least = name, step, least
        self.log = [] if log is None else log
        self.fails_at = fails_at
        self.asked = 0

    def time(self, count):
        self.asked += 1
        if self.asked == self.fails_at:
            raise WorkerError("out of memory")
        self.log.append((self.name, count))
        return self.step * count


def test_spread_is_the_quartiles():
    found = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)


def test_ratio_pairs_the_rounds():
    """A round that was ten times slower for both does not count; a ratio of medians would be 2 as well here,
    but not of the second case."""
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]).median == 2.0
    assert ratio([3.0, 30.0, 300.0], [1.0, 30.0, 150.0]).median == 2.0
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0], [1.0, 2.0])


def test_line_through_exact_points():
    line = fit_line([1, 2, 4, 8], [3 + 2 * n for n in (1, 2, 4, 8)])
    assert np.allclose([line.start, line.slope, line.fit], [3, 2, 1])
    assert fit_line([1, 2, 3, 4], [1, 4, 9, 16]).fit < 0.97


def test_all_take_turns():
    log, rests = [], []
    names = ("ours", "a", "b")
    contestants = [Contestant(name, 0.1, log=log) for name in names]
    times = measure(contestants, PLAN, rests.append)
    turns = [name for name, _ in log[6:]]  # after two bursts each to find the length
    assert turns == list(names) * PLAN.rounds
    assert rests == [PLAN.rest] * 12
    assert times.counts == dict.fromkeys(names, 10)
    assert all(np.allclose(times.seconds[name], 0.1) for name in names)


def test_bursts_have_the_wanted_length():
    assert burst_length(Contestant("slow", 5.0), 1.0) == 1
    assert burst_length(Contestant("middling", 0.1, least=20), 1.0) == 20
    assert burst_length(Contestant("slow", 1.0, least=20), 1.0) == 4
    slow = Contestant("slow", 5.0)
    burst_length(slow, 1.0)
    assert slow.asked == 1
    assert burst_length(Contestant("quick", 0.001), 0.5) == 500
    assert burst_length(Contestant("nothing", 0.0), 0.5) == MOST_STEPS


@pytest.mark.parametrize("fails_at", [1, 4])
def test_one_that_fails_is_left_out(fails_at):
    good, bad = Contestant("good", 0.1), Contestant("bad", 0.1, fails_at=fails_at)
    times = measure([bad, good], PLAN, lambda seconds: None)
    assert times.failed == {"bad": "out of memory"}
    assert list(times.seconds) == ["good"] and len(times.seconds["good"]) == PLAN.rounds


def test_a_session_times_steps_and_nothing_else():
    clock = FakeClock()
    session = Session(FakeRunner(clock, 0.25), clock)
    prepared = session.answer({"do": "prepare", "id": "x", "task": {}})["ok"]
    assert prepared == {"first": 2.0, "seconds": 0.25, "note": ""}
    clock.advance(100)
    assert session.answer({"do": "run", "id": "x", "count": 8}) == {"ok": 2.0}
    session.answer({"do": "drop", "id": "x"})
    assert "KeyError" in session.answer({"do": "run", "id": "x", "count": 1})["error"]
    assert session.answer({"do": "dance"})["error"].startswith("KeyError")


def compared(steps, entries, losses=None, baseline=None):
    workers = Workers(1, start=local_workers(steps, losses))
    return workers.compare("row", entries, Rounds(3, 1.0, 0.0), 1e9, baseline)


def test_a_comparison_finds_the_best_of_each_group():
    entries = [
        Entry(OURS, OURS, "ours", {}),
        Entry("ours, long", OURS, "ours-fit", {}),
        Entry("slow", "peer", "slow", {}),
        Entry("quick", "peer", "quick", {}),
        Entry("other", "fits", "slow", {}),
    ]
    steps = {"ours": 0.1, "ours-fit": 0.5, "slow": 0.4, "quick": 0.2}
    row = compared(steps, entries, baseline={"fits": "ours, long"})
    assert row.peers() == ["peer", "fits"]
    assert row.best("peer") == "quick"
    assert row.ratio("peer").median == pytest.approx(2.0)
    assert row.ratio("fits").median == pytest.approx(0.8)
    stored = json.loads(json.dumps(row.to_dict()))
    assert stored["ratios"]["peer"]["to"] == "quick" and len(stored["seconds"]["slow"]) == 3


def test_missing_and_failing_peers_are_said():
    entries = [
        Entry(OURS, OURS, "ours", {}),
        Entry("gone", "peer", "gone", {}),
        Entry("bad", "peer", "ours", {"fails": True}),
    ]
    row = compared({"ours": 0.1}, entries)
    assert list(row.seconds) == [OURS] and row.peers() == []
    assert row.notes == {"gone": "gone is not installed", "bad": "RuntimeError: no such operator"}


def test_other_work_is_noticed():
    entries = [Entry(OURS, OURS, "ours", {}), Entry("peer", "peer", "peer", {})]
    row = compared({"ours": 0.1, "peer": 0.1}, entries, {"ours": 2.3, "peer": 3.0})
    assert "not the same work" in row.notes["peer"]
    assert compared({"ours": 0.1, "peer": 0.1}, entries, {"ours": 2.3, "peer": 2.31}).notes == {}
    assert "peer" in compared({"ours": 0.1, "peer": 0.1}, entries, {"peer": float("nan")}).notes


def test_workers_are_kept_to_their_threads():
    found = environment("keras-jax", 3)
    assert (
        found["KERAS_BACKEND"] == "jax" and found["OMP_NUM_THREADS"] == found["KERNELEARN_NUM_THREADS"] == "3"
    )
    assert "KERAS_BACKEND" not in environment("torch", 1) or "KERAS_BACKEND" in os.environ


@pytest.fixture
def real_worker():
    made = Worker("kernelearn", 1)
    yield made
    made.close()


def test_a_worker_process_answers_and_survives_errors(real_worker):
    assert real_worker.ask(do="hello")["versions"]["numpy"] == np.__version__
    task = {"what": "conv", "operator": "conv", "batch": 2, "channels": 3, "filters": 4, "size": 6}
    with pytest.raises(WorkerError, match="KeyError"):
        real_worker.ask(do="prepare", id="x", task=task)
    real_worker.ask(do="prepare", id="x", task={**task, "padding": 1, "stride": 1})
    assert real_worker.ask(do="run", id="x", count=2) > 0


def test_a_worker_that_ends_is_an_error(real_worker):
    real_worker._process.kill()
    with pytest.raises(WorkerError, match="ended"):
        real_worker.ask(do="hello")


def test_an_unknown_framework_is_told():
    made = Worker("abacus", 1)
    try:
        with pytest.raises(WorkerError, match="abacus"):
            made.ask(do="hello")
    finally:
        made.close()


def test_a_late_worker_is_ended(real_worker):
    with pytest.raises(WorkerError, match="no answer within"):
        real_worker.ask(patience=0.0, do="hello")
    assert real_worker._process.poll() is not None


def test_facts_of_the_machine():
    facts = machine.describe_machine()
    assert facts["cores"] >= 1 and facts["processor"] and facts["date"].endswith("UTC")
    assert machine.load_warning(None) is None and machine.load_warning(0.4) is None
    assert "3.0" in machine.load_warning(3.0)


def test_the_largest_cache(tmp_path):
    for number, text in enumerate(("32K", "2048K\n", "24M", "odd")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(text)
    assert machine.largest_cache(str(tmp_path)) == 24 * 2**20
    assert machine.largest_cache(str(tmp_path / "nothing")) == 0


def test_peak_memory_grows_with_memory():
    before = machine.peak_memory()
    if before is None:
        pytest.skip("this system does not say")
    block = np.ones(before // 8 + 8 * 2**20)  # more bytes than there have been
    assert machine.peak_memory() >= block.nbytes > before


def test_keeping_to_cpus():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    allowed = os.sched_getaffinity(0)
    try:
        worker.keep_to_cpus(1)
        assert len(os.sched_getaffinity(0)) == 1
    finally:
        os.sched_setaffinity(0, allowed)
