"""What the size of a kernel, stride, padding and dilation make of an image: output, weights, connections.

output = (input + padding - dilation * (kernel - 1) - 1) // stride + 1
weights of one filter = kernel * kernel * input channels / groups + 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from kernelearn.engine.geometry import normalize_tuple, output_sizes, resolve_padding
from kernelearn.errors import ArgumentError
from kernelearn.explain.table import Table


@dataclass(frozen=True)
class Geometry:
    """One convolution in numbers.

    Attributes:
        input_shape, output_shape: (*spatial, channels).
        kernel_size, strides, dilation: per spatial axis; padding: (before, after) per axis.
        filters, groups, use_bias: as the layer takes them.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    filters: int
    groups: int = 1
    use_bias: bool = True

    @property
    def weights_of_a_filter(self) -> int:
        """Numbers of one filter: it spans all input channels of its group, and has one bias."""
        return prod(self.kernel_size) * self.input_shape[-1] // self.groups + self.use_bias

    @property
    def weights(self) -> int:
        """Numbers of the layer: as many for a small image as for a large one."""
        return self.weights_of_a_filter * self.filters

    @property
    def units(self) -> int:
        """Numbers of the output."""
        return prod(self.output_shape)

    @property
    def multiplications(self) -> int:
        """Products that one image takes, those with padding included."""
        return self.units * (self.weights_of_a_filter - self.use_bias)

    @property
    def dense_weights(self) -> int:
        """Numbers of a dense layer from all inputs to all outputs, of which this layer is a special case."""
        return (prod(self.input_shape) + self.use_bias) * self.units

    @property
    def formula(self) -> str:
        """How the weights are counted."""
        taps = "*".join(map(str, self.kernel_size))
        channels = self.input_shape[-1] // self.groups
        bias = " + 1" if self.use_bias else ""
        one = f"{taps}*{channels}{bias}"
        return f"({one}) * {self.filters} = {self.weights:,}: {one} = {self.weights_of_a_filter:,} a filter"

    def starts(self) -> list[list[int]]:
        """Per axis, the first pixel that each window reads; below 0 it reads padding."""
        axes = zip(self.output_shape, self.strides, self.padding)
        return [[p * stride - before for p in range(size)] for size, stride, (before, _) in axes]

    def table(self) -> Table:
        """Everything as rows."""
        rows = (
            ("input", self.input_shape),
            ("kernel", self.kernel_size),
            ("stride", self.strides),
            ("padding, before and after", ", ".join(f"{a} + {b}" for a, b in self.padding)),
            ("dilation", self.dilation),
            ("filters", self.filters),
            ("output", self.output_shape),
            ("weights of one filter", self.weights_of_a_filter),
            ("weights", self.weights),
            ("numbers of the output", self.units),
            ("products for one image", self.multiplications),
            ("weights of a dense layer in its place", self.dense_weights),
        )
        return Table(("", "size"), rows, self.formula)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": [list(pair) for pair in self.padding],
            "dilation": list(self.dilation),
            "filters": self.filters,
            "groups": self.groups,
            "weights_of_a_filter": self.weights_of_a_filter,
            "weights": self.weights,
            "units": self.units,
            "multiplications": self.multiplications,
            "dense_weights": self.dense_weights,
        }

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def geometry(
    input_shape: Sequence[int],
    filters: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    dilation_rate: int | Sequence[int] = 1,
    groups: int = 1,
    use_bias: bool = True,
) -> Geometry:
    """The numbers of a convolution, from the arguments of its layer alone.

    Args:
        input_shape: (*spatial, channels), channels last; one to three spatial axes.
        filters, kernel_size, strides, padding, dilation_rate, groups, use_bias: as in `layers.Conv2D`.
    Raises: ArgumentError for sizes that are no positive whole numbers or do not go together, ShapeError for a
        window that does not fit into the image.

    >>> found = geometry((32, 32, 3), filters=20, kernel_size=5)
    >>> found.weights_of_a_filter, found.weights, found.output_shape
    (76, 1520, (28, 28, 20))
    """
    shape = tuple(int(size) for size in input_shape)
    rank = len(shape) - 1
    if not 1 <= rank <= 3 or min(shape) < 1:
        raise ArgumentError(
            f"input_shape is (*spatial, channels), one to three sizes and the channels; got {shape}."
        )
    kernel = normalize_tuple(kernel_size, rank, "kernel_size")
    stride, dilation = (
        normalize_tuple(strides, rank, "strides"),
        normalize_tuple(dilation_rate, rank, "dilation_rate"),
    )
    if filters < 1 or groups < 1 or shape[-1] % groups or filters % groups:
        raise ArgumentError(
            f"filters and input channels must be positive and divisible by groups; got filters={filters}, "
            f"{shape[-1]} channels, groups={groups}."
        )
    axes = zip(shape, kernel, stride, dilation)
    pairs = tuple(resolve_padding(padding, size, k, step, d) for size, k, step, d in axes)
    outputs = output_sizes(shape[:-1], kernel, stride, dilation, pairs, "kernel")
    return Geometry(shape, (*outputs, filters), kernel, stride, dilation, pairs, filters, groups, use_bias)


def geometry_of(layer: Any) -> Geometry:
    """The numbers of a convolution of a built model.

    Raises: ArgumentError for a layer that is no plain convolution, or has not been called.
    """
    wanted = ("filters", "kernel_size", "strides", "padding", "dilation_rate")
    shape = tuple(layer.input.shape[1:]) if layer.built else ()
    if (
        not all(hasattr(layer, name) for name in wanted)
        or None in shape
        or "Transpose" in type(layer).__name__
    ):
        raise ArgumentError(
            f"{type(layer).__name__} {layer.name!r} is no convolution of known sizes; give the sizes: "
            "geometry(input_shape, filters, kernel_size)."
        )
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        shape = (*shape[1:], shape[0])
    return geometry(
        shape,
        layer.filters,
        layer.kernel_size,
        layer.strides,
        layer.padding,
        layer.dilation_rate,
        getattr(layer, "groups", 1),
        layer.use_bias,
    )
