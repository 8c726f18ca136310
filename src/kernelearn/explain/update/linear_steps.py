"""Every optimiser's update as a linear function of the new gradient and of its momentum.

    W_after = W_before - decay * W_before + gradient * g + history * h
    h_after = keep * h + take * g

g is the gradient as it reaches the optimiser, h the slot that carries momentum (absent in some optimisers).
Optimisers that divide by a running size of the gradients are linear in this sense once the denominator is
held at the value that it had: the coefficients below are those realised numbers, one for each weight. So the
answer to "what if this gradient had been different" is not in them; the answer to "what was this update made
of" is. The formulas are those of `engine.reference.optimizers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.reference.optimizers import UPDATES, nadam_momentum
from kernelearn.errors import ArgumentError, unknown_name

Coefficient = Any  # a number, or an array of the weight's shape
Slots = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LinearStep:
    """Coefficients of one update, see the top of this file; float64 numbers or arrays of the weight's shape.

    Attributes:
        scale: what the second moment (or sign) multiplies the learning rate by; 1 without one.
        scales_history: whether the momentum is scaled anew in this step, or was when it was stored.
        slot: name of the momentum, "" for none.
    """

    gradient: Coefficient
    history: Coefficient = 0.0
    keep: Coefficient = 0.0
    take: Coefficient = 0.0
    decay: float = 0.0
    scale: Coefficient = 1.0
    scales_history: bool = True
    slot: str = ""


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
        iteration: number of the update for the optimiser, from 1.
    Raises: UnknownNameError for another kind, ArgumentError if slots are missing.
    """
    if kind not in UPDATES or kind not in _RULES:
        raise unknown_name("update", kind, UPDATES)
    own = OPERATORS[kind].whole(attrs)
    rate = float(learning_rate) * float(own.pop("multiplier"))
    names = [name for name in UPDATES[kind].slots if name in slots]
    _check_slots(kind, own, names)
    arrays = [np.asarray(slots[name]) for name in names]
    weight, *after = UPDATES[kind].function(
        before, gradient, *arrays, learning_rate=rate, step=int(iteration), **own
    )
    new = dict(zip(names, after))
    step = _RULES[kind](own, rate, int(iteration), gradient, dict(slots), new)
    return Replay(weight, new, _with_decay(step, float(own["weight_decay"]) * rate))


def _with_decay(step: LinearStep, decay: float) -> LinearStep:
    return LinearStep(**{**vars(step), "decay": decay})


# Slots that exist only if an attribute asks for them.
_OPTIONAL = {
    ("sgd_update", "momentum"): "momentum",
    ("adam_update", "velocity_hat"): "amsgrad",
    ("rmsprop_update", "momentum"): "momentum",
    ("rmsprop_update", "average_gradient"): "centered",
}


def _check_slots(kind: str, attrs: Mapping[str, Any], names: list[str]) -> None:
    wanted = [n for n in UPDATES[kind].slots if (kind, n) not in _OPTIONAL or attrs[_OPTIONAL[kind, n]]]
    missing = [n for n in wanted if n not in names]
    if missing:
        raise ArgumentError(
            f"{kind} carries the arrays {missing} from step to step; slots has {names}. Give those from "
            "before the update."
        )


def _size(root: NDArray[Any]) -> NDArray[Any]:
    """A denominator, computed in the engine's precision, for use in float64."""
    return np.asarray(root, np.float64)


def _sgd(a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots) -> LinearStep:
    mu = float(a["momentum"])
    if not mu:
        return LinearStep(-rate)
    looks_ahead = bool(a["nesterov"])
    return LinearStep(
        -rate * (1 + mu) if looks_ahead else -rate,
        history=mu * mu if looks_ahead else mu,
        keep=mu,
        take=-rate,
        scales_history=False,
        slot="momentum",
    )


def _moving_mean(rate: float, scale: Coefficient, beta: float) -> LinearStep:
    """W <- W - rate * scale * m with m <- beta m + (1 - beta) g."""
    unit = -rate * scale
    return LinearStep(unit * (1 - beta), unit * beta, beta, 1 - beta, scale=scale, slot="momentum")


def _adam(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    beta_1, beta_2 = a["beta_1"], a["beta_2"]
    square = new["velocity_hat"] if a["amsgrad"] else new["velocity"]
    correction = sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return _moving_mean(rate, correction / _size(np.sqrt(square) + a["epsilon"]), beta_1)


def _rmsprop(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    square = new["velocity"]
    if a["centered"]:
        square = np.maximum(square - new["average_gradient"] * new["average_gradient"], 0)
    scale = 1 / _size(np.sqrt(square + a["epsilon"]))
    mu = float(a["momentum"])
    if not mu:
        return LinearStep(-rate * scale, scale=scale)
    # The slot holds the last move with the sign turned: W <- W - (mu h + rate scale g).
    return LinearStep(
        -rate * scale, -mu, mu, rate * scale, scale=scale, scales_history=False, slot="momentum"
    )


def _adagrad(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    scale = 1 / _size(np.sqrt(new["accumulator"] + a["epsilon"]))
    return LinearStep(-rate * scale, scale=scale)


def _adadelta(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    epsilon = a["epsilon"]
    moves = _size(np.sqrt(old["accumulated_delta_var"] + epsilon))
    scale = moves / _size(np.sqrt(new["accumulated_grad"] + epsilon))
    return LinearStep(-rate * scale, scale=scale)


def _adamax(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    beta_1 = a["beta_1"]
    scale = 1 / ((1 - beta_1**step) * _size(new["norm"] + a["epsilon"]))
    return _moving_mean(rate, scale, beta_1)


def _nadam(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    beta_1, beta_2 = a["beta_1"], a["beta_2"]
    now, following = nadam_momentum(beta_1, step), nadam_momentum(beta_1, step + 1)
    product = float(old["u_product"]) * now
    of_mean, of_gradient = following / (1 - product * following), (1 - now) / (1 - product)
    scale = 1 / _size(np.sqrt(new["velocity"] / (1 - beta_2**step)) + a["epsilon"])
    return LinearStep(
        -rate * scale * ((1 - beta_1) * of_mean + of_gradient),
        -rate * scale * beta_1 * of_mean,
        keep=beta_1,
        take=1 - beta_1,
        scale=scale,
        slot="momentum",
    )


def _lion(
    a: Mapping[str, Any], rate: float, step: int, g: NDArray[Any], old: Slots, new: Slots
) -> LinearStep:
    """sign(z) = z / |z| with z = b1 m + (1 - b1) g: the step is shared out as z is. A sign forgets sizes, so
    the shares say who decided it; parts of opposite sign can each be far larger than the step."""
    beta_1, beta_2 = a["beta_1"], a["beta_2"]
    m = old["momentum"]
    sign = np.sign(m * beta_1 + g * (1 - beta_1))
    z = m.astype(np.float64) * beta_1 + g.astype(np.float64) * (1 - beta_1)
    scale = np.divide(sign, z, out=np.zeros_like(z), where=z != 0)
    unit = -rate * scale
    return LinearStep(
        unit * (1 - beta_1), unit * beta_1, keep=beta_2, take=1 - beta_2, scale=scale, slot="momentum"
    )


_RULES: dict[str, Callable[..., LinearStep]] = {
    "sgd_update": _sgd,
    "adam_update": _adam,
    "rmsprop_update": _rmsprop,
    "adagrad_update": _adagrad,
    "adadelta_update": _adadelta,
    "adamax_update": _adamax,
    "nadam_update": _nadam,
    "lion_update": _lion,
}
