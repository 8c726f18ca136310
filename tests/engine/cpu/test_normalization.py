"""Normalisation on the CPU engine, against the float64 reference."""

import numpy as np
import pytest

from tests.engine.cpu.harness import TARGETS, UNIT_ROUNDOFF, Problem, check, check_guarded, check_special

EPSILON = 1e-3
BATCH = [
    (4, 3, 5, 7),
    (3, 1, 1, 1),
    (2, 1, 37),
    (5, 64),
    (1, 4, 4, 33),
    (2, 2, 3, 2, 5),
    (1, 3),
    (6, 9, 8, 131),
]
PARTS = [
    ((3, 4, 5, 6), (3,)),
    ((2, 3, 35), (2,)),
    ((2, 3, 5, 7), (1, 2, 3)),
    ((2, 19), (1,)),
    ((2, 3, 4, 2, 5), (1, 2, 4)),
    ((1, 5, 3, 4, 17), (1, 2, 4)),
    ((2, 6, 5, 20, 1), (1, 2, 4)),
    ((2, 4, 3, 1, 9), (1, 2, 4)),
    ((2, 7, 18), (1,)),
    ((1, 1, 1, 1), (3,)),
]


def _rng(seed=0):
    return np.random.default_rng(seed)


def _values(shape, mean=0.0):
    """Channels of different means and sizes."""
    rng = _rng()
    return mean + rng.normal(size=shape) * rng.uniform(0.5, 2, shape[-1]) + rng.normal(size=shape[-1])


def _spread(x, axes):
    """How far numbers are from zero in standard deviations, and the number of numbers."""
    variance = x.var(axis=axes, keepdims=True) + EPSILON
    return np.abs(x).max(axis=axes, keepdims=True) / np.sqrt(variance)


def _normalized_bound(axes):
    """The mean is rounded to float32, and so is every number: both weigh |x| / deviation; sums add little."""

    def bound(inputs, wide):
        (x,) = inputs
        unit = 32 * UNIT_ROUNDOFF
        variance = wide[2]
        largest = np.abs(x).max(axis=axes)
        return [
            unit * (1 + np.abs(wide[0])) * (1 + _spread(x, axes)),
            unit * largest,
            unit * (variance + np.sqrt(variance) * largest * UNIT_ROUNDOFF * 8 + 1e-30),
        ]

    return bound


def _gradient_bound(inputs, wide):
    grad, y, variance = inputs
    size = np.abs(grad).max() * (1 + np.abs(y).max()) ** 2 / np.sqrt(variance.min() + EPSILON)
    return [np.full(wide[0].shape, 64 * UNIT_ROUNDOFF * size)]


def _normalize(shape, axes):
    x = _values(shape)
    attrs = {"axes": axes, "epsilon": EPSILON}
    yield Problem("normalize", (x,), attrs, bound=_normalized_bound(axes), images=(0,))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPSILON)
    variance = x.var(axes)
    images = (0, 1) if 0 in axes else (0, 1, 2)
    grad = _rng(1).normal(size=shape)
    yield Problem("normalize_grad", (grad, y, variance), attrs, bound=_gradient_bound, images=images)


