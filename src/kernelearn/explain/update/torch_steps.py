"""The steps of PyTorch's optimisers, done again in NumPy, for runs that were watched and not trained here.

They differ from those of `engine.updates` in their order and in where the learning rate, epsilon and weight
decay enter: momentum holds gradients and not moves, weight decay may be part of the gradient. As functions of
the new gradient and of the momentum they are linear in the same sense, see `linear_steps`.

Source: the algorithms in the documentation of torch.optim, version 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.updates.rule import LinearStep

Arrays = Mapping[str, NDArray[Any]]
Stepped = tuple[NDArray[Any], dict[str, NDArray[Any]], LinearStep]


@dataclass(frozen=True)
class TorchStep:
    """One of PyTorch's optimisers.

    Attributes:
        step: (weight, gradient, slots, attrs, rate, number of the update from 1) -> the weight and the slots
            after it, and what it was made of.
        slots: name of a slot here -> its name in PyTorch's state, for slots that are always there.
        optional: the same for slots that an attribute asks for: slot -> (name, attribute).
        attrs: attributes, by PyTorch's names, with their defaults.
    """

    step: Callable[[NDArray[Any], NDArray[Any], Arrays, Mapping[str, Any], float, int], Stepped]
    attrs: Mapping[str, Any]
    slots: Mapping[str, str]
    optional: Mapping[str, tuple[str, str]]

    def slots_with(self, attrs: Mapping[str, Any]) -> dict[str, str]:
        """Slot -> name in PyTorch's state, of those that there are with these attributes."""
        asked = {slot: name for slot, (name, attribute) in self.optional.items() if attrs[attribute]}
        return {**self.slots, **asked}

    def is_followed(self, attrs: Mapping[str, Any]) -> bool:
        """Whether momentum holds gradients alone: not where weight decay is part of what it remembers."""
        is_coupled = bool(attrs["weight_decay"]) and not attrs.get("decoupled_weight_decay", False)
        has_momentum = bool(attrs.get("momentum", 1.0))
        return not (is_coupled and has_momentum)


def _descended(weight: NDArray[Any], gradient: NDArray[Any], attrs: Mapping[str, Any]) -> NDArray[Any]:
    """The gradient that an optimiser descends along: turned round to maximise, with coupled weight decay."""
    down = -gradient if attrs["maximize"] else gradient
    decay = weight.dtype.type(attrs["weight_decay"])
    return down + decay * weight if decay else down


def _linear(attrs: Mapping[str, Any], direct: Any, is_coupled: bool = True, **others: Any) -> LinearStep:
    """A step whose descended gradient is multiplied by `direct`, as a function of the plain gradient."""
    sign = -1.0 if attrs["maximize"] else 1.0
    decay = -direct * float(attrs["weight_decay"]) if is_coupled else 0.0
    take = others.pop("take", 0.0)
    return LinearStep(sign * direct, decay=decay, take=sign * take, **others)


def _sgd(
    weight: NDArray[Any],
    grad: NDArray[Any],
    slots: Arrays,
    attrs: Mapping[str, Any],
    rate: float,
    number: int,
) -> Stepped:
    down, mu = _descended(weight, grad, attrs), float(attrs["momentum"])
    if not mu:
        return weight - _as(weight, rate) * down, {}, _linear(attrs, -rate)
    taken = 1.0 if number == 1 else 1.0 - float(attrs["dampening"])
    buffer = _as(weight, mu) * slots["momentum"] + _as(weight, taken) * down
    looks_ahead = bool(attrs["nesterov"])
    move = down + _as(weight, mu) * buffer if looks_ahead else buffer
    direct = -rate * (1 + mu * taken) if looks_ahead else -rate * taken
    history = -rate * (mu * mu if looks_ahead else mu)
    linear = _linear(attrs, direct, history=history, keep=mu, take=taken, slot="momentum")
    return weight - _as(weight, rate) * move, {"momentum": buffer}, linear


