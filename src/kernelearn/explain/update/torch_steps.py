"""The steps of PyTorch's optimisers, done again in NumPy, for runs that were watched and not trained here.

They differ from those of `engine.updates` in their order and in where the learning rate, epsilon and weight
decay enter: momentum holds gradients and not moves, weight decay may be part of the gradient. As functions of
the new gradient and of the momentum they are linear in the same sense, see `linear_steps`.

Source: the algorithms in the documentation of torch.optim, version 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.updates.rule import LinearStep
from kernelearn.recording.torch_updates import TORCH_UPDATES

Arrays = Mapping[str, NDArray[Any]]
Attrs = Mapping[str, Any]
# The weight and the slots after an update, and what it was made of.
Stepped = tuple[NDArray[Any], dict[str, NDArray[Any]], LinearStep]


@dataclass(frozen=True, eq=False)
class Before:
    """What an update begins with.

    Attributes:
        weight, grad, slots: the weight, its gradient, and the optimiser's arrays by their names in a run.
        attrs: all attributes of the update.
        rate: learning rate, the multiplier of the weight's group in it.
        number: of the update, from 1.
    """

    weight: NDArray[Any]
    grad: NDArray[Any]
    slots: Arrays
    attrs: Attrs
    rate: float
    number: int

    def as_weight(self, number: Any) -> Any:
        """A number in the precision of the weight, so that NumPy computes in it."""
        return self.weight.dtype.type(number)

    @property
    def uphill(self) -> NDArray[Any]:
        """The gradient of what is made small."""
        return -self.grad if self.attrs["maximize"] else self.grad

    @property
    def decayed(self) -> NDArray[Any]:
        """The same with coupled weight decay."""
        decay = self.as_weight(self.attrs["weight_decay"])
        return self.uphill + decay * self.weight if decay else self.uphill


def _linear(attrs: Mapping[str, Any], direct: Any, is_coupled: bool = True, **others: Any) -> LinearStep:
    """A step whose descended gradient is multiplied by `direct`, as a function of the plain gradient."""
    sign = -1.0 if attrs["maximize"] else 1.0
    decay = -direct * float(attrs["weight_decay"]) if is_coupled else 0.0
    take = others.pop("take", 0.0)
    return LinearStep(sign * direct, decay=decay, take=sign * take, **others)


def _sgd(b: Before) -> Stepped:
    weight, slots, attrs, rate = b.weight, b.slots, b.attrs, b.rate
    down, mu = b.decayed, float(attrs["momentum"])
    if not mu:
        return weight - b.as_weight(rate) * down, {}, _linear(attrs, -rate)
    taken = 1.0 if b.number == 1 else 1.0 - float(attrs["dampening"])
    buffer = b.as_weight(mu) * slots["momentum"] + b.as_weight(taken) * down
    looks_ahead = bool(attrs["nesterov"])
    move = down + b.as_weight(mu) * buffer if looks_ahead else buffer
    direct = -rate * (1 + mu * taken) if looks_ahead else -rate * taken
    history = -rate * (mu * mu if looks_ahead else mu)
    linear = _linear(attrs, direct, history=history, keep=mu, take=taken, slot="momentum")
    return weight - b.as_weight(rate) * move, {"momentum": buffer}, linear


def _adam(b: Before) -> Stepped:
    weight, slots, attrs, rate = b.weight, b.slots, b.attrs, b.rate
    first, second = (float(beta) for beta in attrs["betas"])
    is_decoupled = bool(attrs["decoupled_weight_decay"])
    begun, decay = weight, rate * float(attrs["weight_decay"]) if is_decoupled else 0.0
    if is_decoupled:
        down = b.uphill
        begun = weight * b.as_weight(1 - decay)
    else:
        down = b.decayed
    mean = slots["momentum"] + b.as_weight(1 - first) * (down - slots["momentum"])
    square = b.as_weight(second) * slots["velocity"] + b.as_weight(1 - second) * down * down
    new = {"momentum": mean, "velocity": square}
    if attrs["amsgrad"]:
        new["velocity_hat"] = np.maximum(slots["velocity_hat"], square)
    corrected, root = 1 - first**b.number, np.sqrt(1 - second**b.number)
    divisor = np.sqrt(new.get("velocity_hat", square)) / b.as_weight(root) + b.as_weight(attrs["eps"])
    unit = -rate / corrected / divisor.astype(np.float64)
    linear = _linear(
        attrs, unit * (1 - first), not is_decoupled, history=unit * first, keep=first, take=1 - first,
        scale=-unit / rate if rate else 1.0, slot="momentum",
    )  # fmt: skip
    if is_decoupled:
        linear = replace(linear, decay=decay)
    return begun - b.as_weight(rate / corrected) * (mean / divisor), new, linear


def _rmsprop(b: Before) -> Stepped:
    weight, slots, attrs, rate = b.weight, b.slots, b.attrs, b.rate
    down, alpha, mu = b.decayed, float(attrs["alpha"]), float(attrs["momentum"])
    square = b.as_weight(alpha) * slots["velocity"] + b.as_weight(1 - alpha) * down * down
    new, spread = {"velocity": square}, square
    if attrs["centered"]:
        mean = slots["average_gradient"] + b.as_weight(1 - alpha) * (down - slots["average_gradient"])
        new["average_gradient"], spread = mean, square - mean * mean
    divisor = np.sqrt(spread) + b.as_weight(attrs["eps"])
    scale = 1 / divisor.astype(np.float64)
    if not mu:
        linear = _linear(attrs, -rate * scale, scale=scale)
        return weight - b.as_weight(rate) * (down / divisor), new, linear
    new["momentum"] = b.as_weight(mu) * slots["momentum"] + down / divisor
    linear = _linear(
        attrs, -rate * scale, history=-rate * mu, keep=mu, take=scale, scale=scale, scales_history=False,
        slot="momentum",
    )  # fmt: skip
    return weight - b.as_weight(rate) * new["momentum"], new, linear


def _adagrad(b: Before) -> Stepped:
    weight, slots, attrs, rate = b.weight, b.slots, b.attrs, b.rate
    down = b.decayed
    slowed = rate / (1 + (b.number - 1) * float(attrs["lr_decay"]))
    total = slots["accumulator"] + down * down
    divisor = np.sqrt(total) + b.as_weight(attrs["eps"])
    scale = slowed / rate / divisor.astype(np.float64) if rate else np.zeros_like(divisor, np.float64)
    linear = _linear(attrs, -rate * scale, scale=scale)
    return weight - b.as_weight(slowed) * (down / divisor), {"accumulator": total}, linear


def _adadelta(b: Before) -> Stepped:
    """The size of a step is that of past steps over that of past gradients; the rate multiplies it."""
    slots, eps, rho = b.slots, b.as_weight(b.attrs["eps"]), float(b.attrs["rho"])
    down = b.decayed

    def mixed(average: NDArray[Any], now: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = b.as_weight(rho) * average + b.as_weight(1 - rho) * now * now
        return found

    square = mixed(slots["accumulated_grad"], down)
    ratio = np.sqrt(slots["accumulated_delta_var"] + eps) / np.sqrt(square + eps)
    move = ratio * down
    new = {
        "accumulated_grad": square,
        "accumulated_delta_var": mixed(slots["accumulated_delta_var"], move),
    }
    scale = ratio.astype(np.float64)
    return b.weight - b.as_weight(b.rate) * move, new, _linear(b.attrs, -b.rate * scale, scale=scale)


# Kind of an update in a run -> what it does.
TORCH_STEPS: dict[str, Callable[[Before], Stepped]] = {
    "torch_sgd": _sgd,
    "torch_adam": _adam,
    "torch_rmsprop": _rmsprop,
    "torch_adagrad": _adagrad,
    "torch_adadelta": _adadelta,
}


def coupled_decay(kind: str, attrs: Attrs) -> float:
    """What weight decay adds to the gradient, for a weight of 1, where momentum remembers it; else 0.0."""
    known = TORCH_UPDATES[kind].whole(attrs)
    if known.get("decoupled_weight_decay", False) or not known.get("momentum", kind == "torch_adam"):
        return 0.0
    return float(known["weight_decay"]) * (-1.0 if known["maximize"] else 1.0)
