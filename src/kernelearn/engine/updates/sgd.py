"""Gradient descent: v <- momentum v - lr g, w <- w + v; with nesterov w <- w + momentum v - lr g.

Source: Sutskever et al. (2013), http://proceedings.mlr.press/v28/sutskever13.html, equations 3 and 4.
"""

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, *slots: T) -> tuple[T, ...]:
    descent = grad * c["rate"]
    momentum = a["momentum"]
    if not momentum:
        return (param - descent, *slots)
    velocity = slots[0] * momentum - descent
    move = velocity * momentum - descent if a["nesterov"] else velocity
    return param + move, velocity


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
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


UPDATE = Update(
    slots=("momentum",),
    attrs={"momentum": 0.0, "nesterov": False},
    step=step,
    linear=linear,
    optional={"momentum": "momentum"},
)
