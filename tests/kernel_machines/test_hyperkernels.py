"""Hyperkernels: formulas, pivots, and the degeneracy that the documentation reports."""

import numpy as np
import pytest

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines import HyperkernelClassifier, HyperkernelRegressor, Kernel
from kernelearn.kernel_machines.kernels.hyperkernels import (
    HyperkernelSettings,
    PivotBank,
    distinct_pairs,
    incomplete_cholesky,
    make_hyperkernel,
    pair_similarities,
)

X = np.random.default_rng(0).standard_normal((12, 3))


def hyper(name="ard", widths=0.7, lambda_h=0.6):
    return make_hyperkernel(HyperkernelSettings(name, lambda_h, widths, "rbf"), X)


def full_gram(hyperkernel):
    table = hyperkernel.similarity(X, X).reshape(144, -1)
    return np.stack([hyperkernel.values(table, pair) for pair in table])


def test_ard_matches_equation_14():
    a, b, c, d = X[:4]
    product = np.prod(0.4 / (1 - 0.6 * np.exp(-0.7 * ((a - b) ** 2 + (c - d) ** 2))))
    gram = full_gram(hyper())
    assert gram[0 * 12 + 1, 2 * 12 + 3] == pytest.approx(product)


def test_gaussian_matches_equation_13():
    a, b, c, d = X[:4]
    value = 0.4 / (1 - 0.6 * np.exp(-0.7 * (np.sum((a - b) ** 2) + np.sum((c - d) ** 2))))
    assert full_gram(hyper("gaussian"))[1, 2 * 12 + 3] == pytest.approx(value)


@pytest.mark.parametrize("name", ["ard", "gaussian", "harmonic"])
def test_a_hyperkernel_is_a_kernel_on_pairs_and_on_points(name):
    gram = full_gram(hyper(name))
    assert np.linalg.eigvalsh(gram)[0] > -1e-9
    for pair in (0, 1, 30):
        assert np.linalg.eigvalsh(gram[pair].reshape(12, 12))[0] > -1e-9


@pytest.mark.parametrize("name", ["ard", "gaussian", "harmonic"])
def test_equal_points_dominate_every_other_pivot(name):
    gram = full_gram(hyper(name))
    equal = gram[0].reshape(12, 12)
    lowest = [np.linalg.eigvalsh(equal - gram[pair].reshape(12, 12))[0] for pair in range(144)]
    assert min(lowest) > -1e-9


def test_incomplete_cholesky_explains_the_hyper_gram():
    hyperkernel = hyper("gaussian")
    pairs = pair_similarities(hyperkernel, X, distinct_pairs(12))
    pivots, residual = incomplete_cholesky(hyperkernel, pairs, 1e-6, 100)
    bank = PivotBank(hyperkernel, X, pairs[pivots])
    columns = np.stack([hyperkernel.values(pairs, pairs[p]) for p in pivots], axis=1)
    explained = columns @ np.linalg.solve(bank.hyper_gram(), columns.T)
    gram = np.stack([hyperkernel.values(pairs, pair) for pair in pairs])
    assert residual <= 1e-6
    np.testing.assert_allclose(explained, gram, atol=1e-5)
    assert pivots[0] == 0


def test_the_number_of_pivots_is_limited():
    hyperkernel = hyper()
    pairs = pair_similarities(hyperkernel, X, distinct_pairs(12))
    assert len(incomplete_cholesky(hyperkernel, pairs, 1e-12, 5)[0]) == 5


def test_papers_setting_uses_one_pivot_and_equals_the_fixed_kernel(rings):
    x, y = rings
    learned = HyperkernelClassifier(tol=1e-6).fit(x, y)
    fixed = HyperkernelClassifier(weights="fixed", tol=1e-6).fit(x, y)
    assert learned.effective_pivots_ == 1
    assert len(fixed.pivots_) == 1
    assert fixed.objective_ == pytest.approx(learned.objective_, rel=1e-4)
    np.testing.assert_allclose(learned.decision_function(x), fixed.decision_function(x), atol=1e-2)


def test_a_large_lambda_q_spreads_the_weight(rings):
    x, y = rings
    model = HyperkernelClassifier(C=2.5, lambda_q=200.0, widths=0.5, tol=1e-5).fit(x, y)
    fixed = HyperkernelClassifier(C=2.5, lambda_q=200.0, widths=0.5, weights="fixed").fit(x, y)
    assert model.effective_pivots_ >= 2
    assert model.objective_ < 0.99 * fixed.objective_


def test_fixed_kernel_is_the_product_formula(rings):
    x, y = rings
    model = HyperkernelClassifier(weights="fixed", widths=0.5).fit(x, y)
    product = np.prod(0.4 / (1 - 0.6 * np.exp(-0.5 * (x[:, None] - x[None]) ** 2)), axis=2)
    expected = product @ model.dual_coef_[0] + model.intercept_[0]
    np.testing.assert_allclose(model.decision_function(x), expected, atol=1e-9)


def test_regression_weights_sum_to_the_deviation(curve):
    x, y = curve
    model = HyperkernelRegressor(widths=2.0, C=4.0).fit(x, y)
    assert model.kernel_weights_.sum() == pytest.approx(y.std())
    assert model.score(x, y) > 0.7


def test_automatic_widths_follow_the_quantiles():
    hyperkernel = hyper(widths="auto")
    spread = np.quantile(np.abs(X[:, None, 1] - X[None, :, 1]), 0.9)
    assert hyperkernel.similarity.widths[1] == pytest.approx(1 / (50 * spread**2))


def test_constant_features_are_ignored():
    flat = np.column_stack([X, np.ones(12)])
    assert make_hyperkernel(HyperkernelSettings("ard", 0.6, "auto", None), flat).similarity.widths[3] == 0.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lambda_h": 1.0}, "lambda_h"),
        ({"hyperkernel": "poly"}, "hyperkernel"),
        ({"widths": -1.0}, "widths"),
        ({"widths": "wide"}, "widths"),
        ({"formulation": "nu", "nu": 0.99}, "nu"),
        ({"hyperkernel": "harmonic", "base_kernel": "linear"}, "negative values"),
        ({"hyperkernel": "gaussian", "widths": [1.0, 2.0]}, "one number"),
    ],
)
def test_wrong_settings_are_explained(rings, setting, message):
    x, y = rings
    with pytest.raises(ArgumentError, match=message):
        HyperkernelClassifier(**setting).fit(x, y * (np.arange(40) < 10))


def test_too_many_points_are_refused_before_memory_runs_out():
    with pytest.raises(ArgumentError, match="GiB"):
        HyperkernelClassifier().fit(np.zeros((3000, 2)), np.arange(3000) % 2)


def test_harmonic_takes_any_nonnegative_kernel(rings):
    x, y = rings
    model = HyperkernelClassifier("harmonic", base_kernel=Kernel("poly", degree=2)).fit(x, y)
    assert model.predict(x).shape == (40,)
