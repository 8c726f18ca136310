"""Every operator of the table, on every example of `cases.py`, through `check_op`."""

import numpy as np
import pytest

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import no_gradient
from tests.engine import cases
from tests.engine.helpers import check_op

# Convolution has a file of its own.
EXAMPLES = [case for case in cases.ALL if case not in cases.CONVOLUTION]


@pytest.mark.parametrize("case", EXAMPLES, ids=str)
def test_operator(case):
    check_op(case)


def test_every_operator_has_a_case():
    made_by_rewrites = {"fused"}  # runs other operators; tests/engine/cpu/test_rewrites.py
    assert sorted(set(OPERATORS) - made_by_rewrites - {case.operator for case in cases.ALL}) == []


def test_every_gradient_rule_is_checked():
    checked = {case.operator for case in cases.ALL if case.smooth}
    # Draws, which depend on the number of images only, and a change of the shape of which a case says more.
    constant = {"random_uniform", "affine_map", "open_images"}
    with_rule = {n for n, operator in OPERATORS.items() if operator.gradient not in (None, no_gradient)}
    assert sorted(with_rule - constant - checked) == []


def test_every_linear_operator_with_a_gradient_is_checked_for_its_adjoint():
    linear = {name for name, operator in OPERATORS.items() if operator.is_linear and operator.gradient}
    assert linear - {"open_images"} <= {case.operator for case in cases.ALL if 0 in case.smooth}


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_is_shared(name):
    x = np.array([[1.0, 2.0]])
    share = OPERATORS["extreme_grad"].run(np.ones((1, 2)), x, x, OPERATORS[name].run(x, x))
    np.testing.assert_array_equal(share, [[0.5, 0.5]])


def test_upsampling_by_repeating_keeps_a_nan_in_its_place():
    y = OPERATORS["upsample"].run(np.array([1.0, np.nan, 3.0]).reshape(1, 3, 1), factors=(2,))
    np.testing.assert_array_equal(y.ravel(), [1, 1, np.nan, np.nan, 3, 3])


def test_max_pool_sends_a_tie_to_the_first_and_lets_nan_through():
    x = np.array([[2.0, 2.0, 1.0, np.nan]]).reshape(1, 4, 1)
    window = {"size": (2,), "stride": (2,), "padding": ((0, 0),)}
    y, where = OPERATORS["max_pool"].run(x, **window)
    grad = OPERATORS["max_pool_grad"].run(np.ones_like(y), where, input_size=(4,), **window)
    np.testing.assert_array_equal(y.ravel(), [2, np.nan])
    np.testing.assert_array_equal(grad.ravel()[:2], [1, 0])
