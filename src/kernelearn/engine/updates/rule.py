"""What an optimiser consists of, and what its step as a linear function is.

    coefficients(math, attrs, rate) -> {name: number}              of the step and the learning rate, float64
    step(math, attrs, c, param, grad, *slots) -> (param, *slots)   entry by entry
    linear(math, attrs, rate, grad, old, new) -> LinearStep        of one update that was done
    factor(math, attrs, rate, param, direction) -> number          from sums of squares, see below
    whole(attrs, rate, number, param, grad, slots) -> Whole        of arrays, for steps of whole matrices

`math` is the arithmetic of whoever asks, see `arithmetic`. Weight decay is decoupled in every optimiser and
comes before its step: see `arithmetic.kept`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import only_rate

Coefficient = Any  # a number, or an array of the weight's shape
Slots = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class LinearStep:
    """One update as a linear function of the new gradient g and of the momentum h.

        W_after = W_before - decay * W_before + gradient * g + history * h
        h_after = keep * h + take * g

    float64 numbers or arrays of the weight's shape.

    Attributes:
        scale: what the second moment (or sign) multiplies the learning rate by; 1 without one.
        scales_history: whether the momentum is scaled anew in this step, or was when it was stored.
        slot: name of the momentum, "" for none.
    """

    gradient: Coefficient
    history: Coefficient = 0.0
    keep: Coefficient = 0.0
    take: Coefficient = 0.0
    decay: Coefficient = 0.0
    scale: Coefficient = 1.0
    scales_history: bool = True
    slot: str = ""


@dataclass(frozen=True, eq=False)
class Whole:
    """A step on arrays: the parameter, its slots, and the number that `linear` gets as `math.factor`."""

    param: Array
    slots: tuple[Array, ...]
    factor: float


def no_step(*_: Any) -> tuple[Any, ...]:
    """The step of an update that is not made entry by entry."""
    raise NotImplementedError("This update is computed on whole arrays.")


@dataclass(frozen=True)
class Update:
    """One kind of optimiser.

    Attributes:
        slots: names of what it carries from step to step, in order, each of the parameter's shape.
        attrs: its own attributes with their defaults; `weight_decay` and `multiplier` come besides.
        coefficients, step, linear: see the top of this file.
        optional: slot that is not always there -> the attribute that asks for it.
        numbers: the slots, its last ones, that are a single number. `coefficients` gives the new ones by
            their names, and `step` does without them.
        coefficient_names: what `coefficients` gives besides, where there are numbers.
        factor: for an update whose length depends on norms: `step` gives a direction d in the place of the
            parameter, which becomes param - factor * d. It is made from the sums of the squares of both.
        whole: the step of an update on whole matrices, which has no kernel: NumPy computes it.
        is_followed: whether `linear` says all that an update leaves to the next, so that a history of one
            number can be followed through many.
    """

    slots: tuple[str, ...]
    attrs: Mapping[str, Any]
    linear: Callable[..., LinearStep]
    step: Callable[..., tuple[Any, ...]] = no_step
    coefficients: Callable[..., dict[str, Any]] = only_rate
    optional: Mapping[str, str] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    coefficient_names: tuple[str, ...] = ()
    factor: Callable[..., Any] | None = None
    whole: Callable[..., Whole] | None = None
    is_followed: bool = True

    def slots_with(self, attrs: Mapping[str, Any]) -> list[str]:
        """The slots that it has with these attributes."""
        return [name for name in self.slots if name not in self.optional or attrs[self.optional[name]]]


def moving_mean(rate: float, scale: Coefficient, beta: float) -> LinearStep:
    """W <- W - rate * scale * m with m <- beta m + (1 - beta) g."""
    unit = -rate * scale
    return LinearStep(unit * (1 - beta), unit * beta, beta, 1 - beta, scale=scale, slot="momentum")
