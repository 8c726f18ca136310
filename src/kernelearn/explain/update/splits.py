"""What one update was made of: W_after - W_before as a sum of named parts, for every optimiser.

    by_hand       what somebody changed by hand since the update before, while the training waited
    gradient      the new gradient, from the data: what the ledger of the step lists
    penalty       the regulariser's part of the gradient
    accumulated   gradients of earlier steps, where those of several make one update
    clipping      what clipping took from the gradient
    momentum      earlier gradients that the optimiser remembered
    weight_decay  what decoupled weight decay took, or what an optimiser such as FTRL takes from the weight
    averaging     what it changed that the moving average took the weight's place
    constraint    what the projection after the update changed

Each part is in units of the weight: learning rate and denominators are multiplied in. They add up to the
update within the rounding of the weight's precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.reference.optimizers import (
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    updates_before,
)
from kernelearn.engine.updates.rule import LinearStep
from kernelearn.errors import ArgumentError
from kernelearn.explain.table import Table
from kernelearn.explain.update.linear_steps import replay

PARTS = (
    "by_hand", "gradient", "penalty", "accumulated", "clipping", "momentum", "weight_decay", "averaging",
    "constraint",
)  # fmt: skip
_SCALED = ("gradient", "penalty", "accumulated", "clipping")

# The slot with the sum of the gradients that wait for an update.
ACCUMULATED = "gradient_accumulator"


@dataclass(frozen=True, eq=False)
class UpdateSplit:
    """An update, or the sum of many, and its parts; all float64 arrays of the weight's shape.

    Attributes:
        layer, weight, steps: which weight, and the updates (first, last) that are summed.
        optimizer: name of the update operator, such as "adam_update".
        before, after: the weight before and after.
        parts: name -> part, those of `PARTS` that this training has.
        scaling: name -> what the second moment (or sign) changed of a part, against the plain learning rate;
            it is contained in the part. Empty for an optimiser without.
        rounding: largest difference that rounding explains.
        step: coefficients of a single update, see `linear_steps`; None for a sum.
        multiplier: the layer's factor of the learning rate, which is in every part but the constraint's; NaN
            for a sum of updates with different ones.

    >>> split = split_update(np.array([1.0]), np.array([0.5]), {"momentum": np.array([-0.2])},
    ...     kind="sgd_update", attrs={"momentum": 0.9}, learning_rate=0.1, iteration=7)
    >>> {name: round(float(part[0]), 6) for name, part in split.parts.items()}
    {'gradient': -0.05, 'momentum': -0.18}
    >>> round(float(split.update[0]), 6)
    -0.23
    """

    layer: str
    weight: str
    steps: tuple[int, int]
    optimizer: str
    before: NDArray[Any]
    after: NDArray[Any]
    parts: dict[str, NDArray[Any]]
    scaling: dict[str, NDArray[Any]]
    rounding: NDArray[Any] = field(repr=False)
    step: LinearStep | None = field(default=None, repr=False)
    multiplier: float = 1.0

    @property
    def update(self) -> NDArray[Any]:
        """W_after - W_before."""
        return np.asarray(self.after - self.before)

    @property
    def residual(self) -> NDArray[Any]:
        """The update minus the sum of its parts: rounding, or else a mistake."""
        return np.asarray(self.update - sum(self.parts.values(), start=np.zeros_like(self.update)))

    @property
    def is_exact(self) -> bool:
        """Whether rounding explains the residual everywhere."""
        return bool((np.abs(self.residual) <= self.rounding).all())

    def with_scaling(self) -> dict[str, NDArray[Any]]:
        """The same sum with one part more, "second_moment": scaled parts as the plain learning rate would
        have moved the weight, and what dividing by the second moment (or taking the sign) changed."""
        if not self.scaling:
            return dict(self.parts)
        plain = {name: part - self.scaling.get(name, 0.0) for name, part in self.parts.items()}
        return {**plain, "second_moment": sum(self.scaling.values(), start=np.zeros_like(self.update))}

    def at(self, index: Sequence[int]) -> dict[str, float]:
        """The sum for one number of the weight: part -> its value, then "residual" and "update"."""
        place = tuple(index)
        values = {name: float(part[place]) for name, part in self.parts.items()}
        return {**values, "residual": float(self.residual[place]), "update": float(self.update[place])}

    def shares(self) -> dict[str, float]:
        """Part -> its share of the update: its projection on the update by the update's squared length.

        They add up to 1 within rounding; a negative share worked against the update. All 0 for no update.
        """
        size = float(np.sum(self.update**2))
        return {
            name: float(np.sum(p * self.update)) / size if size else 0.0 for name, p in self.parts.items()
        }

    def table(self) -> Table:
        """One row per part: norm, largest entry, share of the update."""
        shares = self.shares()
        rows = [_row(name, part, f"{100 * shares[name]:.1f} %") for name, part in self.parts.items()]
        rows += [_row("residual", self.residual, "-"), _row("update", self.update, "100.0 %")]
        return Table(("part", "norm", "largest", "share"), tuple(rows), self._title())

    def _title(self) -> str:
        first, last = self.steps
        steps = f"step {last}" if first == last else f"steps {first} to {last}"
        where = f"{self.layer}/{self.weight}" if self.layer else self.weight
        return f"Update of {where}, {steps}, {self.optimizer.removesuffix('_update')}{self.rate_note}"

    @property
    def rate_note(self) -> str:
        """The layer's factor of the learning rate, as the end of a title; empty where it has none."""
        if self.multiplier == 1.0:
            return ""
        return (
            " at several learning rates"
            if math.isnan(self.multiplier)
            else f" at {self.multiplier:g} times the learning rate"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the coefficients, as JSON values."""
        return {
            "layer": self.layer,
            "weight": self.weight,
            "steps": list(self.steps),
            "optimizer": self.optimizer,
            "multiplier": None if math.isnan(self.multiplier) else self.multiplier,
            "before": self.before.tolist(),
            "after": self.after.tolist(),
            "parts": {name: part.tolist() for name, part in self.parts.items()},
            "scaling": {name: part.tolist() for name, part in self.scaling.items()},
            "residual": self.residual.tolist(),
            "is_exact": self.is_exact,
        }

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def split_update(
    before: NDArray[Any],
    gradient: NDArray[Any],
    slots: Mapping[str, NDArray[Any]] | None = None,
    *,
    kind: str,
    attrs: Mapping[str, Any],
    learning_rate: float,
    iteration: int,
    after: NDArray[Any] | None = None,
    penalty: NDArray[Any] | None = None,
    clipping: tuple[str, float] | None = None,
    global_norm: float | None = None,
    constraint: Mapping[str, Any] | None = None,
    overwriting: Mapping[str, Any] | None = None,
    coefficients: str = "float64",
    layer: str = "",
    weight: str = "kernel",
    number: int | None = None,
) -> UpdateSplit:
    """Split an update given as arrays.

    Args:
        before, gradient, slots: weight, whole gradient (before clipping) and optimiser's arrays before it.
        kind, attrs, learning_rate, iteration: the update, see `linear_steps.replay`.
        after: the weight after it; computed if None.
        penalty: the regulariser's part of the gradient.
        clipping: function and limit, such as ("clip_by_norm", 1.0); `global_norm` for "clip_by_global_norm".
        constraint: attributes of the projection that followed.
        overwriting: attributes of the moving average that took the weight's place now and then.
        coefficients: precision in which the program that trained computed numbers such as 1 - beta^t.
        number: of the step in the run; `iteration` if None.
    Raises: ArgumentError for missing slots or norm, UnknownNameError for an unknown update.
    """
    before, own = np.asarray(before), np.asarray(gradient)
    slots, every = slots or {}, int(attrs.get("every", 1))
    mean = accumulated(own, slots, every)
    clipped = clip(mean, clipping, global_norm)
    done = replay(before, clipped, slots, kind, attrs, learning_rate, iteration)
    moved = _averaged(done.weight, overwriting, iteration, after)
    projected = moved if constraint is None else _projected(moved, constraint, after)
    final = projected if after is None else np.asarray(after)
    exact, step = own.astype(np.float64), done.step
    share = step.gradient / every
    parts = {"gradient": share * (exact - (0.0 if penalty is None else penalty))}
    if penalty is not None:
        parts["penalty"] = share * np.asarray(penalty, np.float64)
    if every > 1:
        parts["accumulated"] = share * np.asarray(slots[ACCUMULATED], np.float64)
    if clipping is not None:
        parts["clipping"] = step.gradient * (clipped.astype(np.float64) - mean)
    if step.slot:
        parts["momentum"] = step.history * np.asarray(slots[step.slot], np.float64)
    if np.any(step.decay):
        parts["weight_decay"] = -step.decay * before.astype(np.float64)
    if overwriting is not None:
        parts["averaging"] = moved.astype(np.float64) - done.weight
    if constraint is not None:
        parts["constraint"] = projected.astype(np.float64) - moved
    k = int(iteration) if number is None else int(number)
    old, new = before.astype(np.float64), final.astype(np.float64)
    bound = _rounding(before.dtype, old, new, parts)
    bound += _coefficient_error(coefficients, attrs, int(iteration) // every) * np.abs(new - old)
    scaling, multiplier = _scaling(parts, step), float(attrs.get("multiplier", 1.0))
    return UpdateSplit(layer, weight, (k, k), kind, old, new, parts, scaling, bound, step, multiplier)


def with_hand(split: UpdateSplit, recorded: NDArray[Any]) -> UpdateSplit:
    """An update with what was done by hand in front of it.

    Args:
        split: of the update, from the weight that it began with.
        recorded: the weight after the update before, which somebody then changed.
    """
    old = np.asarray(recorded, np.float64)
    return replace(split, before=old, parts={"by_hand": split.before - old, **split.parts})


def clip(
    gradient: NDArray[Any], clipping: Sequence[Any] | None, global_norm: float | None = None
) -> NDArray[Any]:
    """The gradient as it reaches the optimiser."""
    if clipping is None:
        return gradient
    kind, limit = clipping
    if kind == "clip_by_global_norm":
        if global_norm is None:
            raise ArgumentError(
                "Clipping by the norm of all gradients needs that norm: give global_norm=, in a run recorded "
                "with the gradients."
            )
        return clip_by_global_norm(gradient, global_norm, float(limit))
    return np.asarray(_CLIPPING[kind](gradient, float(limit)))


_CLIPPING: dict[str, Callable[..., Any]] = {"clip_by_norm": clip_by_norm, "clip_by_value": clip_by_value}


def _projected(
    weight: NDArray[Any], constraint: Mapping[str, Any], after: NDArray[Any] | None
) -> NDArray[Any]:
    """The weight after its constraint; one of the user's own is known only by what came out."""
    if constraint.get("kind") != "custom":
        attrs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in constraint.items()}
        return np.asarray(OPERATORS["constrain"].run(weight, **attrs))
    if callable(constraint.get("custom")):
        return np.asarray(OPERATORS["constrain"].run(weight, **constraint))
    if after is None:
        raise ArgumentError("What a constraint of your own did is known only from the weight after it.")
    return np.asarray(after)