def _adam(
    weight: NDArray[Any],
    grad: NDArray[Any],
    slots: Arrays,
    attrs: Mapping[str, Any],
    rate: float,
    number: int,
) -> Stepped:
    first, second = (float(beta) for beta in attrs["betas"])
    is_decoupled = bool(attrs["decoupled_weight_decay"])
    begun, decay = weight, rate * float(attrs["weight_decay"]) if is_decoupled else 0.0
    if is_decoupled:
        down = -grad if attrs["maximize"] else grad
        begun = weight * _as(weight, 1 - decay)
    else:
        down = _descended(weight, grad, attrs)
    mean = slots["momentum"] + _as(weight, 1 - first) * (down - slots["momentum"])
    square = _as(weight, second) * slots["velocity"] + _as(weight, 1 - second) * down * down
    new = {"momentum": mean, "velocity": square}
    if attrs["amsgrad"]:
        new["velocity_hat"] = np.maximum(slots["velocity_hat"], square)
    corrected, root = 1 - first**number, np.sqrt(1 - second**number)
    divisor = np.sqrt(new.get("velocity_hat", square)) / _as(weight, root) + _as(weight, attrs["eps"])
    unit = -rate / corrected / divisor.astype(np.float64)
    linear = _linear(
        attrs, unit * (1 - first), not is_decoupled, history=unit * first, keep=first, take=1 - first,
        scale=-unit / rate if rate else 1.0, slot="momentum",
    )  # fmt: skip
    if is_decoupled:
        linear = _with_decay(linear, decay)
    return begun - _as(weight, rate / corrected) * (mean / divisor), new, linear


def _rmsprop(
    weight: NDArray[Any],
    grad: NDArray[Any],
    slots: Arrays,
    attrs: Mapping[str, Any],
    rate: float,
    number: int,
) -> Stepped:
    down, alpha, mu = _descended(weight, grad, attrs), float(attrs["alpha"]), float(attrs["momentum"])
    square = _as(weight, alpha) * slots["velocity"] + _as(weight, 1 - alpha) * down * down
    new, spread = {"velocity": square}, square
    if attrs["centered"]:
        mean = slots["average_gradient"] + _as(weight, 1 - alpha) * (down - slots["average_gradient"])
        new["average_gradient"], spread = mean, square - mean * mean
    divisor = np.sqrt(spread) + _as(weight, attrs["eps"])
    scale = 1 / divisor.astype(np.float64)
    if not mu:
        linear = _linear(attrs, -rate * scale, scale=scale)
        return weight - _as(weight, rate) * (down / divisor), new, linear
    new["momentum"] = _as(weight, mu) * slots["momentum"] + down / divisor
    linear = _linear(
        attrs, -rate * scale, history=-rate * mu, keep=mu, take=scale, scale=scale, scales_history=False,
        slot="momentum",
    )  # fmt: skip
    return weight - _as(weight, rate) * new["momentum"], new, linear


def _adagrad(
    weight: NDArray[Any],
    grad: NDArray[Any],
    slots: Arrays,
    attrs: Mapping[str, Any],
    rate: float,
    number: int,
) -> Stepped:
    down = _descended(weight, grad, attrs)
    slowed = rate / (1 + (number - 1) * float(attrs["lr_decay"]))
    total = slots["accumulator"] + down * down
    divisor = np.sqrt(total) + _as(weight, attrs["eps"])
    scale = slowed / rate / divisor.astype(np.float64) if rate else np.zeros_like(divisor, np.float64)
    linear = _linear(attrs, -rate * scale, scale=scale)
    return weight - _as(weight, slowed) * (down / divisor), {"accumulator": total}, linear


def _with_decay(step: LinearStep, decay: float) -> LinearStep:
    return LinearStep(
        step.gradient, step.history, step.keep, step.take, decay, step.scale, step.scales_history, step.slot
    )


def _as(weight: NDArray[Any], number: Any) -> Any:
    """A number in the precision of the weight, so that NumPy computes in it."""
    return weight.dtype.type(number)


_MOMENTUM = {"momentum": "exp_avg", "velocity": "exp_avg_sq"}
_ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "maximize": False}

# Kind of an update in a run -> what it does.
TORCH_STEPS: dict[str, TorchStep] = {
    "torch_sgd": TorchStep(
        _sgd,
        {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0, "maximize": False},
        {},
        {"momentum": ("momentum_buffer", "momentum")},
    ),
    "torch_adam": TorchStep(
        _adam,
        {**_ADAM, "decoupled_weight_decay": False},
        _MOMENTUM,
        {"velocity_hat": ("max_exp_avg_sq", "amsgrad")},
    ),
    "torch_rmsprop": TorchStep(
        _rmsprop,
        {
            "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False, "weight_decay": 0.0,
            "maximize": False,
        },
        {"velocity": "square_avg"},
        {"momentum": ("momentum_buffer", "momentum"), "average_gradient": ("grad_avg", "centered")},
    ),
    "torch_adagrad": TorchStep(
        _adagrad,
        {"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0, "maximize": False},
        {"accumulator": "sum"},
        {},
    ),
}  # fmt: skip
