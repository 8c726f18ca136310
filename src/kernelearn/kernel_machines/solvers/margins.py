"""Learners with hinge losses and one-class margins: libsvm, certified, and finished where it stalls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.solvers.points import (
    DualPoint,
    balanced,
    best_point,
    crossing,
    libsvm_duals,
)
from kernelearn.kernel_machines.solvers.quadratic import (
    BoxProgram,
    interior_point,
    squared_hinge,
)

# libsvm has no hard margin: its box is so much larger than multipliers of a kernel with diagonal one.
_HARD_C = 1e8
# A multiplier so close to an end of its box, in parts of the box, is at it.
_AT_BOUND = 1e-9


def _mean_diagonal(gram: np.ndarray) -> float:
    """The size of a kernel; 1 for a kernel that is zero."""
    return float(np.diagonal(gram).mean()) or 1.0


def _margin_program(gram: np.ndarray, y: np.ndarray, limit: np.ndarray) -> BoxProgram:
    """min a'Y K Y a / 2 - 1'a, 0 <= a <= limit, y'a = 0."""
    return BoxProgram(gram * np.outer(y, y), np.ones(len(y)), limit, y[None, :], np.zeros(1))


def _margin_duals(
    gram: np.ndarray, y: np.ndarray, C: float, costs: np.ndarray, limit: np.ndarray
) -> Iterator[np.ndarray]:
    """Dual coefficients y_i a_i of the C-SVM: from libsvm, and from an interior point after that."""
    from sklearn.svm import SVC

    def machine(tol: float, max_iter: int) -> Any:
        return SVC(kernel="precomputed", C=C, tol=tol, cache_size=400, max_iter=max_iter)

    yield from libsvm_duals(machine, gram, y, costs)
    yield y * balanced(interior_point(_margin_program(gram, y, limit)), y)


@dataclass(frozen=True)
class SoftMargin1:
    """1-norm soft margin: J(K) = factor * max_a 2a'1 - a'Y K Y a, 0 <= a_i <= C cost_i, a'y = 0.

    With factor = alpha and C = 1/(2 alpha) it is min_f sum cost hinge(y f) + alpha ||f||^2.
    Source: Lanckriet et al., JMLR 2004, (4) with tau = 0 and (38).
    """

    C: float = 1.0
    factor: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the relative gap of the point is at most tol, as far as rounding allows."""
        limit = self.C * costs
        duals = _margin_duals(gram, target, self.C, costs, limit)
        return best_point((self._certified(gram, target, limit, v, tol) for v in duals), tol)

    def _certified(
        self, gram: np.ndarray, y: np.ndarray, limit: np.ndarray, v: np.ndarray, tol: float
    ) -> DualPoint:
        fitted = gram @ v
        norm = float(v @ fitted)
        constant = 2.0 * float(np.abs(v).sum())
        intercept, upper = _hinge_primal(fitted, y, limit, norm, 1.0)
        if upper - (constant - norm) > tol * upper:
            upper = min(upper, _best_scaled(fitted, y, limit, norm))
        sizes = np.abs(v)
        free = np.flatnonzero((sizes > _AT_BOUND * limit) & (sizes < (1.0 - _AT_BOUND) * limit))
        return DualPoint(
            v, self.factor * constant, self.factor, self.factor * upper, v, intercept, norm, free
        )


def _hinge_primal(
    fitted: np.ndarray, y: np.ndarray, limit: np.ndarray, norm: float, scale: float
) -> tuple[float, float]:
    """Best intercept and ||w||^2 + 2 sum limit_i hinge_i of the predictor times `scale`."""
    intercept = hinge_intercept(scale * fitted, y, limit)
    hinge = limit @ np.maximum(0.0, 1.0 - y * (scale * fitted + intercept))
    return intercept, scale**2 * norm + 2.0 * float(hinge)


def _best_scaled(fitted: np.ndarray, y: np.ndarray, limit: np.ndarray, norm: float) -> float:
    """Smallest primal value over multiples of the predictor.

    Where C is large the small violations that libsvm tolerates cost C each; a slightly longer w avoids them.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda scale: _hinge_primal(fitted, y, limit, norm, scale)[1],
        bounds=(0.95, 1.05),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(found.fun)


def hinge_intercept(fitted: np.ndarray, y: np.ndarray, costs: np.ndarray) -> float:
    """The b that minimises sum_i cost_i max(0, 1 - y_i (fitted_i + b)), the middle of the minimisers.

    The sum is convex and piecewise linear in b with kinks at y_i - fitted_i, where its slope rises by the
    cost. It starts at minus the cost of the positive labels.
    """
    return crossing(y - fitted, costs, float(costs[y > 0].sum()))


