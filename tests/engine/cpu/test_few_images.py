"""With fewer images than threads keep busy, an image is several tasks: each does its share and no more."""

import re

import numpy as np
import pytest

import kernelearn
from kernelearn.engine.cpu import schedule
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.kernels.convolution.geometry import choose_tile, forward_geometry, segments
from kernelearn.engine.cpu.kernels.convolution.taps.asking import asked_weights
from kernelearn.engine.cpu.kernels.convolution.taps.part import OutputBlock, Part
from kernelearn.engine.cpu.kernels.convolution.taps.tasks import TapBands
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.runtime import GROUP
from kernelearn.engine.cpu.machine.target import current_target, find_target
from kernelearn.engine.cpu.plan import SMALL_PASS, Call, kernel_text
from kernelearn.engine.program import ProgramBuilder
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal


@pytest.fixture
def two_threads():
    kernelearn.set_num_threads(2)
    yield
    kernelearn.set_num_threads(None)


def one_convolution(size: int, filters: int) -> CpuExecutable:
    builder = ProgramBuilder()
    x = builder.input("x", (None, size, size, 3))
    kernel = builder.input("kernel", (3, 3, 3, filters))
    same = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    builder.outputs = {"y": builder.add("conv", x, kernel, **same).name}
    return CpuExecutable(builder.build(), {})


@pytest.mark.parametrize(
    ("size", "filters", "tasks"),
    [(16, 16, 4), (4, 4 * current_target().width, 2)],
    ids=["bands of rows", "blocks of filters"],
)
def test_a_task_writes_its_share_only(two_threads, size, filters, tasks):
    executable = one_convolution(size, filters)
    inputs = executable.inputs(
        {"x": np.ones((1, size, size, 3), "f"), "kernel": np.ones((3, 3, 3, filters), "f")}
    )
    binding = executable.binding(inputs)
    binding.use(inputs)
    result = binding.view(executable.program.outputs["y"])
    job = binding.parts[-1]
    assert job.groups[-1][GROUP["tasks"]] == tasks
    for first in range(1, tasks + 1):
        result[...] = np.nan
        job.groups[-1][GROUP["tasks"]] = first
        threads.pool().run(job.address, 1)
        assert np.isfinite(result).mean() == pytest.approx(first / tasks)


def test_few_images_give_what_many_give(two_threads):
    executable = one_convolution(16, 16)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 16, 16, 3)).astype("f")
    kernel = rng.standard_normal((3, 3, 3, 16)).astype("f")
    many = executable.run({"x": x, "kernel": kernel})["y"]
    few = np.concatenate([executable.run({"x": x[i : i + 1], "kernel": kernel})["y"] for i in range(9)])
    np.testing.assert_array_equal(few, many)


@pytest.mark.parametrize(
    ("size", "filters", "kernel", "asks"),
    [(7, 520, 1, True), (14, 260, 3, True), (28, 520, 1, False), (7, 130, 1, False)],
    ids=["few pixels", "rows of taps", "many pixels", "few weights"],
)
def test_weights_that_few_pixels_share_are_asked_for_ahead(size, filters, kernel, asks):
    """Also from behind their end, which must do no harm."""
    rng, before = np.random.default_rng(0), kernel // 2
    x, weights = normal(rng, 2, size, size, 130), normal(rng, kernel, kernel, 130, filters)
    attrs = {
        "stride": (1 + before,) * 2,
        "padding": ((before, before),) * 2,
        "dilation": (1, 1),
        "groups": 1,
    }
    problem = Problem("conv", (x, weights), attrs, terms=130 * kernel**2, weights=(1,))
    executable = Bench(problem, "avx512").executable
    calls = [call for call in executable.calls() if isinstance(call, Call) and "tile" in call.note]
    texts = [kernel_text(call, "k", executable.target) for call in calls]
    assert [bool(re.search(r"prefetch.*i32 0, i32 2, i32 1", text)) for text in texts] == [asks]
    if asks:
        check(problem)


@pytest.mark.parametrize("band", range(4))
def test_a_band_of_rows_asks_for_all_weights_that_it_needs_next(band):
    """The tiles of a band have the weights of a block for themselves, whatever other threads ask for."""
    k, none = Kernel("k", ("x", "w", "y"), find_target("avx512")), ((0, 0),) * 3
    g = forward_geometry((1, 14, 14, 256), (1, 14, 14, 256), (1, 1, 1), (1, 1, 1), none, (1, 1, 1), 1)
    tile = choose_tile(256, 14, 14, 256, k.target)
    low, high, zero = band * 14 // 4, (band + 1) * 14 // 4, k.const(0)
    block = OutputBlock(zero, 0, zero, tile.vectors, 32)
    part = Part(k, TapBands(g, tile, None, 4), g.parts[0], zero, block, k.const(low), 4)
    asked = set()
    for y in range(low, high):
        for x, _ in segments(14, tile.pixels):
            found = asked_weights(part, zero, k.const(y), x)
            assert found is not None
            asked |= set(range(found.place.constant, found.place.constant + found.numbers * found.rows))
    numbers = g.inner * part.lanes
    assert set(range(numbers, 2 * numbers)) <= asked


def passes(images: int) -> list[Problem]:
    """Passes over images that are large enough to be divided."""
    rng = np.random.default_rng(0)
    wide, odd = normal(rng, images, 32, 34, 9), normal(rng, images, 26, 39, 13)
    pooled = {"size": (2, 3), "stride": (2, 3), "padding": ((0, 0), (0, 0))}
    norm = {"axes": (3,), "epsilon": 1e-3}
    return [
        Problem("concatenate", (wide, normal(rng, images, 32, 34, 5)), {"axis": 3}, images=(0, 1)),
        Problem("activation", (wide,), {"kind": "tanh"}, ulps=256),
        Problem("affine", (odd, normal(rng, 13), normal(rng, 13)), {}, images=(0,), ulps=256),
        Problem("normalize", (odd,), norm, ulps=4096, outputs=(0,)),
        Problem("average_pool", (odd,), pooled, terms=6),
        Problem("max_pool", (odd,), pooled),
    ]


NAMES = [problem.operator for problem in passes(1)]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_pass_over_a_large_image_is_several_tasks(number, two_threads):
    one, several = passes(1)[number], passes(5)[number]
    assert one.arrays[0][0].size >= SMALL_PASS
    bench = Bench(one)
    (call,) = [call for call in bench.executable.calls() if isinstance(call, Call)]
    assert call.alternative is not None
    assert call.alternative.tasks.count(1) > 1
    check(one)
    narrow = [a[:1] if a.ndim == 4 else a for a in several.arrays]
    alone = Bench(Problem(several.operator, tuple(narrow), several.attrs, images=several.images))
    for few, many in zip(alone.run(), Bench(several).run()):
        np.testing.assert_array_equal(few[:1], many[:1])


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_their_tasks_stay_inside_of_their_buffers(target, monkeypatch):
    monkeypatch.setattr(schedule, "are_few", lambda images, count: True)
    check_guarded(passes(2), target)
