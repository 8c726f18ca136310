"""Convex quadratic programmes of one kernel matrix: libsvm's problems where libsvm does not come to an end.

`interior_point` takes every dual here (box, one or two equations) in a few dozen Cholesky factorisations,
whatever C is; `squared_hinge` solves the 2-norm margin exactly in a few Newton steps. Both stop after a fixed
number of rounds and can be interrupted between them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MAX_ROUNDS = 100
_MAX_STEPS = 60
_REFINEMENTS = 3
_SHORTEN = 0.995

# (dx, change of the multipliers of the equations, of the lower and of the upper sides of the box)
Direction = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Solver = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class BoxProgram:
    """min x'Q x / 2 - gain'x  subject to  equations @ x = values, 0 <= x <= limit.

    quadratic: (n, n) positive semidefinite. gain, limit: (n,); limits may be infinite.
    equations: (r, n). values: (r,).
    """

    quadratic: np.ndarray
    gain: np.ndarray
    limit: np.ndarray
    equations: np.ndarray
    values: np.ndarray

    def scaled(self) -> tuple["BoxProgram", float]:
        """The same programme in numbers around one, and the factor from its x to ours."""
        size = float(np.diagonal(self.quadratic).mean()) or 1.0
        gain = float(np.abs(self.gain).max())
        factor = gain / size if gain > 0 else float(np.abs(self.values).max())
        cost = gain if gain > 0 else factor * size
        scaled = BoxProgram(
            self.quadratic * (factor / cost),
            self.gain / cost,
            self.limit / factor,
            self.equations,
            self.values / factor,
        )
        return scaled, factor


def interior_point(program: BoxProgram, tol: float = 1e-10) -> np.ndarray:
    """The (n,) minimiser, up to a relative gap of about tol; feasible in the box.

    Source: Mehrotra's predictor-corrector method, SIAM J. Optim. 1992.
    """
    scaled, factor = program.scaled()
    state = _State.start(scaled)
    for _ in range(_MAX_ROUNDS):
        if state.is_solved(tol):
            break
        moved = state.step()
        if moved is None:
            break
        state = moved
    return np.clip(state.x * factor, 0.0, program.limit)


@dataclass
class _State:
    """An interior point: x, the multipliers of the equations, and those of both sides of the box."""

    program: BoxProgram
    x: np.ndarray
    equal: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def start(cls, program: BoxProgram) -> "_State":
        n = len(program.gain)
        x = np.minimum(0.5 * program.limit, 1.0)
        bounded = np.isfinite(program.limit)
        return cls(program, x, np.zeros(len(program.values)), np.ones(n), np.where(bounded, 1.0, 0.0))

    @property
    def room(self) -> np.ndarray:
        """(n,) distances to the upper limits."""
        return np.asarray(self.program.limit - self.x)

    def residuals(self) -> tuple[np.ndarray, np.ndarray]:
        """What is missing in the gradient (n,) and in the equations (r,)."""
        p = self.program
        slope = p.quadratic @ self.x - p.gain - p.equations.T @ self.equal - self.low + self.high
        return -slope, p.values - p.equations @ self.x

    def slack(self) -> float:
        """The sum of all complementarity products."""
        bounded = np.isfinite(self.program.limit)
        return float(self.x @ self.low + self.room[bounded] @ self.high[bounded])

    def is_solved(self, tol: float) -> bool:
        p = self.program
        slope, missing = self.residuals()
        image = p.quadratic @ self.x
        reach = max(1.0, float(np.abs(image).max()))
        value = abs(0.5 * float(self.x @ image) - float(p.gain @ self.x))
        is_feasible = np.abs(missing).max() <= 1e-9 * max(1.0, float(np.abs(self.x).sum()))
        return bool(is_feasible and np.abs(slope).max() <= 1e-9 * reach and self.slack() <= tol * value)

    def step(self) -> "_State | None":
        """The next interior point, or None where the numbers do not allow one."""
        with np.errstate(all="ignore"):
            return self._step()

    def _step(self) -> "_State | None":
        bounded = np.isfinite(self.program.limit)
        room = np.where(bounded, self.room, 1.0)
        solve = self._factorise(self.low / self.x + self.high / room)
        if solve is None:
            return None
        count = len(self.x) + int(bounded.sum())
        mean = self.slack() / count
        zero = np.zeros_like(self.x)
        guess = self._direction(solve, room, -self.x * self.low, -room * self.high)
        far = self._moved(guess, self._reach(guess, bounded, 1.0))
        target = mean * (max(far.slack(), 0.0) / count / mean) ** 3
        low = target - self.x * self.low - guess[0] * guess[2]
        high = np.where(bounded, target - room * self.high + guess[0] * guess[3], zero)
        direction = self._direction(solve, room, low, high)
        if not all(np.all(np.isfinite(part)) for part in direction):
            return None
        return self._moved(direction, self._reach(direction, bounded, _SHORTEN))

    def _factorise(self, barrier: np.ndarray) -> Solver | None:
        """Solver of [[Q + barrier, -A'], [A, 0]] (dx, dy) = (r, s), by the Schur complement."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        if not np.all(np.isfinite(barrier)):
            return None
        matrix = self.program.quadratic.copy()
        matrix.flat[:: len(matrix) + 1] += barrier
        try:
            factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        rows = self.program.equations
        columns = cho_solve(factor, rows.T, check_finite=False)
        schur = rows @ columns

        def solve(right: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            alone = cho_solve(factor, right, check_finite=False)
            equal = np.linalg.lstsq(schur, missing - rows @ alone, rcond=None)[0]
            return alone + columns @ equal, equal

        return solve

    def _direction(self, solve: Solver, room: np.ndarray, low: np.ndarray, high: np.ndarray) -> Direction:
        """Newton step towards products x low + `low` and room high + `high`."""
        slope, missing = self.residuals()
        dx, equal = solve(slope + low / self.x - high / room, missing)
        return dx, equal, (low - self.low * dx) / self.x, (high + self.high * dx) / room

    def _reach(self, direction: Direction, bounded: np.ndarray, share: float) -> tuple[float, float]:
        """The longest steps, at most one, that keep x and the multipliers positive."""
        dx, _, low, high = direction
        primal = min(_longest(self.x, dx), _longest(self.room[bounded], -dx[bounded]))
        dual = min(_longest(self.low, low), _longest(self.high[bounded], high[bounded]))
        return min(1.0, share * primal), min(1.0, share * dual)

    def _moved(self, direction: Direction, reach: tuple[float, float]) -> "_State":
        dx, equal, low, high = direction
        primal, dual = reach
        return _State(
            self.program,
            self.x + primal * dx,
            self.equal + dual * equal,
            self.low + dual * low,
            np.where(np.isfinite(self.program.limit), self.high + dual * high, 0.0),
        )


def _longest(values: np.ndarray, change: np.ndarray) -> float:
    """The largest t with values + t change >= 0."""
    falling = change < 0
    return float((values[falling] / -change[falling]).min()) if falling.any() else np.inf


@dataclass(frozen=True)
class HingeSolution:
    """Minimiser of beta'K beta + sum_i c_i max(0, 1 - y_i (K beta + b)_i)^2.

    slack: (n,) max(0, 1 - y f); the dual point is c_i slack_i. support: (n,) the points with slack.
    """

    slack: np.ndarray
    intercept: float
    value: float
    support: np.ndarray


def squared_hinge(
    gram: np.ndarray, y: np.ndarray, costs: np.ndarray, support: np.ndarray | None = None
) -> HingeSolution:
    """The 2-norm soft margin by Newton's method: each step solves the least squares of the points inside.

    Args:
        gram: (n, n). y: (n,) -1/+1. costs: (n,) c_i > 0.
        support: (n,) points inside the margin at the start, of a similar problem; all points when None.
    Source: Keerthi and DeCoste, JMLR 2005; finite because the objective is quadratic between few pieces and
        every step goes to the minimum of its line.
    """
    inside = np.ones(len(y), dtype=bool) if support is None or not support.any() else support
    old = _predictor(gram, y, costs, inside)
    for _ in range(_MAX_STEPS):
        inside = y * (old[1] + old[2]) < 1.0
        if not inside.any():
            break
        new = _predictor(gram, y, costs, inside)
        if np.array_equal(y * (new[1] + new[2]) < 1.0, inside):
            old = new
            break
        t = _LineSearch(y, costs, old, new).minimum()
        old = (old[0] + t * (new[0] - old[0]), old[1] + t * (new[1] - old[1]), old[2] + t * (new[2] - old[2]))
    coef, fitted, b = old
    slack = np.maximum(0.0, 1.0 - y * (fitted + b))
    return HingeSolution(slack, b, float(coef @ fitted + costs @ slack**2), inside)


def _predictor(
    gram: np.ndarray, y: np.ndarray, costs: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, fitted values and intercept of the least squares of the points inside."""
    coef, b = _least_squares(gram, y, costs, inside)
    return coef, gram @ coef, b


def _least_squares(
    gram: np.ndarray, y: np.ndarray, costs: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, float]:
    """Coefficients and intercept of (K + 1/c) beta = y - b, sum(beta) = 0 on the points inside."""
    chosen = np.flatnonzero(inside)
    block, ridge = gram[np.ix_(chosen, chosen)], 1.0 / costs[chosen]
    solve = ridged_solver(block.copy(), ridge)
    from_ones = solve(np.ones(len(chosen)))
    beta, b = np.zeros(len(chosen)), 0.0
    # Rounds after the first refine: with large costs the system is badly conditioned, its residual is not.
    for _ in range(_REFINEMENTS):
        missing = y[chosen] - b - block @ beta - ridge * beta
        more = solve(missing)
        shift = float((more.sum() + beta.sum()) / from_ones.sum())
        beta, b = beta + more - shift * from_ones, b + shift
    coef = np.zeros(len(y))
    coef[chosen] = beta
    return coef, b


def ridged_solver(gram: np.ndarray, ridge: np.ndarray | float) -> Callable[[np.ndarray], np.ndarray]:
    """Solver of (gram + diag(ridge)) x = side for a positive semidefinite gram; overwrites gram.

    Where rounding makes the sum indefinite the least multiple of the identity is added that mends it; what
    this costs shows in the certificates, which are worked out from the answers.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    more = len(gram) * np.finfo(float).eps * max(float(np.diagonal(gram).mean()), np.finfo(float).tiny)
    gram.flat[:: len(gram) + 1] += ridge
    while True:
        try:
            factor = cho_factor(gram, lower=True, check_finite=False)
            return lambda side: cho_solve(factor, side, check_finite=False)
        except LinAlgError:
            if not np.all(np.isfinite(gram)):
                raise
            gram.flat[:: len(gram) + 1] += more
            more *= 10.0


class _LineSearch:
    """Minimum of the squared hinge objective on the line between two predictors (coef, fitted, intercept)."""

    def __init__(
        self,
        y: np.ndarray,
        costs: np.ndarray,
        old: tuple[np.ndarray, np.ndarray, float],
        new: tuple[np.ndarray, np.ndarray, float],
    ) -> None:
        self.costs = costs
        self.slack = 1.0 - y * (old[1] + old[2])
        self.fall = y * (new[1] + new[2]) - y * (old[1] + old[2])
        change = new[0] - old[0]
        change_fitted = new[1] - old[1]
        self.linear = float(change @ old[1])
        self.square = float(change @ change_fitted)

    def slope(self, t: float) -> float:
        """Half the derivative at t; it rises with t."""
        slack = np.maximum(0.0, self.slack - t * self.fall)
        return self.linear + t * self.square - float((self.costs * self.fall) @ slack)

    def minimum(self) -> float:
        """The t > 0 where the slope is zero: the slope is linear between the points' kinks."""
        if self.slope(1.0) == 0.0:
            return 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            kinks = self.slack / self.fall
        kinks = np.unique(kinks[np.isfinite(kinks) & (kinks > 0)])
        left, right = 0, len(kinks)
        while left < right:
            middle = (left + right) // 2
            if self.slope(float(kinks[middle])) < 0:
                left = middle + 1
            else:
                right = middle
        low = float(kinks[left - 1]) if left else 0.0
        high = float(kinks[left]) if left < len(kinks) else low + max(1.0, low)
        slope_low, slope_high = self.slope(low), self.slope(high)
        if slope_high == slope_low:
            return high
        return low - slope_low * (high - low) / (slope_high - slope_low)
