"""Adamax: w <- w - lr m / ((1 - b1^t) (u + eps)), m the moving mean of g, u the decayed maximum of |g|.

Source: Kingma and Ba (2014), https://arxiv.org/abs/1412.6980, algorithm 2.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import (
    Attrs,
    Coefficients,
    Entries,
    Numbers,
    T,
    bias_corrections,
    towards,
)
from kernelearn.engine.updates.rule import LinearStep, Slots, Update, moving_mean


def coefficients(math: Numbers[T], a: Attrs, rate: T) -> dict[str, T]:
    first, _ = bias_corrections(math, a)
    return {"rate": rate, "correction": first}


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, m: T, u: T) -> tuple[T, ...]:
    m = towards(math, m, grad, 1 - a["beta_1"])
    u = math.maximum(a["beta_2"] * u, math.absolute(grad))
    divisor = c["correction"] * (u + a["epsilon"])
    return param - c["rate"] * m / divisor, m, u


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    first, _ = bias_corrections(math, a)
    scale = 1 / (first * np.asarray(new["norm"] + a["epsilon"], np.float64))
    return moving_mean(rate, scale, a["beta_1"])


UPDATE = Update(
    slots=("momentum", "norm"),
    attrs={"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    coefficients=coefficients,
    step=step,
    linear=linear,
)
