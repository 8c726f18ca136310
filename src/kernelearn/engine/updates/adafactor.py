"""Adafactor: the squares of the gradients of a matrix remembered as one number for each row and column.

    R <- b R + (1 - b) mean over columns of g^2,  C <- b C + (1 - b) mean over rows,  V = R C / mean(R)
    u = g / sqrt(V),  w <- w - max(eps2, rms(w)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / clip)

with b = 1 - t^decay.

Source: Shazeer and Stern (2018), https://arxiv.org/abs/1804.04235, algorithms 4 and 5, as Keras has them.
"""

from math import sqrt

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates.arithmetic import Attrs, Numbers
from kernelearn.engine.updates.rule import LinearStep, Slots, Update, Whole


def _rms(x: Array) -> float:
    return sqrt(float(np.mean(np.square(x, dtype=np.float64))))


def _root(row: Array, column: Array, velocity: Array, rank: int) -> Array:
    """The roots of V that divide."""
    if rank < 2:
        return np.asarray(np.sqrt(velocity))
    # NOTE: V itself is too small for float32 where a row and a column are dead.
    rows = np.sqrt(row / row.mean(-1, keepdims=True))
    return np.asarray(rows[..., None] * np.sqrt(column)[..., None, :])


def whole(a: Attrs, rate: float, step: int, param: Array, grad: Array, slots: tuple[Array, ...]) -> Whole:
    row, column, velocity = slots
    kept = 1.0 - step ** a["beta_2_decay"]
    squares = grad * grad + param.dtype.type(a["epsilon_1"])
    if param.ndim >= 2:
        row = kept * row + (1 - kept) * squares.mean(-1)
        column = kept * column + (1 - kept) * squares.mean(-2)
    else:
        velocity = kept * velocity + (1 - kept) * squares
    direction = grad / _root(row, column, velocity, param.ndim)
    length = max(a["epsilon_2"], _rms(param)) * min(rate, 1 / sqrt(step))
    factor = length / max(1.0, _rms(direction) / a["clip_threshold"])
    return Whole(param - factor * direction, (row, column, velocity), factor)


def linear(math: Numbers[float], a: Attrs, rate: float, grad: Array, old: Slots, new: Slots) -> LinearStep:
    rows, columns, velocity = (np.asarray(new[name], np.float64) for name in ("row", "column", "velocity"))
    unit = math.factor / _root(rows, columns, velocity, grad.ndim)
    return LinearStep(-unit, scale=unit / rate if rate else 1.0)


UPDATE = Update(
    slots=("row", "column", "velocity"),
    attrs={"beta_2_decay": -0.8, "epsilon_1": 1e-30, "epsilon_2": 1e-3, "clip_threshold": 1.0},
    linear=linear,
    whole=whole,
    is_followed=False,
)
