"""Every solver against the same problem written for CVXPY, and its certificates against their definitions."""

import numpy as np
import pytest

pytest.importorskip("cvxpy")

from kernelearn.errors import ArgumentError, DataError
from kernelearn.kernel_machines import (
    ConvexHullKernelClassifier,
    ConvexHullKernelRegressor,
    ConvexKernelLearner,
    HyperkernelClassifier,
    HyperkernelRegressor,
    Kernel,
    MultipleKernelClassifier,
    SemidefiniteKernelClassifier,
)
from kernelearn.kernel_machines.kernels.functions import squared_distances
from kernelearn.kernel_machines.solvers.column_generation import caratheodory, width_spectrum
from tests.sweeps import some

BANK = [Kernel("poly", gamma=0.5), Kernel("rbf", gamma=1.0), Kernel("rbf", gamma=0.1), Kernel("linear")]
CRITERIA = [("hard", False), ("soft1", False), ("soft2", False), ("soft2", True), ("alignment", False)]


def machine(criterion, learn_tau, **more):
    return SemidefiniteKernelClassifier(BANK, criterion=criterion, learn_tau=learn_tau, **more)


@pytest.mark.parametrize("transduction", [False, True])
@pytest.mark.parametrize(("criterion", "learn_tau"), CRITERIA)
def test_nonnegative_optimum_is_that_of_the_qcqp(rings, criterion, learn_tau, transduction):
    x, y = rings
    test = x[30:] if transduction else None
    ours = machine(criterion, learn_tau, tol=1e-4).fit(x[:30], y[:30], X_test=test)
    reference = machine(criterion, learn_tau, solver="clarabel").fit(x[:30], y[:30], X_test=test)
    assert ours.gap_ <= 1e-4
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)
    assert ours.tau_ == pytest.approx(reference.tau_, abs=0.05)


@pytest.mark.parametrize(
    ("criterion", "learn_tau"), some(CRITERIA, quick=[("soft1", False), ("soft2", True)])
)
def test_signed_optimum_is_that_of_the_sdp(rings, criterion, learn_tau):
    x, y = rings
    ours = machine(criterion, learn_tau, weights="signed", tol=2e-4).fit(x[:24], y[:24], X_test=x[24:32])
    reference = machine(criterion, learn_tau, weights="signed", solver="cvxpy").fit(
        x[:24], y[:24], X_test=x[24:32]
    )
    unsigned = machine(criterion, learn_tau).fit(x[:24], y[:24], X_test=x[24:32])
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)
    assert ours.lower_bound_ <= unsigned.objective_ + 1e-9


def test_signed_optimum_can_beat_the_nonnegative_one(rings):
    x, y = rings
    signed = machine("soft1", False, weights="signed").fit(x, y)
    assert signed.kernel_weights_.min() < -0.01
    assert signed.objective_ < 0.99 * machine("soft1", False).fit(x, y).lower_bound_


def test_signed_kernel_is_semidefinite_over_all_points(rings):
    x, y = rings
    model = machine("soft1", False, weights="signed").fit(x[:30], y[:30], X_test=x[30:])
    atoms = [kernel(x, x) for kernel in model.kernels_]
    cosines = [k / np.sqrt(np.outer(np.diag(k), np.diag(k))) for k in atoms]
    combined = np.tensordot(model.kernel_weights_, np.stack(cosines), axes=1)
    assert np.linalg.eigvalsh(combined)[0] > -1e-6
    assert np.trace(combined) == pytest.approx(4 * 40)


def test_signed_weights_label_only_known_points(rings):
    x, y = rings
    model = machine("soft1", False, weights="signed").fit(x[:30], y[:30], X_test=x[30:35])
    assert model.predict(x[28:35]).shape == (7,)
    with pytest.raises(ArgumentError, match="5 of 10 points"):
        model.predict(x[30:])


