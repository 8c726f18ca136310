"""A kernel and a predictor learnt in one convex problem: Kim, Zymnis, Magnani, Koh and Boyd, ICASSP 2008."""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import r2_score
from sklearn.utils import RegressorTags, Tags
from sklearn.utils.metaestimators import available_if

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.base import KernelClassifierMixin, KernelMachine, make_oracle
from kernelearn.kernel_machines.estimators.parameters import (
    POSITIVE,
    SOLVER_LIMITS,
    Choice,
    Constraint,
    Number,
)
from kernelearn.kernel_machines.estimators.risks import CLASSIFICATION, Risk, check_intercept, probabilities
from kernelearn.kernel_machines.estimators.targets import RealTarget, check_target
from kernelearn.kernel_machines.estimators.weights import ClassWeight
from kernelearn.kernel_machines.kernels.functions import KernelLike, Seed
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.points import check_interpolates
from kernelearn.kernel_machines.solvers.silp import SilpResult

# The names of this estimator, and those of the risks.
LOSSES = {
    "ridge": "square",
    "svm": "hinge",
    "logistic": "logistic",
    "fisher": "fisher",
    "absolute": "absolute",
    "epsilon_insensitive": "epsilon_insensitive",
    "interpolation": "interpolation",
}


def _is_classifier(estimator: "ConvexKernelLearner") -> bool:
    return LOSSES.get(estimator.loss, "hinge") in CLASSIFICATION


def _is_logistic(estimator: "ConvexKernelLearner") -> bool:
    return estimator.loss == "logistic"


class ConvexKernelLearner(KernelClassifierMixin, KernelMachine):
    """Regressor or classifier whose kernel is a learnt convex combination of given kernels.

    Solves min over theta in the simplex, f, b of sum_i psi(y_i, f(x_i) + b) + alpha ||f||^2 with f in the
    space of K = sum theta_i K_i: jointly convex. With "fisher" it maximises the regularised Fisher ratio
    instead.

    Args:
        kernels: see `SemidefiniteKernelClassifier`.
        loss: "svm" (hinge), "logistic" or "fisher" (kernel Fisher discriminant): classifiers, one against the
            rest on a joint kernel for more than two classes. "ridge" (square loss), "absolute",
            "epsilon_insensitive" or "interpolation" (the smallest norm that meets every target; it has no
            `alpha`): regressors.
        alpha: regularisation, > 0; "svm" and the absolute losses correspond to C = 1 / (2 alpha).
        epsilon: of "epsilon_insensitive", >= 0, in the unit of y: smaller errors cost nothing.
        fit_intercept: False only with "ridge" and "interpolation"; the others always have an intercept.
        class_weight: of classifiers: None, "balanced", or a dict from label to the factor of its losses.
        solver, normalize, storage, n_components, tol, max_iter, verbose, random_state: see
            `SemidefiniteKernelClassifier`.

    Attributes:
        kernel_weights_: (m,) theta, nonnegative, summing to one, on the normalised kernels.
        objective_, lower_bound_, gap_: both bounds on the optimum ("fisher": of the negated ratio).
        dual_coef_ (k, n), intercept_ (k,), kernel_names_, classes_ (classifiers), n_iter_, history_.

    Source: Kim et al., ICASSP 2008; Fisher discriminant: Kim, Magnani and Boyd, ICML 2006; minimal norm
        interpolation and absolute losses: Micchelli and Pontil, JMLR 2005.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = ConvexKernelLearner(kernels=["rbf", "linear"], loss="ridge", alpha=1.0).fit(X, y)
        >>> bool(abs(model.kernel_weights_.sum() - 1) < 1e-9), bool(model.gap_ <= 1e-3)
        (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "loss": Choice(tuple(LOSSES)),
        "solver": Choice(("silp", *reference.SOLVERS)),
        "alpha": POSITIVE,
        "epsilon": Number(0.0, closed=True),
        **SOLVER_LIMITS,
    }

    def __init__(
        self,
        kernels: KernelLike = None,
        *,
        loss: str = "svm",
        alpha: float = 1.0,
        epsilon: float = 0.1,
        fit_intercept: bool = True,
        class_weight: ClassWeight = None,
        solver: str = "silp",
        normalize: str | None = "auto",
        storage: str = "auto",
        n_components: int = 300,
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
        random_state: Seed = None,
    ) -> None:
        self.kernels = kernels
        self.loss = loss
        self.alpha = alpha
        self.epsilon = epsilon
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.normalize = normalize
        self.storage = storage
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if not _is_classifier(self):
            tags.estimator_type = "regressor"
            tags.classifier_tags = None
            tags.regressor_tags = RegressorTags()
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the weights and the predictor from X (n, d) and y (n,), labels or real values.

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        Raises: DataError with "interpolation" where no kernel meets the targets.
        """
        self._check_parameters()
        training = self._check_training(X, y, sample_weight)
        if _is_classifier(self):
            targets, costs = self._check_labels(y, training)
            bank = self._make_bank(training)
            result = self._solve(bank, self._risk(), targets, costs)
            self._set_solution(bank, result.weights, result.state)
        else:
            values = check_target(y)[training.kept]
            target = RealTarget.of(values, training.weights, self._risk().fit_intercept)
            risk, unit = self._risk().in_units_of(target)
            bank = self._make_bank(training)
            result = self._solve(bank, risk, target.values[None, :], training.weights).in_units(unit)
            check_interpolates(result.upper)
            self._set_solution(bank, result.weights, [target.restored(point) for point in result.state])
        self._set_progress(result)
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.class_weight is not None and LOSSES[self.loss] not in ("hinge", "logistic"):
            raise ArgumentError(
                f"class_weight has no effect on loss={self.loss!r}: a regressor has no classes, and Fisher's "
                "discriminant takes one mean of each. Leave it None, or use sample_weight."
            )
        check_intercept(LOSSES[self.loss], self.fit_intercept)

    def _risk(self) -> Risk:
        loss = LOSSES[self.loss]
        return Risk(loss, self.alpha, self.fit_intercept, self.epsilon)

    def _solve(self, bank: GramBank, risk: Risk, targets: np.ndarray, costs: np.ndarray) -> SilpResult:
        oracle = make_oracle(bank, risk.learner(), targets, costs, np.ones(bank.n_kernels))

        def program() -> reference.ReferenceResult:
            setting = reference.RiskProgram(
                risk.loss, risk.alpha, costs, risk.epsilon * (risk.loss != "absolute"), risk.fit_intercept
            )
            return reference.convex_learner_program(bank.grams(), targets, setting, self.solver)

        return self._minimise(oracle, bank.n_kernels, program)

    @available_if(_is_classifier)
    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Signed scores of a classifier: (n,) for two classes, (n, n_classes) for more."""
        return super().decision_function(X)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) labels, or real values for a regressor."""
        if _is_classifier(self):
            return super().predict(X)
        return self._outputs(X)[:, 0]

    @available_if(_is_logistic)
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """(n, n_classes) class probabilities, for loss="logistic"."""
        return probabilities(self.decision_function(X))

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of a classifier, R^2 of a regressor."""
        if _is_classifier(self):
            return float(super().score(X, y, sample_weight))
        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))
