"""Sums, means and maxima on the CPU engine, against the float64 reference."""

import numpy as np
import pytest

from tests.engine.cpu.harness import TARGETS, Problem, check, check_guarded, check_special

SHAPES = [
    (3, 1, 1, 1),
    (2, 5, 3, 7),
    (1, 1, 1, 37),
    (3, 6, 4, 64),
    (2, 3, 2, 131),
    (5, 13),
    (4, 17, 3),
    (2, 2, 3, 2, 5),
]


def _normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _axes(shape):
    """Ways to reduce a tensor of this rank: with and without the images."""
    rank = len(shape)
    spatial, last = tuple(range(1, rank - 1)), rank - 1
    choices = {tuple(range(rank - 1)), tuple(range(rank)), (0,), (last,), tuple(range(1, rank))}
    if spatial:
        choices |= {spatial, (0, last), (1,), (*spatial, last)}
    return sorted(choices)


def _reductions(shape):
    x = _normal(shape)
    size = x.size
    yield Problem("bias_grad", (x,), terms=size)
    for axes in _axes(shape):
        kept = tuple(1 if i in axes else s for i, s in enumerate(shape))
        open_shape = tuple(None if i == 0 and 0 not in axes else s for i, s in enumerate(kept))
        yield Problem("sum_to", (x,), {"axes": axes, "shape": open_shape}, terms=size)
        yield Problem("reduce_mean", (x,), {"axes": axes}, terms=size + 1)
        yield Problem("reduce_mean", (x,), {"axes": axes, "keepdims": True}, terms=size + 1)
        yield Problem("reduce_max", (x,), {"axes": axes}, ulps=0.0)


def _problems(shape):
    return [*_reductions(shape)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_agree_with_the_reference(shape, target):
    for problem in _problems(shape):
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_reductions_stay_within_their_buffers(target):
    check_guarded([p for shape in SHAPES[:6] for p in _problems(shape)], target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", [0, 5, 16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_come_through(value, place, target):
    x = _normal((2, 3, 2, 17))
    x.reshape(2, -1, 17)[1, place % 6, place] = value
    for axes in ((1, 2), (0, 1, 2), (3,), (0, 1, 2, 3)):
        check_special(Problem("reduce_max", (x,), {"axes": axes}), target)
        check_special(Problem("reduce_mean", (x,), {"axes": axes}), target)


@pytest.mark.parametrize("target", TARGETS)
def test_many_images_lose_no_digits(target):
    """The sum over images is carried in float64."""
    x = 1e4 + _normal((400, 3))
    problem = Problem("bias_grad", (x,), bound=lambda inputs, wide: [np.abs(e) * 2.0**-24 for e in wide])
    check(problem, target)