def _batch_parts(shape):
    """The operators that the rewrites make."""
    x, grad = _values(shape), _rng(2).normal(size=shape)
    axes, c = tuple(range(len(shape) - 1)), shape[-1]
    mean, variance = x.mean(axes), x.var(axes)
    gamma, total, along = _rng(3).normal(size=(3, c))
    count = x.size // c
    bound = _normalized_bound(axes)
    attrs = {"epsilon": EPSILON}
    yield Problem("batch_statistics", (x,), {"axes": axes}, bound=lambda i, w: bound(i, [i[0], *w])[1:])

    def sums_bound(inputs, wide):
        grad, x, mean, variance = np.abs(inputs[0]), *inputs[1:]
        product = grad * np.abs(x - mean) / np.sqrt(variance + EPSILON)
        steps = (count + 8) * UNIT_ROUNDOFF
        return [steps * grad.sum(axes), steps * product.sum(axes)]

    yield Problem(
        "batch_norm_sums", (grad, x, mean, variance), attrs, bound=sums_bound, images=(0, 1), weights=(2, 3)
    )
    rows = (variance, total, along)
    numbers = tuple(range(1, 5))
    for scale in ((), (gamma,)):
        # All are products of a few factors: relative errors.
        yield Problem(
            "batch_norm_coefficients",
            (x, *rows, *scale),
            attrs,
            bound=lambda i, w: [12 * UNIT_ROUNDOFF * np.abs(e) for e in w],
            images=(0,),
            weights=numbers[: 3 + len(scale)],
        )
    yield Problem(
        "batch_norm_grad_input",
        (grad, x, mean, gamma, total, along),
        bound=lambda i, w: [
            8
            * UNIT_ROUNDOFF
            * (np.abs(i[3] * i[0]) + np.abs(i[4]) * (np.abs(i[1]) + np.abs(i[2])) + np.abs(i[5]))
        ],
        images=(0, 1),
        weights=(2, 3, 4, 5),
    )


def _problems():
    for shape in BATCH:
        yield from _normalize(shape, tuple(range(len(shape) - 1)))
        yield from _batch_parts(shape)
    for shape, axes in PARTS:
        yield from _normalize(shape, axes)


@pytest.mark.parametrize("target", TARGETS)
def test_normalization_agrees_with_the_reference(target):
    for problem in _problems():
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_normalization_stays_within_its_buffers(target):
    check_guarded(list(_problems()), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mean", [1e2, 1e4])
def test_variance_does_not_cancel_when_means_are_large(mean, target):
    """Every number is exact in float32, so the variance has to be right to a few units, as in two passes."""
    x = mean + _rng().integers(-64, 64, (16, 9, 9, 19)) / 64
    x[:, 0, 0] += 5  # pivots must not depend on one odd pixel

    def bound(inputs, wide):
        return [4 * UNIT_ROUNDOFF * np.abs(wide[0]), 64 * UNIT_ROUNDOFF * wide[1]]

    check(Problem("batch_statistics", (x,), {"axes": (0, 1, 2)}, bound=bound), target)


@pytest.mark.parametrize("target", TARGETS)
def test_images_of_very_different_means(target):
    """The variance lies between the images: Chan's formula."""
    x = _rng().integers(-8, 8, (12, 4, 4, 5)) / 8.0 + 100 * np.arange(12).reshape(-1, 1, 1, 1)

    def bound(inputs, wide):
        return [4 * UNIT_ROUNDOFF * np.abs(wide[0]), 8 * UNIT_ROUNDOFF * wide[1]]

    check(Problem("batch_statistics", (x,), {"axes": (0, 1, 2)}, bound=bound), target)


@pytest.mark.parametrize("target", TARGETS)
def test_a_constant_channel_has_no_variance(target):
    x = np.full((3, 4, 5, 6), 0.1)
    zero = Problem(
        "batch_statistics",
        (x,),
        {"axes": (0, 1, 2)},
        bound=lambda i, w: [UNIT_ROUNDOFF * w[0], np.zeros(6)],
    )
    check(zero, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("axes", [(0, 1, 2), (3,), (1, 2, 3), (1, 2)], ids=str)
def test_nan_comes_through(axes, target):
    x = _values((3, 4, 5, 19))
    x[1, 2, 3, 18] = np.nan
    check_special(Problem("normalize", (x,), {"axes": axes, "epsilon": EPSILON}, images=(0,)), target)
    y, variance = _values((3, 4, 5, 19)), np.abs(_values((3, 4, 5, 19)).mean(axes))
    problem = Problem(
        "normalize_grad",
        (x, y, variance),
        {"axes": axes, "epsilon": EPSILON},
        images=(0, 1) if 0 in axes else (0, 1, 2),
    )
    check_special(problem, target)
