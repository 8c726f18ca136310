"""Constraints on the parameters of estimators as data; `fit` checks them, as scikit-learn expects."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Protocol

import numpy as np

from kernelearn.errors import ArgumentError


class Constraint(Protocol):
    """What a parameter must be."""

    @property
    def wanted(self) -> str:
        """The words behind "must be"."""
        ...

    def allows(self, value: object) -> bool:
        """Whether the value is one of those."""
        ...


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[object, ...]

    @property
    def wanted(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"

    def allows(self, value: object) -> bool:
        return (value is None or isinstance(value, str | bool)) and value in self.values


@dataclass(frozen=True)
class Number:
    """A finite number strictly between two limits; `low` itself is allowed with `closed`."""

    low: float
    high: float = np.inf
    closed: bool = False

    @property
    def wanted(self) -> str:
        if np.isinf(self.high):
            return f"a number {'>=' if self.closed else '>'} {self.low:g}"
        return f"a number between {self.low:g} and {self.high:g}, exclusive"

    def allows(self, value: object) -> bool:
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real) or not np.isfinite(float(value)):
            return False
        return self.low < float(value) < self.high or (self.closed and float(value) == self.low)


@dataclass(frozen=True)
class Whole:
    """An integer of at least `low`."""

    low: int

    @property
    def wanted(self) -> str:
        return f"an integer >= {self.low}"

    def allows(self, value: object) -> bool:
        return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= self.low


@dataclass(frozen=True)
class OrNone:
    """None, or what another constraint allows."""

    other: Constraint

    @property
    def wanted(self) -> str:
        return f"None or {self.other.wanted}"

    def allows(self, value: object) -> bool:
        return value is None or self.other.allows(value)


POSITIVE = Number(0.0)
SHARE = Number(0.0, 1.0)
# What every iterative solver here is told.
SOLVER_LIMITS: dict[str, Constraint] = {
    "tol": POSITIVE,
    "max_iter": Whole(1),
    "verbose": Number(0.0, closed=True),
}


def check_parameters(estimator: object, constraints: Mapping[str, Constraint]) -> None:
    """Raise ArgumentError for the first parameter of the estimator that breaks its constraint."""
    for name, constraint in constraints.items():
        value = getattr(estimator, name)
        if not constraint.allows(value):
            raise ArgumentError(f"{name} must be {constraint.wanted}, got {value!r}.")
