"""A number or array that a metric of the user's own keeps: `self.total = self.add_variable(...)`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernelearn.engine.variable import Variable
from kernelearn.tracing import Operators


class MetricVariable(Operators, Variable):
    """A variable with Python's operators; metrics compute with numbers, so it is one wherever one is wanted.

    Attributes:
        first: what `reset_state` goes back to.
    """

    called = "a metric's variable"

    def __init__(self, value: NDArray[Any], name: str) -> None:
        super().__init__(value, name, trainable=False)
        self.first = np.array(value)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._value.ndim

    def numpy(self) -> NDArray[Any]:
        """A copy of the current array, as in Keras."""
        return self._value.copy()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self._value.copy() if dtype is None else self._value.astype(dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [part.numpy() if isinstance(part, MetricVariable) else part for part in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __array_function__(self, called: Any, types: Any, args: Any, options: Any) -> Any:
        plain = [part.numpy() if isinstance(part, MetricVariable) else part for part in args]
        return called(*plain, **options)

    def __bool__(self) -> Any:
        return bool(self._value)

    def __float__(self) -> Any:
        return float(self._value)

    def __int__(self) -> Any:
        return int(self._value)
