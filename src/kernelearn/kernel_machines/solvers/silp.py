"""Semi-infinite linear programming: min over weights on a simplex of max over dual points, with its gap.

Every problem here with nonnegative kernel weights is min_{theta in simplex} J(theta) where J is a supremum
of functions constant - slopes . theta, one per dual point. A learner at fixed weights supplies the best dual
point (a cut), a linear programme over all cuts so far supplies the next weights and a lower bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelearn.kernel_machines.solvers.master import Cut, Region, minimise_cuts
from kernelearn.kernel_machines.solvers.newton import newton_weights
from kernelearn.kernel_machines.solvers.progress import Progress, warn_not_converged

_TRACES = (1e-2, 1e-3)
# After so many cuts without one feasible problem (hard margin, inseparable classes) a solver gives up. The
# uniform start sees the features of all kernels: what it cannot separate no weights can, up to rounding.
PATIENCE = 3
# Bounds are sums of a few thousand products: they may cross by so much of the size of their terms.
_ROUNDING = 1e-11

# A cut need be no more accurate than this part of the gap that is left.
_INNER = 0.125
_ROUGHEST = 1e-2

# (weights, relative gap that the learner should reach) -> cut
Oracle = Callable[[np.ndarray, float], Cut]


@dataclass
class SilpResult:
    """Weights with J(weights) <= upper, and lower <= min J.

    size: of the terms whose sums the bounds are; crossing bounds are rounding only in proportion to it.
    """

    weights: np.ndarray
    lower: float
    upper: float
    state: Any
    n_iter: int
    converged: bool
    history: list[tuple[float, float]] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    size: float = 0.0

    @classmethod
    def of_one(cls, oracle: "Oracle", weights: np.ndarray) -> "SilpResult":
        """Given weights on the simplex, with what they leave: the bound is that of the one cut made there."""
        result = cls(weights, -np.inf, np.inf, None, 0, True)
        cut = oracle(weights, 1e-4)
        result.add(cut, weights)
        result.bound(cut.constant - float(cut.slopes.max()), np.ones(1))
        return result

    @property
    def gap(self) -> float:
        """(upper - lower) / the larger of both; see `relative_gap`."""
        return relative_gap(self.lower, self.upper, self.size)

    @property
    def has_crossed(self) -> bool:
        """Whether both bounds are finite and contradict each other."""
        return bool(np.isfinite(self.lower) and np.isfinite(self.upper) and not np.isfinite(self.gap))

    def add(self, cut: Cut, weights: np.ndarray) -> None:
        """Take a cut made at `weights`, and its upper bound where that is the best so far."""
        self.n_iter += 1
        self.cuts.append(cut)
        if cut.upper < self.upper or self.state is None:
            self.upper, self.weights, self.state = cut.upper, weights, cut.state

    def bound(self, lower: float, multipliers: np.ndarray, is_new: bool = True) -> None:
        """Take a lower bound made of the cuts with these multipliers.

        is_new: begin a line of the history, rather than mend the last one.
        """
        if lower > self.lower:
            self.lower = lower
            self.size = sum(share * cut.size(self.weights) for share, cut in zip(multipliers, self.cuts))
        if not is_new:
            self.history.pop()
        self.history.append((self.lower, self.upper))

    def in_units(self, unit: float) -> "SilpResult":
        """The same result with both bounds, and their history, times `unit`."""
        history = [(lower * unit, upper * unit) for lower, upper in self.history]
        return replace(
            self, lower=self.lower * unit, upper=self.upper * unit, size=self.size * unit, history=history
        )


def relative_gap(lower: float, upper: float, size: float = 0.0) -> float:
    """Duality gap relative to the larger bound.

    Args:
        lower, upper: the bounds.
        size: of the terms whose sums they are, where those are larger than the bounds.
    Returns: 0 where the bounds cross by no more than rounding; infinity where one is infinite, or where they
        cross by more, because then one of them is wrong.
    """
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return np.inf
    largest = max(abs(upper), abs(lower))
    if lower - upper > _ROUNDING * max(largest, size):
        return np.inf
    return max(0.0, upper - lower) / largest if largest > 0 else 0.0


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
        oracle: weights (m,) and a tolerance -> Cut.
        tol: stop when (upper - lower) / |upper| <= tol.
        step: where between the best weights so far (0) and the linear programme's (1) the next cut is made.
        start: first weights; uniform when None.
    Returns: SilpResult, with an infinite upper bound when J was infinite wherever it was tried; a
        ConvergenceWarning is given when max_iter was reached before tol, or when the bounds cross.
    Source: Sonnenburg et al., Large scale multiple kernel learning, JMLR 2006; separation between the best
        and the newest point after Ben-Ameur and Neto, Networks 2007; second-order steps, see `newton`.
    """
    region = Region.simplex(n_weights)
    weights = region.centre if start is None else start
    progress = Progress("SILP", verbose)
    result = SilpResult(weights, -np.inf, np.inf, None, 0, False)
    while result.n_iter < max_iter and not result.has_crossed:
        if not np.isfinite(result.upper) and result.n_iter >= (PATIENCE if n_weights > 1 else 1):
            return result
        # With one kernel there is no second chance to be more accurate.
        inner = inner_tolerance(result.gap, tol) if n_weights > 1 else tol / 4
        cut = oracle(weights, inner)
        is_better = cut.upper < result.upper
        result.add(cut, weights)
        outer = _improve(result, region, tol)
        progress.show(result.n_iter, result.lower, result.upper)
        if result.gap <= tol:
            result.converged = True
            _prefer_sparse(result, oracle, outer, tol)
            return result
        if n_weights == 1 and np.isfinite(result.upper):
            break
        # Second-order steps while they lead down, the linear programme's when one did not.
        further = newton_weights(cut, weights) if is_better else None
        weights = result.weights + step * (outer - result.weights) if further is None else further
    warn_not_converged(result.lower, result.upper, result.gap, tol, result.n_iter)
    return result


def inner_tolerance(gap: float, tol: float) -> float:
    """The relative gap that a learner should reach while `gap` is left and `tol` is wanted."""
    return max(tol / 4, min(_ROUGHEST, _INNER * gap))


def _improve(result: SilpResult, region: Region, tol: float) -> np.ndarray:
    """Raise the lower bound; returns weights that minimise the cuts.

    Where the newest cut alone is within tol of the upper bound the linear programme is not needed.
    """
    newest = result.cuts[-1]
    corners = newest.constant - newest.slopes
    result.bound(float(corners.min()), np.eye(len(result.cuts))[-1], is_new=True)
    if result.gap <= tol or len(corners) == 1:
        return np.asarray(np.eye(len(corners))[int(np.argmin(corners))])
    master = minimise_cuts(result.cuts, region, result.weights)
    result.bound(master.value, master.multipliers, is_new=False)
    return master.weights


def _prefer_sparse(result: SilpResult, oracle: Oracle, outer: np.ndarray, tol: float) -> None:
    """Take sparser weights when they meet tol as well: steps of less than one leave traces of the start.

    Candidates are the linear programme's vertex, then the best weights without the small ones.
    """
    pruned = [np.where(result.weights < trace, 0.0, result.weights) for trace in _TRACES]
    for weights in (outer, *(rest / rest.sum() for rest in pruned if rest.any())):
        if np.count_nonzero(weights) >= np.count_nonzero(result.weights):
            continue
        cut = oracle(weights, tol / 4)
        result.n_iter += 1
        if relative_gap(result.lower, cut.upper, result.size) <= tol:
            result.weights, result.upper, result.state = weights, cut.upper, cut.state
            return
