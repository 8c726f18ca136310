"""Input gradients of windows of one pixel with steps, added at the end of others: places, zeros, borders."""

from dataclasses import replace

import numpy as np
import pytest

from kernelearn.engine.cpu import schedule
from kernelearn.engine.cpu.kernels.matrix_tiles import lowering
from kernelearn.engine.cpu.plan import Call
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import REQUIRED, Operator
from tests.engine.cpu.harness import EMULATED, TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")

SUM = "sum_of_input_gradients"
# Sizes and channels of the map, those of the convolution's other side, its window and steps; steps of the
# windows of one pixel beside it, and negative padding before it: pixels that it leaves out at the start.
SHAPES = {
    "halved": ((8, 6), 33, 5, 1, (1, 1), (2, 2), 0),
    "odd sizes, long rows": ((5, 41), 16, 9, 1, (1, 1), (2, 2), 0),
    "along one axis": ((6, 9), 20, 70, 1, (1, 1), (1, 2), 0),
    "rows only": ((7, 8), 40, 6, 1, (1, 1), (3, 1), 0),
    "steps of three": ((10, 11), 7, 3, 1, (1, 1), (3, 3), 0),
    "begins later": ((9, 12), 35, 4, 1, (1, 1), (3, 2), 1),
    "another step than the window's": ((12, 13), 18, 8, 3, (2, 2), (3, 3), 0),
    "residue classes": ((8, 9), 34, 6, 3, (2, 2), (2, 2), 0),
    "classes that begin later": ((9, 11), 34, 6, 3, (2, 2), (2, 2), 1),
    "volumes": ((4, 5, 6), 17, 3, 1, (1, 1, 1), (2, 2, 2), 0),
    "classes of volumes": ((5, 4, 6), 5, 3, 2, (2, 2, 2), (2, 2, 2), 0),
}


def run_sum(dz, w, dy, v, kept, *, other, steps):
    """What the chain is, one operator after another."""
    total = OPERATORS["add"].run(
        OPERATORS["conv_grad_input"].run(dz, w, **other), OPERATORS["conv_grad_input"].run(dy, v, **steps)
    )
    return OPERATORS["multiply"].run(total, kept)


class SumBench(Bench):
    """The operators of a sum as a program, for the rewrites to join."""

    def _build(self, graph):
        self.inputs = {f"x{i}": array for i, array in enumerate(self.narrow)}
        dz, w, dy, v, kept = (
            graph.input(name, array.shape if name in ("x1", "x3") else (None, *array.shape[1:]))
            for name, array in self.inputs.items()
        )
        a = self.problem.attrs
        calls = [((dz, w), a["other"]), ((dy, v), a["steps"])]
        summands = [graph.add("conv_grad_input", *read, **attrs) for read, attrs in calls[:: a["order"]]]
        total = graph.add("add", *summands)
        graph.outputs = {"y0": graph.add("multiply", total, kept).name}
        return list(graph.outputs)


@pytest.fixture(autouse=True)
def chain(monkeypatch):
    def run(*arrays, order, **attrs):
        return run_sum(*arrays, **attrs)

    attrs = {"other": REQUIRED, "steps": REQUIRED, "order": REQUIRED}
    monkeypatch.setitem(OPERATORS, SUM, Operator(SUM, lambda *a, **k: (), run, attrs=attrs))
    monkeypatch.setattr("tests.engine.cpu.harness.Bench", SumBench)


