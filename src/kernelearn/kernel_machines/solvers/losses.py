"""Learners with smooth or absolute losses: ridge, logistic, Fisher, absolute, with a tube, and none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelearn.kernel_machines.solvers.points import DualPoint, best_point, crossing, libsvm_duals
from kernelearn.kernel_machines.solvers.quadratic import BoxProgram, interior_point, ridged_solver

_MAX_NEWTON = 60
# What counts as meeting a target: this part of the largest one.
_MET = 1e-6


@dataclass(frozen=True)
class SquareLoss:
    """Ridge: J(K) = min_f sum cost (y - f - b)^2 + alpha ||f||^2; alpha y'(K + alpha I)^{-1} y for b = 0.

    As a maximum: alpha (2a'y - alpha sum a^2 / cost - a'K a), with a'1 = 0 when there is an intercept.
    Source: Micchelli and Pontil, JMLR 2005, Lemma 14.
    """

    alpha: float = 1.0
    fit_intercept: bool = True

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the upper bound is the primal value of the predictor."""
        ridge = self.alpha / costs
        solve = ridged_solver(gram.copy(), ridge)
        solved = solve(np.column_stack([target, np.ones_like(target)]))
        intercept = float(solved[:, 0].sum() / solved[:, 1].sum()) if self.fit_intercept else 0.0
        a = solved[:, 0] - intercept * solved[:, 1]
        if self.fit_intercept:
            a -= a.mean()
        constant = self.alpha * float(2.0 * a @ target - a @ (ridge * a))
        fitted = gram @ a
        norm = float(a @ fitted)
        missed = target - fitted - intercept
        upper = float(costs @ missed**2) + self.alpha * norm
        return DualPoint(a, constant, self.alpha, upper, a, intercept, norm)


@dataclass(frozen=True)
class LabelAlignment:
    """Kernel-target alignment of Ong et al.: J(K) = y'(K + delta I)^{-1} y / 2, without an intercept.

    Their (32) has no delta. It is infinite where K is singular, and beyond any use where K is nearly so;
    delta is what K is known to, see `incomplete_cholesky`.
    Source: Ong et al., JMLR 2005, (32).
    """

    delta: float = 1e-6

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; ridge with alpha = delta, in units of 2 delta."""
        point = SquareLoss(self.delta, fit_intercept=False).solve(gram, target, costs, tol)
        unit = 2.0 * self.delta
        return replace(
            point, constant=point.constant / unit, scale=point.scale / unit, upper=point.upper / unit
        )


@dataclass(frozen=True)
class LogisticLoss:
    """J(K) = min_f sum cost log(1 + exp(-y (f + b))) + alpha ||f||^2.

    As a maximum over 0 <= p <= 1 with sum cost p y = 0: sum cost entropy(p) - v'K v / (4 alpha), v = cost p
    y.
    Source: Kim et al., ICASSP 2008; dual after Keerthi et al., Machine Learning 2005.
    """

    alpha: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; Newton's method with halving until the relative duality gap is below tol."""
        coef, intercept = np.zeros(len(target)), 0.0
        point = self._point(gram, target, costs, coef, intercept)
        for _ in range(_MAX_NEWTON):
            if point.gap <= 0.1 * tol:
                break
            moved = self._newton_step(gram, target, costs, coef, intercept)
            if moved[0] is coef:
                break
            coef, intercept = moved
            point = self._point(gram, target, costs, coef, intercept)
        return point

    def _newton_step(
        self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray, coef: np.ndarray, b: float
    ) -> tuple[np.ndarray, float]:
        """Solve (W K + 2 alpha I) c + W 1 b = W f + y p with sum(c) = 0, then halve until it descends."""
        fitted = gram @ coef + b
        p = costs * _sigmoid(-y * fitted)
        w = np.maximum(p * _sigmoid(y * fitted), 1e-12 * costs)
        right = w * fitted + y * p
        root = np.sqrt(w)
        solve = ridged_solver(root[:, None] * gram * root[None, :], 2.0 * self.alpha)
        from_right = root * solve(right / root)
        from_ones = root * solve(root)
        new_b = float(from_right.sum() / from_ones.sum())
        return self._halved(gram, y, costs, (coef, b), (from_right - new_b * from_ones, new_b))

    def _halved(
        self,
        gram: np.ndarray,
        y: np.ndarray,
        costs: np.ndarray,
        old: tuple[np.ndarray, float],
        new: tuple[np.ndarray, float],
    ) -> tuple[np.ndarray, float]:
        start = self._primal(gram, y, costs, *old)
        step = 1.0
        while step > 1e-6:
            coef, b = old[0] + step * (new[0] - old[0]), old[1] + step * (new[1] - old[1])
            if self._primal(gram, y, costs, coef, b) < start:
                return coef, b
            step /= 2.0
        return old

    def _primal(
        self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray, coef: np.ndarray, b: float
    ) -> float:
        fitted = gram @ coef
        return float(costs @ np.logaddexp(0.0, -y * (fitted + b)) + self.alpha * coef @ fitted)

    def _point(
        self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray, coef: np.ndarray, b: float
    ) -> DualPoint:
        fitted = gram @ coef
        b = _balanced_intercept(fitted, y, costs, b)
        p = _sigmoid(-y * (fitted + b))
        entropy = -_xlogx(p) - _xlogx(_sigmoid(y * (fitted + b)))
        upper = self._primal(gram, y, costs, coef, b)
        v = costs * p * y
        norm = float(v @ gram @ v)
        return DualPoint(v, float(costs @ entropy), 0.25 / self.alpha, upper, coef, b, norm)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(z))


