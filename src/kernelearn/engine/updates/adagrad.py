"""Adagrad: w <- w - lr g / sqrt(sum of g^2 + eps).

Source: Duchi et al. (2011), https://www.jmlr.org/papers/v12/duchi11a.html.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, accumulator: T) -> tuple[T, ...]:
    accumulator = math.fma(grad, grad, accumulator)
    root = math.sqrt(accumulator + a["epsilon"])
    return param - c["rate"] * grad / root, accumulator


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    scale = 1 / np.asarray(np.sqrt(new["accumulator"] + a["epsilon"]), np.float64)
    return LinearStep(-rate * scale, scale=scale)


UPDATE = Update(slots=("accumulator",), attrs={"epsilon": 1e-7}, step=step, linear=linear)
