"""Learners at one fixed kernel matrix: they give the best dual point, its bound and the predictor.

All of them write the regularised risk at kernel K as J(K) = max_v constant(v) - scale * v'K v, so that the
v of one K bounds J at every other K from below: that is the cut that the weight solvers need.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kernelearn.errors import ArgumentError, DataError

_HARD_C = 1e8
_LIBSVM_TOLS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_MAX_NEWTON = 60


@dataclass(frozen=True)
class DualPoint:
    """What a learner returns at one kernel matrix.

    v: (n,) dual direction; J(K) >= constant - scale * v'K v for every K.
    upper: certified upper bound of J at the kernel that was given (its primal objective).
    dual_coef, intercept: the predictor f(x) = sum_i dual_coef_i k(x_i, x) + intercept.
    """

    v: np.ndarray
    constant: float
    scale: float
    upper: float
    dual_coef: np.ndarray
    intercept: float


class Learner(Protocol):
    """Anything that solves one regularised problem at a fixed kernel matrix."""

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """Solve at the (n, n) matrix `gram` for the (n,) targets (-1/+1 labels or real values)."""
        ...


def _libsvm(
    gram: np.ndarray, y: np.ndarray, C: float, tol: float, max_iter: int = -1
) -> tuple[np.ndarray, float]:
    """Signed dual coefficients (n,) = y_i a_i and intercept of the C-SVM."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    machine = SVC(kernel="precomputed", C=C, tol=tol, cache_size=400, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(gram, y)
    v = np.zeros(len(y))
    v[machine.support_] = machine.dual_coef_[0]
    return v, float(machine.intercept_[0])


@dataclass(frozen=True)
class SoftMargin1:
    """1-norm soft margin: J(K) = factor * max_a 2a'1 - a'Y K Y a, 0 <= a <= C, a'y = 0.

    With factor = alpha and C = 1/(2 alpha) it is min_f sum hinge(y f) + alpha ||f||^2.
    Source: Lanckriet et al., JMLR 2004, (4) with tau = 0 and (38).
    """

    C: float = 1.0
    factor: float = 1.0
    tol: float = 1e-4

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; libsvm's tolerance is lowered until the relative gap is at most tol."""
        for libsvm_tol in _LIBSVM_TOLS:
            v, _ = _libsvm(gram, target, self.C, libsvm_tol)
            fitted = gram @ v
            norm = float(v @ fitted)
            constant = 2.0 * float(np.abs(v).sum())
            intercept, upper = self._primal(fitted, target, norm, 1.0)
            if upper - (constant - norm) > self.tol * upper:
                upper = min(upper, self._best_scaled(fitted, target, norm))
            if upper - (constant - norm) <= self.tol * upper:
                break
        return DualPoint(v, self.factor * constant, self.factor, self.factor * upper, v, intercept)

    def _primal(self, fitted: np.ndarray, y: np.ndarray, norm: float, scale: float) -> tuple[float, float]:
        """Best intercept and ||w||^2 + 2C sum of hinge losses of the predictor times `scale`."""
        intercept = best_hinge_intercept(scale * fitted, y)
        hinge = np.maximum(0.0, 1.0 - y * (scale * fitted + intercept)).sum()
        return intercept, scale**2 * norm + 2.0 * self.C * float(hinge)

    def _best_scaled(self, fitted: np.ndarray, y: np.ndarray, norm: float) -> float:
        """Smallest primal value over multiples of the predictor.

        Where C is large the small violations that libsvm tolerates cost C each; a slightly longer w avoids
        them.
        """
        from scipy.optimize import minimize_scalar

        return minimize_scalar(
            lambda scale: self._primal(fitted, y, norm, scale)[1],
            bounds=(0.95, 1.05),
            method="bounded",
            options={"xatol": 1e-7},
        ).fun


def best_hinge_intercept(fitted: np.ndarray, y: np.ndarray) -> float:
    """The b that minimises sum_i max(0, 1 - y_i (fitted_i + b)), the middle of the minimisers.

    The sum is convex and piecewise linear in b with kinks at y_i - fitted_i, where its slope rises by one.
    It starts at minus the number of positive labels: the minimum is where the slope crosses zero.
    """
    kinks = np.sort(y - fitted)
    n_positive = int((y > 0).sum())
    left = kinks[n_positive - 1]
    right = kinks[min(n_positive, len(kinks) - 1)]
    return float((left + right) / 2.0)


