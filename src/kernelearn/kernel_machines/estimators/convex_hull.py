"""Kernels from a continuum: the convex hull of all Gaussians with widths in an interval.

Micchelli and Pontil, Learning the kernel function via regularization, JMLR 2005; solved by
`solvers.column_generation`.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.base import KernelClassifierMixin, KernelMachine, Training
from kernelearn.kernel_machines.estimators.parameters import (
    POSITIVE,
    SOLVER_LIMITS,
    Choice,
    Constraint,
    Number,
    Whole,
)
from kernelearn.kernel_machines.estimators.risks import Risk, check_intercept, probabilities
from kernelearn.kernel_machines.estimators.targets import RealTarget, check_target
from kernelearn.kernel_machines.estimators.weights import ClassWeight
from kernelearn.kernel_machines.kernels.functions import Kernel, squared_distances
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers.column_generation import Certificate, ColumnGeneration
from kernelearn.kernel_machines.solvers.points import check_interpolates
from kernelearn.kernel_machines.solvers.silp import SilpResult


class _ConvexHullKernelMachine(KernelMachine):
    """Shared by the regressor and the classifier."""

    loss: str
    alpha: float
    gamma_range: str | tuple[float, float]
    n_grid: int

    def _limits(self, training: Training) -> tuple[float, float]:
        if isinstance(self.gamma_range, str):
            if self.gamma_range != "auto":
                raise ArgumentError(f"gamma_range must be 'auto' or a pair (a, b), got {self.gamma_range!r}.")
            scale = Kernel("rbf").resolve(training.points, training.weights).numeric_gamma
            return 0.01 * scale, 100.0 * scale
        low, high = self.gamma_range
        if not 0 < low <= high < np.inf:
            raise ArgumentError(f"gamma_range must be (a, b) with 0 < a <= b, got {self.gamma_range!r}.")
        return float(low), float(high)

    def _learn(
        self, training: Training, targets: np.ndarray, costs: np.ndarray, risk: Risk
    ) -> tuple[GramBank, SilpResult, Certificate]:
        """The Gaussians in use, and the solution in the units of the targets."""
        limits, points = self._limits(training), training.points
        distances = squared_distances(points, points)
        generator = ColumnGeneration(distances, targets, costs, risk.learner(), limits, self.n_grid)
        result, certificate = generator.run(self.tol, self.max_iter, self.verbose)
        check_interpolates(result.upper)
        self.gammas_, self.gamma_range_ = generator.gammas, limits
        self.kernels_ = [Kernel("rbf", gamma=float(gamma)) for gamma in self.gammas_]
        bank = GramBank(self.kernels_, points, None, "on_the_fly")
        self.kernel_names_ = bank.names
        self.X_fit_ = points
        return bank, result, certificate


class ConvexHullKernelRegressor(RegressorMixin, _ConvexHullKernelMachine):
    """Regression whose kernel is learnt from the convex hull of all Gaussians with gamma in [a, b].

    Solves min over K in the hull, f, b of sum loss(y, f + b) + alpha ||f||_K^2, K(x, x') = integral of
    exp(-gamma ||x - x'||^2) over a probability measure on [a, b]; at most n + 1 Gaussians carry it.

    Args:
        gamma_range: (a, b) with 0 < a <= b, or "auto" for 0.01 to 100 times 1 / (d * var(X)).
        loss: "square", "absolute", "epsilon_insensitive", or "interpolation": the smallest norm of f that
            meets every target, without `alpha`.
        alpha: regularisation, > 0 (the paper's mu).
        epsilon: of "epsilon_insensitive", >= 0, in the unit of y: smaller errors cost nothing.
        fit_intercept: learn b; otherwise b = 0, as in the paper. The absolute losses always have one.
        tol: relative gap of the certificate at which to stop.
        max_iter: limit of rounds.
        n_grid: points in log(gamma) on which maxima of the spectrum are looked for before they are refined.
        verbose: print both bounds every `verbose` rounds.

    Attributes:
        gammas_, kernel_weights_: (n_atoms,) Gaussians in use and their weights, which sum to one.
        certificate_: `Certificate`; at the optimum every atom maximises c'G(gamma)c.
        gap_, objective_, lower_bound_: relative gap and both bounds; the lower one holds for all gamma in [a,
            b] up to the one-dimensional search.
        dual_coef_ (1, n), intercept_ (1,), kernel_names_, gamma_range_, n_iter_, history_.

    Source: Micchelli and Pontil, JMLR 2005, section 2, Lemma 14, Theorem 20, Corollary 21.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(0, 6, 60).reshape(-1, 1)
        >>> model = ConvexHullKernelRegressor(gamma_range=(0.01, 100), alpha=0.01).fit(X, np.sin(X[:, 0]))
        >>> bool(model.gap_ <= 1e-3), bool(model.score(X, np.sin(X[:, 0])) > 0.99)
        (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "loss": Choice(("square", "absolute", "epsilon_insensitive", "interpolation")),
        "alpha": POSITIVE,
        "epsilon": Number(0.0, closed=True),
        "n_grid": Whole(8),
        **SOLVER_LIMITS,
    }

    def __init__(
        self,
        gamma_range: str | tuple[float, float] = "auto",
        *,
        loss: str = "square",
        alpha: float = 1.0,
        epsilon: float = 0.1,
        fit_intercept: bool = True,
        tol: float = 1e-3,
        max_iter: int = 50,
        n_grid: int = 64,
        verbose: int = 0,
    ) -> None:
        self.gamma_range = gamma_range
        self.loss = loss
        self.alpha = alpha
        self.epsilon = epsilon
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.n_grid = n_grid
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the kernel and the function from X (n, d) and y (n,).

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        Raises: DataError with "interpolation" where no kernel meets the targets.
        """
        self._check_parameters()
        check_intercept(self.loss, self.fit_intercept)
        training = self._check_points(X, y, sample_weight)
        target = RealTarget.of(check_target(y)[training.kept], training.weights, self.fit_intercept)
        risk = Risk(self.loss, self.alpha, self.fit_intercept, self.epsilon)
        scaled, unit = risk.in_units_of(target)
        bank, result, certificate = self._learn(training, target.values[None, :], training.weights, scaled)
        self.certificate_ = certificate.in_units(unit)
        self._set_solution(bank, result.weights, [target.restored(point) for point in result.state])
        self._set_progress(result.in_units(unit))
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) predicted values."""
        return self._outputs(X)[:, 0]


def _is_logistic(estimator: "ConvexHullKernelClassifier") -> bool:
    return estimator.loss == "logistic"


class ConvexHullKernelClassifier(KernelClassifierMixin, _ConvexHullKernelMachine):
    """Classifier whose kernel is learnt from the convex hull of all Gaussians with gamma in [a, b].

    As `ConvexHullKernelRegressor`, with losses "hinge" (C = 1 / (2 alpha)), "logistic" and "square" on -1/+1
    labels; `class_weight` is None, "balanced", or a dict from label to the factor of its losses. More than
    two classes are learnt one against the rest on a joint kernel.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = ConvexHullKernelClassifier(loss="hinge").fit(X, y)
        >>> bool(model.gap_ <= 1e-3), bool(model.score(X, y) > 0.9)
        (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "loss": Choice(("hinge", "logistic", "square")),
        "alpha": POSITIVE,
        "n_grid": Whole(8),
        **SOLVER_LIMITS,
    }

    def __init__(
        self,
        gamma_range: str | tuple[float, float] = "auto",
        *,
        loss: str = "hinge",
        alpha: float = 0.5,
        class_weight: ClassWeight = None,
        tol: float = 1e-3,
        max_iter: int = 50,
        n_grid: int = 64,
        verbose: int = 0,
    ) -> None:
        self.gamma_range = gamma_range
        self.loss = loss
        self.alpha = alpha
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.n_grid = n_grid
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the kernel and the classifier from X (n, d) and labels y (n,).

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        """
        self._check_parameters()
        training = self._check_points(X, y, sample_weight)
        targets, costs = self._check_labels(y, training)
        risk = Risk(self.loss, self.alpha)
        bank, result, self.certificate_ = self._learn(training, targets, costs, risk)
        self._set_solution(bank, result.weights, result.state)
        self._set_progress(result)
        return self

    @available_if(_is_logistic)
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """(n, n_classes) class probabilities, for loss="logistic"."""
        return probabilities(self.decision_function(X))
