"""Novelty detection, alignment, power series, interpolation and absolute losses: closed forms and CVXPY."""

import numpy as np
import pytest
from sklearn.svm import SVC, SVR, OneClassSVM

from kernelearn.errors import ArgumentError, DataError
from kernelearn.kernel_machines import (
    ConvexHullKernelRegressor,
    ConvexKernelLearner,
    HyperkernelClassifier,
    HyperkernelOneClass,
    HyperkernelRegressor,
    Kernel,
    MultipleKernelOneClass,
)
from kernelearn.kernel_machines.kernels.hyperkernels import HyperkernelSettings, make_hyperkernel
from kernelearn.kernel_machines.solvers.losses import Interpolation, TubeLoss
from kernelearn.kernel_machines.solvers.margins import HardMargin, NuMargin, OneClassMargin, SoftMargin1
from kernelearn.kernel_machines.solvers.quadratic import BoxProgram, interior_point, squared_hinge

BANK = [Kernel("rbf", gamma=1.0), Kernel("rbf", gamma=0.1), Kernel("poly", gamma=0.5)]
RBF = Kernel("rbf", gamma=1.0)


def fixed_kernel(x, width):
    """The kernel of the pivot of equal points, with lambda_h = 0.6."""
    return np.prod(0.4 / (1 - 0.6 * np.exp(-width * (x[:, None] - x[None]) ** 2)), axis=2)


# --- novelty detection


@pytest.mark.parametrize("nu", [0.05, 0.3, 0.9])
def test_one_kernel_is_the_one_class_svm(rings, nu):
    x, _ = rings
    ours = MultipleKernelOneClass(RBF, nu=nu, tol=1e-8).fit(x)
    theirs = OneClassSVM(nu=nu, gamma=1.0, tol=1e-9).fit(x)
    # libsvm's multipliers sum to nu n, those of (30) to one.
    np.testing.assert_allclose(ours.score_samples(x) * nu * 40, theirs.score_samples(x), atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(x), ours.score_samples(x) - ours.offset_)
    far = np.abs(theirs.decision_function(x)) > 1e-4
    np.testing.assert_array_equal(ours.predict(x)[far], theirs.predict(x)[far])
    assert np.mean(ours.decision_function(x) < -1e-6) <= nu


def test_learnt_weights_of_a_detector_are_those_of_the_qcqp(rings):
    cp = pytest.importorskip("cvxpy")
    x, _ = rings
    ours = MultipleKernelOneClass(BANK, nu=0.2, tol=1e-5).fit(x)
    a, t = cp.Variable(40, nonneg=True), cp.Variable()
    limits = [
        cp.sum_squares(np.linalg.cholesky(ours._bank.gram(i) + 1e-12 * np.eye(40)).T @ a) / 2 <= t
        for i in range(3)
    ]
    problem = cp.Problem(cp.Minimize(t), [*limits, cp.sum(a) == 1, a <= 1 / (0.2 * 40)])
    problem.solve(solver="CLARABEL")
    assert ours.objective_ == pytest.approx(-problem.value, rel=1e-4)
    weights = np.array([float(np.sum(limit.dual_value)) for limit in limits])
    np.testing.assert_allclose(ours.kernel_weights_, weights / weights.sum(), atol=5e-3)


@pytest.mark.parametrize("lambda_q", [0.5, 20.0])
def test_the_single_class_machine_is_program_30(rings, lambda_q):
    pytest.importorskip("cvxpy")
    x, _ = rings
    setting = {"nu": 0.25, "lambda_q": lambda_q, "widths": 0.5, "n_pivots": 10}
    ours = HyperkernelOneClass(**setting, tol=1e-5).fit(x[:24])
    reference = HyperkernelOneClass(**setting, solver="clarabel").fit(x[:24])
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3, abs=1e-5)
    assert ours.kernel_weights_.sum() == pytest.approx(1.0)


def test_a_detector_tells_far_points():
    rng = np.random.default_rng(0)
    for model in (HyperkernelOneClass(nu=0.1), MultipleKernelOneClass(nu=0.1)):
        model.fit(rng.standard_normal((80, 2)))
        assert model.predict(rng.standard_normal((200, 2))).mean() > 0.5
        assert np.all(model.predict(8.0 + rng.standard_normal((20, 2))) == -1)


# --- the C of the hyperkernel machines, alignment, power series


def test_C_is_the_factor_of_every_loss(rings):
    x, y = rings
    ours = HyperkernelClassifier(weights="fixed", widths=0.5, tol=1e-7).fit(x, y)
    gram = fixed_kernel(x, 0.5)
    theirs = SVC(kernel="precomputed", C=100.0, tol=1e-9).fit(gram, y)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(gram), atol=5e-3)


def test_the_lagrangian_machine_pays_C_for_every_slack(rings):
    x, y = rings
    model = HyperkernelClassifier(formulation="lagrangian", C=3.0, widths=0.5).fit(x, y)
    signs = np.where(y == 1, 1.0, -1.0)
    slack = np.maximum(0.0, 1.0 - signs * model.decision_function(x))
    np.testing.assert_allclose(signs * model.dual_coef_[0], 3.0 * slack, atol=1e-8)