@dataclass(frozen=True)
class SoftMargin2:
    """2-norm soft margin: J(K) = max_a 2a'1 - a'(Y K Y + I/C) a, a >= 0, a'y = 0.

    Source: Lanckriet et al., JMLR 2004, (43).
    """

    C: float = 1.0
    tol: float = 1e-4

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; the upper bound is the primal ||w||^2 + C sum of squared hinge losses."""
        ridged = gram.copy()
        ridged.flat[:: len(ridged) + 1] += 1.0 / self.C
        v, intercept = _libsvm(ridged, target, _HARD_C, self.tol)
        fitted = gram @ v
        slack = np.maximum(0.0, 1.0 - target * (fitted + intercept))
        upper = float(v @ fitted + self.C * slack @ slack)
        constant = 2.0 * float(np.abs(v).sum()) - float(v @ v) / self.C
        return DualPoint(v, constant, 1.0, upper, v, intercept)


@dataclass(frozen=True)
class HardMargin:
    """Hard margin: J(K) = max_a 2a'1 - a'Y K Y a, a >= 0, a'y = 0; infinite where K does not separate.

    Source: Lanckriet et al., JMLR 2004, (33).
    """

    tol: float = 1e-4

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; upper = 1 / margin^2, or infinity."""
        v, _ = _libsvm(gram, target, _HARD_C, self.tol, max_iter=200 * len(target) + 20000)
        fitted = gram @ v
        low, high = fitted[target > 0].min(), fitted[target < 0].max()
        half_margin = (low - high) / 2.0
        norm = float(v @ fitted)
        constant = 2.0 * float(np.abs(v).sum())
        if half_margin <= 0.0:
            return DualPoint(v, constant, 1.0, np.inf, v, -(low + high) / 2.0)
        coef = v / half_margin
        return DualPoint(v, constant, 1.0, norm / half_margin**2, coef, -(low + high) / (2.0 * half_margin))


@dataclass(frozen=True)
class SquareLoss:
    """Ridge: J(K) = min_f sum (y - f - b)^2 + alpha ||f||^2 = alpha y'(K + alpha I)^{-1} y for b = 0.

    As a maximum: alpha (2a'y - alpha a'a - a'K a), with a'1 = 0 when there is an intercept.
    Source: Micchelli and Pontil, JMLR 2005, Lemma 14.
    """

    alpha: float = 1.0
    fit_intercept: bool = True

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; exact, the upper bound is the value."""
        from scipy.linalg import cho_factor, cho_solve

        ridged = gram.copy()
        ridged.flat[:: len(ridged) + 1] += self.alpha
        factor = cho_factor(ridged, lower=True, overwrite_a=True, check_finite=False)
        sides = np.column_stack([target, np.ones_like(target)])
        solved = cho_solve(factor, sides, check_finite=False)
        intercept = float(solved[:, 0].sum() / solved[:, 1].sum()) if self.fit_intercept else 0.0
        a = solved[:, 0] - intercept * solved[:, 1]
        constant = self.alpha * float(2.0 * a @ target - self.alpha * a @ a)
        value = self.alpha * float(a @ (target - intercept))
        return DualPoint(a, constant, self.alpha, value, a, intercept)


@dataclass(frozen=True)
class LogisticLoss:
    """J(K) = min_f sum log(1 + exp(-y (f + b))) + alpha ||f||^2.

    As a maximum over 0 <= p <= 1, p'y = 0: sum entropy(p) - v'K v / (4 alpha), v = p o y.
    Source: Kim et al., ICASSP 2008; dual after Keerthi et al., Machine Learning 2005.
    """

    alpha: float = 1.0
    tol: float = 1e-6

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; Newton's method with halving until the duality gap is below tol."""
        coef, intercept = np.zeros(len(target)), 0.0
        point = self._point(gram, target, coef, intercept)
        for _ in range(_MAX_NEWTON):
            lower = point.constant - point.scale * float(point.v @ gram @ point.v)
            if point.upper - lower <= self.tol * max(1.0, point.upper):
                break
            coef, intercept = self._newton_step(gram, target, coef, intercept)
            point = self._point(gram, target, coef, intercept)
        return point

    def _newton_step(
        self, gram: np.ndarray, y: np.ndarray, coef: np.ndarray, b: float
    ) -> tuple[np.ndarray, float]:
        """Solve (W K + 2 alpha I) c + W 1 b = W f + y p with sum(c) = 0, then halve until it descends."""
        fitted = gram @ coef + b
        p = _sigmoid(-y * fitted)
        w = np.maximum(p * (1.0 - p), 1e-12)
        right = w * fitted + y * p
        root = np.sqrt(w)
        solve = _ridge_solver(root[:, None] * gram * root[None, :], 2.0 * self.alpha)
        from_right = root * solve(right / root)
        from_ones = root * solve(root)
        new_b = float(from_right.sum() / from_ones.sum())
        return self._halved(gram, y, (coef, b), (from_right - new_b * from_ones, new_b))

    def _halved(self, gram: np.ndarray, y: np.ndarray, old: tuple, new: tuple) -> tuple[np.ndarray, float]:
        start = self._primal(gram, y, *old)
        step = 1.0
        while step > 1e-6:
            coef, b = old[0] + step * (new[0] - old[0]), old[1] + step * (new[1] - old[1])
            if self._primal(gram, y, coef, b) <= start:
                return coef, b
            step /= 2.0
        return old

    def _primal(self, gram: np.ndarray, y: np.ndarray, coef: np.ndarray, b: float) -> float:
        fitted = gram @ coef
        return float(np.logaddexp(0.0, -y * (fitted + b)).sum() + self.alpha * coef @ fitted)

    def _point(self, gram: np.ndarray, y: np.ndarray, coef: np.ndarray, b: float) -> DualPoint:
        fitted = gram @ coef
        b = _balanced_intercept(fitted, y, b)
        p = _sigmoid(-y * (fitted + b))
        entropy = -_xlogx(p) - _xlogx(1.0 - p)
        upper = self._primal(gram, y, coef, b)
        return DualPoint(p * y, float(entropy.sum()), 0.25 / self.alpha, upper, coef, b)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(z)


