"""Compiled random operators: the same numbers as the reference engine, bit by bit where these are exact."""

import numpy as np
import pytest

from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, expected
from tests.engine.cpu.memory import needs_guard_pages

# Sizes of an image: whole blocks of four words or not, shorter and longer than all lanes.
SIZES = [(1,), (3,), (4,), (10,), (64,), (65,), (2, 3, 7), (5, 5, 16), (259,)]
# Shapes of masks with entries shared along axes, for images of (4, 6, 10).
SHARED = [
    (None, 1, 1, None),
    (None, None, 1, 1),
    (None, None, None, 1),
    (None, 1, None, None),
    (None, None, 1, None),
    (None, 1, 1, 1),
    (1, None, None, None),
    (1, 1, 1, None),
    (None, 1, None, 1),
    (1, None, 1, None),
]


def clock(seed: int = 11, step: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return np.array(seed), np.array(step)


def images(*shape: int, n: int = 5) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=(n, *shape)).astype("float32")


def check_equal(problem: Problem, target: str | None = None) -> None:
    """Bitwise as the reference in float32, for any cut of the work."""
    bench = Bench(problem, target)
    assert bench.is_native
    wanted = expected(problem, bench.narrow, "float32")
    for found in (bench.run(), bench.run_cut(1, True), bench.run_cut(2)):
        for a, b in zip(found, wanted):
            np.testing.assert_array_equal(a, b, err_msg=f"{problem} {target}")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_dropout_draws_the_same_masks(size, target):
    for rate in (0.1, 0.5):
        check_equal(Problem("dropout", (images(*size), *clock()), {"rate": rate, "stream": 3}), target)


@pytest.mark.parametrize("rate", [0.0, 2.0**-25, 0.3, 0.999999999, 1.0])
def test_dropout_of_any_rate(rate):
    check_equal(Problem("dropout", (images(33), *clock()), {"rate": rate, "stream": 3}))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHARED, ids=str)
def test_shared_masks(shape, target):
    attrs = {"rate": 0.4, "stream": 2, "noise_shape": shape}
    check_equal(Problem("dropout", (images(4, 6, 10), *clock()), attrs), target)


@pytest.mark.parametrize("given", [(0, 0), (2**31, 2**32 + 3), (2**40 + 7, 2**50 + 1), (-5, 1)])
def test_any_seed_and_step(given):
    check_equal(Problem("dropout", (images(31), *clock(*given)), {"rate": 0.5, "stream": 2**33 + 1}))


def test_dropout_does_not_hide_nan_and_infinity():
    x = images(40)
    x[1], x[2] = np.nan, np.inf
    check_equal(Problem("dropout", (x, *clock()), {"rate": 0.5, "stream": 1}))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 7)], ids=str)
def test_uniform_numbers(shape, target):
    attrs = {"shape": shape, "low": -0.3, "high": 2.0, "stream": 9}
    check_equal(Problem("random_uniform", (images(2, n=7), *clock()), attrs), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gaussian_noise(size, target):
    attrs = {"stddev": 0.7, "stream": 4}
    check(Problem("gaussian_noise", (images(*size), *clock()), attrs, ulps=4), target)
    check(Problem("gaussian_noise", (images(*size, n=2), *clock()), attrs, ulps=4), target)


def test_gaussian_noise_of_many_numbers_is_normal():
    x = np.zeros((40, 5000), "float32")
    (noise,) = Bench(Problem("gaussian_noise", (x, *clock()), {"stddev": 1.0, "stream": 4})).run()
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert 4 < np.abs(noise).max() < 6


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_random_operator_leaves_its_buffers(target):
    attrs = {"rate": 0.4, "stream": 2}
    plain = [Problem("dropout", (images(*size), *clock()), attrs) for size in SIZES]
    shared = [Problem("dropout", (images(4, 6, 10), *clock()), {**attrs, "noise_shape": s}) for s in SHARED]
    noise = [Problem("gaussian_noise", (images(9), *clock()), {"stddev": 0.5, "stream": 1})]
    draw = {"shape": (3,), "low": 0.0, "high": 1.0, "stream": 1}
    check_guarded([*plain, *shared, *noise, Problem("random_uniform", (images(9), *clock()), draw)], target)