@dataclass(frozen=True)
class SoftMargin2:
    """2-norm soft margin: J(K) = max_a 2a'1 - a'(Y K Y + diag(1 / (C cost))) a, a >= 0, a'y = 0.

    Source: Lanckriet et al., JMLR 2004, (43).
    """

    C: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the upper bound is the primal ||w||^2 + C sum of squared hinge losses."""
        limit = self.C * costs
        return best_point(self._points(gram, target, limit), tol)

    def _points(self, gram: np.ndarray, y: np.ndarray, limit: np.ndarray) -> Iterator[DualPoint]:
        found = squared_hinge(gram, y, limit)
        yield self._certified(gram, y, limit, balanced(limit * found.slack, y), found.intercept)
        program = _margin_program(gram, y, np.full(len(y), np.inf))
        program.quadratic.flat[:: len(y) + 1] += 1.0 / limit
        a = balanced(interior_point(program), y)
        active = np.argsort(a)[-max(1, len(a) // 10) :]
        residual = y - gram @ (y * a) - y * a / limit
        yield self._certified(gram, y, limit, a, float(np.median(residual[active])))

    def _certified(
        self, gram: np.ndarray, y: np.ndarray, limit: np.ndarray, a: np.ndarray, intercept: float
    ) -> DualPoint:
        v = y * a
        fitted = gram @ v
        norm = float(v @ fitted)
        slack = np.maximum(0.0, 1.0 - y * (fitted + intercept))
        upper = norm + float(limit @ slack**2)
        constant = 2.0 * float(a.sum()) - float(a @ (a / limit))
        return DualPoint(v, constant, 1.0, upper, v, intercept, norm)


@dataclass(frozen=True)
class HardMargin:
    """Hard margin: J(K) = max_a 2a'1 - a'Y K Y a, a >= 0, a'y = 0; infinite where K does not separate.

    Source: Lanckriet et al., JMLR 2004, (33).
    """

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; upper = 1 / margin^2, or infinity. Costs do not matter: no loss is allowed."""
        C = _HARD_C / _mean_diagonal(gram)
        everyone = np.ones(len(target))
        duals = _margin_duals(gram, target, C, everyone, np.full(len(target), np.inf))
        return best_point((self._certified(gram, target, v) for v in duals), tol)

    def _certified(self, gram: np.ndarray, y: np.ndarray, v: np.ndarray) -> DualPoint:
        fitted = gram @ v
        low, high = float(fitted[y > 0].min()), float(fitted[y < 0].max())
        half_margin = (low - high) / 2.0
        norm = float(v @ fitted)
        constant = 2.0 * float(np.abs(v).sum())
        if not half_margin > 0.0:
            return DualPoint(v, constant, 1.0, np.inf, v, -(low + high) / 2.0, norm)
        intercept = -(low + high) / (2.0 * half_margin)
        return DualPoint(v, constant, 1.0, norm / half_margin**2, v / half_margin, intercept, norm)


