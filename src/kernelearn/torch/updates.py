"""The steps of PyTorch's optimisers as operations of a program, number for number as PyTorch documents them.

Sources: torch.optim.SGD, Adam and AdamW. What changes between steps (rates, corrections of the bias) comes in
as numbers of a few bytes; what a group of parameters keeps is in the code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.torch.translation.table import CannotTranslate

Group = Mapping[str, Any]


class Builder:
    """Operations of the update phase, with numbers as factors."""

    def __init__(self, graph: ProgramBuilder) -> None:
        self.graph = graph

    def scaled(self, x: Buffer, factor: float, offset: float = 0.0) -> Buffer:
        found: Buffer = self.graph.add("scale", x, factor=float(factor), offset=float(offset))
        return found

    def __getattr__(self, operator: str) -> Callable[..., Buffer]:
        return lambda *inputs: self.graph.add(operator, *inputs)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Method:
    """An optimiser.

    Attributes:
        slots: what it keeps for each parameter, as `optimizer.state` calls it.
        numbers: (group, number of the step) -> the numbers of this step, in the order that `step` wants.
        refused: settings of a group that have to be false.
        step: (builder, settings, numbers, parameter, gradient, slots) -> new parameter, new slots.
    """

    slots: Callable[[Group], tuple[str, ...]]
    numbers: Callable[[Group, int], Sequence[float]]
    refused: tuple[str, ...]
    step: Callable[..., tuple[Buffer, ...]]
    counts: bool = False


def _descent(b: Builder, a: Group, param: Buffer, grad: Buffer) -> Buffer:
    """The gradient, of what is maximised turned round, with a penalty on the weights."""
    if a["maximize"]:
        grad = b.scaled(grad, -1.0)
    return b.add(grad, b.scaled(param, a["weight_decay"])) if a["weight_decay"] else grad


def _sgd(
    b: Builder, a: Group, numbers: Sequence[Buffer], param: Buffer, grad: Buffer, *slots: Buffer
) -> tuple[Buffer, ...]:
    (rate,) = numbers
    move = _descent(b, a, param, grad)
    if not a["momentum"]:
        return (b.subtract(param, b.multiply(move, rate)),)
    velocity = b.add(b.scaled(slots[0], a["momentum"]), move)
    if a["nesterov"]:
        move = b.add(move, b.scaled(velocity, a["momentum"]))
    else:
        move = velocity
    return b.subtract(param, b.multiply(move, rate)), velocity


def _adam_like(decoupled: bool) -> Callable[..., tuple[Buffer, ...]]:
    def step(
        b: Builder, a: Group, numbers: Sequence[Buffer], param: Buffer, grad: Buffer, *slots: Buffer
    ) -> tuple[Buffer, ...]:
        rate, sharpness, kept = numbers
        if decoupled and a["weight_decay"]:
            if a["maximize"]:
                grad = b.scaled(grad, -1.0)
            param = b.multiply(param, kept)
        else:
            grad = _descent(b, a, param, grad)
        beta1, beta2 = a["betas"]
        mean = b.add(b.scaled(slots[0], beta1), b.scaled(grad, 1 - beta1))
        square = b.add(b.scaled(slots[1], beta2), b.scaled(b.multiply(grad, grad), 1 - beta2))
        size = b.scaled(b.multiply(b.sqrt(square), sharpness), 1.0, a["eps"])
        return b.subtract(param, b.divide(b.multiply(mean, rate), size)), mean, square

    return step


def _adam_numbers(group: Group, count: int) -> Sequence[float]:
    """The rate over the correction of the mean, 1 / root of that of the squares, what decay leaves."""
    beta1, beta2 = group["betas"]
    rate = float(group["lr"])
    return rate / (1 - beta1**count), 1 / math.sqrt(1 - beta2**count), 1 - rate * group["weight_decay"]


def _adam(decoupled: bool) -> Method:
    return Method(
        slots=lambda group: ("exp_avg", "exp_avg_sq"),
        numbers=_adam_numbers,
        refused=("amsgrad",),
        step=_adam_like(decoupled),
        counts=True,
    )


METHODS: dict[type, Method] = {
    torch.optim.SGD: Method(
        slots=lambda group: ("momentum_buffer",) if group["momentum"] else (),
        numbers=lambda group, count: (float(group["lr"]),),
        refused=("dampening",),
        step=_sgd,
    ),
    torch.optim.Adam: _adam(decoupled=False),
    torch.optim.AdamW: _adam(decoupled=True),
}


def find_method(optimizer: torch.optim.Optimizer) -> Method:
    """What an optimiser does.

    Raises: CannotTranslate for one, or for settings of one, that no program has.
    """
    method = METHODS.get(type(optimizer))
    if method is None:
        known = ", ".join(kind.__name__ for kind in METHODS)
        raise CannotTranslate(f"{type(optimizer).__name__} is none of the optimisers {known}")
    for group in optimizer.param_groups:
        asked = [name for name in (*method.refused, "differentiable", "capturable") if group.get(name)]
        asked += ["decoupled_weight_decay"] if _is_disguised(optimizer, group) else []
        if asked:
            raise CannotTranslate(f"{type(optimizer).__name__} with {', '.join(asked)}")
    return method


def _is_disguised(optimizer: torch.optim.Optimizer, group: Group) -> bool:
    """Whether an Adam decouples its decay: AdamW under another name."""
    return type(optimizer) is torch.optim.Adam and bool(group.get("decoupled_weight_decay"))