def accumulated(gradient: NDArray[Any], slots: Mapping[str, NDArray[Any]], every: int) -> NDArray[Any]:
    """The mean of the gradients of `every` steps, of which this is the last: what is clipped.

    Raises: ArgumentError if the sum of the earlier ones is not among the slots.
    """
    if every == 1:
        return gradient
    if ACCUMULATED not in slots:
        raise ArgumentError(
            f"The gradients of {every} steps make one update: slots must hold {ACCUMULATED!r}, the sum of "
            f"the earlier ones; it has {list(slots)}."
        )
    return np.asarray((slots[ACCUMULATED] + gradient) / every)


def is_overwritten(overwriting: Mapping[str, Any] | None, iteration: int) -> bool:
    """Whether the moving average takes a weight's place in a step."""
    if overwriting is None:
        return False
    update = updates_before(int(iteration), int(overwriting.get("every", 1))) + 1
    return update % int(overwriting["frequency"]) == 0


def _averaged(
    weight: NDArray[Any], overwriting: Mapping[str, Any] | None, iteration: int, after: NDArray[Any] | None
) -> NDArray[Any]:
    """The weight after its moving average has, perhaps, taken its place: that is known by what came out."""
    if not is_overwritten(overwriting, iteration):
        return weight
    if after is None:
        raise ArgumentError(
            "What a moving average did in the weight's place is known only from the weight after it."
        )
    return np.asarray(after)


