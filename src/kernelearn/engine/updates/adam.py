"""Adam: w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps), m and v the moving means of g and g^2.

Source: Kingma and Ba (2014), https://arxiv.org/abs/1412.6980, the form before section 2.1, where epsilon is
"epsilon hat"; amsgrad, which divides by the largest v so far: Reddi et al. (2018).
"""

from math import sqrt

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
    return {"alpha": rate * math.sqrt(second) / first}


def step(
    math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, m: T, v: T, *v_hat: T
) -> tuple[T, ...]:
    m = towards(math, m, grad, 1 - a["beta_1"])
    v = towards(math, v, grad * grad, 1 - a["beta_2"])
    largest = (math.maximum(v_hat[0], v),) if a["amsgrad"] else ()
    root = math.sqrt(largest[0] if largest else v) + a["epsilon"]
    return (param - m * c["alpha"] / root, m, v, *largest)


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    first, second = bias_corrections(math, a)
    root = np.sqrt(new["velocity_hat" if a["amsgrad"] else "velocity"]) + a["epsilon"]
    return moving_mean(rate, sqrt(second) / first / np.asarray(root, np.float64), a["beta_1"])


UPDATE = Update(
    slots=("momentum", "velocity", "velocity_hat"),
    attrs={"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    coefficients=coefficients,
    step=step,
    linear=linear,
    optional={"velocity_hat": "amsgrad"},
)