def _xlogx(p: np.ndarray) -> np.ndarray:
    from scipy.special import xlogy

    return np.asarray(xlogy(p, p))


def _balanced_intercept(fitted: np.ndarray, y: np.ndarray, costs: np.ndarray, b: float) -> float:
    """The b with sum_i cost_i y_i sigmoid(-y_i (fitted_i + b)) = 0, which makes the dual point feasible."""
    from scipy.optimize import brentq

    def imbalance(b: float) -> float:
        return float((costs * y) @ _sigmoid(-y * (fitted + b)))

    reach = 1.0
    while imbalance(b - reach) < 0.0 or imbalance(b + reach) > 0.0:
        reach *= 2.0
    return float(brentq(imbalance, b - reach, b + reach, xtol=1e-14, rtol=1e-14))


@dataclass(frozen=True)
class FisherDiscriminant:
    """Kernel Fisher discriminant: J(K) = -(m+ - m-)'(S + alpha I)^{-1}(m+ - m-) in feature space.

    With a = [1/n+; -1/n-] on the classes and S = L'L the scatter within them, L = sqrt(share) (x - mean), the
    ratio is F(K) = min_s v'K v / alpha + s's with v = a - L's: concave in K. Costs weigh means and scatter.
    Source: Kim, Magnani and Boyd, ICML 2006.
    """

    alpha: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; exact. The threshold lies halfway between the projected class means."""
        classes = _Classes(target > 0, costs)
        a = np.where(classes.positive, classes.shares, -classes.shares)
        inner = classes.deviations(classes.deviations(gram).T)
        s = ridged_solver((inner + inner.T) / 2.0, self.alpha)(classes.deviations(gram @ a))
        v = a - classes.deviations_transposed(s)
        fitted = gram @ v
        norm = float(v @ fitted)
        intercept = -float(fitted @ classes.shares) / (2.0 * self.alpha)
        constant = -float(s @ s)
        upper = constant - norm / self.alpha
        return DualPoint(v, constant, 1.0 / self.alpha, upper, v / self.alpha, intercept, norm)


class _Classes:
    """Two classes of points with their shares: the means and deviations within them."""

    def __init__(self, positive: np.ndarray, costs: np.ndarray) -> None:
        self.positive = positive
        totals = np.where(positive, costs[positive].sum(), costs[~positive].sum())
        self.shares = costs / totals
        self.roots = np.sqrt(self.shares)

    def deviations(self, rows: np.ndarray) -> np.ndarray:
        """L @ rows: the rows minus the mean of their class, times the root of their share in it."""
        out = np.empty_like(rows)
        for members in (self.positive, ~self.positive):
            mean = self.shares[members] @ rows[members]
            out[members] = ((rows[members] - mean).T * self.roots[members]).T
        return out

    def deviations_transposed(self, s: np.ndarray) -> np.ndarray:
        """L' @ s."""
        out = self.roots * s
        for members in (self.positive, ~self.positive):
            out[members] -= self.shares[members] * float(self.roots[members] @ s[members])
        return out