def _scaling(parts: Mapping[str, NDArray[Any]], step: LinearStep) -> dict[str, NDArray[Any]]:
    """What the second moment changed: part - part / scale, for the parts that it scales."""
    if np.isscalar(step.scale) and step.scale == 1.0:
        return {}
    names = [n for n in parts if n in _SCALED or (n == "momentum" and step.scales_history)]
    plain = {
        n: np.divide(parts[n], step.scale, out=np.zeros_like(parts[n]), where=step.scale != 0) for n in names
    }
    return {n: parts[n] - plain[n] for n in names}


def _rounding(
    dtype: Any, before: NDArray[Any], after: NDArray[Any], parts: Mapping[str, NDArray[Any]]
) -> NDArray[Any]:
    """Bound of what rounding in this precision can do: a few operations on numbers of these sizes."""
    sizes: Iterable[NDArray[Any]] = (np.abs(before), np.abs(after), *map(np.abs, parts.values()))
    return np.asarray(8 * np.finfo(dtype).eps * sum(sizes, start=np.zeros_like(before)))


def _coefficient_error(precision: str, attrs: Mapping[str, Any], update: int) -> float:
    """Relative error of an update whose corrections 1 - beta^t were computed in a precision.

    A rounding of beta is one of beta^t, t times as large, and 1 - beta^t is small while t is.
    """
    eps = float(np.finfo(precision).eps)
    betas = [float(value) for name, value in attrs.items() if name.startswith("beta_") and 0 < value < 1]
    powers = [beta ** max(update, 1) for beta in betas]
    return eps * sum((1 + max(update, 1) * power) / (1 - power) for power in powers)


