"""No result depends on the unit of targets or kernels, and no bound is believed that cannot be true."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

from kernelearn.kernel_machines import (
    ConvexHullKernelRegressor,
    ConvexKernelLearner,
    HyperkernelClassifier,
    HyperkernelRegressor,
    Kernel,
    MultipleKernelClassifier,
    MultipleKernelOneClass,
    SemidefiniteKernelClassifier,
)
from kernelearn.kernel_machines.solvers.master import Cut, Region, minimise_cuts
from kernelearn.kernel_machines.solvers.silp import relative_gap, solve_silp
from tests.sweeps import some

# The far ones always: what holds for them holds between.
UNITS = some([1e-8, 1e-3, 1e5, 1e8], quick=(1e-8, 1e8))
# Two paths that differ by rounding of 1e-16 a step are stopped by the same gap: a few hundred steps apart.
SAME = 1e-9
# libsvm and the search for widths stop by a tolerance in units of the problem: there the paths may differ.
CLOSE = 2e-3


def regressors(unit):
    """Every regressor with its loss in this unit of y, and the factor of its objective."""
    bank = [Kernel("rbf", gamma=0.5), Kernel("rbf", gamma=20.0), Kernel("linear")]
    absolute = {"alpha": 0.2 / unit, "epsilon": 0.1 * unit}
    for learner in (lambda **more: ConvexKernelLearner(bank, **more), ConvexHullKernelRegressor):
        square = "ridge" if learner is not ConvexHullKernelRegressor else "square"
        yield square, learner(loss=square, alpha=0.2), unit**2, SAME
        yield "no intercept", learner(loss=square, alpha=0.2, fit_intercept=False), unit**2, SAME
        yield "interpolation", learner(loss="interpolation"), unit**2, SAME
        yield "absolute", learner(loss="absolute", **absolute), unit, CLOSE
        yield "tube", learner(loss="epsilon_insensitive", **absolute), unit, CLOSE
    yield "hyperkernel", HyperkernelRegressor(widths=2.0, n_pivots=8, C=3.0), unit, CLOSE


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("number", range(11))
def test_the_unit_of_the_target_changes_nothing(curve, number, unit):
    x, y = curve[0][::2], curve[1][::2]
    name, one, _, bound = list(regressors(1.0))[number]
    _, other, factor, _ = list(regressors(unit))[number]
    one.fit(x, y)
    other.fit(x, y * unit)
    weights = other.kernel_weights_ / (unit if name == "hyperkernel" else 1.0)
    if bound == SAME or name == "hyperkernel":
        np.testing.assert_allclose(weights, one.kernel_weights_, atol=bound)
    assert other.objective_ / factor == pytest.approx(one.objective_, rel=bound)
    assert other.lower_bound_ / factor == pytest.approx(one.lower_bound_, rel=bound)
    assert other.lower_bound_ <= other.objective_
    assert other.gap_ <= 1e-3
    spread = np.abs(one.predict(x)).max()
    np.testing.assert_allclose(other.predict(x) / unit, one.predict(x), atol=spread * np.sqrt(bound))


@pytest.mark.parametrize("number", [0, 3, 10])
def test_an_offset_of_the_target_is_the_intercepts(curve, number):
    x, y = curve[0][::2], curve[1][::2]
    _, one, _, _ = list(regressors(1.0))[number]
    _, other, _, _ = list(regressors(1.0))[number]
    # y + 1e6 keeps y to 1e-10: what is learnt from it can be no closer.
    near, far = one.fit(x, y).predict(x), other.fit(x, y + 1e6).predict(x) - 1e6
    np.testing.assert_allclose(far, near, atol=2e-2 if number else 1e-6)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "setting",
    [
        {"criterion": "hard"},
        {"criterion": "soft1"},
        {"criterion": "soft2"},
        {"criterion": "alignment"},
        {"criterion": "soft1", "weights": "signed"},
        {"criterion": "alignment", "weights": "signed"},
    ],
    ids=lambda s: "-".join(s.values()),
)
def test_the_unit_of_the_kernels_changes_nothing(rings, setting, unit):
    x, y = rings
    grams = [Kernel("rbf", gamma=1.0)(x, x), Kernel("poly", gamma=0.5)(x, x), Kernel("rbf", gamma=0.1)(x, x)]
    points = np.arange(40)[:, None]

    def fitted(size):
        banks = [gram * size for gram in grams]
        model = SemidefiniteKernelClassifier(banks, C=2.0 / size, normalize=None, tol=1e-4, **setting)
        return model.fit(points, y)

    one, other = fitted(1.0), fitted(unit)
    factor = 1.0 if setting["criterion"] == "alignment" else unit
    assert other.objective_ * factor == pytest.approx(one.objective_, rel=1e-4)
    assert other.lower_bound_ <= other.objective_
    np.testing.assert_allclose(other.kernel_weights_, one.kernel_weights_, atol=2e-3)
    np.testing.assert_allclose(other.decision_function(points), one.decision_function(points), atol=5e-3)


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_of_the_kernels_changes_nothing_for_other_machines(rings, unit):
    x, y = rings
    grams = [Kernel("rbf", gamma=1.0)(x, x), Kernel("poly", gamma=0.5)(x, x)]
    points = np.arange(40)[:, None]
    makers = [
        lambda size: MultipleKernelClassifier([k * size for k in grams], C=1.0 / size, normalize=None),
        lambda size: MultipleKernelOneClass([k * size for k in grams], nu=0.2, normalize=None),
        lambda size: ConvexKernelLearner(
            [k * size for k in grams], loss="logistic", alpha=0.1 * size, normalize=None
        ),
        lambda size: ConvexKernelLearner(
            [k * size for k in grams], loss="fisher", alpha=0.1 * size, normalize=None
        ),
    ]
    for make in makers:
        one, other = make(1.0).fit(points, y), make(unit).fit(points, y)
        np.testing.assert_allclose(other.kernel_weights_, one.kernel_weights_, atol=CLOSE)
        assert one.gap_ <= 1e-3
        assert other.gap_ <= 1e-3


def test_kernels_of_different_sizes_align_as_equal_ones(rings):
    x, y = rings
    grams = [Kernel("rbf", gamma=1.0)(x, x), Kernel("poly", gamma=0.5)(x, x)]
    points = np.arange(40)[:, None]
    equal = MultipleKernelClassifier(grams, weights="alignment", normalize=None).fit(points, y)
    sizes = np.array([1e7, 1e-7])
    mixed = [gram * size for gram, size in zip(grams, sizes)]
    other = MultipleKernelClassifier(mixed, weights="alignment", normalize=None).fit(points, y)
    back = other.kernel_weights_ * sizes
    np.testing.assert_allclose(back / back.sum(), equal.kernel_weights_, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1.0, 1e12, 1e200])
def test_the_master_programme_has_no_unit(unit):
    rng = np.random.default_rng(0)
    corners = rng.random((6, 4)) + np.diag([0, 1, 2, 3.0, 0, 0])[:, :4]
    plain = minimise_cuts([Cut(0.0, -row, 9.0) for row in corners], Region.simplex(4))
    scaled = minimise_cuts([Cut(0.0, -unit * row, 9.0) for row in corners], Region.simplex(4))
    np.testing.assert_allclose(scaled.weights, plain.weights, atol=1e-9)
    assert scaled.value / unit == pytest.approx(plain.value, rel=1e-9)
    at_weights = max(float(row @ plain.weights) for row in corners)
    assert plain.value <= at_weights * (1 + 1e-12)
    assert plain.value == pytest.approx(at_weights, rel=1e-8)


def test_a_weak_cut_of_another_size_does_not_spoil_the_bound():
    cuts = [Cut(2.0, np.array([1.0, 0.5]), 9.0), Cut(1e12, np.array([1e12, 1e12 - 1.0]), 9.0)]
    master = minimise_cuts(cuts, Region.simplex(2), np.array([1.0, 0.0]))
    assert master.value == pytest.approx(1.0, rel=1e-9)
    assert master.value <= 1.0


def test_crossed_bounds_are_a_failure_and_not_a_gap_of_zero():
    assert relative_gap(1.0, 1.0 - 1e-13) == 0.0
    assert relative_gap(1.0, 0.5) == np.inf
    assert relative_gap(0.0, 0.0) == 0.0
    assert relative_gap(1.0, 1.0 - 1e-9) == np.inf
    assert relative_gap(1.0, 1.0 - 1e-9, size=1e3) == 0.0


def test_a_learner_that_lies_is_found_out():
    def oracle(theta, tol):
        return Cut(2.0, np.array([0.5, 0.1]), 1.0)

    with pytest.warns(ConvergenceWarning, match="lies above the objective"):
        result = solve_silp(oracle, 2)
    assert result.gap == np.inf
    assert not result.converged
    assert result.n_iter == 1


@pytest.mark.parametrize("criterion", ["soft1", "soft2"])
@pytest.mark.parametrize("C", [1e4, 1e6, 1e8])
def test_overlapping_classes_with_a_large_C_are_solved_to_the_end(criterion, C):
    x, y = make_classification(100, 10, flip_y=0.15, random_state=3)
    bank = [Kernel("linear"), Kernel("linear", columns=[0, 1, 2])]
    model = SemidefiniteKernelClassifier(bank, criterion=criterion, C=C).fit(x, y)
    assert model.gap_ <= 1e-3
    assert model.lower_bound_ <= model.objective_
    # The optimum of a problem without separation grows with C, and tends to C times what is left of the loss.
    ten = SemidefiniteKernelClassifier(bank, criterion=criterion, C=10 * C).fit(x, y)
    assert ten.objective_ / model.objective_ == pytest.approx(10.0, rel=5e-3)


def test_nu_and_regression_machines_end_with_extreme_settings(rings, curve):
    x, y = rings
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        margin = HyperkernelClassifier(formulation="nu", nu=0.05, n_pivots=8).fit(x, y)
        tube = HyperkernelRegressor(C=1e7, n_pivots=8, widths=2.0, tol=1e-2).fit(curve[0][::2], curve[1][::2])
    assert margin.gap_ <= 1e-3
    assert tube.gap_ <= 1e-2