@dataclass(frozen=True)
class NuMargin:
    """nu-SVM: J(K) = max_a -a'Y K Y a / 2, 0 <= a_i <= share_i, a'1 >= nu, a'y = 0; shares sum to one.

    Source: Ong et al., JMLR 2005, dual of the inner problem of (28).
    """

    nu: float = 0.3

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; upper = ||w||^2 / 2 - chi nu + mean of max(0, chi - y f).

        Raises: ArgumentError when a class is too small for nu.
        """
        shares = costs / costs.sum()
        self._check(target, shares)
        points = (self._certified(gram, target, shares, v) for v in self._duals(gram, target, costs, shares))
        return best_point(points, tol)

    def _duals(
        self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray, shares: np.ndarray
    ) -> Iterator[np.ndarray]:
        from sklearn.svm import NuSVC

        def machine(tol: float, max_iter: int) -> Any:
            return NuSVC(nu=self.nu, kernel="precomputed", tol=tol, cache_size=400, max_iter=max_iter)

        for v in libsvm_duals(machine, gram, y, costs, _mean_diagonal(gram)):
            # NOTE: libsvm divides its answer by the margin; the dual of (28) has a'1 = nu.
            yield v * (self.nu / np.abs(v).sum())
        equations, values = np.stack([np.ones(len(y)), y]), np.array([self.nu, 0.0])
        a = interior_point(BoxProgram(gram * np.outer(y, y), np.zeros(len(y)), shares, equations, values))
        yield y * balanced(a, y)

    def _certified(self, gram: np.ndarray, y: np.ndarray, shares: np.ndarray, v: np.ndarray) -> DualPoint:
        fitted = gram @ v
        norm = float(v @ fitted)
        positive = y > 0
        up = crossing(fitted[positive], shares[positive], self.nu / 2.0)
        down = crossing(-fitted[~positive], shares[~positive], self.nu / 2.0)
        rho, intercept = max(0.0, (up + down) / 2.0), (down - up) / 2.0
        loss = float(shares @ np.maximum(0.0, rho - y * (fitted + intercept)))
        return DualPoint(v, 0.0, 0.5, 0.5 * norm - rho * self.nu + loss, v, intercept, norm)

    def _check(self, target: np.ndarray, shares: np.ndarray) -> None:
        smaller = min(float(shares[target > 0].sum()), float(shares[target < 0].sum()))
        if not 0.0 < self.nu <= 2.0 * smaller * (1 + 1e-12):
            raise ArgumentError(
                f"nu must be in (0, {2.0 * smaller:.3g}] for a class with a share of {smaller:.3g} of the "
                f"{len(target)} points, got {self.nu!r}. Use a smaller nu, or formulation='c'."
            )


@dataclass(frozen=True)
class LagrangianMargin:
    """Lagrangian SVM: J(K) = max_{a >= 0} a'1 - a'H a / 2, H = Y (K + 11' + diag(ridge / cost)) Y.

    The intercept is regularised and the slacks are squared, so only signs are constrained.
    Source: Mangasarian and Musicant, JMLR 2001; Ong et al., JMLR 2005, (29) with ridge = lambda m.
    """

    ridge: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the upper bound is ||w||^2/2 + b^2/2 + sum of squared slacks / (2 ridge)."""
        ridge = self.ridge / costs
        hessian = (gram + 1.0) * np.outer(target, target)
        hessian.flat[:: len(hessian) + 1] += ridge
        a = nonnegative_quadratic(hessian)
        v = a * target
        intercept = float(v.sum())
        fitted = gram @ v
        norm = float(v @ fitted)
        slack = np.maximum(0.0, 1.0 - target * (fitted + intercept))
        penalty = 0.5 * intercept**2
        upper = 0.5 * norm + penalty + 0.5 * float(slack @ (slack / ridge))
        constant = float(a.sum() - penalty - 0.5 * v @ (ridge * v))
        return DualPoint(v, constant, 0.5, upper, v, intercept, norm)


def nonnegative_quadratic(hessian: np.ndarray) -> np.ndarray:
    """argmax_{a >= 0} a'1 - a'H a / 2 for positive definite H, by guessing and correcting the support.

    Source: primal-dual active sets, Hintermueller, Ito and Kunisch, SIAM J. Optim. 2002; Lawson and Hanson's
    nonnegative least squares when the guesses do not settle.
    """
    from scipy.optimize import nnls

    a = np.ones(len(hessian))
    free = np.ones(len(hessian), dtype=bool)
    for _ in range(40):
        a = np.zeros(len(hessian))
        a[free] = np.linalg.solve(hessian[np.ix_(free, free)], np.ones(int(free.sum())))
        gradient = hessian @ a - 1.0
        settled = np.where(free, a > 0, gradient < 0)
        if np.array_equal(settled, free):
            return a
        free = settled
    lower = np.linalg.cholesky(hessian)
    solution, _ = nnls(lower.T, np.linalg.solve(lower, np.ones(len(hessian))))
    return np.asarray(solution)


@dataclass(frozen=True)
class OneClassMargin:
    """Single-class SVM: J(K) = max_a -a'K a / 2, 0 <= a_i <= share_i / nu, a'1 = 1; shares sum to one.

    The predictor f - rho is negative on outliers; at most a share nu of the points are.
    Source: Schoelkopf et al., Neural Computation 2001; Ong et al., JMLR 2005, inner problem of (30).
    """

    nu: float = 0.5

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`, without targets; upper = ||w||^2 / 2 - rho + mean of max(0, rho - f) / nu."""
        limit = costs / (self.nu * costs.sum())
        points = (self._certified(gram, limit, v) for v in self._duals(gram, costs, limit))
        return best_point(points, tol)

    def _duals(self, gram: np.ndarray, costs: np.ndarray, limit: np.ndarray) -> Iterator[np.ndarray]:
        from sklearn.svm import OneClassSVM

        def machine(tol: float, max_iter: int) -> Any:
            return OneClassSVM(nu=self.nu, kernel="precomputed", tol=tol, cache_size=400, max_iter=max_iter)

        # libsvm's multipliers sum to nu times the costs, and so its gradient grows with them.
        unit = _mean_diagonal(gram) * self.nu * float(costs.sum())
        for v in libsvm_duals(machine, gram, None, costs, unit):
            yield v / v.sum()
        n = len(costs)
        a = interior_point(BoxProgram(gram, np.zeros(n), limit, np.ones((1, n)), np.ones(1)))
        yield a / a.sum()

    def _certified(self, gram: np.ndarray, limit: np.ndarray, v: np.ndarray) -> DualPoint:
        fitted = gram @ v
        norm = float(v @ fitted)
        rho = crossing(fitted, limit, 1.0)
        upper = 0.5 * norm - rho + float(limit @ np.maximum(0.0, rho - fitted))
        return DualPoint(v, 0.0, 0.5, upper, v, -rho, norm)