def _xlogx(p: np.ndarray) -> np.ndarray:
    from scipy.special import xlogy

    return xlogy(p, p)


def _ridge_solver(gram: np.ndarray, ridge: float) -> Callable[[np.ndarray], np.ndarray]:
    """Solver of (gram + ridge I) x = side; overwrites gram."""
    from scipy.linalg import cho_factor, cho_solve

    gram.flat[:: len(gram) + 1] += ridge
    factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    return lambda side: cho_solve(factor, side, check_finite=False)


def _balanced_intercept(fitted: np.ndarray, y: np.ndarray, b: float) -> float:
    """The b with sum_i y_i sigmoid(-y_i (fitted_i + b)) = 0, which makes the dual point feasible."""
    from scipy.optimize import brentq

    def imbalance(b: float) -> float:
        return float((y * _sigmoid(-y * (fitted + b))).sum())

    reach = 1.0
    while imbalance(b - reach) < 0.0 or imbalance(b + reach) > 0.0:
        reach *= 2.0
    return float(brentq(imbalance, b - reach, b + reach, xtol=1e-14, rtol=1e-14))


@dataclass(frozen=True)
class FisherDiscriminant:
    """Kernel Fisher discriminant: J(K) = -(m+ - m-)'(S + alpha I)^{-1}(m+ - m-) in feature space.

    With a = [1/n+; -1/n-] on the classes and J the blockwise centring matrix scaled by 1/sqrt(n of the
    class), the ratio is F(K) = min_s v'K v / alpha + s's with v = a - J s: concave in K.
    Source: Kim, Magnani and Boyd, ICML 2006.
    """

    alpha: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; exact. The threshold lies halfway between the projected class means."""
        positive = target > 0
        a = np.where(positive, 1.0 / positive.sum(), -1.0 / (~positive).sum())
        centred = _within_class(gram, positive)
        right = _within_class(gram @ a, positive)
        inner = _within_class(centred.T, positive)
        s = _ridge_solver((inner + inner.T) / 2.0, self.alpha)(right)
        v = a - _within_class(s, positive)
        ratio = float(v @ gram @ v) / self.alpha
        coef = v / self.alpha
        fitted = gram @ coef
        intercept = -(fitted[positive].mean() + fitted[~positive].mean()) / 2.0
        constant = -float(s @ s)
        return DualPoint(v, constant, 1.0 / self.alpha, constant - ratio, coef, float(intercept))


@dataclass(frozen=True)
class NuMargin:
    """nu-SVM: J(K) = max_a -a'Y K Y a / 2, 0 <= a <= 1/m, a'1 >= nu, a'y = 0.

    Source: Ong et al., JMLR 2005, dual of the inner problem of (28).
    """

    nu: float = 0.3
    tol: float = 1e-4

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; upper = ||w||^2 / 2 - chi nu + mean of max(0, chi - y f).

        Raises: ArgumentError when a class is too small for nu.
        """
        from sklearn.svm import NuSVC

        self._check(target)
        machine = NuSVC(nu=self.nu, kernel="precomputed", tol=self.tol, cache_size=400).fit(gram, target)
        v = np.zeros(len(target))
        v[machine.support_] = machine.dual_coef_[0]
        # NOTE: libsvm divides its answer by the margin rho; the dual of (28) has a'1 = nu.
        rho = self.nu / np.abs(v).sum()
        v, intercept = v * rho, float(machine.intercept_[0]) * rho
        fitted = gram @ v
        loss = np.maximum(0.0, rho - target * (fitted + intercept)).mean()
        upper = float(0.5 * v @ fitted - rho * self.nu + loss)
        return DualPoint(v, 0.0, 0.5, upper, v, intercept)

    def _check(self, target: np.ndarray) -> None:
        smaller = min(int((target > 0).sum()), int((target < 0).sum()))
        largest = 2.0 * smaller / len(target)
        if not 0.0 < self.nu <= largest:
            raise ArgumentError(
                f"nu must be in (0, {largest:.3g}] for a class of {smaller} among {len(target)} points, got "
                f"{self.nu!r}. Use a smaller nu, or formulation='c'."
            )


