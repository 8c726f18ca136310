"""Second-order steps over the weights: derivatives against differences, and what they save."""

import numpy as np
import pytest

from kernelearn.kernel_machines import Kernel, MultipleKernelClassifier
from kernelearn.kernel_machines.estimators.base import make_oracle
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers.margins import SoftMargin1
from kernelearn.kernel_machines.solvers.newton import newton_weights
from kernelearn.kernel_machines.solvers.silp import solve_silp

BANK = [Kernel("rbf", gamma=g) for g in (0.05, 0.5, 5.0)]


@pytest.fixture
def oracle(rings):
    x, y = rings
    bank = GramBank(BANK, x)
    targets = np.stack([np.where(y == 1, 1.0, -1.0), np.where(x[:, 0] > 0, 1.0, -1.0)])
    costs = np.random.default_rng(0).uniform(0.5, 2.0, 40)
    return make_oracle(bank, SoftMargin1(0.7), targets, costs, np.array([1.0, 2.0, 0.5]))


def test_curvature_is_the_derivative_of_the_slopes(oracle):
    theta, step = np.array([0.3, 0.3, 0.4]), 1e-5
    cut = oracle(theta, 1e-12)
    for index in range(3):
        move = step * np.eye(3)[index]
        ahead, behind = oracle(theta + move, 1e-12), oracle(theta - move, 1e-12)
        difference = -(ahead.slopes - behind.slopes) / (2 * step)
        np.testing.assert_allclose(
            cut.curvature[index], difference, rtol=2e-2, atol=2e-3 * np.abs(cut.curvature).max()
        )


def test_a_newton_step_leads_down_and_stays_on_the_simplex(oracle):
    theta = np.full(3, 1 / 3)
    cut = oracle(theta, 1e-8)
    moved = newton_weights(cut, theta)
    assert moved.min() >= 0.0
    assert moved.sum() == pytest.approx(1.0)
    assert oracle(moved, 1e-8).upper < cut.upper


def test_second_order_steps_save_rounds(oracle):
    from dataclasses import replace

    with_curvature = solve_silp(oracle, 3, tol=1e-5)
    without = solve_silp(lambda theta, tol: replace(oracle(theta, tol), curvature=None), 3, tol=1e-5)
    assert with_curvature.upper == pytest.approx(without.upper, rel=2e-5)
    assert with_curvature.n_iter < without.n_iter


def test_history_has_a_line_for_every_round(rings):
    model = MultipleKernelClassifier(BANK, tol=1e-6).fit(*rings)
    lower, upper = np.array(model.history_).T
    assert np.all(np.diff(lower) >= 0.0)
    assert np.all(np.diff(upper) <= 0.0)
    assert len(lower) in (model.n_iter_, model.n_iter_ - 1)
