"""RMSprop: w <- w - lr g / sqrt(v + eps), v the moving mean of g^2; centred: less the square of g's mean.

Source: Hinton, Neural Networks for Machine Learning, lecture 6e; centred: Graves (2013), arXiv:1308.0850.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T, mix
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def step(
    math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, velocity: T, *slots: T
) -> tuple[T, ...]:
    rho = a["rho"]
    velocity = mix(math, velocity, grad * grad, rho)
    denominator = velocity
    new_slots: list[T] = []
    if a["centered"]:
        average = mix(math, slots[-1], grad, rho)
        # The variance cannot be negative; rounding can make it so and its root NaN.
        denominator = math.positive(velocity - average * average)
        new_slots = [average]
    root = math.sqrt(denominator + a["epsilon"])
    move = c["rate"] * grad / root
    if a["momentum"]:
        move = math.fma(a["momentum"], slots[0], move)
        new_slots.insert(0, move)
    return (param - move, velocity, *new_slots)


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    square = new["velocity"]
    if a["centered"]:
        square = np.maximum(square - new["average_gradient"] * new["average_gradient"], 0)
    scale = 1 / np.asarray(np.sqrt(square + a["epsilon"]), np.float64)
    mu = float(a["momentum"])
    if not mu:
        return LinearStep(-rate * scale, scale=scale)
    # The slot holds the last move with the sign turned: W <- W - (mu h + rate scale g).
    return LinearStep(
        -rate * scale, -mu, mu, rate * scale, scale=scale, scales_history=False, slot="momentum"
    )


UPDATE = Update(
    slots=("velocity", "momentum", "average_gradient"),
    attrs={"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    step=step,
    linear=linear,
    optional={"momentum": "momentum", "average_gradient": "centered"},
)
