"""What the machine can do at most: measured, kept on disk, and thrown away where it makes no sense."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.report import ceilings, peaks
from kernelearn.engine.cpu.report.peaks import Peaks


@pytest.fixture(autouse=True)
def _nothing_known(tmp_path, monkeypatch):
    """An empty folder, and a process that has measured nothing."""
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(peaks, "_known", {})


def made(flops: float = 1e11, factor: float = 1.0, count: int = 2) -> Peaks:
    """Figures for so many threads."""
    measured = [ceilings.work_of("copy", {"pieces": pieces}) for pieces in peaks.sizes(count)]
    return Peaks(flops, tuple((int(size), factor * 1e15 / size) for size in measured))


@pytest.fixture
def measured(monkeypatch):
    """Which numbers of threads were measured; every measurement gives half of what the last one gave."""
    counts = []

    def measure(count):
        counts.append(count)
        return made(1e11 / 2 ** len(counts), 2.0 ** len(counts), count)

    monkeypatch.setattr(peaks, "measure", measure)
    return counts


def file_of(tmp_path):
    (path,) = (tmp_path / "cpu").glob("peaks-*.json")
    return path


def forget(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(peaks, "_known", {})


def test_a_measurement_is_of_this_machine(monkeypatch):
    monkeypatch.setattr(peaks, "SECONDS", 0.002)
    monkeypatch.setattr(peaks, "BEYOND_CACHES", 2**22)
    found = peaks.measure(2)
    assert 1e8 < found.flops < 1e15
    assert [size for size, _ in found.bandwidths] == [2**20, 2**22]
    assert all(1e8 < rate < 1e14 for _, rate in found.bandwidths)


@pytest.mark.parametrize("count", [1, 3])
def test_a_ceiling_of_many_turns_does_its_tasks(count):
    ceiling = ceilings.copy({"pieces": 3})
    source, out = ceiling.arrays["source"], ceiling.arrays["out"]
    source[:] = np.arange(source.size)
    for turns in (1, 4):
        out[:] = -1
        ceilings.Loaded(ceiling, count, turns).run()
        np.testing.assert_array_equal(out, source)


@pytest.mark.parametrize("count", [1, 2, 7, 256])
def test_sizes_rise_from_one_piece_a_thread_to_beyond_caches(count):
    found = peaks.sizes(count)
    assert found[0] == count
    assert all(b == 4 * a for a, b in itertools.pairwise(found))
    assert ceilings.work_of("copy", {"pieces": found[-1]}) >= peaks.BEYOND_CACHES


def test_measured_once_for_each_number_of_threads(measured, monkeypatch):
    first = peaks.peaks(2)
    assert peaks.peaks(2) is first
    forget(monkeypatch)
    assert peaks.peaks(2) == first
    peaks.peaks(3)
    assert measured == [2, 3]


def test_another_processor_or_target_is_measured_anew(measured, monkeypatch):
    monkeypatch.delenv("KERNELEARN_CPU_TARGET", raising=False)
    peaks.peaks(2)
    monkeypatch.setattr(peaks, "processor_model", lambda: "another one")
    peaks.peaks(2)
    monkeypatch.setenv("KERNELEARN_CPU_TARGET", "baseline")
    peaks.peaks(2)
    peaks.peaks(2)
    assert measured == [2, 2, 2]


def test_measuring_again_keeps_the_higher_figures(measured, monkeypatch):
    before = peaks.peaks(2)
    forget(monkeypatch)
    after = peaks.renew(2)
    assert measured == [2, 2]
    assert after.flops == before.flops
    assert [rate for _, rate in after.bandwidths] == [2 * rate for _, rate in before.bandwidths]
    forget(monkeypatch)
    assert peaks.peaks(2) == after


def test_a_first_renewal_measures_once(measured):
    assert peaks.renew(2) == peaks.peaks(2)
    assert measured == [2]


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: "not JSON",
        lambda stored: "[]",
        lambda stored: json.dumps({**stored, "flops": float("nan")}),
        lambda stored: json.dumps({**stored, "flops": -1.0}),
        lambda stored: json.dumps({**stored, "flops": None}),
        lambda stored: json.dumps({**stored, "key": "of another machine"}),
        lambda stored: json.dumps({**stored, "bandwidths": stored["bandwidths"][:-1]}),
        lambda stored: json.dumps({**stored, "bandwidths": [[1, "fast"]]}),
        lambda stored: json.dumps({"flops": 1.0}),
    ],
)
def test_a_file_that_makes_no_sense_counts_as_absent(measured, monkeypatch, tmp_path, change):
    peaks.peaks(2)
    path = file_of(tmp_path)
    path.write_text(change(json.loads(path.read_text())))
    forget(monkeypatch)
    peaks.peaks(2)
    assert measured == [2, 2]
    forget(monkeypatch)
    peaks.peaks(2)
    assert measured == [2, 2]  # written anew


def test_without_a_folder_it_is_known_to_the_process(measured, monkeypatch, tmp_path):
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", "off")
    peaks.peaks(2)
    peaks.peaks(2)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path / "file"))
    forget(monkeypatch)
    assert peaks.peaks(2).flops > 0
    assert measured == [2, 2]


def test_the_file_is_no_kernel(measured, tmp_path):
    from kernelearn.engine.cpu.machine import cache

    peaks.peaks(2)
    assert cache.size() == (0, 0)
    cache.shrink(0)
    assert file_of(tmp_path).exists()


def test_bandwidth_is_that_of_the_smallest_memory_that_holds_all():
    found = Peaks(1e11, ((100, 5e9), (400, 6e9), (1600, 1e9)))
    assert found.bandwidth(10) == found.bandwidth(400) == 6e9  # a small memory is never the slower one
    assert found.bandwidth(401) == found.bandwidth(1600) == found.bandwidth(1e9) == 1e9
    assert str(found) == "100 GFLOP/s, 6 GB/s within caches, 1 GB/s within 0 MiB"


def test_the_fastest_run_counts_but_the_first(monkeypatch):
    now, times = [0.0], iter([0.001, 0.02, 0.002])

    def run():
        now[0] += next(times, 0.02)

    monkeypatch.setattr(peaks, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert peaks._fastest(run) == pytest.approx(0.002)


def test_the_name_of_the_processor(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("flags: a b\nmodel name\t: Fast One 3 GHz\nmodel name\t: Other\n")
    assert peaks.processor_model(str(path)) == "Fast One 3 GHz"
    assert isinstance(peaks.processor_model(str(tmp_path / "none")), str)


def test_a_lock_that_is_held_is_free_in_a_forked_child():
    held = peaks._lock.lock
    with held:
        threads.RunLock.free_all()
        assert peaks._lock.lock is not held