def summed(splits: Iterable[UpdateSplit]) -> UpdateSplit:
    """Successive updates as one.

    Rounding in one step does not know of that in the next, so that bounds of all steps, added up, would say
    little. What rounding did in each step is known, as far as its own bound allows it: that is added up.
    """
    total = _Sum()
    for split in splits:
        total.add(split)
    return total.split()


class _Sum:
    """Updates that are added up, one after another."""

    def __init__(self) -> None:
        self.first: UpdateSplit | None = None
        self.last: UpdateSplit | None = None
        self.parts: dict[str, NDArray[Any]] = {}
        self.scaling: dict[str, NDArray[Any]] = {}
        self.optimizers: set[str] = set()
        self.multipliers: set[float] = set()
        self.rounded: NDArray[Any] = np.zeros(())
        self.sizes: NDArray[Any] = np.zeros(())

    def add(self, split: UpdateSplit) -> None:
        self.first, self.last = self.first or split, split
        self.optimizers.add(split.optimizer)
        self.multipliers.add(split.multiplier)
        self.parts = _added(self.parts, split.parts)
        self.scaling = _added(self.scaling, split.scaling)
        self.rounded = self.rounded + np.clip(split.residual, -split.rounding, split.rounding)
        self.sizes = self.sizes + np.abs(split.before) + sum(map(np.abs, split.parts.values()))

    def split(self) -> UpdateSplit:
        assert self.first is not None and self.last is not None
        first, last = self.first, self.last
        if first is last:
            return first
        count = last.steps[1] - first.steps[0] + 2
        return UpdateSplit(
            first.layer,
            first.weight,
            (first.steps[0], last.steps[1]),
            first.optimizer if len(self.optimizers) == 1 else "several optimisers",
            first.before,
            last.after,
            self.parts,
            self.scaling,
            np.abs(self.rounded) + 4 * count * np.finfo(np.float64).eps * self.sizes,
            multiplier=first.multiplier if len(self.multipliers) == 1 else math.nan,
        )


def _added(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    names = [*first, *(name for name in second if name not in first)]
    return {name: np.asarray(first.get(name, 0.0) + second.get(name, 0.0)) for name in names}


def _row(name: str, values: NDArray[Any], share: str) -> tuple[Any, ...]:
    flat = values.ravel()
    return (
        name,
        float(np.linalg.norm(flat)),
        float(flat[np.argmax(np.abs(flat))]) if flat.size else 0.0,
        share,
    )