def test_trace_budget_is_spent(rings):
    x, y = rings
    model = machine("soft2", True, trace=100.0).fit(x[:30], y[:30], X_test=x[30:])
    assert 40 * (model.kernel_weights_.sum() + model.tau_) == pytest.approx(100.0)


def test_inseparable_classes_are_explained(rings):
    x, y = rings
    with pytest.raises(DataError, match="separates"):
        SemidefiniteKernelClassifier("linear", criterion="hard").fit(x, y)


def test_joint_multiclass_optimum():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((36, 3)), np.arange(36) % 3
    x[:, 0] += y
    ours = machine("soft1", False, tol=1e-4).fit(x, y)
    reference = machine("soft1", False, solver="clarabel").fit(x, y)
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)
    assert ours.decision_function(x).shape == (36, 3)


@pytest.mark.parametrize("loss", some(["svm", "logistic", "fisher"], quick=["svm", "fisher"]))
def test_convex_learner_classifies_at_the_optimum(rings, loss):
    x, y = rings
    ours = ConvexKernelLearner(BANK, loss=loss, alpha=0.3, tol=1e-4).fit(x, y)
    reference = ConvexKernelLearner(BANK, loss=loss, alpha=0.3, solver="cvxpy").fit(x, y)
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)
    assert ours.lower_bound_ <= ours.objective_
    assert ours.score(x, y) > 0.8


@pytest.mark.parametrize("fit_intercept", some([True, False], quick=[True]))
def test_convex_learner_regresses_at_the_optimum(curve, fit_intercept):
    x, y = curve
    bank = [Kernel("rbf", gamma=g) for g in (0.1, 1.0, 10.0)]
    ours = ConvexKernelLearner(bank, loss="ridge", alpha=0.3, tol=1e-4, fit_intercept=fit_intercept).fit(
        x, y + 2
    )
    reference = ConvexKernelLearner(
        bank, loss="ridge", alpha=0.3, solver="cvxpy", fit_intercept=fit_intercept
    ).fit(x, y + 2)
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)
    np.testing.assert_allclose(ours.predict(x), reference.predict(x), atol=0.02)


def test_ridge_objective_is_its_closed_form(curve):
    x, y = curve
    model = ConvexKernelLearner([Kernel("rbf", gamma=1.0)], loss="ridge", alpha=0.5, fit_intercept=False).fit(
        x, y
    )
    gram = Kernel("rbf", gamma=1.0)(x, x)
    assert model.objective_ == pytest.approx(0.5 * y @ np.linalg.solve(gram + 0.5 * np.eye(50), y))


def test_logistic_probabilities(rings):
    x, y = rings
    model = ConvexKernelLearner(BANK, loss="logistic", alpha=0.1).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)
    assert not hasattr(ConvexKernelLearner(loss="svm"), "predict_proba")
    assert not hasattr(ConvexKernelLearner(loss="ridge"), "decision_function")


@pytest.mark.parametrize("formulation", ["c", "nu", "lagrangian", "alignment"])
@pytest.mark.parametrize("lambda_q", [1.0, 50.0])
def test_hyperkernel_classifier_is_at_the_optimum(rings, formulation, lambda_q):
    x, y = rings
    setting = {"formulation": formulation, "lambda_q": lambda_q, "C": 0.8, "widths": 0.5, "n_pivots": 12}
    ours = HyperkernelClassifier(**setting, tol=1e-4).fit(x[:24], y[:24])
    reference = HyperkernelClassifier(**setting, solver="cvxpy").fit(x[:24], y[:24])
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)


def test_hyperkernel_regressor_is_at_the_optimum(curve):
    x, y = curve
    setting = {"C": 2.0, "widths": 2.0, "n_pivots": 8}
    ours = HyperkernelRegressor(**setting, tol=1e-4).fit(x[::2], y[::2])
    reference = HyperkernelRegressor(**setting, solver="cvxpy").fit(x[::2], y[::2])
    assert ours.objective_ == pytest.approx(reference.lower_bound_, rel=1e-3)


