"""Compiled operators that repeat one operand along some axes."""

import numpy as np
import pytest

from tests.engine.cases import normal
from tests.engine.cpu.harness import TARGETS, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages

OPERATORS = [
    "add", "subtract", "multiply", "maximum", "minimum", "extreme_grad", "prelu", "prelu_grad_input",
]  # fmt: skip
FULL = (3, 4, 5, 19)
# Shapes of the small operand: with images, and weights without.
WITH_IMAGES = [(3, 1, 1, 19), (3, 4, 5, 1), (3, 4, 1, 1), (3, 4, 1, 19), (3, 1, 5, 19), (3, 1, 1, 1)]
WEIGHTS = [(4, 5, 19), (1, 5, 19), (4, 5, 1), (4, 1, 19), (4, 1, 1), (5, 19), (1, 4, 5, 19)]


def problem(operator: str, small: tuple, place: int = 1) -> Problem:
    given = [normal(*FULL, seed=i) for i in range(4)]
    if operator == "extreme_grad":
        place = 2
        given[3] = np.maximum(given[1], normal(*small, seed=9))
    if operator == "prelu_grad_input":
        place = 2
    given[place] = normal(*small, seed=9)
    count = {"extreme_grad": 4, "prelu_grad_input": 3}.get(operator, 2)
    weights = () if small in WITH_IMAGES else (place,)
    images = tuple(i for i in range(count) if i not in weights)
    return Problem(operator, tuple(given[:count]), ulps=2, weights=weights, images=images)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_one_operand_repeated(operator, target):
    for small in (*WITH_IMAGES, *WEIGHTS):
        check(problem(operator, small), target)


@pytest.mark.parametrize("operator", ["add", "subtract", "multiply", "maximum"])
def test_the_first_operand_repeated(operator):
    for small in (*WITH_IMAGES, *WEIGHTS):
        if len(small) == len(FULL) or operator != "add":
            check(problem(operator, small, place=0))


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_repeated_operand_is_left(target):
    check_guarded([problem("multiply", small) for small in (*WITH_IMAGES, *WEIGHTS)], target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("channels", [1, 3, 16, 21])
def test_factors_of_channels(channels, target):
    factor, offset = tuple(normal(channels)), tuple(normal(channels, seed=1))
    x = normal(3, 4, channels)
    for attrs in (
        {"factor": factor, "offset": offset},
        {"factor": factor},
        {"factor": 2.0, "offset": offset},
    ):
        check(Problem("scale", (x,), attrs, ulps=4), target)
