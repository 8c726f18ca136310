"""Weights of points are multiplicities, weights of classes factors of losses; what is kept is copied."""

import numpy as np
import pytest
from sklearn.svm import SVC

from kernelearn.errors import ArgumentError, DataError, ShapeError
from kernelearn.kernel_machines import (
    ConvexHullKernelClassifier,
    ConvexHullKernelRegressor,
    ConvexKernelLearner,
    FeatureKernels,
    HyperkernelClassifier,
    HyperkernelOneClass,
    HyperkernelRegressor,
    Kernel,
    KernelHead,
    MultipleKernelClassifier,
    MultipleKernelOneClass,
    SemidefiniteKernelClassifier,
)
from kernelearn.kernel_machines.kernels.hyperkernels import _quantile

PLAIN = {"tol": 1e-5}
BANK = ["rbf", Kernel("poly", gamma=0.5)]
SMALL = {"n_pivots": 12, "lambda_q": 5.0, **PLAIN}


def network(x, layers=None):
    return {"points": x, "squares": x**2}


CLASSIFIERS = {
    "soft1": SemidefiniteKernelClassifier(BANK, **PLAIN),
    "soft2": SemidefiniteKernelClassifier(BANK, criterion="soft2", **PLAIN),
    "tau": SemidefiniteKernelClassifier(BANK, criterion="soft2", learn_tau=True, **PLAIN),
    "alignment": SemidefiniteKernelClassifier(BANK, criterion="alignment", **PLAIN),
    "signed": SemidefiniteKernelClassifier(BANK, weights="signed", **PLAIN),
    "multiple": MultipleKernelClassifier(BANK, normalize="trace", **PLAIN),
    "multiple-alignment": MultipleKernelClassifier(BANK, weights="alignment", **PLAIN),
    "svm": ConvexKernelLearner(BANK, loss="svm", **PLAIN),
    "logistic": ConvexKernelLearner(BANK, loss="logistic", alpha=0.2, **PLAIN),
    "fisher": ConvexKernelLearner(BANK, loss="fisher", **PLAIN),
    "hull": ConvexHullKernelClassifier(loss="logistic", **PLAIN),
    "hyper-c": HyperkernelClassifier(C=1.0, **SMALL),
    "hyper-nu": HyperkernelClassifier(formulation="nu", **SMALL),
    "hyper-lagrangian": HyperkernelClassifier(formulation="lagrangian", **SMALL),
    "hyper-alignment": HyperkernelClassifier(formulation="alignment", **SMALL),
    "hyper-power": HyperkernelClassifier("power", C=1.0, **SMALL),
    "head": KernelHead(network, tol=1e-5),
}
REGRESSORS = {
    "ridge": ConvexKernelLearner(BANK, loss="ridge", alpha=0.2, **PLAIN),
    "tube": ConvexKernelLearner(BANK, loss="epsilon_insensitive", alpha=0.2, **PLAIN),
    "absolute": ConvexKernelLearner(BANK, loss="absolute", alpha=0.2, **PLAIN),
    "hull": ConvexHullKernelRegressor(alpha=0.2, **PLAIN),
    "hyper": HyperkernelRegressor(C=2.0, **SMALL),
}
DETECTORS = {
    "multiple": MultipleKernelOneClass(BANK, nu=0.2, **PLAIN),
    "hyper": HyperkernelOneClass(nu=0.2, **SMALL),
}


def scores_of(model, x):
    return model.decision_function(x) if hasattr(model, "decision_function") else model.predict(x)


def check_multiplicities(model, x, y, counts):
    """Weights, repeated rows and left-out rows must give one predictor, up to the duality gap."""
    from sklearn.base import clone

    weighted = clone(model).fit(x, y, sample_weight=counts)
    repeated = clone(model).fit(np.repeat(x, counts, axis=0), None if y is None else np.repeat(y, counts))
    # Signed weights can be used on points that were learnt from only.
    x = x[counts > 0]
    expected = scores_of(repeated, x)
    # An objective known to 1e-5 fixes a predictor to the root of that.
    np.testing.assert_allclose(scores_of(weighted, x), expected, atol=0.01 * np.abs(expected).max())
    if hasattr(weighted, "objective_"):
        assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-4)
    plain = clone(model).fit(x, None if y is None else y[counts > 0])
    assert np.abs(scores_of(plain, x) - expected).max() > 0.02 * np.abs(expected).max()


