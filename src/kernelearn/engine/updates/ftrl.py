"""Follow the regularised leader: the weights that were best so far, with penalties l1 and l2.

    n' = n + g^2,  L <- L + g + 2 shrink w - (n'^p - n^p) / lr w
    w <- (clip(L, -l1, l1) - L) / (n'^p / lr + 2 l2)

with p the negative power of the learning rate, 1/2 by default, and beta / (2 lr) in l2 besides.

Source: McMahan et al. (2013), "Ad click prediction", https://research.google/pubs/pub41159, as Keras has it.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Coefficients, Entries, Numbers, T
from kernelearn.engine.updates.rule import LinearStep, Slots, Update


def coefficients(math: Numbers[T], a: Attrs, rate: T) -> dict[str, T]:
    ridge = 2.0 * a["l2_regularization_strength"] + a["beta"] / rate
    return {"inverse": 1.0 / rate, "ridge": ridge}


def step(
    math: Entries[T], a: Attrs, c: Coefficients, param: T, grad: T, accumulator: T, total: T
) -> tuple[T, ...]:
    power, new = -a["learning_rate_power"], math.fma(grad, grad, accumulator)
    raised = math.power(new, power)
    shift, quadratic = _shares(a, c, raised, math.power(accumulator, power))
    total = total + (grad - shift * param)
    l1 = a["l1_regularization_strength"]
    beyond = math.positive(math.absolute(total) - l1) * math.sign(total) if l1 else total
    return 0.0 - beyond / quadratic, new, total


def _shares(a: Attrs, c: Coefficients, raised: T, before: T) -> tuple[T, T]:
    """What takes the weight's share from the sum, and the denominator."""
    shift = (raised - before) * c["inverse"] - 2 * a["l2_shrinkage_regularization_strength"]
    return shift, raised * c["inverse"] + c["ridge"]


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    """The weight is -share * L / quadratic, with the share of L that l1 left."""
    raised, before = (
        np.asarray(slots["accumulator"], np.float64) ** -a["learning_rate_power"] for slots in (new, old)
    )
    shift, quadratic = _shares(a, coefficients(math, a, rate), raised, before)
    total = np.asarray(new["linear"], np.float64)
    left = np.maximum(np.abs(total) - a["l1_regularization_strength"], 0)
    unit = -np.divide(left, np.abs(total) * quadratic, out=np.zeros_like(total), where=total != 0)
    k = 1 - a["weight_decay"] * rate
    decay = 1 + unit * shift * k - (1 - k)
    return LinearStep(unit, unit, 1.0, 1.0, decay=decay, scale=-unit / rate if rate else 1.0, slot="linear")


UPDATE = Update(
    slots=("accumulator", "linear"),
    attrs={
        "learning_rate_power": -0.5,
        "l1_regularization_strength": 0.0,
        "l2_regularization_strength": 0.0,
        "l2_shrinkage_regularization_strength": 0.0,
        "beta": 0.0,
    },
    coefficients=coefficients,
    step=step,
    linear=linear,
    is_followed=False,
)
