"""LAMB: Adam's step u, made as long as the weights are: w <- w - lr |w| / |u| u.

The norms are of the whole weight; the factor is 1 where one of them is zero.

Source: You et al. (2019), https://arxiv.org/abs/1904.00962, as Keras has it.
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
    first, second = bias_corrections(math, a)
    return {"first": first, "second": second}


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, m: T, v: T) -> tuple[T, ...]:
    m = towards(math, m, grad, 1 - a["beta_1"])
    v = towards(math, v, grad * grad, 1 - a["beta_2"])
    return m / c["first"] / (math.sqrt(v / c["second"]) + a["epsilon"]), m, v


def factor(math: Numbers[T], a: Attrs, rate: T, param: T, direction: T) -> T:
    length: T = rate * math.ratio(math.sqrt(param), math.sqrt(direction))
    return length


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    first, second = bias_corrections(math, a)
    root = np.asarray(np.sqrt(new["velocity"] / second) + a["epsilon"], np.float64)
    return moving_mean(rate, (math.factor / rate if rate else 1.0) / first / root, a["beta_1"])


UPDATE = Update(
    slots=("momentum", "velocity"),
    attrs={"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    coefficients=coefficients,
    step=step,
    linear=linear,
    factor=factor,
    is_followed=False,
)
