"""The recorded updates of one number of a weight, and how far the effect of each gradient reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.updates.rule import LinearStep
from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient.pairs import Index
from kernelearn.explain.update.linear_steps import coupled_decay, is_followed, replay
from kernelearn.explain.update.run_updates import RunUpdates, clips_globally
from kernelearn.explain.update.splits import clip, is_overwritten


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
        coupled: what weight decay added to the gradient that momentum remembers, behind clipping; not in
            `decay`.
        by_hand: what somebody changed by hand since the update before.
        is_first: whether the optimiser began with it.
        size: sum of the absolute numbers that were added, for the bound of rounding.
        rounded: what the update did beyond its parts: rounding, or else a mistake.
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
    rounded: float
    by_hand: float = 0.0
    coupled: float = 0.0

    @property
    def taken(self) -> float:
        """What momentum took: the gradient with all that was added to it, behind clipping."""
        return self.take * ((self.gradient + self.penalty) * self.clip + self.coupled)


class _Column:
    """One number of a field at every step that it is recorded at."""

    def __init__(self, trace: tuple[NDArray[Any], NDArray[Any]], shape: tuple[int, ...] = (1,)) -> None:
        steps, self.values = trace
        self.shape = shape  # () for an array of the optimiser that is one number for the whole weight
        self._places = {step: place for place, step in enumerate(steps.tolist())}

    def at(self, step: int) -> NDArray[Any]:
        """The number at a step, in its own precision."""
        place = self._places[step]
        return self.values[place : place + 1].reshape(self.shape)


@dataclass(frozen=True)
class _Stretch:
    """What all updates of one fit have in common."""

    rule: Mapping[str, Any]
    clipping: tuple[str, float] | None
    offset: int
    slots: Mapping[str, _Column]


class WeightUpdates:
    """The updates of the number at `index` of a weight; `of` reads those of the whole weight.

    The recorded numbers of that one weight are read at once, for all steps.
    """

    def __init__(self, of: RunUpdates, index: Index) -> None:
        self.of, self.index = of, index
        self._stretches: dict[int, _Stretch] = {}

    def steps(self) -> list[int]:
        """Updates that are recorded completely."""
        return self.of.steps()

    @cached_property
    def eps(self) -> float:
        """Precision of the weight."""
        return float(np.finfo(self._trace[1].dtype).eps)

    def numbers(self, step: int) -> UpdateNumbers:
        """The numbers of one update at the index of the weight."""
        fit = self._stretch(step)
        before, gradient = self._before(step), self._gradients.at(step)
        clipped = self._clipped(step, gradient, fit.clipping)
        slots = {name: column.at(step - 1) for name, column in fit.slots.items()}
        kind, attrs, rate = fit.rule["kind"], fit.rule["attrs"], float(self._rates.at(step)[0])
        done = replay(before, clipped, slots, kind, attrs, rate, step - fit.offset)
        penalty = self.of.penalties.at(step) if self.of.penalties.may_be else None
        by_penalty = 0.0 if penalty is None else float(penalty[self.index])
        is_known = fit.rule.get("constraint") or is_overwritten(
            fit.rule.get("overwriting"), step - fit.offset
        )
        constrained = self.weight(step) - float(done.weight[0]) if is_known else 0.0
        arrays = before, gradient, clipped
        is_first = step - fit.offset == 1
        coupled = coupled_decay(kind, attrs)
        return self._assembled(step, is_first, done.step, arrays, slots, by_penalty, constrained, coupled)

    def _assembled(
        self,
        step: int,
        is_first: bool,
        linear: LinearStep,
        arrays: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
        slots: Mapping[str, NDArray[Any]],
        by_penalty: float,
        constrained: float,
        coupled: float,
    ) -> UpdateNumbers:
        before, gradient, clipped = (float(array[0]) for array in arrays)
        momentum = float(slots[linear.slot].reshape(-1)[0]) if linear.slot else 0.0
        direct, of_momentum = _number(linear.gradient), _number(linear.history)
        decay = 0.0 if coupled else -_number(linear.decay) * before
        from_decay = direct * coupled * before
        moved = direct * clipped + from_decay + of_momentum * momentum + decay + constrained
        sizes = (direct * clipped, direct * by_penalty, of_momentum * momentum, constrained, from_decay)
        return UpdateNumbers(
            step=step,
            gradient=gradient - by_penalty,
            penalty=by_penalty,
            clip=clipped / gradient if gradient else 1.0,
            momentum=momentum,
            direct=direct,
            history=of_momentum,
            keep=_number(linear.keep),
            take=_number(linear.take),
            decay=decay,
            constraint=constrained,
            is_first=is_first,
            size=2 * abs(before) + sum(map(abs, sizes)),
            rounded=self.weight(step) - before - moved,
            by_hand=before - self.weight(step - 1),
            coupled=coupled * before,
        )

    def _before(self, step: int) -> NDArray[Any]:
        """(1,) the number that an update began with."""
        if not self.of.by_hand(step):
            return self._weights.at(step - 1)
        return np.asarray(self.of.before(step)[self.index]).reshape(1)

    def by_hand_in(self, start: int, end: int) -> float:
        """All that was done by hand to the number from behind one update to another."""
        done = [k for k in range(start + 1, end + 1) if self.of.by_hand(k)]
        return sum(float(self._before(k)[0]) - self.weight(k - 1) for k in done)

    def weight(self, step: int) -> float:
        """The weight after an update."""
        return float(self._weights.at(step)[0])

    def follows(self, earlier: int, step: int) -> bool:
        """Whether nothing happened to the weight between two updates: the first is the one before, or it was
        frozen in between."""
        u = self.of
        return all(u.run.is_frozen(u.layer, k, u.weight) for k in range(earlier + 1, step))

    def share_of_way(self, steps: Sequence[int], start: int, end: int) -> float:
        """Which share of the way from start to end, summed |change|, the weight went in these updates."""
        numbers, values = self._trace[0], self._trace[1].astype(np.float64)
        inside = (numbers >= start) & (numbers <= end)
        ways = np.abs(np.diff(values[inside]))
        ends = numbers[inside][1:]
        whole = float(ways.sum())
        return float(ways[np.isin(ends, steps)].sum()) / whole if whole else 1.0

    def epochs(self, steps: Sequence[int]) -> NDArray[Any]:
        """The epoch of each update, from 0."""
        numbers, epochs = self.of.run.scalars("epoch")
        found = dict(zip(numbers.tolist(), epochs.tolist()))
        return np.array([int(found.get(k, -1)) for k in steps], np.int64)

    def _stretch(self, step: int) -> _Stretch:
        u, number = self.of, self.of.run.stretch_of(step)
        if number not in self._stretches:
            rule = u.rule(step)
            columns = {name: self._state(name, step) for name in rule["slots"]}
            offset = step - u.iteration(step)
            _check_can_be_followed(rule)
            self._stretches[number] = _Stretch(rule, u.clipping(step), offset, columns)
        return self._stretches[number]

    def _state(self, slot: str, step: int) -> _Column:
        """The optimiser's number for the weight, in the fit of a step."""
        u = self.of
        is_single, trace = u.run.state_trace(u.layer, step, slot, self.index, u.weight)
        return _Column(trace, () if is_single else (1,))

    def _clipped(self, step: int, gradient: NDArray[Any], clipping: tuple[str, float] | None) -> NDArray[Any]:
        """(1,) the gradient as it reached the optimiser."""
        if clipping is None:
            return gradient
        if clipping[0] == "clip_by_norm":  # the norm is that of the whole gradient
            return np.asarray(self.of.clipped(step)[self.index].reshape(1))
        norm = self.of.run.global_norm(step) if clips_globally(clipping) else None
        return clip(gradient, clipping, norm)

    @cached_property
    def _trace(self) -> tuple[NDArray[Any], NDArray[Any]]:
        u = self.of
        return u.run.trace(u.layer, self.index, u.weight)

    @cached_property
    def _weights(self) -> _Column:
        return _Column(self._trace)

    @cached_property
    def _gradients(self) -> _Column:
        u = self.of
        return _Column(u.run.gradient_trace(u.layer, self.index, u.weight))

    @cached_property
    def _rates(self) -> _Column:
        return _Column(self.of.run.scalars("learning_rate"))


