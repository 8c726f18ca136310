"""Checks of estimator parameters, made in `fit` as scikit-learn expects."""

from collections.abc import Iterable
from numbers import Real
from typing import Any

from kernelearn.errors import ArgumentError


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ArgumentError unless value is one of choices."""
    choices = tuple(choices)
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")


def check_positive(name: str, value: Any) -> None:
    """Raise ArgumentError unless value is a number > 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0:
        raise ArgumentError(f"{name} must be a number > 0, got {value!r}.")


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ArgumentError unless low < value < high."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        raise ArgumentError(
            f"{name} must be a number between {low:g} and {high:g}, exclusive, got {value!r}."
        )
