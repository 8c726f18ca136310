"""Compiled kernels in memory: one library for all that a program lacks, unloaded when nobody uses it."""

import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.machine import compiler
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import KernelearnError

counts_maps = pytest.mark.skipif(compiler.max_maps() is None, reason="only Linux limits memory maps")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, earlier_objects_left_out):
    """Nothing on disk, and a process that holds no functions of earlier tests."""
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", "off")
    compiler.forget()
    gc.collect()
    yield
    compiler.forget()


def network(size: int) -> CpuExecutable:
    """A mean and a running sum of `size` channels, each a kernel that no other size shares, and run once."""
    graph = ProgramBuilder()
    x = graph.input("x", (None, size))
    graph.outputs = {
        "mean": graph.add("reduce_mean", x, axes=(1,)).name,
        "sums": graph.add("cumsum", x, axis=1).name,
    }
    executable = prepare(graph.build(), {}, "cpu")
    check(executable, size)
    return executable


def check(executable: CpuExecutable, size: int) -> None:
    x = np.arange(2 * size, dtype="float32").reshape(2, size)
    results = executable.run({"x": x})
    np.testing.assert_array_equal(results["sums"], np.cumsum(x, axis=1))
    np.testing.assert_allclose(results["mean"], x.mean(axis=1), rtol=1e-6)


def libraries(executables: Sequence[CpuExecutable]) -> set[compiler.Library]:
    return {function.library for one in executables for function in one.functions}


def test_all_kernels_of_a_program_are_linked_together():
    executable = network(5)
    assert len(executable.functions) == 2 and len(libraries([executable])) == 1


def test_a_program_finds_the_kernels_of_another():
    assert libraries([network(5)]) == libraries([network(5)])


@counts_maps
def test_networks_of_new_shapes_use_a_bounded_number_of_maps(monkeypatch):
    monkeypatch.setattr(compiler, "KEPT_FUNCTIONS", 4)
    for size in (5, 6, 7):
        network(size)
    gc.collect()
    before = compiler.count_maps()
    for size in range(8, 24):
        network(size)
        gc.collect()
    assert compiler.count_maps() - before < 16  # two each would be 32


def test_what_was_not_used_for_longest_is_unloaded_first(monkeypatch):
    monkeypatch.setattr(compiler, "KEPT_FUNCTIONS", 4)
    first, second = (weakref.ref(*libraries([network(size)])) for size in (5, 6))
    network(5)
    network(7)
    gc.collect()
    assert first() is not None and second() is None


def test_kernels_in_use_stay(monkeypatch):
    monkeypatch.setattr(compiler, "KEPT_FUNCTIONS", 0)
    kept = network(5)
    for size in (6, 7, 8):
        network(size)
    gc.collect()
    check(network(9), 9)
    check(kept, 5)


@counts_maps
def test_running_out_of_maps_is_an_error_and_no_abort(monkeypatch):
    kept = network(5)
    with monkeypatch.context() as narrow:
        narrow.setattr(compiler, "max_maps", lambda: 10)
        with pytest.raises(KernelearnError, match=r"of the 10 memory maps .* Delete models"):
            network(6)
        check(kept, 5)
    network(6)


@counts_maps
def test_what_is_only_kept_goes_before_maps_run_out(monkeypatch):
    for size in range(5, 13):
        network(size)
    limit = compiler.count_maps() + compiler.SPARE_MAPS - 4
    monkeypatch.setattr(compiler, "max_maps", lambda: limit)
    network(13)