def test_the_regressor_pays_C_for_every_error(curve):
    x, y = curve
    model = HyperkernelRegressor(C=5.0, widths=2.0, n_pivots=6).fit(x, y)
    assert np.abs(model.dual_coef_).max() == pytest.approx(5.0, rel=1e-3)


def test_alignment_is_its_closed_form_for_one_pivot(rings):
    x, y = rings
    model = HyperkernelClassifier(formulation="alignment", weights="fixed", widths=2.0, lambda_q=3.0).fit(
        x, y
    )
    signs = np.where(y == 1, 1.0, -1.0)
    gram = fixed_kernel(x, 2.0)
    value = signs @ np.linalg.solve(gram + 1e-6 * np.eye(40), signs) / 2
    norm = np.sqrt(make_hyperkernel(HyperkernelSettings("ard", 0.6, 2.0, None), x).diagonal(np.ones(4)))
    assert model.objective_ == pytest.approx(value + 3.0 * norm / 2, rel=1e-6)


def test_a_power_series_is_its_sum():
    x = np.random.default_rng(0).standard_normal((10, 2))
    settings = HyperkernelSettings("power", 0.6, "auto", RBF, [1.0, 0.0, 3.0])
    hyper = make_hyperkernel(settings, x)
    k = RBF(x, x)
    product = k[0, 1] * k[2, 3]
    assert hyper.values(k[0, 1, None], k[2, 3, None]) == pytest.approx(0.25 + 0.75 * product**2)
    exponential = make_hyperkernel(HyperkernelSettings("power", 0.6, "auto", RBF), x)
    assert exponential.values(k[0, 1, None], k[2, 3, None]) == pytest.approx(np.exp(product - 1.0))
    table = k.reshape(-1, 1)
    gram = np.stack([exponential.values(table, pair) for pair in table])
    assert np.linalg.eigvalsh(gram)[0] > -1e-9
    assert np.linalg.eigvalsh(gram[3].reshape(10, 10))[0] > -1e-9


def test_the_geometric_series_is_the_harmonic_hyperkernel(rings):
    x, y = rings
    powers = 0.4 * 0.6 ** np.arange(200)
    series = HyperkernelClassifier("power", series=powers, base_kernel=RBF, C=1.0, n_pivots=15).fit(x, y)
    harmonic = HyperkernelClassifier("harmonic", lambda_h=0.6, base_kernel=RBF, C=1.0, n_pivots=15).fit(x, y)
    np.testing.assert_allclose(series.decision_function(x), harmonic.decision_function(x), atol=1e-6)


@pytest.mark.parametrize("series", ["cosine", [1.0], [1.0, -1.0, 2.0], [0.0, np.nan], [[1.0, 1.0]], []])
def test_series_that_make_no_kernel_are_explained(rings, series):
    with pytest.raises(ArgumentError, match="series"):
        HyperkernelClassifier("power", series=series).fit(*rings)


# --- minimal norm interpolation and absolute losses


@pytest.mark.parametrize("loss", ["absolute", "epsilon_insensitive", "svm"])
def test_an_intercept_that_cannot_be_left_out_is_explained(curve, loss):
    with pytest.raises(ArgumentError, match="always has an intercept"):
        ConvexKernelLearner(loss=loss, fit_intercept=False).fit(*curve)


@pytest.mark.parametrize(
    ("loss", "fit_intercept"),
    [("interpolation", True), ("interpolation", False), ("absolute", True), ("epsilon_insensitive", True)],
)
def test_regressions_are_at_the_optimum(curve, loss, fit_intercept):
    pytest.importorskip("cvxpy")
    x, y = curve[0][::2], 3.0 + curve[1][::2]
    bank = [Kernel("rbf", gamma=g) for g in (0.5, 5.0, 50.0)]
    setting = {"loss": loss, "alpha": 0.3, "epsilon": 0.15, "fit_intercept": fit_intercept}
    ours = ConvexKernelLearner(bank, tol=1e-5, **setting).fit(x, y)
    reference = ConvexKernelLearner(bank, solver="clarabel", **setting).fit(x, y)
    assert ours.gap_ <= 1e-5
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)
    assert ours.lower_bound_ <= ours.objective_


def test_interpolation_is_its_closed_form(curve):
    x, y = curve
    kernel = Kernel("rbf", gamma=30.0)
    gram = kernel(x, x)
    plain = ConvexKernelLearner(kernel, loss="interpolation", fit_intercept=False).fit(x, y)
    assert plain.objective_ == pytest.approx(y @ np.linalg.solve(gram, y), rel=1e-6)
    np.testing.assert_allclose(plain.predict(x), y, atol=1e-6 * np.abs(y).max())
    free = ConvexKernelLearner(kernel, loss="interpolation").fit(x, y)
    ones = np.linalg.solve(gram, np.ones(50))
    b = ones @ y / ones.sum()
    assert free.intercept_[0] == pytest.approx(b, rel=1e-5)
    assert free.objective_ == pytest.approx((y - b) @ np.linalg.solve(gram, y - b), rel=1e-6)


