"""Second-order steps over the weights: where a learner says which multipliers are free, J has a curvature.

Close to some weights the same multipliers are at their bounds and the same ones between them. The free ones
then solve linear equations, and the second derivatives of J follow from one factorisation.
Source: Chapelle and Rakotomamonjy, Second order optimization of kernel parameters, NIPS workshop 2008.
"""

from collections.abc import Sequence

import numpy as np

from kernelearn.kernel_machines.solvers.master import Cut
from kernelearn.kernel_machines.solvers.points import DualPoint
from kernelearn.kernel_machines.solvers.quadratic import ridged_solver

_JITTER = 1e-10


def curvature(
    gram: np.ndarray, points: Sequence[DualPoint], support: np.ndarray, images: np.ndarray
) -> np.ndarray | None:
    """(m, m) second derivatives of J in the weights, or None where a learner names no free multipliers.

    Args:
        gram: (n, n) the kernel at the weights.
        points: k outputs that share it.
        support: (s,) numbers of the points with a multiplier.
        images: (m, s, k) K_i v of the scaled duals there, with the slopes v'K_i v of the cut.
    """
    total = np.zeros((len(images), len(images)))
    for output, point in enumerate(points):
        if point.free is None:
            return None
        if len(point.free) == 0:
            continue
        moved = images[:, np.searchsorted(support, point.free), output].T
        total += 2.0 * moved.T @ _free_response(gram, point.free, moved)
    return (total + total.T) / 2.0


def _free_response(gram: np.ndarray, free: np.ndarray, pushes: np.ndarray) -> np.ndarray:
    """How free multipliers, whose sum stays, answer to pushes (f, m) on their margins."""
    block = gram[np.ix_(free, free)]
    solve = ridged_solver(block, _JITTER * float(np.diagonal(block).mean()))
    answers, level = solve(pushes), solve(np.ones(len(free)))
    return answers - np.outer(level, answers.sum(axis=0) / level.sum())


def newton_weights(cut: Cut, weights: np.ndarray) -> np.ndarray | None:
    """The simplex weights that minimise J to second order around `weights`, where the cut was made.

    Returns: None where the cut has no curvature, or no way down.
    """
    from scipy.optimize import nnls

    if cut.curvature is None or not np.trace(cut.curvature) > 0.0:
        return None
    m = len(weights)
    steep = cut.curvature + np.eye(m) * (1e-9 * float(np.trace(cut.curvature)) / m)
    try:
        root = np.linalg.cholesky(steep).T
    except np.linalg.LinAlgError:
        return None
    # |root w - centre|^2 / 2 is the second-order model; a heavy row keeps the sum at one.
    centre = np.linalg.solve(root.T, steep @ weights + cut.slopes)
    heavy = 1e3 * float(np.abs(root).max())
    found, _ = nnls(np.vstack([root, np.full(m, heavy)]), np.append(centre, heavy))
    if not found.sum() > 0.0:
        return None
    found = found / found.sum()
    return None if np.allclose(found, weights, rtol=0.0, atol=1e-12) else np.asarray(found)