@dataclass(frozen=True)
class TubeLoss:
    """J(K) = min_f sum cost max(0, |y - f - b| - epsilon) + alpha ||f||^2; epsilon = 0 is the absolute loss.

    As a maximum: 2 alpha (v'y - epsilon ||v||_1) - alpha v'K v, |v_i| <= cost_i / (2 alpha), v'1 = 0:
    epsilon-SVR with C = 1 / (2 alpha).
    Source: Micchelli and Pontil, JMLR 2005, with the losses of their section 2.
    """

    alpha: float = 1.0
    epsilon: float = 0.0

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the upper bound is the primal value at the best intercept."""
        points = (self._certified(gram, target, costs, v) for v in self._duals(gram, target, costs))
        return best_point(points, tol)

    def _duals(self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray) -> Iterator[np.ndarray]:
        from sklearn.svm import SVR

        C = 0.5 / self.alpha

        def machine(tol: float, max_iter: int) -> Any:
            return SVR(
                kernel="precomputed", C=C, epsilon=self.epsilon, tol=tol, cache_size=400, max_iter=max_iter
            )

        unit = float(np.abs(y - np.median(y)).mean()) or 1.0
        yield from libsvm_duals(machine, gram, y, costs, unit)
        equations = np.concatenate([np.ones(len(y)), -np.ones(len(y))])[None, :]
        gain = np.concatenate([y - self.epsilon, -y - self.epsilon])
        yield _signed_solution(gram, gain, C * np.tile(costs, 2), equations, np.zeros(1))

    def _certified(self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray, v: np.ndarray) -> DualPoint:
        fitted = gram @ v
        norm = float(v @ fitted)
        missed = y - fitted
        kinks = np.concatenate([missed - self.epsilon, missed + self.epsilon])
        intercept = crossing(kinks, np.tile(costs, 2), float(costs.sum()))
        loss = float(costs @ np.maximum(0.0, np.abs(missed - intercept) - self.epsilon))
        constant = 2.0 * self.alpha * float(v @ y - self.epsilon * np.abs(v).sum())
        return DualPoint(v, constant, self.alpha, loss + self.alpha * norm, v, intercept, norm)


@dataclass(frozen=True)
class NuRegression:
    """nu-SVR: J(K) = max_c y'c - c'K c / 2, |c_i| <= C cost_i, ||c||_1 <= nu C sum(cost), 1'c = 0.

    Source: Ong et al., JMLR 2005, dual of the inner problem of (31) with C = 1 / (lambda m).
    """

    C: float = 1.0
    nu: float = 0.3

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the upper bound is the primal at the best tube and intercept."""
        points = (self._certified(gram, target, costs, v) for v in self._duals(gram, target, costs))
        return best_point(points, tol)

    def _duals(self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray) -> Iterator[np.ndarray]:
        from sklearn.svm import NuSVR

        def machine(tol: float, max_iter: int) -> Any:
            return NuSVR(
                C=self.C, nu=self.nu, kernel="precomputed", tol=tol, cache_size=400, max_iter=max_iter
            )

        unit = float(np.abs(y - np.median(y)).mean()) or 1.0
        yield from libsvm_duals(machine, gram, y, costs, unit)
        ones = np.ones(len(y))
        equations = np.stack([np.concatenate([ones, -ones]), np.concatenate([ones, ones])])
        values = np.array([0.0, self.nu * self.C * float(costs.sum())])
        yield _signed_solution(gram, np.concatenate([y, -y]), self.C * np.tile(costs, 2), equations, values)

    def _certified(self, gram: np.ndarray, y: np.ndarray, costs: np.ndarray, v: np.ndarray) -> DualPoint:
        fitted = gram @ v
        norm = float(v @ fitted)
        missed = y - fitted
        mass = 0.5 * self.nu * float(costs.sum())
        low, high = crossing(missed, costs, mass), -crossing(-missed, costs, mass)
        intercept, tube = (low + high) / 2.0, max(0.0, (high - low) / 2.0)
        outside = float(costs @ np.maximum(0.0, np.abs(missed - intercept) - tube))
        upper = 0.5 * norm + self.C * (self.nu * float(costs.sum()) * tube + outside)
        return DualPoint(v, float(y @ v), 0.5, upper, v, intercept, norm)


def _signed_solution(
    gram: np.ndarray, gain: np.ndarray, limit: np.ndarray, equations: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """v = x+ - x- of the quadratic programme of a regression, both halves at least 0; v'1 = 0."""
    n = len(gram)
    quadratic = np.block([[gram, -gram], [-gram, gram]])
    x = interior_point(BoxProgram(quadratic, gain, limit, equations, values))
    v = x[:n] - x[n:]
    # Rounding of the equation: what is too much on one side is taken from it in proportion.
    up, down = float(v[v > 0].sum()), float(-v[v < 0].sum())
    least = min(up, down)
    if least == 0.0:
        return np.zeros(n)
    return np.asarray(np.where(v > 0, v * (least / up), v * (least / down)))


@dataclass(frozen=True)
class Interpolation:
    """Minimal norm interpolation: J(K) = min ||f||^2 with f(x_i) + b = y_i; y'K^{-1} y for b = 0.

    As a maximum: 2c'y - c'K c, with c'1 = 0 when there is an intercept. Infinite where K cannot meet the
        targets.
    Source: Micchelli and Pontil, JMLR 2005, section 2 and Theorem 20.
    """

    fit_intercept: bool = True

    def solve(self, gram: np.ndarray, target: np.ndarray, costs: np.ndarray, tol: float) -> DualPoint:
        """See `Learner.solve`; the upper bound is ||f||^2 and what the targets missed may add to it.

        Targets count as met to `_MET` of the largest one.
        """
        coef, intercept = self._coefficients(gram, target)
        fitted = gram @ coef
        norm = float(coef @ fitted)
        missed = float(np.abs(target - fitted - intercept).max())
        reached = norm + 2.0 * missed * float(np.abs(coef).sum())
        upper = reached if missed <= _MET * float(np.abs(target).max()) else np.inf
        constant = 2.0 * float(coef @ target)
        return DualPoint(coef, constant, 1.0, upper, coef, intercept, norm)

    def _coefficients(self, gram: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
        """K c + b = y, refined: near-singular kernels of wide Gaussians need it."""
        solve = ridged_solver(gram.copy(), 0.0)
        from_ones = solve(np.ones_like(y))
        coef, b = np.zeros_like(y), 0.0
        for _ in range(5):
            more = solve(y - b - gram @ coef)
            shift = 0.0
            if self.fit_intercept:
                shift = float((coef.sum() + more.sum()) / from_ones.sum())
            coef, b = coef + more - shift * from_ones, b + shift
        return coef, b
