"""Kernels from a continuum: the convex hull of all Gaussians with widths in an interval.

Micchelli and Pontil, Learning the kernel function via regularization, JMLR 2005. The optimum mixes at most
n + 1 Gaussians; they are found one at a time, and optimality is certified by a one-dimensional maximum.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from kernelearn.errors import ArgumentError, DataError
from kernelearn.kernel_machines.estimators.base import (
    KernelClassifierMixin,
    KernelMachine,
    cut_from,
    stacked_duals,
)
from kernelearn.kernel_machines.estimators.convex_learner import check_target, make_learner, probabilities
from kernelearn.kernel_machines.estimators.parameters import check_choice, check_positive
from kernelearn.kernel_machines.kernels.functions import Kernel, squared_distances
from kernelearn.kernel_machines.kernels.grams import GramBank, row_blocks
from kernelearn.kernel_machines.solvers.learners import Learner, solve_all
from kernelearn.kernel_machines.solvers.progress import Progress, warn_not_converged
from kernelearn.kernel_machines.solvers.silp import Cut, SilpResult, minimise_cuts, relative_gap, solve_silp

_START_ATOMS = 5
_LOSSES = {"square": "ridge", "hinge": "svm", "logistic": "logistic"}


@dataclass(frozen=True)
class Certificate:
    """Evidence that no Gaussian in the interval improves the solution.

    best_gamma, best_value: the maximiser of s c'G(gamma)c over the interval and the maximum; s is alpha for
        the square loss, alpha for hinge and 1 / (4 alpha) for logistic, the factor in the dual problem.
    atom_values: (n_atoms,) c'G(gamma)c at the atoms in use; at the optimum all equal best_value. c is the
        dual
        solution: the convex combination of dual points that gives the best lower bound.
    gap: relative distance of the objective from the lower bound that best_value gives.
    """

    best_gamma: float
    best_value: float
    atom_values: np.ndarray
    gap: float


def width_spectrum(distances: np.ndarray, v: np.ndarray, gammas: np.ndarray) -> np.ndarray:
    """(n_gammas,) values trace(v' exp(-gamma D) v).

    Args:
        distances: (n, n) squared distances D.
        v: (n, k) dual directions.
        gammas: (n_gammas,) widths.
    """
    support = np.flatnonzero(np.any(v != 0, axis=1))
    distances, v = distances[np.ix_(support, support)], v[support]
    total = np.zeros(len(gammas))
    for rows in row_blocks(len(support), len(support)):
        products = v[rows] @ v.T
        for i, gamma in enumerate(gammas):
            total[i] += float(np.vdot(products, np.exp(-gamma * distances[rows])))
    return total


def maximise_spectrum(
    distances: np.ndarray, v: np.ndarray, limits: tuple[float, float], n_grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of the spectrum over [a, b], best first: a grid in log(gamma), then Brent's method.

    Returns: gammas and values of the (at most four) best local maxima.
    """
    from scipy.optimize import minimize_scalar

    logs = np.linspace(np.log(limits[0]), np.log(limits[1]), n_grid)
    values = width_spectrum(distances, v, np.exp(logs))
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    peaks = np.flatnonzero((padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:]))
    peaks = peaks[np.argsort(values[peaks])[::-1][:4]]
    found: list[tuple[float, float]] = []
    for peak in peaks.tolist():
        low, high = logs[max(peak - 1, 0)], logs[min(peak + 1, n_grid - 1)]
        fine = minimize_scalar(
            lambda t: -width_spectrum(distances, v, np.exp([t]))[0], bounds=(low, high), method="bounded"
        )
        better = -fine.fun > values[peak]
        found.append((fine.x, -fine.fun) if better else (logs[peak], values[peak]))
    logs_found, values_found = np.array(found).T
    order = np.argsort(-values_found)
    return np.exp(logs_found[order]), values_found[order]


