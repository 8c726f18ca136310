"""Muon: the momentum of a matrix, made orthogonal: w <- w - lr rms_rate sqrt(max(rows, columns)) O(g).

O brings all singular values near 1 by Newton and Schulz: x <- a x + (b x x' + c (x x')^2) x, a few times.

Source: Jordan et al. (2024), https://kellerjordan.github.io/posts/muon, as Keras has it.
"""

from math import sqrt

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Numbers
from kernelearn.engine.updates.rule import LinearStep, Slots, Update, Whole


def _orthogonal(x: Array, a: Attrs) -> Array:
    rows, columns = x.shape
    x = x.T if rows > columns else x
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(a["ns_steps"]):
        product = x @ x.T
        x = a["muon_a"] * x + (a["muon_b"] * product + a["muon_c"] * (product @ product)) @ x
    return np.asarray(x.T if rows > columns else x)


def _shares(a: Attrs) -> tuple[float, float]:
    """What the new gradient and the old momentum are multiplied by, before they are made orthogonal."""
    m = a["momentum"]
    return (1 + m, m * m) if a["nesterov"] else (1.0, m)


def whole(a: Attrs, rate: float, step: int, param: Array, grad: Array, slots: tuple[Array, ...]) -> Whole:
    (old,) = slots
    of_grad, of_old = _shares(a)
    factor = rate if a["rms_rate"] is None else rate * sqrt(max(param.shape)) * a["rms_rate"]
    update = _orthogonal(of_grad * grad + of_old * old, a).astype(param.dtype, copy=False)
    return Whole(param - factor * update, (grad + a["momentum"] * old,), factor)


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    """The orthogonal matrix is shared out, entry by entry, as what it was made of: see Lion, whose sign
    forgets sizes, too."""
    of_grad, of_old = _shares(a)
    mixed = of_grad * grad + of_old * old["momentum"]
    update, whole_ = np.asarray(_orthogonal(mixed, a), np.float64), mixed.astype(np.float64)
    share = np.divide(update, whole_, out=np.zeros_like(whole_), where=whole_ != 0)
    unit = -math.factor * share
    return LinearStep(
        unit * of_grad,
        unit * of_old,
        keep=a["momentum"],
        take=1.0,
        scale=math.factor / rate * share if rate else 1.0,
        slot="momentum",
    )


UPDATE = Update(
    slots=("momentum",),
    attrs={
        "momentum": 0.95,
        "nesterov": True,
        "ns_steps": 5,
        "rms_rate": 0.2,
        "muon_a": 3.4445,
        "muon_b": -4.775,
        "muon_c": 2.0315,
    },
    linear=linear,
    whole=whole,
    is_followed=False,
)
