"""Resizing and smooth enlarging on the CPU engine, and their gradients, against the float64 reference."""

import itertools

import numpy as np
import pytest

from kernelearn.engine.cpu.kernels.images.resampling import find_band
from kernelearn.engine.reference import shaping
from kernelearn.engine.reference.images import resizing
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.rounding import gamma
from tests.sweeps import some

SMOOTH = ("bilinear", "bicubic", "lanczos3", "lanczos5")
# Sizes before and after, in one to three dimensions.
SIZES = [
    ((7, 9), (12, 5)),
    ((5, 4), (5, 4)),
    ((1, 6), (3, 1)),
    ((20, 3), (3, 20)),
    ((11,), (29,)),
    ((40,), (7,)),
    ((3, 4, 2), (5, 3, 4)),
    ((6, 33), (6, 17)),
]
FACTORS = [((3, 4), (2, 3)), ((5,), (4,)), ((1, 1), (1, 7)), ((2, 3, 2), (2, 1, 3)), ((6, 5), (2, 2))]
CHANNELS = (1, 3, 8, 17)


def along_all(matrices: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    for axis, matrix in enumerate(matrices, start=1):
        x = np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)
    return x


def within(matrices: list[np.ndarray]):
    """The rounding bound of these sums, one axis after another, with float32 weights."""
    terms = sum(int((m != 0).sum(axis=1).max()) + 1 for m in matrices)

    def bound(inputs, wide):
        return [gamma(terms) * along_all([np.abs(m) for m in matrices], np.abs(inputs[0]))]

    return bound


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape)


def resizing_problems(old, new, channels: int, method: str, antialias: bool = False) -> list[Problem]:
    matrices = [resizing.sampling_matrix(a, b, method, antialias) for a, b in zip(old, new)]
    attrs = {"size": new, "method": method, "antialias": antialias}
    back = {**attrs, "input_size": old}
    x, grad = normal(2, *old, channels), normal(2, *new, channels)
    return [
        Problem("resize", (x,), attrs, bound=within(matrices)),
        Problem("resize_grad", (grad,), back, bound=within([m.T for m in matrices])),
    ]


def enlarging_problems(old, factors, channels: int, method: str) -> list[Problem]:
    matrices = [shaping.resize_matrix(size, factor, method) for size, factor in zip(old, factors)]
    attrs = {"factors": factors, "method": method}
    x = normal(2, *old, channels)
    grad = normal(2, *(size * factor for size, factor in zip(old, factors)), channels)
    return [
        Problem("upsample", (x,), attrs, bound=within(matrices)),
        Problem("upsample_grad", (grad,), attrs, bound=within([m.T for m in matrices])),
    ]


METHODS = list(itertools.product(["nearest", *SMOOTH], [False, True]))
# Each method once, the smooth ones in turn with what averages where an image gets smaller.
ONCE = [("nearest", False), ("bilinear", False), ("bicubic", True), ("lanczos3", False), ("lanczos5", True)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("method", "antialias"), some(METHODS, quick=ONCE))
@pytest.mark.parametrize("turn", some((0, 1), quick=1))
def test_resizing_agrees_with_the_reference(method, antialias, target, turn):
    # Each size meets other numbers of channels with another method.
    turn += SMOOTH.index(method) if method in SMOOTH else 0
    for number, (old, new) in enumerate(SIZES):
        for problem in resizing_problems(old, new, CHANNELS[(number + turn) % 4], method, antialias):
            check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", some(SMOOTH, quick=("bilinear", "lanczos3")))
@pytest.mark.parametrize("turn", some((0, 2), quick=1))
def test_smooth_enlarging_agrees_with_the_reference(method, target, turn):
    turn += SMOOTH.index(method) // 2
    for number, (old, factors) in enumerate(FACTORS):
        for problem in enlarging_problems(old, factors, CHANNELS[(number + turn) % 4], method):
            check(problem, target)


@pytest.mark.parametrize("count", some([6, 40], quick=[6]))
@pytest.mark.parametrize("target", TARGETS)
def test_random_sizes(target, count):
    rng = np.random.default_rng(TARGETS.index(target))
    methods = ("nearest", *SMOOTH)
    for _ in range(count):
        rank = int(rng.integers(1, 4))
        old, new = (tuple(int(s) for s in rng.integers(1, (0, 60, 14, 7)[rank], rank)) for _ in range(2))
        channels, method = int(rng.choice([1, 2, 3, 4, 7, 9, 16, 31])), str(rng.choice(methods))
        for problem in resizing_problems(old, new, channels, method, bool(rng.integers(2))):
            check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_the_nearest_pixel_is_copied_exactly(target):
    x = normal(2, 9, 7, 3)
    x[0, 4, 3], x[1, 0, 0] = np.nan, np.inf
    bench = Bench(Problem("resize", (x,), {"size": (5, 16), "method": "nearest"}), target)
    expected = resizing.resize(bench.narrow[0], size=(5, 16), method="nearest", antialias=False)
    np.testing.assert_array_equal(bench.run()[0], expected)


def test_nan_spoils_only_the_pixels_that_read_it():
    x = normal(1, 8, 8, 5)
    x[0, 2, 2] = np.nan
    (y,) = Bench(Problem("upsample", (x,), {"factors": (2, 2), "method": "bilinear"})).run()
    spoiled = np.isnan(y[0, ..., 0])
    assert spoiled[4, 4] and spoiled[5, 5]
    assert spoiled.sum() <= 16


def test_a_size_that_stays_is_no_work():
    bench = Bench(Problem("resize", (normal(2, 5, 4, 3),), {"size": (5, 4), "method": "bilinear"}))
    assert bench.executable.calls() == []
    np.testing.assert_array_equal(bench.run()[0], bench.narrow[0])


def test_a_band_holds_its_matrix():
    for method in ("nearest", *SMOOTH):
        for old, new in [(7, 3), (3, 7), (1, 5), (5, 1), (16, 16), (33, 10)]:
            matrix = resizing.sampling_matrix(old, new, method, True).astype("float32")
            for given in (matrix, matrix.T):
                np.testing.assert_array_equal(unfolded(find_band(given)), given)


def unfolded(band) -> np.ndarray:
    """The matrix of a band."""
    matrix = np.zeros((band.outputs, band.size), "float32")
    weights = np.reshape(band.weights, (band.outputs, band.taps))
    for row, start, part in zip(matrix, band.starts, weights):
        row[start : start + band.taps] = part
    return matrix


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("method", "antialias"), some(METHODS, quick=[("nearest", False), ("lanczos5", True)])
)
def test_resampling_stays_within_its_buffers(method, antialias, target):
    problems = [
        problem
        for number, (old, new) in enumerate(SIZES)
        for channels in (CHANNELS[number % 4], CHANNELS[(number + 1) % 4])
        for problem in resizing_problems(old, new, channels, method, antialias)
    ]
    check_guarded(problems, target)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_enlarging_stays_within_its_buffers(target):
    problems = [enlarging_problems(old, factors, 3, "bilinear") for old, factors in FACTORS]
    check_guarded([problem for both in problems for problem in both], target)