@dataclass(frozen=True)
class LagrangianMargin:
    """Lagrangian SVM: J(K) = max_{a >= 0} a'1 - a'H a / 2, H = Y (K + 11' + ridge I) Y.

    The intercept is regularised and the slacks are squared, so only signs are constrained.
    Source: Mangasarian and Musicant, JMLR 2001; Ong et al., JMLR 2005, (29) with ridge = lambda m.
    """

    ridge: float = 1.0

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; the upper bound is ||w||^2/2 + b^2/2 + sum of squared slacks / (2 ridge)."""
        hessian = (gram + 1.0) * np.outer(target, target)
        hessian.flat[:: len(hessian) + 1] += self.ridge
        a = nonnegative_quadratic(hessian)
        v = a * target
        intercept = float(v.sum())
        fitted = gram @ v
        slack = np.maximum(0.0, 1.0 - target * (fitted + intercept))
        penalty = 0.5 * intercept**2
        upper = float(0.5 * v @ fitted + penalty + 0.5 * slack @ slack / self.ridge)
        constant = float(a.sum() - penalty - 0.5 * self.ridge * v @ v)
        return DualPoint(v, constant, 0.5, upper, v, intercept)


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
    return nnls(lower.T, np.linalg.solve(lower, np.ones(len(hessian))))[0]


@dataclass(frozen=True)
class NuRegression:
    """nu-SVR: J(K) = max_c y'c - c'K c / 2, |c| <= C/m, ||c||_1 <= nu C, 1'c = 0.

    Source: Ong et al., JMLR 2005, dual of the inner problem of (31) with C = 1 / lambda.
    """

    C: float = 1.0
    nu: float = 0.3
    tol: float = 1e-4

    def solve(self, gram: np.ndarray, target: np.ndarray) -> DualPoint:
        """See `Learner.solve`; the upper bound is the primal at the best tube width for its residuals."""
        from sklearn.svm import NuSVR

        m = len(target)
        machine = NuSVR(C=self.C / m, nu=self.nu, kernel="precomputed", tol=self.tol, cache_size=400)
        machine.fit(gram, target)
        v = np.zeros(m)
        v[machine.support_] = machine.dual_coef_[0]
        intercept = float(machine.intercept_[0])
        fitted = gram @ v
        residual = np.abs(target - fitted - intercept)
        tube = np.sort(residual)[min(m - 1, max(0, m - 1 - int(self.nu * m)))]
        loss = self.nu * tube + np.maximum(0.0, residual - tube).mean()
        upper = float(0.5 * v @ fitted + self.C * loss)
        return DualPoint(v, float(target @ v), 0.5, upper, v, intercept)


def _within_class(rows: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """J @ rows: subtract the class mean of the rows and divide by the root of the class size."""
    out = np.empty_like(rows)
    for members in (positive, ~positive):
        out[members] = (rows[members] - rows[members].mean(axis=0)) / np.sqrt(members.sum())
    return out


def solve_all(learner: Learner, gram: np.ndarray, targets: np.ndarray) -> list[DualPoint]:
    """One dual point per row of targets (k, n), all at the same kernel matrix."""
    return [learner.solve(gram, target) for target in targets]


def check_separable(upper: float) -> None:
    """Raise when the hard margin problem has no feasible kernel.

    Raises: DataError.
    """
    if not np.isfinite(upper):
        raise DataError(
            "criterion='hard' needs classes that some combination of the kernels separates, and none was "
            "found. Use criterion='soft1' or 'soft2', or add a kernel that is richer (a narrower Gaussian)."
        )
