"""Moving numbers on the CPU engine: bitwise what the reference gives."""

import numpy as np
import pytest

from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded


def _normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


def _exact(operator, arrays, **attrs):
    return Problem(operator, arrays, attrs, ulps=0.0)


def _problems():
    for shape in [(2, 1, 1, 1), (3, 5, 4, 3), (2, 3, 7, 37), (2, 4, 6), (2, 2, 3, 4, 20)]:
        x = _normal(*shape)
        rank = len(shape)
        full = (None,) * rank
        for axis in range(1, rank):
            size = shape[axis]
            bounds = (*full[:axis], (size // 2, size), *full[axis + 1 :])
            yield _exact("slice", (x,), bounds=bounds)
            padding = tuple((1, 3) if i == axis else (0, 0) for i in range(rank))
            yield _exact("pad", (x,), padding=padding)
            parts = (x, 2 * x, x[tuple(slice(0, 1) if i == axis else slice(None) for i in range(rank))])
            yield _exact("concatenate", parts, axis=axis)
        yield _exact("concatenate", (x, -x), axis=-1)
        yield _exact("slice", (x,), bounds=(None, *((s // 3, s // 3 + 1) for s in shape[1:])))
        yield _exact("pad", (x,), padding=((0, 0), *((2, 0), (0, 19), (1, 1), (0, 1))[: rank - 1]))
        yield _exact("pad", (x,), padding=((0, 0),) * rank)
        yield _exact("slice", (x,), bounds=full)
    for order in [(0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (0, 3, 2, 1), (0, 1, 3, 2)]:
        for shape in [(2, 3, 5, 17), (1, 16, 4, 32), (2, 33, 1, 3), (2, 1, 1, 1)]:
            yield _exact("transpose", (_normal(*shape),), axes=order)
    yield _exact("transpose", (_normal(2, 7),), axes=(0, 1))
    yield _exact("transpose", (_normal(2, 3, 4, 5, 6),), axes=(0, 4, 2, 3, 1))


@pytest.mark.parametrize("target", TARGETS)
def test_moves_are_exact(target):
    for problem in _problems():
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_moves_stay_within_their_buffers(target):
    check_guarded(list(_problems()), target)


def test_a_reshape_is_no_work():
    bench = Bench(Problem("reshape", (_normal(3, 4, 5),), {"shape": (3, 20)}))
    assert bench.executable.calls() == []
    np.testing.assert_array_equal(bench.run()[0], bench.narrow[0].reshape(3, 20))


@pytest.mark.parametrize(
    ("operator", "attrs", "move"),
    [
        ("transpose", {"axes": (0, 3, 1, 2)}, lambda x: x.transpose(0, 3, 1, 2)),
        ("slice", {"bounds": (None, (0, 2), None, None)}, lambda x: x[:, :2]),
    ],
)
def test_nan_bits_and_signed_zeros_are_kept(operator, attrs, move):
    x = _normal(2, 3, 4, 5)
    x[0, 0] = np.nan
    x[1, 1] = -0.0
    bench = Bench(Problem(operator, (x,), attrs))
    wanted = np.ascontiguousarray(move(bench.narrow[0]))
    np.testing.assert_array_equal(bench.run()[0].view(np.int32), wanted.view(np.int32))


@pytest.mark.parametrize("operator", ["slice", "concatenate", "transpose"])
def test_what_crosses_images_is_left_to_the_reference(operator):
    x = _normal(4, 3, 2)
    attrs = {
        "slice": {"bounds": ((0, 2), None, None)},
        "concatenate": {"axis": 0},
        "transpose": {"axes": (1, 0, 2)},
    }[operator]
    arrays = (x, x) if operator == "concatenate" else (x,)
    problem = Problem(operator, arrays, attrs, images=() if operator != "slice" else None)
    check(problem, native=False)
