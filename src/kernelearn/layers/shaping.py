"""Layers that move numbers without learning: flatten, reshape, permute, pad, crop, enlarge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from kernelearn._configurable import is_whole
from kernelearn.engine.geometry import normalize_tuple
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.layers.core.arguments import (
    Ints,
    Shape,
    check_rank,
    from_channels_last,
    known_sizes,
    to_channels_last,
    whole_numbers,
)
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.unknown_sizes import has_unknown


@LAYERS.register()
class Flatten(Layer):
    """All numbers of a sample in one row, in channels-last order whatever the data format."""

    data_format: str

    def __init__(self, data_format: str | None = None, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if len(x.shape) > 2:
            x = to_channels_last(graph, x, self.data_format)
        return graph.add("reshape", x, shape=(None, math.prod(known_sizes(x))))


@LAYERS.register()
class Reshape(Layer):
    """Reshape every sample; one size may be -1 and is worked out.

    Args:
        target_shape: sizes without the batch.
    """

    def __init__(self, target_shape: Sequence[int], **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.target_shape = whole_numbers(target_shape, "target_shape")
        if any(size < -1 for size in self.target_shape):
            raise ArgumentError(f"Sizes of target_shape must be at least 0, or -1, got {self.target_shape}.")
        if self.target_shape.count(-1) > 1:
            raise ArgumentError(f"At most one size of target_shape may be -1, got {self.target_shape}.")

    def infer_specs(
        self, specs: Sequence[tuple[Shape, str]], given: Given | None = None
    ) -> list[tuple[Shape, str]]:
        if not any(has_unknown(shape) for shape, _ in specs):
            return super().infer_specs(specs, given)
        return [
            ((shape[0], *(None if s == -1 else s for s in self.target_shape)), dtype)
            for shape, dtype in specs
        ]

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return graph.add("reshape", x, shape=(None, *self._sizes(math.prod(known_sizes(x)))))

    def _sizes(self, entries: int) -> tuple[int, ...]:
        known = math.prod(s for s in self.target_shape if s != -1)
        sizes = tuple(entries // max(known, 1) if s == -1 else s for s in self.target_shape)
        if math.prod(sizes) != entries:
            raise ShapeError(
                f"Reshape {self.name!r}: {entries} numbers do not fit target_shape={self.target_shape}."
            )
        return sizes


@LAYERS.register()
class Permute(Layer):
    """Reorder the axes of every sample.

    Args:
        dims: a permutation of 1, 2, ...; axis 1 is the first after the batch.
    """

    def __init__(self, dims: Sequence[int], **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.dims = whole_numbers(dims, "dims")
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ArgumentError(f"dims must be a permutation of 1..{len(self.dims)}, got {dims!r}.")

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, len(self.dims) + 1, "Permute")

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return graph.add("transpose", x, axes=(0, *self.dims))


def _pairs(value: Any, rank: int, name: str) -> tuple[tuple[int, int], ...]:
    """An int, one int per axis, or (before, after) per axis, as pairs; in 1-D (before, after) is enough."""
    listed = isinstance(value, list | tuple | np.ndarray)
    if rank == 1 and listed and len(value) == 2 and all(is_whole(v) for v in value):
        value = (tuple(value),)
    values = tuple(value) if isinstance(value, list | tuple | np.ndarray) else (value,) * rank
    if len(values) != rank or (rank == 1 and listed and is_whole(values[0])):
        ints = "2 ints (before, after)" if rank == 1 else f"{rank} ints or {rank} pairs (before, after)"
        raise ArgumentError(f"{name} must be an int, {ints}; got {value!r}.")
    pairs = (normalize_tuple(v, 2, name, 0) for v in values)
    return tuple((lo, hi) for lo, hi in pairs)


class _Border(Layer):
    """Shared by padding and cropping: a pair of ints per spatial axis, from the attribute `argument`."""

    rank = 2
    argument = "padding"
    data_format: str

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(before, after) in pixels for each spatial axis."""
        return _pairs(getattr(self, self.argument), self.rank, self.argument)

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)


class _ZeroPadding(_Border):
    """Zeros around every image.

    Args:
        padding: an int, one per axis, or (before, after) per axis.
    """

    def __init__(
        self, padding: Any = 1, data_format: str | None = None, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.padding = self.pairs

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        y = graph.add("pad", x, padding=((0, 0), *self.pairs, (0, 0)))
        return from_channels_last(graph, y, self.data_format)


class _Cropping(_Border):
    """Cut pixels off every border.

    Args:
        cropping: an int, one per axis, or (before, after) per axis.
    """

    argument = "cropping"

    def __init__(
        self, cropping: Any = 1, data_format: str | None = None, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.cropping = self.pairs

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        bounds = tuple((lo, size - hi) for size, (lo, hi) in zip(known_sizes(x)[:-1], self.pairs))
        return from_channels_last(
            graph, graph.add("slice", x, bounds=(None, *bounds, None)), self.data_format
        )


class _UpSampling(Layer):
    """Enlarge every image by whole factors."""

    rank = 2
    size: Ints
    data_format = "channels_last"
    interpolation = "nearest"

    def _check_size(self) -> None:
        self.size = normalize_tuple(self.size, self.rank, "size")
        if self.interpolation not in RESIZE_WINDOWS:
            raise unknown_name("interpolation", self.interpolation, RESIZE_WINDOWS)

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        y = graph.add("upsample", x, factors=self.size, method=self.interpolation)
        return from_channels_last(graph, y, self.data_format)


@LAYERS.register()
class ZeroPadding1D(_ZeroPadding):
    __doc__ = _ZeroPadding.__doc__
    rank = 1


@LAYERS.register()
class ZeroPadding2D(_ZeroPadding):
    __doc__ = _ZeroPadding.__doc__


@LAYERS.register()
class ZeroPadding3D(_ZeroPadding):
    __doc__ = _ZeroPadding.__doc__
    rank = 3


@LAYERS.register()
class Cropping1D(_Cropping):
    __doc__ = _Cropping.__doc__
    rank = 1


@LAYERS.register()
class Cropping2D(_Cropping):
    __doc__ = _Cropping.__doc__


@LAYERS.register()
class Cropping3D(_Cropping):
    __doc__ = _Cropping.__doc__
    rank = 3


@LAYERS.register()
class UpSampling1D(_UpSampling):
    """Repeat every step `size` times."""

    rank = 1

    def config_value(self, name: str) -> Any:
        value = super().config_value(name)
        return value[0] if name == "size" else value

    def __init__(self, size: int = 2, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_size()


@LAYERS.register()
class UpSampling2D(_UpSampling):
    """Enlarge images by whole factors.

    Args:
        size: factor, or (vertical, horizontal).
        interpolation: "nearest" (repeat), "bilinear", "bicubic", "lanczos3" or "lanczos5".
    """

    def __init__(
        self,
        size: Ints = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_size()


@LAYERS.register()
class UpSampling3D(_UpSampling):
    """Repeat every voxel `size` times along each axis."""

    rank = 3

    def __init__(
        self, size: Ints = 2, data_format: str | None = None, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_size()
