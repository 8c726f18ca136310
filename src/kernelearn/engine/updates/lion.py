"""Lion: w <- w - lr sign(b1 m + (1 - b1) g), then m <- b2 m + (1 - b2) g.

Source: Chen et al. (2023), https://arxiv.org/abs/2302.06675, algorithm 2.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T, mix
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, m: T) -> tuple[T, ...]:
    mixed = m * a["beta_1"] + grad * (1 - a["beta_1"])
    move = c["rate"] * math.sign(mixed)
    return param - move, mix(math, m, grad, a["beta_2"])


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    """sign(z) = z / |z| with z = b1 m + (1 - b1) g: the step is shared out as z is. A sign forgets sizes, so
    the shares say who decided it; parts of opposite sign can each be far larger than the step."""
    beta_1, beta_2 = a["beta_1"], a["beta_2"]
    m = old["momentum"]
    sign = np.sign(m * beta_1 + grad * (1 - beta_1))
    z = m.astype(np.float64) * beta_1 + grad.astype(np.float64) * (1 - beta_1)
    scale = np.divide(sign, z, out=np.zeros_like(z), where=z != 0)
    unit = -rate * scale
    return LinearStep(
        unit * (1 - beta_1), unit * beta_1, keep=beta_2, take=1 - beta_2, scale=scale, slot="momentum"
    )


UPDATE = Update(slots=("momentum",), attrs={"beta_1": 0.9, "beta_2": 0.99}, step=step, linear=linear)
