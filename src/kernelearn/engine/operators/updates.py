"""Operators of the update phase: optimisers, gradient clipping, accumulation, averages, constraints.

Every optimiser takes (param, grad, learning_rate, step, *slots) and overwrites (param, *slots). `multiplier`
scales the learning rate of one layer. `every` is the number of steps whose gradients are accumulated for one
update: step k is the update k / every, and nothing where that is no whole number.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.operators.table import Spec, operator, required, same_as_first
from kernelearn.engine.reference.constraints import CONSTRAINTS
from kernelearn.engine.reference.optimizers import (
    accumulate,
    add_share,
    average_weight,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
    one_step,
    overwrite_weight,
)
from kernelearn.engine.updates import UPDATES


def _optimizer(kind: str) -> Callable[..., tuple[Array, ...]]:
    def run(
        param: Array,
        grad: Array,
        learning_rate: Array,
        step: Array,
        *slots: Array,
        multiplier: float,
        every: int,
        **attrs: Any,
    ) -> tuple[Array, ...]:
        number, rest = divmod(int(step), every)
        if rest:
            return (param, *slots)
        rate = float(learning_rate) * multiplier
        return one_step(kind, param, grad, *slots, learning_rate=rate, step=number, **attrs)

    return run


def _slot_shapes(
    param: Spec, grad: Spec, rate: Spec, step: Spec, *slots: Spec, **attrs: Any
) -> tuple[Spec, ...]:
    return (param, *slots)


def constrain(weight: Array, *, kind: str, custom: Any = None, **attrs: Any) -> Array:
    """Project a weight onto what its constraint allows; `custom` is a function of the weight."""
    return np.asarray(custom(weight), weight.dtype) if custom else CONSTRAINTS[kind](weight, **attrs)


_ALWAYS = {"weight_decay": 0.0, "multiplier": 1.0, "every": 1}
_CONSTRAINTS = {"custom": required("custom"), **{kind: rule.attrs for kind, rule in CONSTRAINTS.items()}}

for _name, _update in UPDATES.items():
    operator(_name, _slot_shapes, _optimizer(_name), attrs={**_update.attrs, **_ALWAYS})
operator("accumulate", same_as_first, accumulate, attrs=required("every"))
operator("add_share", same_as_first, add_share)
operator("average_weight", same_as_first, average_weight, attrs={**required("momentum"), "every": 1})
operator("overwrite_weight", same_as_first, overwrite_weight, attrs={**required("frequency"), "every": 1})
operator("assign", same_as_first, lambda value: value)
operator("constrain", same_as_first, constrain, attrs=required("kind"), kinds=_CONSTRAINTS)
operator("clip_by_value", same_as_first, clip_by_value, attrs=required("limit"))
operator("clip_by_norm", same_as_first, clip_by_norm, attrs=required("limit"))
operator(
    "global_norm", lambda *grads: (Spec((), "float64"),), lambda *grads: np.float64(global_norm(list(grads)))
)
operator("clip_by_global_norm", same_as_first, clip_by_global_norm, attrs=required("limit"))
