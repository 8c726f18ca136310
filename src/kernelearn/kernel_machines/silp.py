"""Semi-infinite linear programming: min over weights on a simplex of max over dual points, with its gap.

Every problem here with nonnegative kernel weights is min_{theta in simplex} J(theta) where J is a supremum
of functions constant - slopes . theta, one per dual point. A learner at fixed weights supplies the best dual
point (a cut), a linear programme over all cuts so far supplies the next weights and a lower bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.kernel_machines._report import Progress, warn_not_converged


@dataclass(frozen=True)
class Cut:
    """A lower bound of J that is linear in the weights, found at some weights theta.

    J(w) >= constant - slopes @ w for every w; `upper` >= J(theta) is a certified value (a primal objective);
    `state` is whatever the learner needs later to predict.
    """

    constant: float
    slopes: np.ndarray
    upper: float
    state: Any = None

    def value(self, weights: np.ndarray) -> float:
        """The bound at some weights."""
        return self.constant - float(self.slopes @ weights)


@dataclass
class SilpResult:
    """Weights with J(weights) <= upper, and lower <= min J."""

    weights: np.ndarray
    lower: float
    upper: float
    state: Any
    n_iter: int
    converged: bool
    history: list[tuple[float, float]] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)

    @property
    def gap(self) -> float:
        """(upper - lower) / max(1, |upper|)."""
        return relative_gap(self.lower, self.upper)


Oracle = Callable[[np.ndarray], Cut]


def relative_gap(lower: float, upper: float) -> float:
    """Duality gap relative to the value, absolute below 1."""
    return max(0.0, upper - lower) / max(1.0, abs(upper))


def solve_silp(
    oracle: Oracle,
    n_weights: int,
    *,
    tol: float = 1e-3,
    max_iter: int = 200,
    step: float = 0.7,
    verbose: int = 0,
    start: np.ndarray | None = None,
) -> SilpResult:
    """Minimise J over the simplex by cutting planes.

    Args:
        oracle: weights (m,) -> Cut.
        tol: stop when (upper - lower) / max(1, |upper|) <= tol.
        step: where between the best weights so far (0) and the linear programme's (1) the next cut is made.
        start: first weights; uniform when None.
    Returns: SilpResult; a ConvergenceWarning is given when max_iter was reached before tol.
    Source: Sonnenburg et al., Large scale multiple kernel learning, JMLR 2006; separation between the best
        and the newest point after Ben-Ameur and Neto, Networks 2007.
    """
    weights = np.full(n_weights, 1.0 / n_weights) if start is None else start
    progress = Progress("SILP", verbose)
    result = SilpResult(weights, -np.inf, np.inf, None, 0, False)
    while result.n_iter < max_iter:
        _record(result, oracle(weights), weights)
        outer, result.lower = _master(result.cuts, n_weights, result.lower)
        result.history.append((result.lower, result.upper))
        progress.show(result.n_iter, result.lower, result.upper)
        if result.gap <= tol:
            result.converged = True
            _drop_traces(result, oracle, tol)
            return result
        weights = result.weights + step * (outer - result.weights)
    warn_not_converged(result.gap, tol, max_iter)
    return result


def _drop_traces(result: SilpResult, oracle: Oracle, tol: float, trace: float = 1e-3) -> None:
    """Zero weights below `trace`, left over from the start, when the solution still meets tol."""
    small = (result.weights > 0) & (result.weights < trace)
    if not small.any():
        return
    pruned = np.where(small, 0.0, result.weights)
    pruned /= pruned.sum()
    cut = oracle(pruned)
    result.n_iter += 1
    if relative_gap(result.lower, cut.upper) <= tol:
        result.weights, result.upper, result.state = pruned, cut.upper, cut.state


def _record(result: SilpResult, cut: Cut, weights: np.ndarray) -> None:
    result.n_iter += 1
    result.cuts.append(cut)
    if cut.upper < result.upper or result.state is None:
        result.upper, result.weights, result.state = cut.upper, weights, cut.state


def _master(cuts: list[Cut], n_weights: int, lower: float) -> tuple[np.ndarray, float]:
    """Minimise the maximum of the cuts over the simplex; returns weights and the (improved) lower bound."""
    slopes = np.array([cut.slopes for cut in cuts])
    constants = np.array([cut.constant for cut in cuts])
    weights, value = minimise_cuts(slopes, constants, [(0.0, 1.0)] * n_weights)
    return weights, max(lower, value)


def minimise_cuts(
    slopes: np.ndarray,
    constants: np.ndarray,
    bounds: list[tuple[float, float]],
    nonnegative: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """min_w max_k constants_k - slopes_k . w  subject to sum(w) = 1, bounds, nonnegative @ w >= 0.

    Args:
        slopes: (n_cuts, m).
        constants: (n_cuts,).
        bounds: (low, high) of each weight.
        nonnegative: (n_rows, m) further linear constraints, or None.
    Returns: weights (m,) and the value.
    """
    from scipy.optimize import linprog

    n_weights = slopes.shape[1]
    # One scale per cut keeps the programme well conditioned when the cuts differ by orders of magnitude.
    scale = np.maximum(1.0, np.abs(slopes).max(axis=1))
    rows = np.column_stack([-slopes / scale[:, None], -1.0 / scale])
    limits = -constants / scale
    if nonnegative is not None and len(nonnegative):
        size = np.maximum(np.abs(nonnegative).max(axis=1), 1e-300)
        rows = np.vstack([rows, np.column_stack([-nonnegative / size[:, None], np.zeros(len(size))])])
        limits = np.concatenate([limits, np.zeros(len(size))])
    cost = np.append(np.zeros(n_weights), 1.0)
    total = np.append(np.ones(n_weights), 0.0)[None, :]
    answer = linprog(cost, rows, limits, total, [1.0], [*bounds, (None, None)], method="highs")
    if answer.x is None:
        return _fallback(slopes, constants, n_weights)
    low, high = np.array(bounds).T
    return np.clip(answer.x[:n_weights], low, high), float(answer.fun)


def _fallback(slopes: np.ndarray, constants: np.ndarray, n_weights: int) -> tuple[np.ndarray, float]:
    """When the programme fails numerically: uniform weights, and no claim about the lower bound."""
    return np.full(n_weights, 1.0 / n_weights), -np.inf
