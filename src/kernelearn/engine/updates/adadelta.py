"""Adadelta: steps scaled by the ratio of root mean squares of past steps and gradients.

Source: Zeiler (2012), https://arxiv.org/abs/1212.5701, algorithm 1.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T, mix
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def step(
    math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, grad_square: T, move_square: T
) -> tuple[T, ...]:
    grad_square = mix(math, grad_square, grad * grad, a["rho"])
    past = math.sqrt(move_square + a["epsilon"])
    # The size of a step, downhill: its sign comes in where it is used.
    move = past * grad / math.sqrt(grad_square + a["epsilon"])
    move_square = mix(math, move_square, move * move, a["rho"])
    return param - c["rate"] * move, grad_square, move_square


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    epsilon = a["epsilon"]
    moves = np.asarray(np.sqrt(old["accumulated_delta_var"] + epsilon), np.float64)
    scale = moves / np.asarray(np.sqrt(new["accumulated_grad"] + epsilon), np.float64)
    return LinearStep(-rate * scale, scale=scale)


UPDATE = Update(
    slots=("accumulated_grad", "accumulated_delta_var"),
    attrs={"rho": 0.95, "epsilon": 1e-7},
    step=step,
    linear=linear,
)
