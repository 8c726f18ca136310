"""Every compiled operator against the float64 reference: all examples of the table, and random shapes.

KERNELEARN_SWEEP is the number of random problems per family and target in the slow tests; a release is tested
with 500. The others take a few.
"""

import os
from dataclasses import replace

import numpy as np
import pytest

from tests.engine import cases
from tests.engine.cpu.harness import (
    NARROWER,
    TARGETS,
    Bench,
    Problem,
    check,
    check_guarded,
    check_special,
    forced_target,
    problem_of,
    some_of,
)
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import FAMILIES

SWEEP, FEW = int(os.environ.get("KERNELEARN_SWEEP", "24")), 6
# Functions of numbers have tests of their own, in test_math.py and test_entrywise.py.
FUNCTIONS = {case.operator for case in cases.FUNCTIONS}
OPERATORS = sorted({case.operator for case in cases.ALL} - FUNCTIONS)
guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")


def native(problems: list[Problem], target: str) -> list[Problem]:
    """Those that have a kernel; skips the test if none has."""
    found = [problem for problem in problems if Bench(problem, target).is_native]
    if not found:
        pytest.skip("the reference engine does this")
    return found


def examples(operator: str) -> list[Problem]:
    return [problem_of(case) for case in cases.ALL if case.operator == operator]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_examples(operator, target):
    for problem in some_of(native(examples(operator), target), target):
        check(problem, target)


@pytest.mark.parametrize("target", NARROWER)
@pytest.mark.parametrize("operator", OPERATORS)
def test_all_examples(operator, target):
    for problem in native(examples(operator), target):
        check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_examples_stay_inside_of_their_buffers(operator, target):
    check_guarded(native(examples(operator), target), target)


def sweep(family: str, target: str, seed: int, count: int) -> list[Problem]:
    """Random problems that have a kernel; the targets get different ones."""
    rng = np.random.default_rng((seed, TARGETS.index(target)))
    return native([FAMILIES[family](rng) for _ in range(count)], target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_random_shapes(family, target):
    for problem in sweep(family, target, 0, FEW):
        check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_random_shapes_stay_inside_of_their_buffers(family, target):
    check_guarded(sweep(family, target, 1, FEW // 2), target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_many_random_shapes(family, target):
    for problem in sweep(family, target, 3, SWEEP):
        check(problem, target)


@guarded
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_many_random_shapes_stay_inside_of_their_buffers(family, target):
    check_guarded(sweep(family, target, 4, max(SWEEP // 2, 1)), target)


def poisoned(problem: Problem, value: float, rng: np.random.Generator) -> Problem:
    """The problem with one entry of its first input replaced."""
    first = np.array(problem.arrays[0], copy=True)
    first.reshape(-1)[rng.integers(first.size)] = value
    return replace(problem, arrays=(first, *problem.arrays[1:]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "update"])
def test_what_is_no_number_comes_out_where_the_reference_has_it(family, target, value):
    rng = np.random.default_rng(5)
    for problem in sweep(family, target, 2, FEW // 2):
        if problem.arrays[0].ndim:
            # NOTE: statistics are joined from those of images, tiles hold differences of pixels, and infinity
            # less infinity is NaN. A pixel's difference is in the gradients of all weights of its window.
            filtered = family in ("minimal_filtering", "filtered_rows")
            infinite = family != "normalization" and not filtered
            spreads = filtered and problem.operator == "conv_grad_kernel"
            check_special(poisoned(problem, value, rng), target, infinite, spreads)


def test_a_target_is_in_force_only_inside(monkeypatch):
    monkeypatch.delenv("KERNELEARN_CPU_TARGET", raising=False)
    with forced_target("baseline"):
        assert os.environ["KERNELEARN_CPU_TARGET"] == "baseline"
    assert "KERNELEARN_CPU_TARGET" not in os.environ
