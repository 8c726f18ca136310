"""The linear programme over all cuts: the next weights, and a lower bound that does not trust the solver.

No number here has a unit of its own: rows are divided by their size and the value is measured in the size of
the problem. HiGHS supplies multipliers of the cuts; the lower bound is then worked out from them, so it is
valid however rough they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_OPTIONS = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}


@dataclass(frozen=True)
class Cut:
    """A lower bound of J that is linear in the weights, found at some weights theta.

    J(w) >= constant - slopes @ w for every w; `upper` >= J(theta) is a certified value (a primal objective);
    `state` is whatever the learner needs later to predict; `curvature` are the (m, m) second derivatives of J
    at theta, where the learner knows them.
    """

    constant: float
    slopes: np.ndarray
    upper: float
    state: Any = None
    curvature: np.ndarray | None = None

    def value(self, weights: np.ndarray) -> float:
        """The bound at some weights."""
        return self.constant - float(self.slopes @ weights)

    def size(self, weights: np.ndarray) -> float:
        """The size of what is added and subtracted in `value`: its rounding is in proportion to this."""
        return abs(self.constant) + float(np.abs(self.slopes) @ np.abs(weights))


@dataclass(frozen=True)
class Master:
    """Optimum of the linear programme: weights, value, and the convex multipliers of the cuts.

    sum_k multipliers_k cut_k is one linear lower bound of J; `value` is its minimum over the weights.
    """

    weights: np.ndarray
    value: float
    multipliers: np.ndarray


@dataclass(frozen=True)
class Region:
    """Weights with sum one, low <= w <= high and conditions @ w >= 0."""

    low: np.ndarray
    high: np.ndarray
    conditions: np.ndarray

    @classmethod
    def simplex(cls, size: int) -> "Region":
        """Nonnegative weights that sum to one."""
        return cls(np.zeros(size), np.ones(size), np.empty((0, size)))

    @property
    def centre(self) -> np.ndarray:
        """Equal weights."""
        return np.full(len(self.low), 1.0 / len(self.low))

    def minimum(self, cost: np.ndarray) -> float:
        """min cost @ w over the bounds and the sum, without the conditions."""
        return float(cost @ self.cheapest(cost))

    def cheapest(self, cost: np.ndarray) -> np.ndarray:
        """The weights of this minimum: the cheapest ones fill up."""
        weights = self.low.copy()
        left = 1.0 - float(weights.sum())
        for index in np.argsort(cost):
            share = min(left, float(self.high[index] - weights[index]))
            weights[index] += share
            left -= share
        return weights


def minimise_cuts(cuts: Sequence[Cut], region: Region, near: np.ndarray | None = None) -> Master:
    """min_w max_k constants_k - slopes_k . w over the region.

    Args:
        cuts: constants and slopes.
        region: where the weights may be.
        near: weights at which the cuts have about the size of the optimum; the centre when None.
    Returns: `Master`; when the programme fails, equal weights and the best bound that one cut gives.
    """
    # The weights sum to one, so that a cut is linear: corners @ w.
    corners = np.array([cut.constant - cut.slopes for cut in cuts])
    alone = [region.minimum(row) for row in corners]
    best = int(np.argmax(alone))
    one_hot = np.eye(len(cuts))[best]
    if len(cuts) == 1 and not len(region.conditions):
        return Master(region.cheapest(corners[0]), alone[0], one_hot)
    solved = _solve(corners, region, region.centre if near is None else near)
    if solved is None:
        return Master(region.centre, alone[best], one_hot)
    weights, multipliers, pressures = solved
    value = region.minimum(multipliers @ corners - pressures @ region.conditions)
    if value < alone[best]:
        return Master(weights, alone[best], one_hot)
    return Master(weights, value, multipliers)


def _solve(
    corners: np.ndarray, region: Region, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Weights, multipliers of the cuts (sum one) and of the conditions, or None."""
    from scipy.optimize import linprog

    unit = _unit(corners, near)
    sizes = np.maximum(np.abs(corners).max(axis=1), unit)
    walls = np.abs(region.conditions).max(axis=1, initial=0.0)
    walls = np.where(walls > 0, walls, 1.0)
    rows = np.vstack(
        [
            np.column_stack([corners / sizes[:, None], -unit / sizes]),
            np.column_stack([-region.conditions / walls[:, None], np.zeros(len(walls))]),
        ]
    )
    m = len(region.low)
    answer = linprog(
        np.append(np.zeros(m), 1.0),
        rows,
        np.zeros(len(rows)),
        np.append(np.ones(m), 0.0)[None, :],
        [1.0],
        [*zip(region.low, region.high), (None, None)],
        method="highs",
        options=_OPTIONS,
    )
    if answer.x is None:
        return None
    duals = np.maximum(-answer.ineqlin.marginals, 0.0)
    multipliers = duals[: len(corners)] * unit / sizes
    if not multipliers.sum() > 0:
        return None
    pressures = duals[len(corners) :] * unit / walls / multipliers.sum()
    weights = np.clip(answer.x[:m], region.low, region.high)
    return weights, multipliers / multipliers.sum(), pressures


def _unit(corners: np.ndarray, near: np.ndarray) -> float:
    """The size of the optimum, as far as the cuts at `near` and their spread tell."""
    value = abs(float((corners @ near).max()))
    spread = float((corners.max(axis=1) - corners.min(axis=1)).min())
    unit = max(value, spread)
    return unit if 0 < unit < np.inf else 1.0