def test_interpolation_is_ridge_without_a_ridge(curve):
    x, y = curve
    widths = (0.5, 500.0)
    exact = ConvexHullKernelRegressor(widths, loss="interpolation", fit_intercept=False, tol=1e-6).fit(x, y)
    ridge = ConvexHullKernelRegressor(widths, alpha=1e-7, fit_intercept=False, tol=1e-6).fit(x, y)
    assert exact.objective_ == pytest.approx(ridge.objective_ / 1e-7, rel=1e-2)
    values = exact.certificate_.atom_values
    np.testing.assert_allclose(values, exact.certificate_.best_value, rtol=1e-3)
    assert len(exact.gammas_) <= 51


def test_absolute_losses_are_support_vector_regression(curve):
    x, y = curve
    for loss, epsilon in (("absolute", 0.0), ("epsilon_insensitive", 0.2)):
        ours = ConvexKernelLearner(Kernel("rbf", gamma=5.0), loss=loss, alpha=0.1, epsilon=0.2, tol=1e-7)
        theirs = SVR(gamma=5.0, C=5.0, epsilon=epsilon, tol=1e-9).fit(x, y)
        np.testing.assert_allclose(ours.fit(x, y).predict(x), theirs.predict(x), atol=2e-3)


def test_an_absolute_loss_withstands_outliers(curve):
    x, y = curve
    spoiled = y.copy()
    spoiled[::10] += 30.0
    absolute = ConvexHullKernelRegressor(loss="absolute", alpha=0.5).fit(x, spoiled)
    square = ConvexHullKernelRegressor(loss="square", alpha=0.5).fit(x, spoiled)
    clean = np.arange(50) % 10 > 0
    errors = [np.abs(model.predict(x[clean]) - y[clean]).mean() for model in (absolute, square)]
    assert errors[0] < 0.5 * errors[1]


def test_what_cannot_be_interpolated_is_explained(curve):
    x, y = curve
    with pytest.raises(DataError, match="can meet every target"):
        ConvexKernelLearner("linear", loss="interpolation").fit(x, y)
    twice = np.vstack([x, x[:1]])
    with pytest.raises(DataError, match="can meet every target"):
        ConvexHullKernelRegressor(loss="interpolation").fit(twice, np.append(y, y[0] + 1.0))


# --- solvers at one kernel


def random_margin(n=30, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    y = np.where(x[:, 0] + rng.standard_normal(n) > 0, 1.0, -1.0)
    return RBF(x, x), y, rng.uniform(0.5, 2.0, n)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
def test_the_interior_point_is_the_optimum_of_the_box(C):
    cp = pytest.importorskip("cvxpy")
    gram, y, costs = random_margin()
    limit = C * costs
    a = interior_point(BoxProgram(gram * np.outer(y, y), np.ones(30), limit, y[None], np.zeros(1)))
    assert np.all((a >= 0) & (a <= limit))
    assert abs(y @ a) <= 1e-8 * a.sum()
    z = cp.Variable(30)
    root = np.linalg.cholesky(gram + 1e-13 * np.eye(30)).T
    value = cp.Maximize(2 * cp.sum(z) - cp.sum_squares(root @ cp.multiply(y, z)))
    problem = cp.Problem(value, [z >= 0, z <= limit, y @ z == 0])
    problem.solve(solver="CLARABEL")
    ours = 2 * a.sum() - (y * a) @ gram @ (y * a)
    assert ours == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.parametrize("C", [1e-2, 1.0, 1e6])
def test_the_squared_hinge_meets_its_conditions(C):
    gram, y, costs = random_margin()
    found = squared_hinge(gram, y, C * costs)
    a = C * costs * found.slack
    np.testing.assert_allclose(y @ a, 0.0, atol=1e-6 * a.sum())
    margins = y * (gram @ (y * a) + found.intercept)
    np.testing.assert_allclose(np.maximum(0.0, 1.0 - margins), found.slack, atol=1e-6)


@pytest.mark.parametrize(
    "learner",
    [
        SoftMargin1(2.0),
        SoftMargin1(1e9),
        HardMargin(),
        NuMargin(0.3),
        OneClassMargin(0.3),
        TubeLoss(1e-6, 0.1),
        Interpolation(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_every_point_of_a_learner_bounds_other_kernels(learner):
    gram, y, costs = random_margin()
    other = Kernel("laplacian", gamma=0.5)(*[np.random.default_rng(0).standard_normal((30, 4))] * 2)
    here, there = learner.solve(gram, y, costs, 1e-5), learner.solve(other, y, costs, 1e-5)
    assert here.gap <= 1e-4
    bound = here.constant - here.scale * float(here.v @ other @ here.v)
    assert bound <= there.upper + 1e-9 * abs(there.upper)
