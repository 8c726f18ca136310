"""What a learner at one fixed kernel matrix gives back, and what all learners share.

All of them write the regularised risk at kernel K as J(K) = max_v constant(v) - scale * v'K v, so that the
v of one K bounds J at every other K from below: that is the cut that the weight solvers need.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kernelearn.errors import DataError
from kernelearn.kernel_machines.solvers.master import Cut

_LIBSVM_TOLS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


@dataclass(frozen=True)
class DualPoint:
    """What a learner returns at one kernel matrix.

    v: (n,) dual direction; J(K) >= constant - scale * v'K v for every K.
    upper: certified upper bound of J at the kernel that was given (its primal objective).
    dual_coef, intercept: the predictor f(x) = sum_i dual_coef_i k(x_i, x) + intercept.
    norm: v'K v at the kernel that was given.
    free: numbers of the multipliers strictly between their bounds, where all others stay at theirs when K
        changes a little; None where the learner does not say.
    """

    v: np.ndarray
    constant: float
    scale: float
    upper: float
    dual_coef: np.ndarray
    intercept: float
    norm: float
    free: np.ndarray | None = None

    @property
    def gap(self) -> float:
        """(upper - lower) / |upper|, infinite where upper is."""
        if not np.isfinite(self.upper):
            return np.inf
        return (self.upper - self.constant + self.scale * self.norm) / max(abs(self.upper), 1e-300)


class Learner(Protocol):
    """Anything that solves one regularised problem at a fixed kernel matrix."""

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """Solve at the (n, n) matrix `gram`.

        Args:
            gram: (n, n) positive semidefinite.
            target: (n,) labels -1/+1 or real values.
            costs: (n,) positive factors of the points' losses: a point with cost 2 counts as two.
            tol: relative gap of the point to aim for.
        """
        ...


def solve_all(
    learner: Learner, gram: np.ndarray, targets: np.ndarray, costs: np.ndarray, tol: float = 1e-4
) -> list[DualPoint]:
    """One dual point per row of targets (k, n), all at the same kernel matrix."""
    return [learner.solve(gram, target, costs, tol) for target in targets]


def stacked_duals(points: Sequence[DualPoint]) -> np.ndarray:
    """(n, k) dual directions, scaled so that the sum of v'K v is the sum of scale * v'K v."""
    return np.column_stack([np.sqrt(point.scale) * point.v for point in points])


def cut_from(points: Sequence[DualPoint], slopes: np.ndarray, curvature: np.ndarray | None = None) -> Cut:
    """The cut of several outputs that share the kernel."""
    constant = sum(point.constant for point in points)
    return Cut(constant, slopes, sum(point.upper for point in points), list(points), curvature)


def best_point(points: Iterator[DualPoint], tol: float) -> DualPoint:
    """The first point whose own gap is at most tol, or the one with the smallest gap."""
    best = next(points)
    while best.gap > tol:
        point = next(points, None)
        if point is None:
            break
        best = min(best, point, key=lambda one: one.gap)
    return best


def libsvm_duals(
    machine: Callable[[float, int], Any],
    gram: np.ndarray,
    target: np.ndarray | None,
    costs: np.ndarray,
    unit: float = 1.0,
) -> Iterator[np.ndarray]:
    """(n,) signed dual coefficients of one of scikit-learn's machines on libsvm, at falling tolerances.

    Ends as soon as libsvm meets the limit of its iterations: it would not get further with a smaller
        tolerance.

    Args:
        machine: (tolerance, limit of iterations) -> unfitted machine.
        unit: of the gradient of libsvm's problem, in which its tolerance is measured.
    """
    import warnings

    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning

    n = len(costs)
    weights = None if np.all(costs == 1.0) else costs
    for tol in _LIBSVM_TOLS:
        # About as long as the interior point takes that is tried next.
        fitted = machine(tol * unit, 10_000 + 20 * n)
        with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit(gram, target, sample_weight=weights)
        v = np.zeros(n)
        v[fitted.support_] = fitted.dual_coef_[0]
        yield v
        if fitted.fit_status_ != 0:
            return


def crossing(kinks: np.ndarray, rises: np.ndarray, mass: float) -> float:
    """Where a sum that starts at -mass and rises by `rises` at the kinks crosses zero; the middle of a rest.

    The minimiser of a convex piecewise linear function whose slope does this: weighted medians, quantiles and
    the intercepts of hinge losses are of this kind.
    """
    order = np.argsort(kinks, kind="stable")
    total = np.cumsum(rises[order])
    rounding = 1e-12 * float(total[-1])
    left = min(int(np.searchsorted(total, mass - rounding)), len(kinks) - 1)
    right = min(int(np.searchsorted(total, mass + rounding, side="right")), len(kinks) - 1)
    return float((kinks[order[left]] + kinks[order[max(left, right)]]) / 2.0)


def balanced(a: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Nonnegative a, made smaller on one side so that y'a = 0 for labels y: what an intercept needs."""
    positive, negative = float(a[y > 0].sum()), float(a[y < 0].sum())
    least = min(positive, negative)
    if least == 0.0:
        return np.zeros_like(a)
    return np.where(y > 0, a * (least / positive), a * (least / negative))


def check_separable(upper: float) -> None:
    """Raise when the hard margin problem has no feasible kernel.

    Raises: DataError.
    """
    if not np.isfinite(upper):
        raise DataError(
            "criterion='hard' needs classes that some combination of the kernels separates, and none was "
            "found. Use criterion='soft1' or 'soft2', or add a kernel that is richer (a narrower Gaussian)."
        )


def check_interpolates(upper: float) -> None:
    """Raise when no kernel meets all targets exactly.

    Raises: DataError.
    """
    if not np.isfinite(upper):
        raise DataError(
            "Minimal norm interpolation needs a kernel that can meet every target, and none was found: the "
            "Gram matrix is singular to working precision, or equal points have different targets. Use a "
            "loss with regularisation, merge equal points, or add a richer kernel (a narrower Gaussian)."
        )
