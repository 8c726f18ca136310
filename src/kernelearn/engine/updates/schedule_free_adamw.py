"""Schedule-free AdamW: Adam without momentum leads z; the weights lie between z and its running mean x.

    z <- z - lr g / (sqrt(v / (1 - b2^t)) + eps),  x <- (1 - 1/t) x + z / t,  w <- (1 - b1) z + b1 x

`lead` is z - w, which starts at zero; x is not kept, since w and z say where it is.

Source: Defazio et al. (2024), https://arxiv.org/abs/2405.15682, as Keras has it.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T, kept, towards
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def coefficients(math: Numbers[T], a: Attrs, rate: T) -> dict[str, T]:
    (second,) = math.powers((a["beta_2"],))
    share = 1.0 / math.count()
    warmed = rate * math.smaller(math.count() / max(a["warmup_steps"], 1), 1.0)
    return {
        "correction": 1.0 - second,
        "rate": warmed,
        "share": share,
        "moved": a["beta_1"] * share + (1 - a["beta_1"]),
        "behind": 1.0 - share,
        # What decoupled weight decay took from w brings z further ahead.
        "decayed": 1.0 / kept(a, rate) - 1.0,
    }


def step(math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, lead: T, v: T) -> tuple[T, ...]:
    v = towards(math, v, grad * grad, 1 - a["beta_2"])
    if a["weight_decay"]:
        lead = math.fma(param, c["decayed"], lead)
    move = c["rate"] * grad / (math.sqrt(v / c["correction"]) + a["epsilon"])
    ahead = (lead - move * a["beta_1"]) * c["behind"]
    return param + (lead * c["share"] - move * c["moved"]), ahead, v


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    c = coefficients(math, a, rate)
    warmed = c["rate"] / rate if rate else 1.0
    scale = warmed / np.asarray(np.sqrt(new["velocity"] / c["correction"]) + a["epsilon"], np.float64)
    return LinearStep(
        -rate * scale * c["moved"],
        c["share"],
        keep=c["behind"],
        take=-rate * scale * a["beta_1"] * c["behind"],
        decay=-c["share"] * a["weight_decay"] * rate,
        scale=scale,
        scales_history=False,
        slot="lead",
    )


UPDATE = Update(
    slots=("lead", "velocity"),
    attrs={"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "warmup_steps": 0},
    coefficients=coefficients,
    step=step,
    linear=linear,
)
