"""Pooling layers: the largest or the mean value of a window, or of the whole map."""

from __future__ import annotations

from typing import Any, Unpack

from kernelearn import ops
from kernelearn.engine.geometry import normalize_tuple, resolve_padding
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import (
    Ints,
    Shape,
    channels_last,
    check_rank,
    from_channels_last,
    known_sizes,
    to_channels_last,
)
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.tracing import Traced, tracing, unwrapped


class _Pooling(Layer):
    """Pooling over windows.

    Args:
        pool_size: window in pixels, an int or one per spatial axis.
        strides: step between windows; None for `pool_size`.
        padding: "valid" or "same". Padded pixels never win a maximum and are not counted in a mean.
        data_format: "channels_last" (default) or "channels_first".
    """

    rank = 2
    operator = "max_pool"
    data_format: str

    def __init__(
        self,
        pool_size: Ints = 2,
        strides: Ints | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.pool_size = normalize_tuple(pool_size, self.rank, "pool_size")
        self.strides = self.pool_size if strides is None else normalize_tuple(strides, self.rank, "strides")
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ArgumentError(f"padding must be 'valid' or 'same', got {padding!r}.")

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        padding = tuple(
            resolve_padding(self.padding, *axis)
            for axis in zip(known_sizes(x)[:-1], self.pool_size, self.strides)
        )
        y = graph.add(self.operator, x, size=self.pool_size, stride=self.strides, padding=padding)
        return from_channels_last(graph, y[0] if isinstance(y, tuple) else y, self.data_format)


class _GlobalPooling(Layer):
    """Pooling over all positions.

    Args:
        data_format: "channels_last" (default) or "channels_first".
        keepdims: keep the spatial axes, with size 1.
    """

    rank = 2
    operator = "reduce_mean"
    data_format: str
    keepdims: bool

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())

    def build(self, input_shape: Shape) -> None:
        check_rank(channels_last(input_shape, self.data_format), self.rank + 2, type(self).__name__)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        first = 1 if self.data_format == "channels_last" else 2
        axes = tuple(range(first, first + self.rank))
        if self.rank == 1 and self.operator == "reduce_mean" and x.name in graph.masks:
            return self._mean_of_counted(graph, x, graph.masks[x.name], first)
        return graph.add(self.operator, x, axes=axes, keepdims=self.keepdims)

    def _mean_of_counted(self, graph: ProgramBuilder, x: Buffer, mask: Buffer, axis: int) -> Buffer:
        """The mean over the steps that count."""
        with tracing(graph):
            counts = ops.expand_dims(Traced(graph, mask), 3 - axis)
            values = ops.where(counts, Traced(graph, x), 0.0)
            total = ops.sum(values, axis=axis, keepdims=self.keepdims)
            number = ops.sum(ops.cast(counts, x.dtype), axis=axis, keepdims=self.keepdims)
            result: Buffer = unwrapped(total / number)
        return result

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: there are no steps any more."""
        return None


@LAYERS.register("MaxPool1D")
class MaxPooling1D(_Pooling):
    __doc__ = "1-D maximum p" + (_Pooling.__doc__ or "")[1:]
    rank = 1


@LAYERS.register("MaxPool2D")
class MaxPooling2D(_Pooling):
    __doc__ = "2-D maximum p" + (_Pooling.__doc__ or "")[1:]


@LAYERS.register("MaxPool3D")
class MaxPooling3D(_Pooling):
    __doc__ = "3-D maximum p" + (_Pooling.__doc__ or "")[1:]
    rank = 3


@LAYERS.register("AvgPool1D")
class AveragePooling1D(_Pooling):
    __doc__ = "1-D average p" + (_Pooling.__doc__ or "")[1:]
    rank = 1
    operator = "average_pool"


@LAYERS.register("AvgPool2D")
class AveragePooling2D(_Pooling):
    __doc__ = "2-D average p" + (_Pooling.__doc__ or "")[1:]
    operator = "average_pool"


@LAYERS.register("AvgPool3D")
class AveragePooling3D(_Pooling):
    __doc__ = "3-D average p" + (_Pooling.__doc__ or "")[1:]
    rank = 3
    operator = "average_pool"


@LAYERS.register("GlobalAvgPool1D")
class GlobalAveragePooling1D(_GlobalPooling):
    __doc__ = "1-D global average p" + (_GlobalPooling.__doc__ or "")[1:]
    rank = 1


@LAYERS.register("GlobalAvgPool2D")
class GlobalAveragePooling2D(_GlobalPooling):
    __doc__ = "2-D global average p" + (_GlobalPooling.__doc__ or "")[1:]


@LAYERS.register("GlobalAvgPool3D")
class GlobalAveragePooling3D(_GlobalPooling):
    __doc__ = "3-D global average p" + (_GlobalPooling.__doc__ or "")[1:]
    rank = 3


@LAYERS.register("GlobalMaxPool1D")
class GlobalMaxPooling1D(_GlobalPooling):
    __doc__ = "1-D global maximum p" + (_GlobalPooling.__doc__ or "")[1:]
    rank = 1
    operator = "reduce_max"


@LAYERS.register("GlobalMaxPool2D")
class GlobalMaxPooling2D(_GlobalPooling):
    __doc__ = "2-D global maximum p" + (_GlobalPooling.__doc__ or "")[1:]
    operator = "reduce_max"


@LAYERS.register("GlobalMaxPool3D")
class GlobalMaxPooling3D(_GlobalPooling):
    __doc__ = "3-D global maximum p" + (_GlobalPooling.__doc__ or "")[1:]
    rank = 3
    operator = "reduce_max"