@pytest.fixture(scope="module")
def counts():
    """(40,) multiplicities 0 to 4."""
    return np.random.default_rng(1).integers(0, 5, 40)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_integer_weights_of_a_classifier_are_repeated_rows(rings, counts, name):
    check_multiplicities(CLASSIFIERS[name], *rings, counts)


@pytest.mark.parametrize("name", REGRESSORS)
def test_integer_weights_of_a_regressor_are_repeated_rows(curve, counts, name):
    check_multiplicities(REGRESSORS[name], curve[0][:40], curve[1][:40], counts)


@pytest.mark.parametrize("name", DETECTORS)
def test_integer_weights_of_a_detector_are_repeated_rows(rings, counts, name):
    check_multiplicities(DETECTORS[name], rings[0], None, counts)


def test_interpolation_leaves_out_points_without_weight(curve):
    x, y = curve
    weights = (np.arange(50) % 5 > 0).astype(float)
    model = ConvexHullKernelRegressor(loss="interpolation").fit(x, y, sample_weight=weights)
    kept = weights > 0
    spread = np.abs(y).max()
    np.testing.assert_allclose(model.predict(x[kept]), y[kept], atol=1e-5 * spread)
    assert np.abs(model.predict(x[~kept]) - y[~kept]).max() > 1e-3 * spread
    assert model.X_fit_.shape == (40, 1)


def test_weights_with_matrices_keep_the_columns_that_were_given(rings, counts):
    x, y = rings
    grams = [x @ x.T, Kernel("rbf", gamma=1.0)(x, x)]
    by_matrix = MultipleKernelClassifier("precomputed", **PLAIN).fit(grams, y, sample_weight=counts)
    numbers = np.arange(40)[:, None]
    by_number = MultipleKernelClassifier(grams, normalize=None, **PLAIN).fit(numbers, y, counts)
    np.testing.assert_allclose(
        by_matrix.decision_function(grams), by_number.decision_function(numbers), atol=1e-9
    )


def test_one_kernel_is_the_svc_of_scikit_learn(rings, counts):
    x, y = rings
    kernel = Kernel("rbf", gamma=0.7)
    ours = MultipleKernelClassifier(kernel, C=2.0, class_weight={1: 3.0}, tol=1e-7)
    ours.fit(x, y, sample_weight=counts)
    theirs = SVC(gamma=0.7, C=2.0, class_weight={1: 3.0}, tol=1e-8).fit(x, y, sample_weight=counts)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=2e-3)


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name != "fisher"])
def test_a_heavy_class_is_missed_less_often(rings, name):
    from sklearn.base import clone

    x, y = rings
    noisy = np.where(np.arange(40) % 7 == 0, 1 - y, y)
    # With nu, a class of almost all the weight leaves too little of the other one to lie outside.
    heavy = 1.5 if name == "hyper-nu" else 20.0
    shares = []
    for factor in (1.0, heavy):
        model = clone(CLASSIFIERS[name]).set_params(class_weight={1: factor})
        shares.append(np.mean(scores_of(model.fit(x, noisy), x)))
    assert shares[1] > shares[0]


