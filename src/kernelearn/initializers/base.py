"""What all initialisers share: shape in, array out; and those that draw nothing at random."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config
from kernelearn._configurable import Configurable
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.registry import Registry

INITIALIZERS = Registry("initializer")


class Initializer(Configurable):
    """Base of all initialisers. A subclass keeps its arguments as attributes and defines `values`."""

    def __call__(self, shape: Any, dtype: Any = None) -> NDArray[Any]:
        """A new array of first values.

        Args:
            shape: of the variable; kernels are (*kernel_size, in // groups, filters).
            dtype: float type, by default `kernelearn.config.floatx()`.
        Raises: ShapeError or ArgumentError if the initialiser is not defined for this shape.
        """
        shape = tuple(int(size) for size in shape)
        return np.array(self.values(shape), dtype=dtype or config.floatx())

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The values as a float64 (or any) array of this shape; `__call__` converts them."""
        raise NotImplementedError(f"{type(self).__name__} must define values(self, shape).")


# What `initializers.get` takes: a name, a config, a class, an object, an array or a function.
InitializerLike = (
    str | dict[str, Any] | type[Initializer] | Initializer | NDArray[Any] | Callable[..., ArrayLike] | None
)


def compute_fans(
    shape: tuple[int, ...], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Inputs and outputs of one unit, (fan_in, fan_out), of a kernel of this shape, as Keras counts them.

    The product of the kernel size times shape[-2] and shape[-1], also for grouped and depthwise kernels; or,
    if both are given, the products of the sizes of `input_axes` and of `output_axes`.

    >>> compute_fans((3, 3, 16, 32))
    (144, 288)
    """
    if input_axes is not None and output_axes is not None:
        return prod(shape[axis] for axis in input_axes), prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    receptive_field = prod(shape[:-2])
    return receptive_field * shape[-2], receptive_field * shape[-1]


@INITIALIZERS.register("zeros", "zero")
class Zeros(Initializer):
    """All zeros."""

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.zeros(shape)


@INITIALIZERS.register("ones", "one")
class Ones(Initializer):
    """All ones."""

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.ones(shape)


@INITIALIZERS.register("constant")
class Constant(Initializer):
    """A number everywhere, or the values of an array.

    Args:
        value: a number, or an array that has the shape of the variable or broadcasts to it.
    """

    def __init__(self, value: ArrayLike = 0.0) -> None:
        self.value = np.array(value, dtype=float)

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        try:
            return np.broadcast_to(self.value, shape)
        except ValueError:
            raise ShapeError(
                f"The initial values have shape {self.value.shape}, the variable has shape {shape}. "
                "Kernels are (*kernel_size, in // groups, filters)."
            ) from None

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value.tolist()}


@INITIALIZERS.register("identity", "IdentityInitializer")
class Identity(Initializer):
    """Weights that pass the input through: input i becomes output i, times `gain`.

    A matrix (2-D) is an identity matrix, cut or filled with zeros where it is not square. A convolution
    kernel (3-D or more) has `gain` at its centre tap, (size - 1) // 2 on each axis, where the input channel
    equals the filter: with padding "same" and stride 1 the layer gives back its input.

    Args:
        gain: the value on the diagonal.
        groups: groups of the convolution; within each, channel i of the group goes to filter i of the group.
        per_channel: the kernel is a depthwise one (*size, in, multiplier): every channel passes to itself.

    >>> Identity()((3, 1, 1)).ravel()
    array([0., 1., 0.], dtype=float32)
    """

    def __init__(self, gain: float = 1.0, groups: int = 1, per_channel: bool = False) -> None:
        self.gain = gain
        self.groups = groups
        self.per_channel = per_channel

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        if len(shape) < 2:
            raise ShapeError(f"Identity needs a matrix or a convolution kernel, got shape {shape}.")
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        values = np.zeros(shape)
        values[centre] = self.gain * self._channel_matrix(*shape[-2:])
        return values

    def _channel_matrix(self, channels: int, filters: int) -> NDArray[Any]:
        if self.per_channel:
            return np.ones((channels, filters))
        if filters % self.groups:
            raise ArgumentError(f"Identity: {filters} filters are not divisible by groups={self.groups}.")
        return np.tile(np.eye(channels, filters // self.groups), (1, self.groups))
