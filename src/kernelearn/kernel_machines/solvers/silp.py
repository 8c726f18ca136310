"""Semi-infinite linear programming: min over weights on a simplex of max over dual points, with its gap.

Every problem here with nonnegative kernel weights is min_{theta in simplex} J(theta) where J is a supremum
of functions constant - slopes . theta, one per dual point. A learner at fixed weights supplies the best dual
point (a cut), a linear programme over all cuts so far supplies the next weights and a lower bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.kernel_machines.solvers.progress import Progress, warn_not_converged

_TRACES = (1e-2, 1e-3)
# After so many cuts without one feasible problem (hard margin, inseparable classes) a solver gives up. The
# uniform start sees the features of all kernels: what it cannot separate no weights can, up to rounding.
PATIENCE = 3
_LP_OPTIONS = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}


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
        """(upper - lower) / |upper|."""
        return relative_gap(self.lower, self.upper)


Oracle = Callable[[np.ndarray], Cut]


def relative_gap(lower: float, upper: float) -> float:
    """Duality gap relative to the value; infinite while a bound is."""
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return np.inf
    return max(0.0, upper - lower) / max(abs(upper), 1e-12)


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
        tol: stop when (upper - lower) / |upper| <= tol.
        step: where between the best weights so far (0) and the linear programme's (1) the next cut is made.
        start: first weights; uniform when None.
    Returns: SilpResult, with an infinite upper bound when J was infinite wherever it was tried; a
        ConvergenceWarning is given when max_iter was reached before tol.
    Source: Sonnenburg et al., Large scale multiple kernel learning, JMLR 2006; separation between the best
        and the newest point after Ben-Ameur and Neto, Networks 2007.
    """
    weights = np.full(n_weights, 1.0 / n_weights) if start is None else start
    progress = Progress("SILP", verbose)
    result = SilpResult(weights, -np.inf, np.inf, None, 0, False)
    while result.n_iter < max_iter:
        if result.n_iter >= PATIENCE and not np.isfinite(result.upper):
            return result
        _record(result, oracle(weights), weights)
        outer, result.lower = _master(result.cuts, n_weights, result.lower)
        result.history.append((result.lower, result.upper))
        progress.show(result.n_iter, result.lower, result.upper)
        if result.gap <= tol:
            result.converged = True
            _prefer_sparse(result, oracle, outer, tol)
            return result
        if n_weights == 1 and not np.isfinite(result.upper):
            return result
        if n_weights == 1:
            break
        weights = result.weights + step * (outer - result.weights)
    warn_not_converged(result.gap, tol, result.n_iter)
    return result


def _prefer_sparse(result: SilpResult, oracle: Oracle, outer: np.ndarray, tol: float) -> None:
    """Take sparser weights when they meet tol as well: steps of less than one leave traces of the start.

    Candidates are the linear programme's vertex, then the best weights without the small ones.
    """
    pruned = [np.where(result.weights < trace, 0.0, result.weights) for trace in _TRACES]
    for weights in (outer, *(rest / rest.sum() for rest in pruned if rest.any())):
        if np.count_nonzero(weights) >= np.count_nonzero(result.weights):
            continue
        cut = oracle(weights)
        result.n_iter += 1
        if relative_gap(result.lower, cut.upper) <= tol:
            result.weights, result.upper, result.state = weights, cut.upper, cut.state
            return


def _record(result: SilpResult, cut: Cut, weights: np.ndarray) -> None:
    result.n_iter += 1
    result.cuts.append(cut)
    if cut.upper < result.upper or result.state is None:
        result.upper, result.weights, result.state = cut.upper, weights, cut.state


def _master(cuts: list[Cut], n_weights: int, lower: float) -> tuple[np.ndarray, float]:
    """Minimise the maximum of the cuts over the simplex; returns weights and the (improved) lower bound."""
    master = minimise_cuts(cuts, [(0.0, 1.0)] * n_weights)
    return master.weights, max(lower, master.value)


@dataclass(frozen=True)
class Master:
    """Optimum of the linear programme: weights, value, and the convex multipliers of the cuts.

    sum_k multipliers_k cut_k is one linear lower bound of J whose minimum over the weights is `value`.
    """

    weights: np.ndarray
    value: float
    multipliers: np.ndarray


def minimise_cuts(
    cuts: list[Cut], bounds: list[tuple[float, float]], nonnegative: np.ndarray | None = None
) -> Master:
    """min_w max_k constants_k - slopes_k . w  subject to sum(w) = 1, bounds, nonnegative @ w >= 0.

    Args:
        cuts: constants and slopes.
        bounds: (low, high) of each weight.
        nonnegative: (n_rows, m) further linear constraints, or None.
    Returns: `Master`; when the programme fails numerically, uniform weights and the value minus infinity.
    """
    from scipy.optimize import linprog

    slopes = np.array([cut.slopes for cut in cuts])
    constants = np.array([cut.constant for cut in cuts])
    n_weights = len(bounds)
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
    answer = linprog(
        cost, rows, limits, total, [1.0], [*bounds, (None, None)], method="highs", options=_LP_OPTIONS
    )
    if answer.x is None:
        uniform = np.full(n_weights, 1.0 / n_weights)
        return Master(uniform, -np.inf, np.full(len(cuts), 1.0 / len(cuts)))
    low, high = np.array(bounds).T
    multipliers = np.maximum(-answer.ineqlin.marginals[: len(cuts)] / scale, 0.0)
    weights = np.clip(answer.x[:n_weights], low, high)
    return Master(weights, float(answer.fun), multipliers / max(multipliers.sum(), 1e-300))