class ColumnGeneration:
    """Fully corrective greedy solver over Gaussians with widths in [a, b].

    Args:
        distances: (n, n) squared distances of the training points.
        targets: (k, n) outputs that share the kernel.
        learner: solves at a fixed kernel.
        limits: (a, b), 0 < a <= b.
    Source: Argyriou, Micchelli and Pontil, COLT 2005, with all weights solved for again in every round.
    """

    def __init__(
        self,
        distances: np.ndarray,
        targets: np.ndarray,
        learner: Learner,
        limits: tuple[float, float],
        n_grid: int,
    ) -> None:
        self.distances = distances
        self.targets = targets
        self.learner = learner
        self.limits = limits
        self.n_grid = n_grid
        count = _START_ATOMS if limits[1] > limits[0] else 1
        self.gammas = np.geomspace(limits[0], limits[1], count)
        self.certifying = np.empty((len(distances), 0))

    def run(self, tol: float, max_iter: int, verbose: int) -> tuple[SilpResult, Certificate]:
        """Add maximisers of the spectrum until the certificate's gap is at most tol."""
        progress = Progress("Convex hull", verbose)
        lower = -np.inf
        history = []
        for iteration in range(1, max_iter + 1):
            result = self._restricted(tol / 4)
            bound, gammas, values = self._bound(result)
            lower = max(lower, bound)
            history.append((lower, result.upper))
            progress.show(iteration, lower, result.upper)
            if relative_gap(lower, result.upper) <= tol or iteration == max_iter:
                break
            self._keep_active(result, gammas)
        if relative_gap(lower, result.upper) > tol:
            warn_not_converged(relative_gap(lower, result.upper), tol, max_iter)
        result.lower, result.history, result.n_iter = min(lower, result.upper), history, iteration
        return result, self._finish(result, gammas[0], values[0])

    def _restricted(self, tol: float) -> SilpResult:
        """Optimal weights over the current atoms."""
        grams = [np.exp(-gamma * self.distances) for gamma in self.gammas]

        def oracle(theta: np.ndarray) -> Cut:
            gram = sum(weight * k for weight, k in zip(theta, grams) if weight > 0)
            points = solve_all(self.learner, gram, self.targets)
            v = stacked_duals(points)
            slopes = np.array([np.vdot(v, k @ v) for k in grams])
            return cut_from(points, slopes)

        return solve_silp(oracle, len(grams), tol=tol, max_iter=500)

    def _bound(self, result: SilpResult) -> tuple[float, np.ndarray, np.ndarray]:
        """Lower bound of the problem over all widths: constant - max_gamma v'G(gamma) v.

        The best convex combination of all cuts is used: one dual point alone may be far from tight where the
        learner has several.
        """
        shares = minimise_cuts(result.cuts, [(0.0, 1.0)] * len(self.gammas)).multipliers
        used = [(share, cut) for share, cut in zip(shares, result.cuts) if share > 0]
        v = np.column_stack([np.sqrt(share) * stacked_duals(cut.state) for share, cut in used])
        # The certificate uses the same combination, so that its values can be compared.
        self.certifying = v
        gammas, values = maximise_spectrum(self.distances, v, self.limits, self.n_grid)
        atom_best = width_spectrum(self.distances, v, self.gammas).max()
        constant = sum(share * cut.constant for share, cut in used)
        return constant - max(float(values[0]), float(atom_best)), gammas, values

    def _keep_active(self, result: SilpResult, candidates: np.ndarray) -> None:
        active = self.gammas[result.weights > 0]
        self.gammas = np.unique(np.concatenate([active, candidates]))

    def _finish(self, result: SilpResult, best_gamma: float, best_value: float) -> Certificate:
        active = result.weights > 0
        self.gammas, result.weights = self.gammas[active], result.weights[active]
        v = stacked_duals(result.state)
        if len(self.gammas) > len(v) + 1:
            self._reduce(result, v)
        values = width_spectrum(self.distances, self.certifying, self.gammas)
        gap = float(relative_gap(result.lower, result.upper))
        return Certificate(float(best_gamma), float(best_value), values, gap)

    def _reduce(self, result: SilpResult, v: np.ndarray) -> None:
        """Keep at most n + 1 atoms with the same K v, hence the same predictor. Source: their Theorem 20."""
        columns = np.stack([(np.exp(-g * self.distances) @ v).ravel() for g in self.gammas], axis=1)
        result.weights = caratheodory(columns, result.weights)
        keep = result.weights > 0
        self.gammas, result.weights = self.gammas[keep], result.weights[keep]


