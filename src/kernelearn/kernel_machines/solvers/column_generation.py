"""Kernels from a continuum: column generation over the widths of Gaussians.

Micchelli and Pontil, Learning the kernel function via regularization, JMLR 2005. The optimum mixes at most
n + 1 Gaussians; they are found one at a time, and optimality is certified by a one-dimensional maximum.
"""

from dataclasses import dataclass

import numpy as np

from kernelearn.kernel_machines.kernels.grams import row_blocks
from kernelearn.kernel_machines.solvers.master import Cut, Region, minimise_cuts
from kernelearn.kernel_machines.solvers.points import Learner, cut_from, solve_all, stacked_duals
from kernelearn.kernel_machines.solvers.progress import Progress, warn_not_converged
from kernelearn.kernel_machines.solvers.silp import SilpResult, relative_gap, solve_silp

_START_ATOMS = 5


@dataclass(frozen=True)
class Certificate:
    """Evidence that no Gaussian in the interval improves the solution.

    best_gamma, best_value: the maximiser of s c'G(gamma)c over the interval and the maximum; s is the
        factor in
        the dual problem: alpha for the square, hinge and absolute losses, 1 / (4 alpha) for logistic, 1 for
        interpolation. Like the objective, it is in the unit of the loss.
    atom_values: (n_atoms,) s c'G(gamma)c at the atoms in use; at the optimum all equal best_value. c is the
        dual
        solution: the convex combination of dual points that gives the best lower bound.
    gap: relative distance of the objective from the lower bound that best_value gives.
    """

    best_gamma: float
    best_value: float
    atom_values: np.ndarray
    gap: float

    def in_units(self, unit: float) -> "Certificate":
        """The same certificate with its values times `unit`."""
        return Certificate(self.best_gamma, self.best_value * unit, self.atom_values * unit, self.gap)


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
        targets: (k, n) outputs that share the kernel. costs: (n,) of the points' losses.
        learner: solves at a fixed kernel.
        limits: (a, b), 0 < a <= b.
    Source: Argyriou, Micchelli and Pontil, COLT 2005, with all weights solved for again in every round.
    """

    def __init__(
        self,
        distances: np.ndarray,
        targets: np.ndarray,
        costs: np.ndarray,
        learner: Learner,
        limits: tuple[float, float],
        n_grid: int,
    ) -> None:
        self.distances = distances
        self.targets = targets
        self.costs = costs
        self.learner = learner
        self.limits = limits
        self.n_grid = n_grid
        count = _START_ATOMS if limits[1] > limits[0] else 1
        self.gammas = np.geomspace(limits[0], limits[1], count)
        self.certifying = np.empty((len(distances), 0))

    def run(self, tol: float, max_iter: int, verbose: int) -> tuple[SilpResult, Certificate]:
        """Add maximisers of the spectrum until the certificate's gap is at most tol."""
        progress = Progress("Convex hull", verbose)
        lower, size = -np.inf, 0.0
        history = []
        for iteration in range(1, max_iter + 1):
            result = self._restricted(tol / 4)
            if not np.isfinite(result.upper):
                break
            bound, gammas, values = self._bound(result)
            lower, size = max(lower, bound), max(size, result.size)
            history.append((lower, result.upper))
            progress.show(iteration, lower, result.upper)
            gap = relative_gap(lower, result.upper, size)
            if gap <= tol or iteration == max_iter:
                break
            self._keep_active(result, gammas)
        if not np.isfinite(result.upper):
            return result, Certificate(np.nan, np.nan, np.full(len(self.gammas), np.nan), np.inf)
        if gap > tol:
            warn_not_converged(lower, result.upper, gap, tol, iteration)
        result.lower, result.size = lower, size
        result.history, result.n_iter = history, iteration
        return result, self._finish(result, gammas[0], values[0])

    def _restricted(self, tol: float) -> SilpResult:
        """Optimal weights over the current atoms."""
        grams = np.stack([np.exp(-gamma * self.distances) for gamma in self.gammas])

        def oracle(theta: np.ndarray, inner: float) -> Cut:
            gram = np.tensordot(theta, grams, axes=1)
            points = solve_all(self.learner, gram, self.targets, self.costs, inner)
            v = stacked_duals(points)
            slopes = np.array([np.vdot(v, k @ v) for k in grams])
            return cut_from(points, slopes)

        return solve_silp(oracle, len(grams), tol=tol, max_iter=500)

    def _bound(self, result: SilpResult) -> tuple[float, np.ndarray, np.ndarray]:
        """Lower bound of the problem over all widths: constant - max_gamma v'G(gamma) v.

        The best convex combination of all cuts is used: one dual point alone may be far from tight where the
        learner has several.
        """
        region = Region.simplex(len(self.gammas))
        shares = minimise_cuts(result.cuts, region, result.weights).multipliers
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
        return Certificate(float(best_gamma), float(best_value), values, result.gap)

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
