"""The roofline estimate of single calls, by hand, and of networks."""

import dataclasses

import pytest

from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.report import peaks, roofline
from kernelearn.engine.cpu.report.peaks import Peaks
from kernelearn.engine.work import Estimate, Work, duration, estimate_cells
from kernelearn.models import zoo

# 100 GFLOP/s; 50 GB/s within 1 MB, 10 GB/s beyond.
LIMITS = Peaks(1e11, ((10**6, 5e10), (10**9, 1e10)))
WORK = Work("forward", ("a",), ("conv",), "tile", tasks=4, flops=1e9, bytes=10**6, is_native=True)


def estimate_of(threads: int = 2, **changed) -> Estimate:
    found = roofline.estimate(dataclasses.replace(WORK, **changed), LIMITS, threads)
    assert found is not None
    return found


def test_much_arithmetic_limits():
    found = estimate_of()
    assert (found.seconds, found.limit, found.share) == (pytest.approx(0.01), "arithmetic", pytest.approx(1))


@pytest.mark.parametrize(("size", "seconds"), [(10**6, 2e-5), (10**8, 1e-2)])
def test_much_memory_limits_by_the_bandwidth_of_its_size(size, seconds):
    found = estimate_of(flops=1e5, bytes=size)
    assert (found.seconds, found.limit) == (pytest.approx(seconds), "memory")
    assert found.share == pytest.approx(1e5 / seconds / 1e11)


def test_threads_without_a_task_wait():
    assert estimate_of(tasks=3).share == pytest.approx(3 / 4)
    assert estimate_of(tasks=1).share == pytest.approx(1 / 2)
    assert estimate_of(tasks=1, threads=8).share == pytest.approx(1 / 8)
    assert estimate_of(tasks=1, threads=1).share == pytest.approx(1)


@pytest.mark.parametrize("nothing", [{"flops": None}, {"flops": 0.0}, {"tasks": 0, "flops": 0.0, "bytes": 0}])
def test_calls_that_compute_nothing(nothing):
    found = estimate_of(**nothing)
    assert found.share == 0.0
    assert found.seconds == (0.0 if nothing.get("tasks") == 0 else pytest.approx(2e-5))


def test_the_reference_engine_is_not_estimated():
    assert roofline.estimate(dataclasses.replace(WORK, is_native=False), LIMITS, 2) is None


def test_kernels_of_fewer_or_faster_products():
    """FLOPs are those of the operation, so these go beyond the peak of multiply-adds."""
    assert estimate_of(saving=36 / 16).share == pytest.approx(36 / 16)
    assert estimate_of(saving=2.0).share == pytest.approx(2)


def test_cells_of_several_calls_add_up():
    rows = [dataclasses.replace(WORK, estimate=e) for e in (Estimate(3e-3, "memory", 0.1), None)]
    assert estimate_cells(rows) == ["3 ms", "memory", "10 %"]
    rows.append(dataclasses.replace(WORK, estimate=Estimate(1e-3, "arithmetic", 0.9)))
    assert estimate_cells(rows) == ["4 ms", "memory", "30 %"]
    assert estimate_cells([WORK]) == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2 s"), (0.9999, "1 s"), (1.2345e-3, "1.23 ms"), (45.67e-6, "45.7 us"), (4.4e-8, "0.0 us")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_no_training_step_is_faster_than_at_best(monkeypatch):
    """All kernels of a step together: FLOPs at the peak are a lower bound of their time."""
    monkeypatch.setattr(peaks, "peaks", lambda threads: LIMITS)
    threads.set_num_threads(2)
    model = zoo.lenet((28, 28, 1), 10)
    model.compile("sgd", "sparse_categorical_crossentropy", engine="cpu")
    rows = model.step("train").executable.estimated_work(images=8)
    assert all((row.estimate is not None) == row.is_native for row in rows)
    for row in rows:
        if row.estimate is not None:
            assert row.estimate.seconds >= (row.flops or 0) / (LIMITS.flops * row.saving)
            assert row.estimate.share <= row.saving + 1e-9
    assert {row.saving for row in rows} == {1.0, 2.25}
    plain = model.step("train").executable.work(images=8)
    assert [dataclasses.replace(row, estimate=None) for row in rows] == plain


def test_one_image_is_divided_as_a_run_divides_it(monkeypatch):
    """More tasks than images: no thread is said to wait where none does."""
    monkeypatch.setattr(peaks, "peaks", lambda threads: LIMITS)
    model = zoo.lenet((28, 28, 1), 10)
    model.compile(engine="cpu")
    executable = model.step("predict").executable
    threads.set_num_threads(2)
    divided = [row for row in executable.estimated_work(images=1) if "conv" in row.operators and row.flops]
    assert len(divided) == 2
    assert all(row.tasks > 1 and row.estimate.share > 0.5 for row in divided)
    threads.set_num_threads(1)
    whole = [row for row in executable.estimated_work(images=1) if "conv" in row.operators and row.flops]
    assert [row.tasks for row in whole] == [1, 1]
