"""Kernel-target alignment: the weights that bring K closest in angle to the ideal kernel YY'.

max <K, YY'> / (||K|| ||YY'||) over nonnegative weights is a nonnegative least-squares problem, over signed
weights a least-distance problem with eigenvector conditions; both are solved exactly by Lawson and Hanson's
active sets.
"""

import numpy as np

from kernelearn.errors import DataError
from kernelearn.kernel_machines.solvers.progress import warn_not_converged
from kernelearn.kernel_machines.solvers.signed import PsdCone
from kernelearn.kernel_machines.solvers.silp import SilpResult


def alignment(weights: np.ndarray, products: np.ndarray, targets: np.ndarray, ideal_norm: float) -> float:
    """Cosine between sum weights_i K_i and the ideal kernel; see `solve_nonnegative` for the arguments."""
    return float(float(targets @ weights) / (np.sqrt(float(weights @ products @ weights)) * ideal_norm))


def solve_nonnegative(products: np.ndarray, targets: np.ndarray, ideal_norm: float) -> SilpResult:
    """max q'w s.t. w'S w <= 1, w >= 0.

    Args:
        products: (m, m) S_ij = <K_i, K_j>.
        targets: (m,) q_i = <K_i, YY'>.
        ideal_norm: Frobenius norm of YY'.
    Returns: SilpResult with weights summing to one; upper = lower = the negated alignment.
    Source: Lanckriet et al., JMLR 2004, (49) and its QCQP; Cristianini et al., NIPS 2001.
    """
    from scipy.optimize import nnls

    _check_targets(targets)
    # Every kernel is measured in its own norm, so that large ones do not drown small ones.
    norms = np.sqrt(np.diagonal(products))
    norms = np.where(norms > 0, norms, np.inf)
    root = _root(products / np.outer(norms, norms))
    weights, _ = nnls(root, np.linalg.lstsq(root.T, targets / norms, rcond=None)[0])
    weights = weights / norms
    weights /= weights.sum()
    value = -alignment(weights, products, targets, ideal_norm)
    return SilpResult(weights, value, value, None, 1, True, [(value, value)])


def solve_signed_alignment(
    products: np.ndarray,
    targets: np.ndarray,
    ideal_norm: float,
    cone: PsdCone,
    *,
    bound: float,
    tol: float,
    max_iter: int,
) -> SilpResult:
    """As `solve_nonnegative` with signed weights and K(w) positive semidefinite over all points.

    Each round solves the relaxation with the eigenvector conditions so far (its value bounds the optimum),
    then pulls the weights back to the cone along the segment from the best feasible weights.
    """
    start = solve_nonnegative(products, targets, ideal_norm)
    inside = 0.5 * start.weights + 0.5 / len(targets)
    result = SilpResult(start.weights, -1.0, start.upper, None, 0, False)
    while result.n_iter < max_iter:
        outer = _relaxed(products, targets, cone.rows, bound)
        result.n_iter += 1
        result.lower = max(result.lower, -alignment(outer, products, targets, ideal_norm))
        cone.add_violated(outer)
        # The best weights lie on the boundary of the cone; a Cholesky factor needs a point inside it.
        for anchor in (inside, 0.9 * result.weights + 0.1 * inside):
            _try(result, anchor, outer, cone, (products, targets, ideal_norm))
        result.history.append((result.lower, result.upper))
        if result.gap <= tol:
            result.converged = True
            return result
    warn_not_converged(result.lower, result.upper, result.gap, tol, max_iter)
    return result


def _try(
    result: SilpResult,
    anchor: np.ndarray,
    outer: np.ndarray,
    cone: PsdCone,
    problem: tuple[np.ndarray, np.ndarray, float],
) -> None:
    weights = anchor + cone.largest_step(anchor, outer) * (outer - anchor)
    value = -alignment(weights, *problem)
    if value < result.upper:
        result.upper, result.weights = value, weights / weights.sum()


def _relaxed(products: np.ndarray, targets: np.ndarray, rows: np.ndarray, bound: float) -> np.ndarray:
    """Maximiser of the alignment under rows @ w >= 0 and |w_i| <= bound * trace(w), scaled to sum one."""
    m = len(targets)
    boxes = np.vstack([bound * np.ones((m, m)) - np.eye(m), bound * np.ones((m, m)) + np.eye(m)])
    conditions = np.vstack([rows, boxes])
    conditions /= np.maximum(np.linalg.norm(conditions, axis=1), 1e-300)[:, None]
    root = _root(products)
    centre = np.linalg.lstsq(root.T, targets, rcond=None)[0]
    free = np.linalg.lstsq(root, centre, rcond=None)[0]
    inverse = np.linalg.pinv(root)
    shifted = _least_distance(conditions @ inverse, -conditions @ free)
    weights = free + inverse @ shifted
    return np.asarray(weights / weights.sum())


def _least_distance(conditions: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The shortest z with conditions @ z >= limits.

    Source: Lawson and Hanson, Solving least squares problems, chapter 23 (LDP by NNLS).
    """
    from scipy.optimize import nnls

    if np.all(limits <= 0):
        return np.zeros(conditions.shape[1])
    stacked = np.vstack([conditions.T, limits[None, :]])
    unit = np.append(np.zeros(conditions.shape[1]), 1.0)
    multipliers, _ = nnls(stacked, unit)
    residual = stacked @ multipliers - unit
    return np.asarray(-residual[:-1] / residual[-1])


def _root(products: np.ndarray) -> np.ndarray:
    """R with R'R = S, for S that may be singular (collinear kernels)."""
    values, vectors = np.linalg.eigh(products)
    return np.asarray(np.sqrt(np.maximum(values, values[-1] * 1e-12))[:, None] * vectors.T)


def _check_targets(targets: np.ndarray) -> None:
    if targets.max() <= 0:
        raise DataError(
            "No kernel is aligned with the labels: y'K y is zero or negative for all of them. "
            "Use criterion='soft1', or other kernels."
        )