def caratheodory(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Convex weights with at most d + 1 nonzeros that give the same mean of the columns of points (d, m).

    Moves along null vectors of [points; 1] until a weight vanishes, as in the proof of the theorem.
    """
    weights = weights.astype(np.float64).copy()
    while True:
        active = np.flatnonzero(weights > 0)
        if len(active) <= len(points) + 1:
            return weights
        lifted = np.vstack([points[:, active], np.ones(len(active))])
        direction = np.linalg.svd(lifted)[2][-1]
        if direction.max() <= 0:
            direction = -direction
        ratios = np.where(direction > 0, weights[active] / np.where(direction > 0, direction, 1.0), np.inf)
        hit = int(np.argmin(ratios))
        weights[active] = np.maximum(weights[active] - ratios[hit] * direction, 0.0)
        weights[active[hit]] = 0.0


class _ConvexHullKernelMachine(KernelMachine):
    """Shared by the regressor and the classifier."""

    kernels = None

    def _check_parameters(self) -> None:
        check_choice("loss", self.loss, self._losses)
        for name in ("alpha", "tol", "max_iter"):
            check_positive(name, getattr(self, name))
        if self.n_grid < 8:
            raise ArgumentError(
                f"n_grid must be at least 8 to see the maxima of the spectrum, got {self.n_grid!r}."
            )

    def _limits(self, points: np.ndarray) -> tuple[float, float]:
        if isinstance(self.gamma_range, str):
            if self.gamma_range != "auto":
                raise ArgumentError(f"gamma_range must be 'auto' or a pair (a, b), got {self.gamma_range!r}.")
            scale = Kernel("rbf").resolve(points).numeric_gamma
            return 0.01 * scale, 100.0 * scale
        low, high = self.gamma_range
        if not 0 < low <= high < np.inf:
            raise ArgumentError(f"gamma_range must be (a, b) with 0 < a <= b, got {self.gamma_range!r}.")
        return float(low), float(high)

    def _check_points(self, X: Any, y: Any) -> np.ndarray:
        if y is None:
            raise DataError("This estimator requires y to be passed, but the target y is None.")
        points = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if len(points) != len(np.asarray(y)):
            raise DataError(f"X has {len(points)} points and y has {len(np.asarray(y))} entries.")
        return points

    def _fit_targets(self, points: np.ndarray, targets: np.ndarray) -> None:
        learner = make_learner(_LOSSES[self.loss], self.alpha, self.fit_intercept, self.tol / 4)
        limits = self._limits(points)
        generator = ColumnGeneration(squared_distances(points, points), targets, learner, limits, self.n_grid)
        result, self.certificate_ = generator.run(self.tol, self.max_iter, self.verbose)
        self.gammas_ = generator.gammas
        self.gamma_range_ = limits
        kernels = [Kernel("rbf", gamma=float(gamma)) for gamma in self.gammas_]
        self.kernels_ = kernels
        bank = GramBank(kernels, points, None, "on_the_fly")
        self.kernel_names_ = bank.names
        self.X_fit_ = points
        self._set_solution(bank, result.weights, result.state)
        self._set_progress(result)


class ConvexHullKernelRegressor(RegressorMixin, _ConvexHullKernelMachine):
    """Ridge regression whose kernel is learnt from the convex hull of all Gaussians with gamma in [a, b].

    Solves min over K in the hull, f, b of sum (y - f - b)^2 + alpha ||f||_K^2, K(x, x') = integral of
    exp(-gamma ||x - x'||^2) over a probability measure on [a, b]; at most n + 1 Gaussians carry it.

    Args:
        gamma_range: (a, b) with 0 < a <= b, or "auto" for 0.01 to 100 times 1 / (d * var(X)).
        loss: "square".
        alpha: regularisation, > 0 (the paper's mu).
        fit_intercept: learn b; otherwise b = 0, as in the paper.
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

    Source: Micchelli and Pontil, JMLR 2005, Lemma 14, Theorem 20, Corollary 21.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(0, 6, 60).reshape(-1, 1)
        >>> model = ConvexHullKernelRegressor(gamma_range=(0.01, 100), alpha=0.01).fit(X, np.sin(X[:, 0]))
        >>> bool(model.gap_ <= 1e-3), bool(model.score(X, np.sin(X[:, 0])) > 0.99)
        (True, True)
    """

    _losses = ("square",)

    def __init__(
        self,
        gamma_range: Any = "auto",
        *,
        loss: str = "square",
        alpha: float = 1.0,
        fit_intercept: bool = True,
        tol: float = 1e-3,
        max_iter: int = 50,
        n_grid: int = 64,
        verbose: int = 0,
    ) -> None:
        self.gamma_range = gamma_range
        self.loss = loss
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.n_grid = n_grid
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "ConvexHullKernelRegressor":
        """Learn the kernel and the function from X (n, d) and y (n,)."""
        self._check_parameters()
        points = self._check_points(X, y)
        self._fit_targets(points, check_target(y)[None, :])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,) predicted values."""
        return self._outputs(X)[:, 0]


def _is_logistic(estimator: "ConvexHullKernelClassifier") -> bool:
    return estimator.loss == "logistic"


class ConvexHullKernelClassifier(KernelClassifierMixin, _ConvexHullKernelMachine):
    """Classifier whose kernel is learnt from the convex hull of all Gaussians with gamma in [a, b].

    As `ConvexHullKernelRegressor`, with losses "hinge" (C = 1 / (2 alpha)), "logistic" and "square" on -1/+1
    labels. More than two classes are learnt one against the rest on a joint kernel.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = ConvexHullKernelClassifier(loss="hinge").fit(X, y)
        >>> bool(model.gap_ <= 1e-3), bool(model.score(X, y) > 0.9)
        (True, True)
    """

    _losses = ("hinge", "logistic", "square")

    def __init__(
        self,
        gamma_range: Any = "auto",
        *,
        loss: str = "hinge",
        alpha: float = 0.5,
        tol: float = 1e-3,
        max_iter: int = 50,
        n_grid: int = 64,
        verbose: int = 0,
    ) -> None:
        self.gamma_range = gamma_range
        self.loss = loss
        self.alpha = alpha
        self.tol = tol
        self.max_iter = max_iter
        self.n_grid = n_grid
        self.verbose = verbose

    fit_intercept = True

    def fit(self, X: Any, y: Any) -> "ConvexHullKernelClassifier":
        """Learn the kernel and the classifier from X (n, d) and labels y (n,)."""
        self._check_parameters()
        points = self._check_points(X, y)
        self._fit_targets(points, self._encode_labels(y))
        return self

    @available_if(_is_logistic)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, n_classes) class probabilities, for loss="logistic"."""
        return probabilities(self.decision_function(X))
