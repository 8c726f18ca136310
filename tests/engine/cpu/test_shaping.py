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
        yield _exact("strided_slice", (x,), places=(None, *((s - 1, s, -1) for s in shape[1:])))
        yield _exact("strided_slice", (x,), places=(None, *((0, (s + 1) // 2, 2) for s in shape[1:])))
        shown = tuple(2 * s for s in shape[1:])
        places = (None, *((1, s, 2) for s in shape[1:]))
        yield _exact("strided_place", (x,), places=places, shape=(shape[0], *shown))
    for ones in [(2, 1, 4, 3), (2, 5, 1, 1), (2, 1, 1, 19), (2, 1, 1, 1)]:
        yield _exact("broadcast_to", (_normal(*ones),), shape=(2, 5, 4, 19 if ones[3] > 3 else 3))
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


# Of fixed sizes, numbers may cross the first axis; eight bytes move as two words, bytes one by one.
_CROSSING = [
    ("slice", {"bounds": ((1, 3), None, (0, 2))}),
    ("strided_slice", {"places": ((3, 2, -2), None, (6, 7, -1))}),
    ("strided_slice", {"places": (None, (2, 2, -1), (0, 3, 3))}),
    ("strided_place", {"places": ((7, 4, -2), None, (1, 7, 2)), "shape": (8, 3, 15)}),
    ("strided_place", {"places": (None, (1, 3, 1), None), "shape": (4, 5, 7)}),
    ("broadcast_to", {"shape": (2, 4, 3, 7)}),
    ("pad", {"padding": ((1, 0), (0, 2), (1, 1))}),
    ("concatenate", {"axis": 0}),
    ("concatenate", {"axis": 2}),
    ("transpose", {"axes": (1, 0, 2)}),
    ("transpose", {"axes": (2, 0, 1)}),
]


@pytest.mark.parametrize("target", TARGETS)
def test_what_crosses_the_first_axis_and_other_types(target):
    numbers = np.random.default_rng(1).integers(-99, 99, (4, 3, 7))
    problems = []
    for operator, attrs in _CROSSING:
        for dtype in ("float32", "int64", "bool"):
            x = numbers.astype(dtype)
            arrays = (x, x) if operator == "concatenate" else (x,)
            problems.append(Problem(operator, arrays, attrs, ulps=0.0, images=()))
    for problem in problems:
        check(problem, target)
    check_guarded(problems, target)


@pytest.mark.parametrize("target", TARGETS)
def test_weights_as_other_libraries_keep_them(target):
    """The first axis last, or the last one first: squares of vectors, whatever is left over."""
    problems = []
    for shape in [(5, 4, 3, 3), (64, 3, 3, 3), (33, 17, 1, 2), (300, 16, 1, 1), (17, 1, 5, 5), (1, 20, 2, 2)]:
        for order in ((2, 3, 1, 0), (1, 2, 3, 0), (3, 0, 2, 1)):
            problems.append(Problem("transpose", (_normal(*shape),), {"axes": order}, ulps=0.0, images=()))
        back = _normal(*(shape[axis] for axis in (2, 3, 1, 0)))
        problems.append(Problem("transpose", (back,), {"axes": (3, 2, 0, 1)}, ulps=0.0, images=()))
    for shape in [(7, 5), (1, 40), (40, 1), (513, 31), (16, 16)]:
        problems.append(Problem("transpose", (_normal(*shape),), {"axes": (1, 0)}, ulps=0.0, images=()))
    for problem in problems:
        check(problem, target)
    check_guarded(problems, target)


def test_a_border_of_another_number():
    problem = _exact("pad", (_normal(2, 3, 4),), padding=((0, 0), (1, 0), (0, 2)), value=1.5)
    assert 1.5 in Bench(problem).run()[0]
    check(problem)
