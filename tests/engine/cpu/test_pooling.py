"""Pooling, enlarging and their gradients on the CPU engine, against the float64 reference."""

import numpy as np
import pytest

from kernelearn.engine.cpu.kernels.pooling import pooling
from kernelearn.engine.cpu.kernels.pooling.windows import WindowAxis, cell_segments, window_segments
from kernelearn.engine.geometry import output_sizes
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.geometries import GEOMETRIES, geometry
from tests.sweeps import some

POOLS = [
    *[g for g in GEOMETRIES if set(g.dilation) == {1}],
    geometry("halved", (8, 6), 2, stride=2),
    geometry("halved-odd", (7, 5), 2, stride=2),
    geometry("halved-odd-same", (7, 5), 2, stride=2, padding="same"),
    geometry("overlapping-same", (9, 8), 3, stride=2, padding="same"),
    geometry("all", (4, 5), (4, 5)),
    geometry("large", (12, 13), (9, 10), stride=2, padding=((4, 4), (5, 3))),
    geometry("large-3d", (5, 6, 7), 4, stride=(1, 2, 3), padding="same"),
    geometry("only-padding", (2, 3), 2, stride=2, padding=((3, 2), (2, 4))),
    geometry("gaps", (11, 10), 2, stride=4, padding=((1, 0), (0, 1))),
    geometry("cropped-large", (14, 13), 7, stride=2, padding=((-1, 2), (-3, -1))),
]
CHANNELS = [1, 3, 17, 33]


def _problems(g, channels):
    rng = np.random.default_rng(3)
    attrs = {"size": g.kernel, "stride": g.stride, "padding": g.padding}
    # Few different values: ties are the rule.
    x = rng.integers(-3, 4, (2, *g.sizes, channels)) / 2
    outputs = output_sizes(g.sizes, g.kernel, g.stride, (1,) * len(g.sizes), g.padding)
    window = int(np.prod(g.kernel))
    grad = rng.normal(size=(2, *outputs, channels))
    where = rng.integers(0, window, grad.shape).astype("int32")
    back = {"input_size": g.sizes, **attrs}
    yield Problem("max_pool", (x,), attrs, bound=_exact)
    yield Problem("max_pool", (x,), attrs, bound=_exact, outputs=(0,))
    yield Problem("max_pool_grad", (grad, where), back, terms=window)
    yield Problem("max_pool_take", (x, where), attrs, bound=_exact)
    yield Problem("average_pool_grad", (grad,), back, terms=window + 1)
    if not _has_empty_windows(g):
        yield Problem("average_pool", (rng.normal(size=x.shape),), attrs, terms=window + 1)


def _has_empty_windows(g):
    axes = pooling._axes(g.sizes, g.kernel, g.stride, g.padding)
    return any(not len(axis.taps(o)) for axis in axes for o in range(axis.outputs))


def _exact(inputs, wide):
    return [np.zeros(e.shape) for e in wide]


def _finite(g):
    """Maxima of windows without pixels are -inf, which the harness does not compare."""
    return not _has_empty_windows(g)


# Those that are always compiled.
QUICK = POOLS[::2]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("g", some(POOLS, quick=QUICK), ids=lambda g: g.label)
def test_pooling_agrees_with_the_reference(g, target):
    for problem in _problems(g, CHANNELS[POOLS.index(g) % len(CHANNELS)]):
        if problem.operator == "max_pool" and not _finite(g):
            check_special(problem, target)
        else:
            check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("pools", [QUICK, pytest.param(POOLS, marks=pytest.mark.slow)], ids=len)
def test_pooling_stays_within_its_buffers(pools, target):
    chosen = [(g, CHANNELS[POOLS.index(g) % len(CHANNELS)]) for g in pools if _finite(g)]
    check_guarded([p for g, channels in chosen for p in _problems(g, channels)], target)


@pytest.mark.parametrize("g", some([g for g in POOLS if len(g.sizes) == 2], quick=9), ids=lambda g: g.label)
def test_loops_and_unrolled_windows_agree(g, monkeypatch):
    problems = list(_problems(g, 5))
    unrolled = [Bench(p).run() for p in problems]
    monkeypatch.setattr(pooling, "MOST_TAPS", 0)
    monkeypatch.setattr(pooling.Pool, "__str__", lambda pool: f"looped {pooling.Pool.__repr__(pool)}")
    for problem, expected in zip(problems, unrolled):
        for a, b in zip(Bench(problem).run(), expected):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_every_pixel_and_window_is_in_one_segment():
    rng = np.random.default_rng(0)
    for _ in range(200):
        window, stride, before = rng.integers(1, 6), rng.integers(1, 7), rng.integers(-3, 5)
        size = int(rng.integers(max(window, 1 - before), 14))
        axis = WindowAxis(
            size, int(window), int(stride), int(before), max((size + before - window) // stride + 1, 1)
        )
        windows = window_segments(axis)
        assert [o for s in windows for o in range(s.start, s.stop)] == list(range(axis.outputs))
        pixels = [
            cell * axis.stride - axis.before + place
            for s in cell_segments(axis)
            for cell in range(s.start, s.stop)
            for place, _ in s.pixels
        ]
        assert sorted(pixels) == list(range(size))
        covered = sorted(
            (o * axis.stride - axis.before + t) for o in range(axis.outputs) for t in axis.taps(o)
        )
        assert covered == sorted(p for p in range(size) for _ in axis.covers(p))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_come_through(value, target):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 6, 19))
    x[0, 2, 3, 18] = x[1, 0, 0, 2] = x[1, 4, 4, 7] = value
    attrs = {"size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (0, 1))}
    for operator in ("max_pool", "average_pool"):
        check_special(Problem(operator, (x,), attrs), target)
    taps = Bench(Problem("max_pool", (x,), attrs), target).run()[1]
    from kernelearn.engine.reference.pooling import max_pool

    np.testing.assert_array_equal(taps, max_pool(x.astype("f"), **attrs)[1])
    grad = rng.normal(size=taps.shape)
    grad[1, 1, 1, 18] = value
    check_special(Problem("max_pool_grad", (grad, taps), {"input_size": (5, 6), **attrs}), target)
    check_special(Problem("average_pool_grad", (grad,), {"input_size": (5, 6), **attrs}), target)


@pytest.mark.parametrize("target", TARGETS)
def test_enlarging_repeats_and_its_gradient_sums(target):
    rng = np.random.default_rng(0)
    for sizes, factors in [((3, 4), (2, 3)), ((5,), (4,)), ((1, 1), (1, 7)), ((2, 3, 2), (2, 1, 3))]:
        for channels in (1, 16, 21):
            x = rng.normal(size=(2, *sizes, channels))
            grad = rng.normal(size=(2, *(s * f for s, f in zip(sizes, factors)), channels))
            check(Problem("upsample", (x,), {"factors": factors}, ulps=0.0), target)
            terms = int(np.prod(factors))
            check(Problem("upsample_grad", (grad,), {"factors": factors}, terms=terms), target)


def test_taps_that_nobody_reads_are_not_written():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8))
    attrs = {"size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    (call,) = Bench(Problem("max_pool", (x,), attrs, outputs=(0,))).executable.calls()
    assert list(call.writes) == ["y"]
