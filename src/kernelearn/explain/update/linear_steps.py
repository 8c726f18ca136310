"""An update done again, and what it was made of: linear in the new gradient and in the momentum.

    W_after = W_before - decay * W_before + gradient * g + history * h
    h_after = keep * h + take * g

g is the gradient as it reaches the optimiser, h the slot that carries momentum (absent in some optimisers).
Optimisers that divide by a running size of the gradients are linear in this sense once the denominator is
held at the value that it had: the coefficients are those realised numbers, one for each weight. So the answer
to "what if this gradient had been different" is not in them; the answer to "what was this update made of"
is. Each optimiser's coefficients stand beside its step in `engine.updates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.reference.optimizers import FloatNumbers, length_factor, one_step
from kernelearn.engine.updates import UPDATES
from kernelearn.engine.updates.rule import LinearStep, Slots
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.explain.update import torch_steps
from kernelearn.explain.update.torch_steps import TORCH_STEPS, Before
from kernelearn.recording.torch_updates import TORCH_UPDATES


@dataclass(frozen=True, eq=False)
class Replay:
    """An update computed again.

    weight: after the optimiser and before any constraint; slots: after it; step: its coefficients.
    """

    weight: NDArray[Any]
    slots: dict[str, NDArray[Any]]
    step: LinearStep


def replay(
    before: NDArray[Any],
    gradient: NDArray[Any],
    slots: Slots,
    kind: str,
    attrs: Mapping[str, Any],
    learning_rate: float,
    iteration: int,
) -> Replay:
    """Do an update again, in the precision of the weight, and say what it was made of.

    Args:
        before, gradient, slots: the weight, the (clipped) gradient and the optimiser's arrays before it.
        kind: name of the update operator, such as "adam_update".
        attrs: its attributes, `multiplier` of the learning rate and `weight_decay` among them.
        iteration: number of the step for the optimiser, from 1.
    Raises: UnknownNameError for another kind, ArgumentError if slots are missing.
    """
    if kind in TORCH_STEPS:
        own = TORCH_UPDATES[kind].whole(attrs)
        _check_there(kind, list(TORCH_UPDATES[kind].slots_with(own)), list(slots))
        rate = float(learning_rate) * float(own.get("multiplier", 1.0))
        return Replay(*TORCH_STEPS[kind](Before(before, gradient, slots, own, rate, int(iteration))))
    _check_kind(kind)
    own = OPERATORS[kind].whole(attrs)
    rate, every = float(learning_rate) * float(own.pop("multiplier")), int(own.pop("every"))
    names = [name for name in UPDATES[kind].slots if name in slots]
    _check_slots(kind, own, names)
    arrays = [np.asarray(slots[name]) for name in names]
    number, rest = divmod(int(iteration), every)
    if rest:  # its gradient waits for that of later steps
        return Replay(before, dict(zip(names, arrays)), LinearStep(0.0, keep=1.0))
    weight, *after = one_step(kind, before, gradient, *arrays, learning_rate=rate, step=number, **own)
    new = dict(zip(names, after))
    decay = float(own["weight_decay"]) * rate
    factor = length_factor(kind, before, gradient, *arrays, learning_rate=rate, step=number, **own)
    numbers = FloatNumbers(number, {name: slots[name] for name in UPDATES[kind].numbers}, factor)
    step = UPDATES[kind].linear(numbers, own, rate, gradient, slots, new)
    return Replay(weight, new, replace(step, decay=step.decay + decay))


def is_followed(kind: str) -> bool:
    """Whether the steps of an optimiser say all that an update leaves to the next: see `Update`.

    Raises: UnknownNameError for an optimiser whose updates cannot be taken apart.
    """
    if kind in TORCH_STEPS:
        return True
    _check_kind(kind)
    return UPDATES[kind].is_followed


def coupled_decay(kind: str, attrs: Mapping[str, Any]) -> float:
    """What is added to the gradient of 1 for a weight of 1 by weight decay that momentum remembers, or 0."""
    return torch_steps.coupled_decay(kind, attrs) if kind in TORCH_STEPS else 0.0


def _check_kind(kind: str) -> None:
    if kind not in UPDATES:
        raise unknown_name("update that can be taken apart", kind, [*UPDATES, *TORCH_STEPS])


def _check_slots(kind: str, attrs: Mapping[str, Any], names: list[str]) -> None:
    _check_there(kind, UPDATES[kind].slots_with(attrs), names)


def _check_there(kind: str, needed: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise ArgumentError(
            f"{kind} carries the arrays {missing} from step to step; slots has {names}. Give those from "
            "before the update."
        )
