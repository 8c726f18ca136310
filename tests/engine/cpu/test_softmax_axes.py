"""Compiled softmax along any axis but that of images, against the float64 reference."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages

# (n, ..., size, ...): inner sizes of one lane, of a tail, of several blocks; single rows.
SHAPES = [
    ((3, 5, 2), 1),
    ((2, 7, 1), 1),
    ((2, 1, 9), 1),
    ((2, 4, 3, 17), 1),
    ((2, 4, 3, 17), 2),
    ((3, 2, 5, 16), -2),
    ((2, 3, 33, 1), 2),
    ((2, 13, 70), 1),
    ((1, 2, 3, 4, 5), -3),
    ((2, 130, 8), 1),
]


def problems(shape, axis, scale: float = 1.0) -> list[Problem]:
    rng = np.random.default_rng(shape)
    x, g = scale * rng.normal(size=shape), rng.normal(size=shape)
    y = np.exp(x - x.max(axis, keepdims=True))
    y /= y.sum(axis, keepdims=True)
    attrs, count = {"axis": axis}, shape[axis]
    return [
        Problem("softmax", (x,), attrs, ulps=4.0 + count),
        Problem("log_softmax", (x,), attrs, ulps=4.0 + count),
        Problem("softmax_grad", (g, y), attrs, ulps=64.0 + 4 * count),
        Problem("log_softmax_grad", (g, np.log(np.maximum(y, 1e-30))), attrs, ulps=64.0 + 4 * count),
    ]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_softmax_along_any_axis(shape, axis, target):
    for problem in problems(shape, axis):
        check(problem, target)
    # Of large logits, the values alone: gradients of a share that is all but 1 cancel to nothing.
    for problem in problems(shape, axis, 60.0)[:2]:
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_an_axis_gives_what_the_last_axis_gives_when_moved_there(target):
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 19)).astype("float32")
    for operator in ("softmax", "log_softmax"):
        for axis in (1, 2):
            (y,) = Bench(Problem(operator, (x,), {"axis": axis}), target).run()
            moved = np.ascontiguousarray(np.moveaxis(x, axis, -1))
            (expected,) = Bench(Problem(operator, (moved,), {"axis": -1}), target).run()
            np.testing.assert_allclose(np.moveaxis(y, axis, -1), expected, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operator", ["softmax", "log_softmax", "softmax_grad", "log_softmax_grad"])
def test_nan_and_infinity_come_through(operator, bad):
    for place in range(19):
        x, y = np.random.default_rng(0).normal(size=(2, 3, 19, 5)).astype("float32")
        x[1, place, 3] = bad
        x[2, :, 1] = bad
        arrays = (x, y) if operator.endswith("grad") else (x,)
        check_special(Problem(operator, arrays, {"axis": 1}))


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_softmax_leaves_its_buffers(target):
    check_guarded([p for shape, axis in SHAPES for p in problems(shape, axis)], target)


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 19), 0), ((4, 3, 33), 1), ((7, 20), -1), ((9,), 0)], ids=str
)
def test_a_fixed_number_of_rows(shape, axis):
    for problem in problems(shape, axis):
        check(replace(problem, images=()))


def test_softmax_over_the_images_is_left_to_the_reference():
    assert not Bench(Problem("softmax", (np.ones((3, 4)),), {"axis": 0})).is_native


@pytest.mark.parametrize("axis", [1, 2])
def test_what_is_masked_has_no_share_and_the_others_all_of_it(axis):
    x = np.random.default_rng(4).normal(size=(2, 20, 20)).astype("float32")
    x += np.where(np.tri(20, dtype=bool), 0.0, -1e9).astype("float32")
    (y,) = Bench(Problem("softmax", (x,), {"axis": axis})).run()
    assert not y[x < -1e8].any()
    np.testing.assert_allclose(y.sum(axis), 1.0, rtol=1e-6)
