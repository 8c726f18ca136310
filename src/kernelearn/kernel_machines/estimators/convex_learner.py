"""A kernel and a predictor learnt in one convex problem: Kim, Zymnis, Magnani, Koh and Boyd, ICASSP 2008."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, column_or_1d

from kernelearn.kernel_machines.estimators.base import KernelClassifierMixin, KernelMachine, make_oracle
from kernelearn.kernel_machines.estimators.parameters import check_choice, check_positive
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.learners import (
    FisherDiscriminant,
    Learner,
    LogisticLoss,
    SoftMargin1,
    SquareLoss,
)
from kernelearn.kernel_machines.solvers.silp import SilpResult, solve_silp

_PROGRAM_NAMES = {"ridge": "square", "svm": "hinge", "logistic": "logistic", "fisher": "fisher"}


def make_learner(loss: str, alpha: float, fit_intercept: bool, tol: float) -> Learner:
    """The learner of min_f sum psi(y, f) + alpha ||f||^2 for a loss named as in `ConvexKernelLearner`."""
    makers: dict[str, Callable[[], Learner]] = {
        "ridge": lambda: SquareLoss(alpha, fit_intercept),
        "svm": lambda: SoftMargin1(0.5 / alpha, alpha, tol / 4),
        "logistic": lambda: LogisticLoss(alpha, tol / 100),
        "fisher": lambda: FisherDiscriminant(alpha),
    }
    return makers[loss]()


def check_target(y: Any) -> np.ndarray:
    """(n,) finite float64 regression target."""
    y = column_or_1d(y, warn=True)
    return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")


def probabilities(scores: np.ndarray) -> np.ndarray:
    """(n, n_classes) from logits: a sigmoid for two classes, normalised one-against-rest for more."""
    from scipy.special import expit

    if scores.ndim == 1:
        positive = expit(scores)
        return np.column_stack([1.0 - positive, positive])
    each = np.maximum(expit(scores), 1e-300)
    return each / each.sum(axis=1, keepdims=True)


def _is_classifier(estimator: "ConvexKernelLearner") -> bool:
    return estimator.loss != "ridge"


def _is_logistic(estimator: "ConvexKernelLearner") -> bool:
    return estimator.loss == "logistic"


class ConvexKernelLearner(KernelClassifierMixin, KernelMachine):
    """Regressor or classifier whose kernel is a learnt convex combination of given kernels.

    Solves min over theta in the simplex, f, b of sum_i psi(y_i, f(x_i) + b) + alpha ||f||^2 with f in the
    space of K = sum theta_i K_i: jointly convex. With "fisher" it maximises the regularised Fisher ratio
    instead.

    Args:
        kernels: see `SemidefiniteKernelClassifier`.
        loss: "ridge" (square loss: a regressor), "svm" (hinge), "logistic" or "fisher" (kernel Fisher
            discriminant): classifiers, one against the rest on a joint kernel for more than two classes.
        alpha: regularisation, > 0; "svm" corresponds to C = 1 / (2 alpha).
        fit_intercept: for "ridge"; the classifiers always have one.
        solver, normalize, storage, n_components, tol, max_iter, verbose, random_state: see
            `SemidefiniteKernelClassifier`.

    Attributes:
        kernel_weights_: (m,) theta, nonnegative, summing to one, on the normalised kernels.
        objective_, lower_bound_, gap_: both bounds on the optimum ("fisher": of the negated ratio).
        dual_coef_ (k, n), intercept_ (k,), kernel_names_, classes_ (classifiers), n_iter_, history_.

    Source: Kim et al., ICASSP 2008; Fisher discriminant: Kim, Magnani and Boyd, ICML 2006.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = ConvexKernelLearner(kernels=["rbf", "linear"], loss="ridge", alpha=1.0).fit(X, y)
        >>> bool(abs(model.kernel_weights_.sum() - 1) < 1e-9), bool(model.gap_ <= 1e-3)
        (True, True)
    """

    def __init__(
        self,
        kernels: Any = None,
        *,
        loss: str = "svm",
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "silp",
        normalize: str | None = "auto",
        storage: str = "auto",
        n_components: int = 300,
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.kernels = kernels
        self.loss = loss
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.normalize = normalize
        self.storage = storage
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if not _is_classifier(self):
            tags.estimator_type = "regressor"
            tags.classifier_tags = None
            tags.regressor_tags = RegressorTags()
        return tags

    def fit(self, X: Any, y: Any) -> "ConvexKernelLearner":
        """Learn the weights and the predictor from X (n, d) and y (n,), labels or real values."""
        check_choice("loss", self.loss, _PROGRAM_NAMES)
        check_choice("solver", self.solver, ("silp", *reference.SOLVERS))
        for name in ("alpha", "tol", "max_iter"):
            check_positive(name, getattr(self, name))
        points, kernels = self._check_training(X, y)
        targets = self._encode_labels(y) if _is_classifier(self) else check_target(y)[None, :]
        bank = self._make_bank(points, kernels)
        result = self._solve(bank, targets)
        self._set_solution(bank, result.weights, result.state)
        self._set_progress(result)
        return self

    def _solve(self, bank: GramBank, targets: np.ndarray) -> SilpResult:
        learner = make_learner(self.loss, self.alpha, self.fit_intercept, self.tol)
        oracle = make_oracle(bank, learner, targets, np.ones(bank.n_kernels))
        if self.solver == "silp":
            return solve_silp(
                oracle, bank.n_kernels, tol=self.tol, max_iter=self.max_iter, verbose=self.verbose
            )
        has_intercept = self.fit_intercept or _is_classifier(self)
        found = reference.convex_learner_program(
            bank.grams(), targets, _PROGRAM_NAMES[self.loss], self.alpha, has_intercept, self.solver
        )
        cut = oracle(found.weights)
        lower = min(found.value, cut.upper)
        return SilpResult(found.weights, lower, cut.upper, cut.state, 1, True, [(lower, cut.upper)])

    @available_if(_is_classifier)
    def decision_function(self, X: Any) -> np.ndarray:
        """Signed scores of a classifier: (n,) for two classes, (n, n_classes) for more."""
        return super().decision_function(X)

    def predict(self, X: Any) -> np.ndarray:
        """(n,) labels, or real values for loss="ridge"."""
        if _is_classifier(self):
            return super().predict(X)
        return self._outputs(X)[:, 0]

    @available_if(_is_logistic)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, n_classes) class probabilities, for loss="logistic"."""
        return probabilities(self.decision_function(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R^2 of a regressor."""
        if _is_classifier(self):
            return super().score(X, y, sample_weight)
        return r2_score(y, self.predict(X), sample_weight=sample_weight)
