"""A weight of a layer: a variable with what applies to it besides the gradient, and with Python's operators.

Outside of tracing it is an array; while code is traced it stands for its buffer in the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from kernelearn.engine.variable import Variable
from kernelearn.errors import ShapeError
from kernelearn.tracing import Operators, Traced, active, current, lifted

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer


class Weight(Operators, Variable):
    """A layer's variable.

    Attributes:
        regularizer: penalty added to the loss, or None.
        constraint: projection applied after every update, or None.
        role: "parameter", or "state" for moving statistics.
        owner: the layer that made it; None for one that stands alone.
        has_own_name: whether it was given a name; else it takes that of the attribute which keeps it.
    """

    called = "a weight"

    def __init__(
        self,
        value: NDArray[Any],
        name: str,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        super().__init__(value, name, trainable)
        self.regularizer = regularizer
        self.constraint = constraint
        self.role = "parameter" if trainable else "state"
        self.owner: Layer | None = None
        self.has_own_name = True

    def take_name(self, name: str) -> None:
        """Be called as the attribute that keeps it."""
        self.path = f"{self.path.removesuffix(self.name)}{name}"
        self.name, self.has_own_name = name, True

    @property
    def value(self) -> Any:
        """The current array, read-only (to write, use `assign`); while code is traced, its value there."""
        graph = current()
        return self._seen() if graph is None else lifted(graph, self)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._value.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._value.size

    def numpy(self) -> NDArray[Any]:
        """A copy of the current array, as in Keras.

        Raises: TracingError while code is traced.
        """
        return self.__array__()

    def assign(self, value: ArrayLike | Traced) -> None:
        """Replace the contents; in code that is traced, at the end of every step. Reads behind it see the new
        value at once.

        Raises: ShapeError if the shape differs.
        """
        graph = current()
        if graph is None:
            super().assign(np.asarray(value))
            return
        new = lifted(graph, value, self.dtype)
        if new.shape != self.shape:
            raise ShapeError(
                f"Weight {self.path!r} has shape {self.shape}; got a value of shape {new.shape}."
            )
        lifted(graph, self)  # its buffer, named after its layer
        graph.assign(self, new.buffer if new.dtype == self.dtype else new.astype(self.dtype).buffer)

    def assign_add(self, value: ArrayLike | Traced) -> None:
        """Add to the contents; see `assign`."""
        self.assign(self + value)

    def assign_sub(self, value: ArrayLike | Traced) -> None:
        """Subtract from the contents; see `assign`."""
        self.assign(self - value)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if active():
            Operators.__array__(self)
        return self._value.copy() if dtype is None else self._value.astype(dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if active():
            return super().__array_ufunc__(ufunc, method, *inputs, **options)
        return getattr(ufunc, method)(*map(_as_array, inputs), **options)

    def __array_function__(self, called: Any, types: Any, args: Any, options: Any) -> Any:
        if active():
            super().__array_function__(called, types, args, options)
        return called(*_as_array(args), **_as_array(options))

    def __bool__(self) -> bool:
        return bool(self._value) if not active() else super().__bool__()

    def __float__(self) -> float:
        return float(self._value) if not active() else super().__float__()

    def __int__(self) -> int:
        return int(self._value) if not active() else super().__int__()

    def __index__(self) -> int:
        return self._value.__index__() if not active() else super().__index__()

    def __len__(self) -> int:
        return len(self._value)

    def _shown(self) -> str:
        return f"the weight {self.path!r} of shape {self.shape}"


def _as_array(value: Any) -> Any:
    """Weights as arrays, in lists, tuples and dicts too."""
    if isinstance(value, Variable):
        return np.asarray(value)
    if isinstance(value, list | tuple):
        return type(value)(_as_array(part) for part in value)
    return {key: _as_array(part) for key, part in value.items()} if isinstance(value, dict) else value