def problem_of(sizes, channels, others, window, moves, steps, later, images=3, order=-1) -> Problem:
    rng = np.random.default_rng(sum(sizes) + channels + others)
    axes = len(sizes)
    around = [window // 2] * axes
    other = {
        "stride": moves, "padding": tuple((a, a) for a in around), "dilation": (1,) * axes,
        "groups": 1, "input_size": sizes,
    }  # fmt: skip
    counts = [(n + 2 * a - window) // m + 1 for n, a, m in zip(sizes, around, moves)]
    pixels = [-(-(n - later) // s) for n, s in zip(sizes, steps)]
    ends = [(p - 1) * s + 1 + later - n for p, s, n in zip(pixels, steps, sizes)]
    small = {
        "stride": steps, "padding": tuple((-later, end) for end in ends), "dilation": (1,) * axes,
        "groups": 1, "input_size": sizes,
    }  # fmt: skip
    arrays = (
        normal(rng, images, *counts, others),
        normal(rng, *[window] * axes, channels, others),
        normal(rng, images, *pixels, 6),
        normal(rng, *[1] * axes, channels, 6),
        normal(rng, images, *sizes, channels),
    )
    attrs = {"other": other, "steps": small, "order": order}
    return Problem(SUM, arrays, attrs, images=(0, 2, 4), weights=())


def problem(name: str, **changed) -> Problem:
    return problem_of(*SHAPES[name], **changed)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SHAPES)
def test_the_map_with_zeros_is_never_in_memory(name, target):
    p = problem(name)
    calls = [c for c in SumBench(p, target).executable.calls() if isinstance(c, Call)]
    chains = [c.code for c in calls for _ in getattr(getattr(c.code, "chain", None), "placed", ())]
    chains += [c.code for c in calls if getattr(getattr(c.code, "code", None), "chain", None)]
    assert len(chains) == 1
    assert not any(c.operation.operator == "strided_place" for c in calls)
    check(p, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_they_stay_inside_of_their_buffers(target):
    check_guarded([problem(name) for name in SHAPES], target)


@pytest.mark.parametrize("name", ["halved", "residue classes"])
@pytest.mark.parametrize("images", [1, 2, 9])
def test_any_number_of_images_and_either_order(name, images):
    check(problem(name, images=images, order=1 - 2 * (images % 2)))


@pytest.mark.parametrize("name", ["halved", "odd sizes, long rows", "residue classes"])
def test_an_image_in_several_tasks_is_the_same(name, monkeypatch):
    p = problem(name, images=2)
    whole = SumBench(p).run()
    monkeypatch.setattr(schedule, "are_few", lambda images, count: True)
    np.testing.assert_array_equal(SumBench(p).run(), whole)


def test_random_geometries():
    rng = np.random.default_rng(5)
    for _ in range(12):
        sizes = tuple(int(n) for n in rng.integers(4, 20, 2))
        steps = tuple(int(s) for s in rng.integers(1, 4, 2))
        window, moves = [(1, (1, 1)), (3, (2, 2)), (3, (3, 2))][rng.integers(3)]
        channels, others = (int(n) for n in rng.integers(1, 50, 2))
        later = int(rng.integers(3)) if min(steps) > 1 else 0
        check(problem_of(sizes, channels, others, window, moves, steps, later))


@pytest.mark.parametrize("target", (*TARGETS, EMULATED))
@pytest.mark.parametrize("name", ["halved", "residue classes", "volumes"])
def test_products_of_bfloat16_add_the_whole_map(name, target, emulated_tiles, monkeypatch):
    monkeypatch.setattr(lowering, "is_worthwhile", lambda *_: True)
    p = problem(name)
    halves = tuple(np.round(a * 8) / 8 for a in p.arrays)  # exact in bfloat16: nothing is rounded
    rounded = {key: {**p.attrs[key], "precision": "bfloat16"} for key in ("other", "steps")}
    check(replace(p, arrays=halves, attrs={**p.attrs, **rounded}), target)


def test_nan_is_found_where_it_is_placed():
    p = problem("halved")
    dz, w, dy, v, kept = p.arrays
    dy = dy.copy()
    dy[1, 2, 1, 3] = np.nan
    found = SumBench(Problem(SUM, (dz, w, dy, v, kept), p.attrs, images=(0, 2, 4), weights=())).run()[0]
    assert np.isnan(found[1, 4, 2]).all() and np.isnan(found).sum() == found.shape[-1]
