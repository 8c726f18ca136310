"""One step of every optimiser on arrays of NumPy; gradient accumulation, averages of weights, and clipping.

    one_step(kind, param, grad, *slots, learning_rate, step, **attrs) -> (new_param, *new_slots)

The formulas are those of `engine.updates`. Arrays keep the dtype of the parameter; the coefficients are
float64 numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import Any, SupportsFloat

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.updates import UPDATES
from kernelearn.engine.updates.arithmetic import kept

Arrays = tuple[Array, ...]


class ArrayEntries:
    """`updates.arithmetic.Entries` of arrays."""

    def sqrt(self, x: Array, /) -> Array:
        return np.sqrt(x)

    def absolute(self, x: Array, /) -> Array:
        return np.abs(x)

    def sign(self, x: Array, /) -> Array:
        return np.sign(x)

    def maximum(self, a: Array, b: Array, /) -> Array:
        return np.maximum(a, b)

    def positive(self, x: Array, /) -> Array:
        return np.maximum(x, 0)

    def fma(self, a: Array | float, b: Array | float, c: Array, /) -> Array:
        return a * b + c

    def power(self, x: Array, exponent: float, /) -> Array:
        return np.asarray(x**exponent)


@dataclass(frozen=True)
class FloatNumbers:
    """`updates.arithmetic.Numbers` of Python's floats.

    Attributes:
        step: number of the update, from 1.
        numbers: the slots that are a single number.
        factor: what the direction was multiplied by.
    """

    step: int
    numbers: Mapping[str, SupportsFloat]
    factor: float = 1.0

    def sqrt(self, x: float, /) -> float:
        return math.sqrt(x)

    def powers(self, bases: Sequence[float], later: int = 0, /) -> list[float]:
        return [base ** (self.step + later) for base in bases]

    def number(self, slot: str, /) -> float:
        return float(self.numbers[slot])

    def count(self) -> float:
        return float(self.step)

    def smaller(self, a: float, b: float, /) -> float:
        return min(a, b)

    def ratio(self, a: float, b: float, /) -> float:
        return a / b if a > 0 and b > 0 else 1.0


def one_step(
    kind: str, param: Array, grad: Array, *slots: Array, learning_rate: float, step: int, **attrs: Any
) -> Arrays:
    """The parameter and its slots after an update.

    Args:
        kind: of `UPDATES`.
        slots: those that it has with these attributes.
        step: number of this update, from 1.
        attrs: all attributes but the multiplier, which the learning rate holds already.
    """
    begun = _begin(kind, param, grad, slots, float(learning_rate), int(step), attrs)
    first = begun.first
    if UPDATES[kind].whole is None and begun.factor is not None:
        first = begun.param - begun.factor * first
    return (first, *begun.slots)


def length_factor(
    kind: str, param: Array, grad: Array, *slots: Array, learning_rate: float, step: int, **attrs: Any
) -> float:
    """What the direction of an update is multiplied by; 1 for one without such a factor."""
    factor = _begin(kind, param, grad, slots, float(learning_rate), int(step), attrs).factor
    return 1.0 if factor is None else factor


@dataclass(frozen=True)
class _Begun:
    """A step up to what `Update.step` gives, and the factor that is to follow, if any."""

    param: Array
    first: Array
    slots: Arrays
    factor: float | None


def _begin(
    kind: str, param: Array, grad: Array, slots: Arrays, rate: float, step: int, attrs: Mapping[str, Any]
) -> _Begun:
    # NOTE: a NumPy float64 scalar as the rate would turn float32 parameters into float64.
    update = UPDATES[kind]
    if update.whole is not None:
        param = param * float(kept(attrs, rate)) if attrs["weight_decay"] else param
        done = update.whole(attrs, rate, step, param, grad, slots)
        kinds = (np.asarray(new, old.dtype) for new, old in zip(done.slots, slots))
        return _Begun(param, done.param, tuple(kinds), done.factor)
    split = len(slots) - len(update.numbers)
    numbers = dict(zip(update.numbers, slots[split:]))
    math_of_step = FloatNumbers(step, numbers)
    c = update.coefficients(math_of_step, attrs, rate)
    if attrs["weight_decay"]:
        param = param * float(kept(attrs, rate))
    first, *others = update.step(ArrayEntries(), attrs, c, param, grad, *slots[:split])
    counted = (np.asarray(c[name], old.dtype) for name, old in numbers.items())
    squares = (float(np.sum(np.square(a, dtype=np.float64))) for a in (param, first))
    factor = None if update.factor is None else float(update.factor(math_of_step, attrs, rate, *squares))
    return _Begun(param, first, (*others, *counted), factor)


# --- before and after the step


def accumulate(total: Array, grad: Array, step: Array, *, every: int) -> Array:
    """The sum of the gradients since the last update; their mean in the step that updates, each `every`th.

    Args:
        step: number of this step, from 1.
    """
    place = int(step) % every
    whole = grad if place == 1 else total + grad
    return whole / every if place == 0 else whole


def add_share(total: Array, value: Array, share: Array, keeps: Array) -> Array:
    """total + share * value; share * value alone unless what is there is kept."""
    return (total if keeps else np.zeros_like(total)) + value * share


def updates_before(step: int, every: int) -> int:
    """How many updates there were before a step."""
    return (step - 1) // every


def average_weight(average: Array, param: Array, step: Array, *, momentum: float, every: int) -> Array:
    """momentum * average + (1 - momentum) * param; the parameter itself up to the first update."""
    share = momentum if updates_before(int(step), every) else 0.0
    return share * average + (1 - share) * param


def overwrite_weight(param: Array, average: Array, step: Array, *, frequency: int, every: int) -> Array:
    """The average in the steps of each `frequency`th update, else the parameter."""
    return param if (updates_before(int(step), every) + 1) % frequency else average


# --- gradient clipping


def clip_by_value(grad: Array, limit: float) -> Array:
    """Every entry moved into [-limit, limit]."""
    return np.clip(grad, -limit, limit)


def _shrink_factor(norm: float, limit: float) -> float:
    """What a gradient of this norm is multiplied by; NaN if the norm is not finite, so that it is seen."""
    return limit / max(norm, limit) if isfinite(norm) else nan


def clip_by_norm(grad: Array, limit: float) -> Array:
    """The gradient of one variable scaled so that its Euclidean norm is at most `limit`."""
    return grad * _shrink_factor(global_norm([grad]), limit)


def global_norm(grads: list[Array]) -> float:
    """Euclidean norm of all gradients taken as one vector, summed in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(np.sum(np.square(g, dtype=np.float64))) for g in grads)
    return sqrt(squares) if isfinite(squares) else inf


def clip_by_global_norm(grad: Array, norm: float, limit: float) -> Array:
    """One gradient scaled by the factor that brings the norm of all of them, `norm`, down to `limit`."""
    return grad * _shrink_factor(float(norm), limit)
