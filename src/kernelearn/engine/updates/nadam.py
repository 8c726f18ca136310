"""Nadam: Adam with Nesterov momentum, whose schedule is mu_t = b1 (1 - 0.96^t / 2).

`u_product` is the product of mu_1 to mu_t, one number for the whole parameter.

Source: Dozat (2015), https://cs229.stanford.edu/proj2015/054_report.pdf.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T, towards
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def _momentum(beta_1: float, power: T) -> T:
    """mu of a step, from 0.96 to the power of its number."""
    momentum: T = beta_1 * (1.0 - 0.5 * power)
    return momentum


def coefficients(math: Numbers[T], a: Attrs, rate: T) -> dict[str, T]:
    power, second = math.powers((0.96, a["beta_2"]))
    (next_power,) = math.powers((0.96,), 1)
    now, following = _momentum(a["beta_1"], power), _momentum(a["beta_1"], next_power)
    product = math.number("u_product") * now
    beyond = 1.0 - product * following
    return {
        "along_m": following / beyond,
        "along_grad": (1.0 - now) / (1.0 - product),
        "correction": 1.0 - second,
        "rate": rate,
        "u_product": product,
    }


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, m: T, v: T) -> tuple[T, ...]:
    m = towards(math, m, grad, 1 - a["beta_1"])
    v = towards(math, v, grad * grad, 1 - a["beta_2"])
    m_hat = math.fma(m, c["along_m"], grad * c["along_grad"])
    root = math.sqrt(v / c["correction"])
    move = m_hat * c["rate"] / (root + a["epsilon"])
    return param - move, m, v


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    beta_1 = a["beta_1"]
    c = coefficients(math, a, rate)
    scale = 1 / np.asarray(np.sqrt(new["velocity"] / c["correction"]) + a["epsilon"], np.float64)
    return LinearStep(
        -rate * scale * ((1 - beta_1) * c["along_m"] + c["along_grad"]),
        -rate * scale * beta_1 * c["along_m"],
        keep=beta_1,
        take=1 - beta_1,
        scale=scale,
        slot="momentum",
    )


UPDATE = Update(
    slots=("momentum", "velocity", "u_product"),
    attrs={"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    coefficients=coefficients,
    step=step,
    linear=linear,
    numbers=("u_product",),
    coefficient_names=("along_m", "along_grad", "correction", "rate"),
)
