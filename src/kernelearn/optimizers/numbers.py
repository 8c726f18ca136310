"""The learning rate and the count of updates as Keras's code reads them: numbers that also answer `numpy()`.

`optimizer.learning_rate.numpy()`, `optimizer.learning_rate.assign(0.1)` and `optimizer.iterations.numpy()`
work, and so does every use of a plain number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

Setter = Callable[[Any], None]


class Rate(float):
    """A learning rate that can be assigned where it was read."""

    _assign: Setter

    def __new__(cls, value: float, assign: Setter) -> Self:
        made = super().__new__(cls, value)
        made._assign = assign
        return made

    def numpy(self) -> np.float64:
        """As a NumPy number."""
        return np.float64(self)

    def assign(self, value: Any) -> None:
        """Set the optimizer's learning rate."""
        self._assign(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)


class Count(int):
    """A number of updates that can be assigned where it was read."""

    _assign: Setter

    def __new__(cls, value: int, assign: Setter) -> Self:
        made = super().__new__(cls, value)
        made._assign = assign
        return made

    def numpy(self) -> np.int64:
        """As a NumPy number."""
        return np.int64(self)

    def assign(self, value: Any) -> None:
        """Set the optimizer's count."""
        self._assign(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)
