"""The recorded updates of one number of a weight, and how far the effect of each gradient reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.explain.linear_steps import replay
from kernelearn.explain.pairs import Index
from kernelearn.explain.run_updates import RunUpdates


@dataclass(frozen=True)
class UpdateNumbers:
    """One update of one weight.

    Attributes:
        step: its number.
        gradient, penalty: of the data and of the regulariser, before clipping.
        clip: what clipping multiplied the gradient by.
        momentum: the slot before the update.
        direct, history, keep, take: coefficients, see `LinearStep`.
        decay, constraint: what weight decay and the constraint changed.
        is_first: whether the optimiser began with it.
        size: sum of the absolute numbers that were added, for the bound of rounding.
    """

    step: int
    gradient: float
    penalty: float
    clip: float
    momentum: float
    direct: float
    history: float
    keep: float
    take: float
    decay: float
    constraint: float
    is_first: bool
    size: float


class WeightUpdates:
    """The updates of the number at `index` of a weight; `of` reads those of the whole weight."""

    def __init__(self, of: RunUpdates, index: Index) -> None:
        self.of, self.index = of, index

    def steps(self) -> list[int]:
        """Updates that are recorded completely."""
        return self.of.steps()

    @property
    def eps(self) -> float:
        """Precision of the weight."""
        weight = self.of.run.kernels(self.of.layer, int(self.of.run.steps[0]), self.of.weight)
        return float(np.finfo(weight.dtype).eps)

    def numbers(self, step: int) -> UpdateNumbers:
        """The numbers of one update at the index of the weight."""
        u, at = self.of, self.index
        rule, whole, slots = u.rule(step), u.before(step), u.slots(step)
        gradient, clipped = u.gradient(step), u.clipped(step)
        penalty = u.penalty(step)
        only = {n: a if a.ndim == 0 else a[at].reshape(1) for n, a in slots.items()}
        done = replay(
            whole[at].reshape(1),
            clipped[at].reshape(1),
            only,
            rule["kind"],
            rule["attrs"],
            u.learning_rate(step),
            u.run.iteration(step),
        )
        linear, before = done.step, float(whole[at])
        momentum = float(only[linear.slot][0]) if linear.slot else 0.0
        by_penalty = 0.0 if penalty is None else float(penalty[at])
        clip = float(clipped[at]) / float(gradient[at]) if gradient[at] else 1.0
        direct, of_momentum = _number(linear.gradient), _number(linear.history)
        constrained = self.weight(step) - float(done.weight[0]) if rule.get("constraint") else 0.0
        moves = (direct * float(clipped[at]), direct * by_penalty, of_momentum * momentum)
        return UpdateNumbers(
            step=step,
            gradient=float(gradient[at]) - by_penalty,
            penalty=by_penalty,
            clip=clip,
            momentum=momentum,
            direct=direct,
            history=of_momentum,
            keep=_number(linear.keep),
            take=_number(linear.take),
            decay=-linear.decay * before,
            constraint=constrained,
            is_first=u.is_first(step),
            size=2 * abs(before) + sum(map(abs, moves)) + abs(constrained),
        )

    def weight(self, step: int) -> float:
        """The weight after an update."""
        return self._weights[step]

    def share_of_way(self, steps: Sequence[int], start: int, end: int) -> float:
        """Which share of the way from start to end, summed |change|, the weight went in these updates."""
        known = [k for k in self._weights if start <= k <= end]
        ways = {k: abs(self._weights[k] - self._weights[j]) for j, k in pairwise(known)}
        whole = sum(ways.values())
        return sum(ways[k] for k in steps) / whole if whole else 1.0

    def epochs(self, steps: Sequence[int]) -> NDArray:
        """The epoch of each update, from 0."""
        numbers, epochs = self.of.run.scalars("epoch")
        found = dict(zip(numbers.tolist(), epochs.tolist()))
        return np.array([int(found.get(k, -1)) for k in steps], np.int64)

    @cached_property
    def _weights(self) -> dict[int, float]:
        u = self.of
        steps, values = u.run.trace(u.layer, self.index, u.weight)
        return dict(zip(steps.tolist(), values.astype(np.float64).tolist()))


def walk_back(numbers: Sequence[UpdateNumbers]) -> tuple[list[float], float]:
    """(influence of each gradient, what momentum from before each stretch of steps did).

    `of_slot` is what one unit of the momentum after a step changes in the weight later on.
    """
    influence = [0.0] * len(numbers)
    carried, of_slot = 0.0, 0.0
    for position in range(len(numbers) - 1, -1, -1):
        n = numbers[position]
        influence[position] = (n.direct + of_slot * n.take) * n.clip
        of_slot = n.history + of_slot * n.keep
        starts = position == 0 or numbers[position - 1].step != n.step - 1 or n.is_first
        if starts:
            carried += of_slot * n.momentum
            of_slot = 0.0
    return influence, carried


def _number(value: Any) -> float:
    """A coefficient of a single weight as a number."""
    return float(np.asarray(value).reshape(-1)[0])