def _check_can_be_followed(rule: Mapping[str, Any]) -> None:
    if not is_followed(rule["kind"]):
        raise ArgumentError(
            f"What {rule['kind'].removesuffix('_update')} does to one number of a weight depends on all of "
            "it: a history cannot follow it. explain.update_split splits each update."
        )
    every = int(rule["attrs"].get("every", 1))
    if every > 1:
        raise ArgumentError(
            f"Here the gradients of {every} steps make one update (gradient_accumulation_steps={every}): a "
            "history does not follow them through their sum. explain.update_split splits each of them."
        )


@dataclass(frozen=True)
class Walk:
    """What a walk back through updates found.

    Attributes:
        influence: what one unit of each gradient changed in the weight at the end.
        carried: what momentum from before each stretch of steps did.
        decayed: what weight decay did that was part of the gradient.
        rounded: what rounding did, as far as the bound of rounding of each step allows it.
        size: sum of the absolute numbers that were added.
    """

    influence: list[float]
    carried: float
    decayed: float
    rounded: float
    size: float


def walk_back(numbers: Sequence[UpdateNumbers], eps: float, follows: Callable[[int, int], bool]) -> Walk:
    """Share out what momentum carried, from the last update to the first.

    `of_slot` is what one unit of the momentum after a step changes in the weight later on.

    Args:
        eps: precision of the weight.
        follows: whether nothing happened between two updates, given by their steps.
    """
    influence = [0.0] * len(numbers)
    carried = decayed = of_slot = rounded = size = 0.0
    for position in range(len(numbers) - 1, -1, -1):
        n = numbers[position]
        of_gradient = n.direct + of_slot * n.take
        influence[position] = of_gradient * n.clip
        decayed += of_gradient * n.coupled
        of_slot = n.history + of_slot * n.keep
        rounded += _within(n.rounded, 8 * eps * n.size)
        size += n.size + abs(influence[position] * n.gradient) + abs(of_gradient * n.coupled)
        before = numbers[position - 1] if position else None
        if before is None or n.is_first or not follows(before.step, n.step):
            carried += of_slot * n.momentum
            of_slot = 0.0
        else:
            rounded += of_slot * _rounded_slot(before, n, eps)
    return Walk(influence, carried, decayed, rounded, size)


def _rounded_slot(before: UpdateNumbers, n: UpdateNumbers, eps: float) -> float:
    """What rounding did to the momentum that one update left to the next."""
    kept, taken = before.keep * before.momentum, before.taken
    return _within(n.momentum - (kept + taken), 8 * eps * (abs(kept) + abs(taken) + abs(n.momentum)))


def _within(value: float, bound: float) -> float:
    return min(max(value, -bound), bound)


def _number(value: Any) -> float:
    """A coefficient of a single weight as a number."""
    return float(np.asarray(value).reshape(-1)[0])
