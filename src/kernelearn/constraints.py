"""Bounds that weights are moved back into after every update, in Keras's words; the engine computes.

Your own: subclass `Constraint` and define `__call__(w)`, which gives the projected weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config
from kernelearn._configurable import Configurable
from kernelearn._serializable import function_config, function_of, is_function_config
from kernelearn.engine.reference.constraints import CONSTRAINTS as ENGINE_CONSTRAINTS
from kernelearn.errors import ArgumentError
from kernelearn.registry import Registry

CONSTRAINTS = Registry("constraint")

Axes = int | Sequence[int]


class Constraint(Configurable):
    """Base of all constraints: `constraint(w)` gives weights of the same shape that keep the bounds.

    The base itself has no bounds and gives the weights back.

    Attributes:
        kind: the engine's name of the projection, "custom" for a class of your own.
    """

    kind: ClassVar[str] = "custom"

    def attrs(self) -> dict[str, Any]:
        """The attributes of the engine's projection, JSON-able: the arguments."""
        return self.get_config()

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        if type(self) is Constraint:
            return np.asarray(getattr(w, "value", w))
        if self.kind == "custom":
            raise NotImplementedError(f"{type(self).__name__} must define __call__(self, w).")
        weights = np.asarray(getattr(w, "value", w))
        weights = weights if weights.dtype.kind == "f" else weights.astype(config.floatx())
        return ENGINE_CONSTRAINTS[self.kind](weights, **self.attrs())


# What `get` takes: a name, a config, a class, an object or a function of the weights.
ConstraintLike = str | dict[str, Any] | type[Constraint] | Constraint | Callable[..., ArrayLike] | None


def _axes(axis: Any) -> int | list[int]:
    """An axis, or a list of axes."""
    if isinstance(axis, int | np.integer) and not isinstance(axis, bool):
        return int(axis)
    if isinstance(axis, Sequence) and axis and all(isinstance(a, int | np.integer) for a in axis):
        return [int(a) for a in axis]
    raise ArgumentError(f"axis must be an integer or a sequence of integers, got {axis!r}.")


@CONSTRAINTS.register("max_norm")
class MaxNorm(Constraint):
    """Vectors no longer than `max_value`.

    Args:
        axis: the axes that form one vector: 0 for a dense kernel (in, units), (0, 1, 2) for the filters of a
            2-D convolution (kh, kw, in, filters).
    """

    kind = "max_norm"

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        if not max_value >= 0:
            raise ArgumentError(f"max_value must not be negative, got {max_value!r}.")
        self.max_value = max_value
        self.axis = _axes(axis)


@CONSTRAINTS.register("non_neg")
class NonNeg(Constraint):
    """No negative weights."""

    kind = "non_neg"


@CONSTRAINTS.register("unit_norm")
class UnitNorm(Constraint):
    """Vectors of length one; `axis` as in `MaxNorm`."""

    kind = "unit_norm"

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = _axes(axis)


@CONSTRAINTS.register("min_max_norm")
class MinMaxNorm(Constraint):
    """Vectors of a length between `min_value` and `max_value`; `axis` as in `MaxNorm`.

    Args:
        rate: how far lengths are moved towards the interval at each update, 1 for all the way.
    """

    kind = "min_max_norm"

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0
    ) -> None:
        if not 0 <= min_value <= max_value:
            raise ArgumentError(
                f"min_value, max_value must be in order and not negative, got {min_value!r}, {max_value!r}."
            )
        if not 0 <= rate <= 1:
            raise ArgumentError(f"rate must be between 0 and 1, got {rate!r}.")
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = _axes(axis)


max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm


def get(identifier: Any) -> Any:
    """The constraint that a name, a config, a class or an object stands for; a function stays as it is."""
    if isinstance(identifier, Constraint):
        return identifier
    if is_function_config(identifier):
        return function_of(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Constraint):
        return identifier()
    return CONSTRAINTS.get(identifier, allow_callable=True)


def serialize(constraint: Constraint | None) -> dict[str, Any] | None:
    """The JSON config of a constraint; of a function its registered name."""
    if callable(constraint) and not isinstance(constraint, Constraint):
        return function_config(constraint, "A constraint")
    return CONSTRAINTS.serialize(constraint)


def deserialize(config: dict[str, Any]) -> Constraint:
    """The constraint of a config made by `serialize`."""
    constraint: Constraint = get(config)
    return constraint
