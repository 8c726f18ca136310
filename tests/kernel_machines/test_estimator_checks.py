"""scikit-learn's own contract for estimators, for every estimator and loss of the family."""

import pytest

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelearn.kernel_machines import (
    ConvexHullKernelClassifier,
    ConvexHullKernelRegressor,
    ConvexKernelLearner,
    HyperkernelClassifier,
    HyperkernelRegressor,
    MultipleKernelClassifier,
    SemidefiniteKernelClassifier,
)

ESTIMATORS = [
    SemidefiniteKernelClassifier(),
    SemidefiniteKernelClassifier(criterion="alignment"),
    MultipleKernelClassifier(),
    MultipleKernelClassifier("rbf", multiclass="ovr"),
    MultipleKernelClassifier(weights="uniform"),
    # A coarser grid and gap: the contract is checked here, the optimum in test_optima.py.
    ConvexHullKernelClassifier(n_grid=20, tol=1e-2),
    ConvexHullKernelRegressor(n_grid=20, tol=1e-2),
    HyperkernelClassifier(n_pivots=20),
    HyperkernelClassifier("gaussian", formulation="lagrangian", n_pivots=20),
    HyperkernelRegressor(n_pivots=20),
    ConvexKernelLearner(loss="svm"),
    ConvexKernelLearner(loss="ridge"),
    ConvexKernelLearner(loss="logistic"),
    ConvexKernelLearner(loss="fisher"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