@pytest.mark.parametrize("loss", ["hinge", "logistic", "square"])
def test_convex_hull_certificate(rings, loss):
    x, y = rings
    model = ConvexHullKernelClassifier((0.01, 50.0), loss=loss, alpha=0.1, tol=1e-4).fit(x, y)
    grid = [Kernel("rbf", gamma=float(g)) for g in np.geomspace(0.01, 50.0, 40)]
    named = {"hinge": "svm", "logistic": "logistic"}
    if loss in named:
        on_grid = ConvexKernelLearner(grid, loss=named[loss], alpha=0.1, tol=1e-4, normalize=None).fit(x, y)
        assert model.lower_bound_ <= on_grid.objective_
        assert model.objective_ <= on_grid.objective_ * (1 + 2e-4)
    assert model.certificate_.gap <= 1e-4
    assert model.kernel_weights_.sum() == pytest.approx(1.0)


def test_convex_hull_atoms_maximise_the_spectrum(curve):
    x, y = curve
    model = ConvexHullKernelRegressor((0.01, 100.0), alpha=0.1, tol=1e-6).fit(x, y)
    v = model.dual_coef_.T
    distances = squared_distances(x, x)
    atoms = width_spectrum(distances, v, model.gammas_)
    everywhere = width_spectrum(distances, v, np.geomspace(0.01, 100.0, 500))
    assert len(model.gammas_) >= 2
    np.testing.assert_allclose(atoms, everywhere.max(), rtol=2e-3)
    assert 0.1 * everywhere.max() == pytest.approx(model.certificate_.best_value, rel=1e-3)
    np.testing.assert_allclose(model.certificate_.atom_values, model.certificate_.best_value, rtol=1e-3)


def test_convex_hull_beats_any_single_gaussian(curve):
    x, y = curve
    model = ConvexHullKernelRegressor((0.01, 100.0), alpha=0.1).fit(x, y)
    for gamma in np.geomspace(0.01, 100, 20):
        single = ConvexHullKernelRegressor((gamma, gamma), alpha=0.1).fit(x, y)
        assert model.lower_bound_ <= single.objective_ + 1e-9
        assert single.gammas_ == pytest.approx([gamma])


def test_caratheodory_keeps_the_mean():
    rng = np.random.default_rng(0)
    points, weights = rng.standard_normal((4, 20)), rng.random(20)
    weights /= weights.sum()
    reduced = caratheodory(points, weights)
    assert np.count_nonzero(reduced) <= 5
    assert reduced.min() >= 0
    assert reduced.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(points @ reduced, points @ weights, atol=1e-12)


def test_multiple_kernel_gap_bounds_the_baselines(rings):
    x, y = rings
    learned = MultipleKernelClassifier(BANK, tol=1e-4).fit(x, y)
    uniform = MultipleKernelClassifier(BANK, weights="uniform").fit(x, y)
    best = MultipleKernelClassifier(BANK, weights="best", random_state=0).fit(x, y)
    for baseline in (uniform, best):
        assert baseline.lower_bound_ <= learned.objective_ <= baseline.objective_ + 1e-9
    assert np.count_nonzero(best.kernel_weights_) == 1
    assert best.kernel_weights_[np.argmax(best.cv_scores_)] == 1.0


def test_one_against_rest_has_weights_per_class():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((60, 3)), np.arange(60) % 3
    x[:, 0] += 2 * y
    model = MultipleKernelClassifier(BANK, multiclass="ovr").fit(x, y)
    single = MultipleKernelClassifier(BANK).fit(x, y == 1)
    np.testing.assert_allclose(model.kernel_weights_[1], single.kernel_weights_, atol=1e-9)
    np.testing.assert_allclose(model.decision_function(x)[:, 1], single.decision_function(x), atol=1e-9)
