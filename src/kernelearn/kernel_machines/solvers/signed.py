"""Signed kernel weights: cutting planes with eigenvectors instead of a semidefinite programme.

The weights may be negative as long as K(theta) = sum theta_i K_i stays positive semidefinite over all points,
training and test. Every v gives a linear condition v'K(theta) v >= 0; the eigenvectors of the most negative
eigenvalues of the linear programme's proposals are added until none is violated.
"""

import numpy as np

from kernelearn.kernel_machines.solvers.master import Region, minimise_cuts
from kernelearn.kernel_machines.solvers.progress import Progress, warn_not_converged
from kernelearn.kernel_machines.solvers.silp import PATIENCE, Oracle, SilpResult, inner_tolerance

_VECTORS_PER_ROUND = 6
_EIGEN_TOL = 1e-9


class PsdCone:
    """The linear conditions on theta that keep sum theta_i K_i positive semidefinite.

    Args:
        grams: (m, n, n) kernels over all points, scaled so that the trace condition reads sum(theta) = 1.
        extra: number of further weights (the learnt ridge) that do not enter the cone.
    """

    def __init__(self, grams: np.ndarray, extra: int = 0) -> None:
        self.grams = grams
        self.extra = extra
        self.size = float(np.abs(np.einsum("kii->ki", grams)).max())
        self.rows = np.empty((0, len(grams) + extra))

    def combine(self, weights: np.ndarray) -> np.ndarray:
        """(n, n) matrix sum_i weights_i K_i, without the extra weights."""
        m = len(self.grams)
        return np.tensordot(weights[:m], self.grams, axes=1)

    def add_violated(self, weights: np.ndarray) -> float:
        """Add a condition per most negative eigenvector at `weights`; returns the lowest eigenvalue."""
        from scipy.linalg import eigh

        combined = self.combine(weights)
        last = min(_VECTORS_PER_ROUND, len(combined)) - 1
        values, vectors = eigh(combined, subset_by_index=[0, last], check_finite=False)
        negative = vectors[:, values < -_EIGEN_TOL * self.size]
        if negative.shape[1]:
            forms = np.stack(
                [np.einsum("nv,nv->v", negative, gram @ negative) for gram in self.grams], axis=1
            )
            self.rows = np.vstack([self.rows, np.pad(forms, ((0, 0), (0, self.extra)))])
        return float(values[0])

    def largest_step(self, inside: np.ndarray, outside: np.ndarray) -> float:
        """The largest t in [0, 1] with K(inside + t (outside - inside)) positive semidefinite.

        K(inside) = L L' up to a small multiple of the identity; t = -1 / lowest eigenvalue of L^-1 D L^-T.
        """
        from scipy.linalg import cholesky, eigvalsh, solve_triangular

        base = self.combine(inside)
        base.flat[:: len(base) + 1] += _EIGEN_TOL * self.size
        lower = cholesky(base, lower=True, check_finite=False)
        half = solve_triangular(lower, self.combine(outside - inside), lower=True, check_finite=False)
        direction = solve_triangular(lower, half.T, lower=True, check_finite=False)
        lowest = float(eigvalsh((direction + direction.T) / 2, subset_by_index=[0, 0], check_finite=False)[0])
        return 1.0 if lowest >= -1.0 else -1.0 / lowest


def solve_signed(
    oracle: Oracle,
    cone: PsdCone,
    *,
    bound: float = 1000.0,
    tol: float = 1e-3,
    max_iter: int = 300,
    step: float = 0.9,
    verbose: int = 0,
) -> SilpResult:
    """Minimise J over sum(theta) = 1, K(theta) positive semidefinite, |theta_i| <= bound.

    Args:
        oracle: weights (m + extra,) and a tolerance -> Cut; called where K(theta) is positive semidefinite.
        cone: the semidefinite condition.
        bound: box on the weights; the problem is ill-posed without one when kernels are nearly collinear.
    Returns: SilpResult whose weights are feasible; lower bounds the optimum of the semidefinite programme.
    """
    m = len(cone.grams)
    weights = np.full(m + cone.extra, 1.0 / (m + cone.extra))
    low = np.append(np.full(m, -bound), np.zeros(cone.extra))
    high = np.append(np.full(m, bound), np.ones(cone.extra))
    progress = Progress("SILP signed", verbose)
    result = SilpResult(weights, -np.inf, np.inf, None, 0, False)
    while result.n_iter < max_iter and not result.has_crossed:
        if result.n_iter >= PATIENCE and not np.isfinite(result.upper):
            return result
        result.add(oracle(weights, inner_tolerance(result.gap, tol)), weights)
        outer = _improve(result, cone, low, high)
        progress.show(result.n_iter, result.lower, result.upper)
        if result.gap <= tol:
            result.converged = True
            return result
        weights = _next_weights(result.weights, outer, cone, step)
    warn_not_converged(result.lower, result.upper, result.gap, tol, result.n_iter)
    return result


def _improve(
    result: SilpResult, cone: PsdCone, low: np.ndarray, high: np.ndarray, rounds: int = 25
) -> np.ndarray:
    """Raise the lower bound with a few rounds of eigenvector conditions, which need no learner.

    Returns: the weights that minimise the cuts under the last conditions.
    """
    for _ in range(rounds):
        master = minimise_cuts(result.cuts, Region(low, high, cone.rows), result.weights)
        lowest = cone.add_violated(master.weights)
        if lowest >= -1e-6 * cone.size:
            break
    result.bound(master.value, master.multipliers)
    return master.weights


def _next_weights(inside: np.ndarray, outer: np.ndarray, cone: PsdCone, step: float) -> np.ndarray:
    reach = cone.largest_step(inside, outer)
    return np.asarray(inside + step * reach * (outer - inside))
