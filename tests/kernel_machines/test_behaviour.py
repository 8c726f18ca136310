"""What users meet: wrong input, warnings, persistence, pipelines, progress, large and odd problems."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernelearn.errors import ArgumentError, DataError, ShapeError, UnknownNameError
from kernelearn.kernel_machines import (
    ConvexHullKernelClassifier,
    ConvexHullKernelRegressor,
    ConvexKernelLearner,
    HyperkernelClassifier,
    Kernel,
    MultipleKernelClassifier,
    SemidefiniteKernelClassifier,
    rbf_bank,
)

CLASSIFIERS = [
    SemidefiniteKernelClassifier(),
    MultipleKernelClassifier(),
    ConvexKernelLearner(),
    ConvexHullKernelClassifier(),
    HyperkernelClassifier(n_pivots=10),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
def test_one_class_is_explained(model, rings):
    with pytest.raises(DataError, match="two classes"):
        model.fit(rings[0], np.zeros(40))


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
def test_nan_is_refused(model, rings):
    x = rings[0].copy()
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(x, rings[1])


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
def test_models_survive_pickling_small(model, rings):
    x, y = rings
    model = model.fit(x, y)
    stored = pickle.dumps(model)
    np.testing.assert_array_equal(pickle.loads(stored).decision_function(x), model.decision_function(x))
    assert len(stored) < 40_000


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            SemidefiniteKernelClassifier(criterion="l1"),
            ArgumentError,
            "'hard', 'soft1', 'soft2', 'alignment'",
        ),
        (SemidefiniteKernelClassifier(C=0), ArgumentError, "C must be a number > 0"),
        (SemidefiniteKernelClassifier(learn_tau=True), ArgumentError, "criterion='soft2'"),
        (SemidefiniteKernelClassifier(kernels="gauss"), UnknownNameError, "Known"),
        (SemidefiniteKernelClassifier(normalize="max"), ArgumentError, "normalize"),
        (MultipleKernelClassifier(storage="disk"), ArgumentError, "storage"),
        (MultipleKernelClassifier(storage="nystroem", n_components=0), ArgumentError, "n_components"),
        (MultipleKernelClassifier(weights="best", cv=1), ArgumentError, "cv must be an integer >= 2"),
        (MultipleKernelClassifier(max_iter=0.5), ArgumentError, "max_iter must be an integer >= 1"),
        (MultipleKernelClassifier(C=float("inf")), ArgumentError, "C must be a number > 0"),
        (ConvexKernelLearner(loss="l1"), ArgumentError, "loss"),
        (ConvexHullKernelClassifier((1.0, 0.1)), ArgumentError, "0 < a <= b"),
        (ConvexHullKernelClassifier("wide"), ArgumentError, "gamma_range"),
        (ConvexHullKernelClassifier(n_grid=2), ArgumentError, "n_grid"),
    ],
)
def test_wrong_parameters_are_explained(model, error, message, rings):
    with pytest.raises(error, match=message):
        model.fit(*rings)


def test_wrong_shapes_are_explained(rings):
    x, y = rings
    with pytest.raises(ShapeError, match="40 points and y has 39"):
        MultipleKernelClassifier().fit(x, y[:39])
    fitted = MultipleKernelClassifier("precomputed").fit([x @ x.T], y)
    with pytest.raises(ShapeError, match="precomputed"):
        fitted.predict(np.zeros((2, 5, 40)))
    with pytest.raises(ShapeError, match="kernel matrices"):
        MultipleKernelClassifier("precomputed").fit(x, y)


def test_precomputed_refuses_what_it_cannot_do(rings):
    x, y = rings
    with pytest.raises(ArgumentError, match="normalize='trace'"):
        MultipleKernelClassifier("precomputed", normalize="cosine").fit([x @ x.T], y)
    with pytest.raises(ArgumentError, match="Transduction"):
        SemidefiniteKernelClassifier("precomputed").fit([x @ x.T], y, X_test=x)
    with pytest.raises(ArgumentError, match="not positive semidefinite"):
        SemidefiniteKernelClassifier("precomputed").fit([-x @ x.T], y)


def test_matrices_are_not_kept(rings):
    x, y = rings
    model = MultipleKernelClassifier("precomputed").fit([x @ x.T, (x @ x.T) ** 2], y)
    assert len(pickle.dumps(model)) < 8_000


def test_unreached_tolerance_warns_with_the_gap(rings):
    with pytest.warns(ConvergenceWarning, match="gap of"):
        model = MultipleKernelClassifier(tol=1e-9, max_iter=2).fit(*rings)
    assert model.gap_ > 1e-9


def test_ill_posed_signed_problems_warn(rings):
    bank = rbf_bank(np.geomspace(0.01, 0.02, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        bounded = pytest.warns(UserWarning, match="reached weight_bound")
        with bounded, pytest.warns(UserWarning, match="collinear"):
            model = SemidefiniteKernelClassifier(bank, weights="signed", weight_bound=5.0, max_iter=40).fit(
                *rings
            )
    assert np.abs(model.kernel_weights_).max() <= 5.0 * 6 * (1 + 1e-6)


def test_progress_is_printed(rings, capsys):
    model = MultipleKernelClassifier(verbose=1).fit(*rings)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(model.history_)
    assert all("gap" in line for line in lines)


def test_history_brackets_the_optimum(rings):
    model = SemidefiniteKernelClassifier(tol=1e-5).fit(*rings)
    lower, upper = np.array(model.history_).T
    assert np.all(np.diff(lower) >= -1e-12)
    assert np.all(np.diff(upper) <= 1e-12)
    assert np.all(lower <= model.objective_ + 1e-9)


def test_pipelines_and_searches(rings):
    x, y = rings
    model = make_pipeline(StandardScaler(), SemidefiniteKernelClassifier())
    search = GridSearchCV(model, {"semidefinitekernelclassifier__C": [0.1, 10.0]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.6
    grams = [np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=2)), x @ x.T]
    scores = cross_val_score(MultipleKernelClassifier(grams), np.arange(40)[:, None], y, cv=4)
    assert scores.mean() > 0.7
    single = cross_val_score(MultipleKernelClassifier("precomputed"), grams[0], y, cv=4)
    assert single.mean() > 0.7


@pytest.mark.parametrize("storage", ["float32", "on_the_fly", "nystroem"])
def test_storages_learn_the_same_weights(rings, storage):
    x, y = rings
    bank = [Kernel("rbf", gamma=1.0), Kernel("poly"), Kernel("linear")]
    exact = MultipleKernelClassifier(bank, tol=1e-4).fit(x, y)
    other = MultipleKernelClassifier(bank, tol=1e-4, storage=storage, n_components=40, random_state=0).fit(
        x, y
    )
    np.testing.assert_allclose(other.kernel_weights_, exact.kernel_weights_, atol=0.02)
    np.testing.assert_allclose(other.decision_function(x), exact.decision_function(x), atol=0.05)


def test_automatic_storage_follows_memory():
    from kernelearn.kernel_machines.kernels.grams import _resolve_storage

    assert _resolve_storage("auto", 1000, 10) == "float64"
    assert _resolve_storage("auto", 10_000, 10) == "float32"
    assert _resolve_storage("auto", 50_000, 10) == "on_the_fly"


def test_feature_blocks_find_the_informative_block():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((80, 6))
    y = (x[:, 2] + x[:, 3] > 0).astype(int)
    model = MultipleKernelClassifier("rbf", feature_blocks=[[0, 1], [2, 3], [4, 5]]).fit(x, y)
    assert np.argmax(model.kernel_weights_) == 1
    assert model.kernel_weights_[1] > 0.7


def test_points_without_length_are_harmless(rings):
    x, y = rings
    x = x.copy()
    x[0] = 0.0
    assert np.all(np.isfinite(MultipleKernelClassifier(["linear", "rbf"]).fit(x, y).decision_function(x)))


def test_scale_of_the_target_does_not_change_the_weights(curve):
    x, y = curve
    one = ConvexHullKernelRegressor((0.1, 50.0), alpha=0.1).fit(x, y)
    other = ConvexHullKernelRegressor((0.1, 50.0), alpha=0.1).fit(x, 1e-4 * y)
    np.testing.assert_allclose(other.gammas_, one.gammas_, rtol=1e-4)
    np.testing.assert_allclose(other.predict(x), 1e-4 * one.predict(x), atol=1e-8)


def test_alignment_weights_maximise_the_alignment(rings):
    x, y = rings
    bank = [Kernel("poly"), Kernel("rbf", gamma=1.0), Kernel("linear")]
    model = SemidefiniteKernelClassifier(bank, criterion="alignment").fit(x, y)
    labels = np.where(y == 1, 1.0, -1.0)
    rng = np.random.default_rng(0)

    def align(mu):
        gram = model._bank.combine(mu)
        return labels @ gram @ labels / (np.linalg.norm(gram) * len(y))

    assert align(model.kernel_weights_) == pytest.approx(-model.objective_)
    assert all(align(rng.random(3)) <= -model.objective_ + 1e-9 for _ in range(50))


def test_learning_prefers_the_better_kernel_over_noise():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((60, 2))
    y = (x[:, 0] > 0).astype(int)
    noise = rng.standard_normal((60, 60))
    grams = [noise @ noise.T / 60, x @ x.T]
    model = MultipleKernelClassifier(grams).fit(np.arange(60)[:, None], y)
    assert model.kernel_weights_[1] > 0.6


def test_negative_alignment_is_refused():
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    with pytest.raises(DataError, match="aligned"):
        SemidefiniteKernelClassifier("linear", criterion="alignment", normalize=None).fit(
            x - 0.5, [0, 1, 0, 1]
        )
