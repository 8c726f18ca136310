"""Layers that move numbers without learning: flatten, reshape, permute, pad, crop, enlarge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kernelearn.engine.geometry import normalize_tuple
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.layers.arguments import (
    check_data_format,
    check_known,
    check_rank,
    from_channels_last,
    known_sizes,
    to_channels_last,
)
from kernelearn.layers.base import LAYERS, Layer


@LAYERS.register()
class Flatten(Layer):
    """All numbers of a sample in one row, in channels-last order whatever the data format."""

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = check_data_format(data_format)

    def build(self, input_shape) -> None:
        check_known(input_shape, "Flatten")

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if len(x.shape) > 2:
            x = to_channels_last(graph, x, self.data_format)
        return graph.add("reshape", x, shape=(None, math.prod(known_sizes(x))))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@LAYERS.register()
class Reshape(Layer):
    """Reshape every sample; one size may be -1 and is worked out.

    Args:
        target_shape: sizes without the batch.
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = tuple(target_shape)
        if self.target_shape.count(-1) > 1:
            raise ArgumentError(f"At most one size of target_shape may be -1, got {self.target_shape}.")

    def build(self, input_shape) -> None:
        check_known(input_shape, "Reshape")

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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": list(self.target_shape)}


@LAYERS.register()
class Permute(Layer):
    """Reorder the axes of every sample.

    Args:
        dims: a permutation of 1, 2, ...; axis 1 is the first after the batch.
    """

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ArgumentError(f"dims must be a permutation of 1..{len(self.dims)}, got {dims!r}.")

    def build(self, input_shape) -> None:
        check_rank(input_shape, len(self.dims) + 1, "Permute")

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return graph.add("transpose", x, axes=(0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": list(self.dims)}


def _pairs(value: Any, rank: int, name: str) -> tuple[tuple[int, int], ...]:
    """An int, one int per axis, or (before, after) per axis, as pairs."""
    if (
        rank == 1
        and not isinstance(value, int)
        and len(value) == 2
        and all(isinstance(v, int) for v in value)
    ):
        value = (tuple(value),)
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ArgumentError(
            f"{name} must be an int, {rank} ints or {rank} pairs (before, after); got {value!r}."
        )
    pairs = (normalize_tuple(v, 2, name, 0) for v in values)
    return tuple((lo, hi) for lo, hi in pairs)


class _Border(Layer):
    """Shared by padding and cropping: a pair of ints per spatial axis, kept as the attribute `argument`."""

    rank = 2
    argument = "padding"

    def __init__(self, amount: Any, data_format: str | None, **options: Any) -> None:
        super().__init__(**options)
        setattr(self, self.argument, _pairs(amount, self.rank, self.argument))
        self.data_format = check_data_format(data_format)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        return getattr(self, self.argument)

    def build(self, input_shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)
        check_known(input_shape, type(self).__name__)

    def get_config(self) -> dict[str, Any]:
        amount = [list(pair) for pair in self.pairs]
        return {**super().get_config(), self.argument: amount, "data_format": self.data_format}


class _ZeroPadding(_Border):
    """Zeros around every image.

    Args:
        padding: an int, one per axis, or (before, after) per axis.
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(padding, data_format, **options)

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

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(cropping, data_format, **options)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        bounds = tuple((lo, size - hi) for size, (lo, hi) in zip(known_sizes(x)[:-1], self.pairs))
        return from_channels_last(
            graph, graph.add("slice", x, bounds=(None, *bounds, None)), self.data_format
        )


class _UpSampling(Layer):
    """Enlarge every image by whole factors."""

    rank = 2

    def __init__(self, size: Any, data_format: str | None, interpolation: str, **options: Any) -> None:
        super().__init__(**options)
        self.size = normalize_tuple(size, self.rank, "size")
        self.data_format = check_data_format(data_format)
        self.interpolation = interpolation
        if interpolation not in RESIZE_WINDOWS:
            raise unknown_name("interpolation", interpolation, RESIZE_WINDOWS)

    def build(self, input_shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)
        check_known(input_shape, type(self).__name__)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        y = graph.add("upsample", x, factors=self.size, method=self.interpolation)
        return from_channels_last(graph, y, self.data_format)

    def get_config(self) -> dict[str, Any]:
        size = self.size[0] if self.rank == 1 else list(self.size)
        return {**super().get_config(), "size": size}


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

    def __init__(self, size: int = 2, **options: Any) -> None:
        super().__init__(size, None, "nearest", **options)


@LAYERS.register()
class UpSampling2D(_UpSampling):
    """Enlarge images by whole factors.

    Args:
        size: factor, or (vertical, horizontal).
        interpolation: "nearest" (repeat), "bilinear", "bicubic", "lanczos3" or "lanczos5".
    """

    def __init__(
        self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **options: Any
    ) -> None:
        super().__init__(size, data_format, interpolation, **options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "interpolation": self.interpolation}


@LAYERS.register()
class UpSampling3D(_UpSampling):
    """Repeat every voxel `size` times along each axis."""

    rank = 3

    def __init__(self, size: Any = 2, data_format: str | None = None, **options: Any) -> None:
        super().__init__(size, data_format, "nearest", **options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}
