"""Compiled sums over tensors: gradient clipping, penalties, constraints, constants."""

import numpy as np
import pytest

from tests.engine.cases import normal
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages

# More than one block of 16384 numbers, and odd ends.
SHAPES = [(1,), (37,), (3, 3, 5, 7), (16384,), (5, 7001)]
PENALTIES = [{"l1": 0.1, "l2": 0.3}, {"l1": 0.2}, {"l2": 0.01}, {}]
CONSTRAINTS = [
    {"kind": "non_neg"},
    {"kind": "max_norm", "max_value": 0.8},
    {"kind": "max_norm", "max_value": 0.8, "axis": (0, 1, 2)},
    {"kind": "unit_norm", "axis": [0, 1, 2]},
    {"kind": "unit_norm", "axis": -4},
    {"kind": "min_max_norm", "min_value": 0.5, "max_value": 0.9, "rate": 0.3, "axis": (0, 1)},
]


def sums(shape) -> list[Problem]:
    x = normal(*shape)
    return [
        Problem("clip_by_norm", (x,), {"limit": 0.5}, ulps=4),
        Problem("clip_by_norm", (x,), {"limit": 1e6}, ulps=4),
        Problem("global_norm", (x, normal(3, 5), x[:1]), ulps=4, weights=(0, 1, 2)),
        Problem("clip_by_global_norm", (x, np.array(7.7)), {"limit": 0.5}, ulps=4),
        *(Problem("penalty", (x,), attrs, ulps=4) for attrs in PENALTIES),
    ]


def images() -> list[Problem]:
    problems = []
    for shape in ((1, 1), (5, 37), (3, 4, 4, 9), (2, 20001)):
        x = normal(*shape)
        for attrs in PENALTIES:
            problems.append(Problem("activity_penalty", (x,), attrs, ulps=4))
            problems.append(Problem("activity_penalty_grad", (np.array(1.5), x), attrs, ulps=4))
    return problems


def constraints() -> list[Problem]:
    shapes = ((3, 3, 5, 7), (1, 1, 2, 40), (2, 3, 1, 1))
    return [Problem("constrain", (normal(*s),), attrs, ulps=16) for s in shapes for attrs in CONSTRAINTS]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_over_a_tensor(shape, target):
    for problem in sums(shape):
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_penalties_of_activities(target):
    for problem in images():
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_constraints(target):
    for problem in constraints():
        check(problem, target)


def test_a_constraint_along_inner_axes_is_left_to_the_reference():
    problem = Problem("constrain", (normal(3, 4),), {"kind": "unit_norm", "axis": 1})
    assert not Bench(problem).is_native
    check(problem, native=False)


def test_a_sum_of_many_numbers_is_exact_to_rounding():
    x = np.full(300_001, 0.1, "float32")
    (norm,) = Bench(Problem("global_norm", (x,), weights=(0,))).run()
    np.testing.assert_allclose(norm, np.sqrt(300_001) * float(np.float32(0.1)), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clipping_shows_a_gradient_that_is_no_number(bad):
    x = normal(40).astype("float32")
    x[7] = bad
    check_special(Problem("clip_by_norm", (x,), {"limit": 0.5}))
    check_special(Problem("clip_by_value", (x,), {"limit": 0.5}))
    check_special(Problem("clip_by_global_norm", (x, np.array(np.inf)), {"limit": 0.5}))
    check_special(Problem("global_norm", (x,), weights=(0,)))
    check_special(Problem("constrain", (x,), {"kind": "non_neg"}))
    check_special(Problem("penalty", (x,), {"l1": 0.5}))


@pytest.mark.parametrize("shape", [(), (5,), (3, 37)], ids=str)
def test_a_constant(shape):
    problem = Problem("fill", (), {"shape": shape, "value": 1.5, "dtype": "float32"})
    check(problem)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_sum_leaves_its_buffers(target):
    check_guarded([*sums((37,)), *sums((5, 7001)), *images(), *constraints()], target)