def test_balanced_classes_count_weights(rings, counts):
    x, y = rings
    weighted = MultipleKernelClassifier(BANK, class_weight="balanced", **PLAIN).fit(x, y, counts)
    total = counts.sum()
    by_hand = {label: total / (2.0 * counts[y == label].sum()) for label in (0, 1)}
    explicit = MultipleKernelClassifier(BANK, class_weight=by_hand, **PLAIN).fit(x, y, counts)
    np.testing.assert_array_equal(weighted.decision_function(x), explicit.decision_function(x))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(39), ShapeError, "sample_weight must have one number for each of the 40"),
        (np.ones((40, 2)), ShapeError, "shape"),
        (-np.ones(40), DataError, "not negative"),
        (np.full(40, np.nan), DataError, "finite"),
        (np.zeros(40), DataError, "nothing to learn"),
        (np.arange(40) % 2, DataError, "two classes"),
    ],
)
def test_wrong_weights_are_explained(rings, weights, error, message):
    with pytest.raises(error, match=message):
        SemidefiniteKernelClassifier().fit(*rings, sample_weight=weights)


@pytest.mark.parametrize("class_weight", ["uniform", {2: 1.0}, {1: 0.0}, {1: np.inf}, [1.0, 2.0]])
def test_wrong_class_weights_are_explained(rings, class_weight):
    with pytest.raises(ArgumentError, match="class_weight"):
        ConvexKernelLearner(class_weight=class_weight).fit(*rings)


@pytest.mark.parametrize(
    "model",
    [
        ConvexKernelLearner(loss="fisher", class_weight="balanced"),
        ConvexKernelLearner(loss="ridge", class_weight="balanced"),
        SemidefiniteKernelClassifier(criterion="hard", class_weight="balanced"),
    ],
    ids=["fisher", "ridge", "hard"],
)
def test_class_weights_without_effect_are_refused(rings, model):
    with pytest.raises(ArgumentError, match="class_weight has no effect"):
        model.fit(*rings)


def test_quantiles_of_weighted_pairs_are_those_of_repeated_points():
    points = np.random.default_rng(4).standard_normal(9)
    counts = np.array([1, 3, 2, 1, 1, 4, 1, 2, 1])
    repeated = np.repeat(points, counts)
    expected = np.quantile(np.abs(repeated[:, None] - repeated), 0.9)
    assert _quantile(np.abs(points[:, None] - points), counts) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["soft1", "svm", "hull", "hyper-c", "multiple"])
def test_later_changes_of_the_data_do_not_reach_the_machine(rings, name):
    from sklearn.base import clone

    x, y = rings[0].copy(), rings[1].copy()
    model = clone(CLASSIFIERS[name]).fit(x, y)
    before = scores_of(model, rings[0])
    x[:] = 7.0
    np.testing.assert_array_equal(scores_of(model, rings[0]), before)


def test_later_changes_of_matrices_and_columns_do_not_reach_the_machine(rings):
    x, y = rings
    gram, columns = np.ascontiguousarray(x @ x.T), np.array([0, 1])
    numbers = np.arange(40)[:, None]
    by_matrix = MultipleKernelClassifier([gram]).fit(numbers, y)
    by_column = MultipleKernelClassifier(Kernel("rbf", gamma=1.0, columns=columns)).fit(x, y)
    before = by_matrix.decision_function(numbers), by_column.decision_function(x)
    gram[:] = 0.0
    columns[:] = 3
    np.testing.assert_array_equal(by_matrix.decision_function(numbers), before[0])
    np.testing.assert_array_equal(by_column.decision_function(x), before[1])


def test_negative_zero_is_a_known_point(rings):
    x, y = rings[0].copy(), rings[1]
    x[:20, 3] = 0.0
    model = SemidefiniteKernelClassifier(BANK, weights="signed").fit(x, y)
    same = x.copy()
    same[:20, 3] = -0.0
    np.testing.assert_array_equal(model.decision_function(same), model.decision_function(x))


def test_features_that_do_not_vary_are_no_noise():
    constant = np.full((30, 3), 0.1)
    features = FeatureKernels(lambda x, layers: {"flat": np.full((len(x), 5), 0.1), "x": x})
    rng = np.random.default_rng(0)
    fitted = features.fit(rng.standard_normal((30, 3)) * 1e-9)
    assert fitted.scales_[0] == 0.0
    assert fitted.scales_[1] > 0.0
    with pytest.raises(ArgumentError, match="nothing to learn"):
        features.fit(constant)
