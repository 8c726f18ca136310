"""Pooling to a size that is asked for, whatever the size of the input: see `ops.adaptive_average_pool`."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from kernelearn import ops
from kernelearn.layers.core.arguments import Ints, Shape, check_rank, whole_numbers
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions


class _AdaptivePooling(Layer):
    """Pooling to `output_size`.

    Args:
        output_size: an int for all axes, or one for each.
        data_format: "channels_last" (default) or "channels_first".
    """

    rank: ClassVar[int]
    data_format: str

    def __init__(
        self, output_size: Ints, data_format: str | None = None, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        sizes = whole_numbers(output_size, "output_size")
        self.output_size = whole_numbers(
            sizes * (self.rank if len(sizes) == 1 else 1), "output_size", self.rank
        )

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)


class _Average(_AdaptivePooling):
    def call(self, x: Any) -> Any:
        return ops.adaptive_average_pool(x, self.output_size, self.data_format)


class _Max(_AdaptivePooling):
    def call(self, x: Any) -> Any:
        return ops.adaptive_max_pool(x, self.output_size, self.data_format)


@LAYERS.register()
class AdaptiveAveragePooling1D(_Average):
    __doc__ = _AdaptivePooling.__doc__
    rank = 1


@LAYERS.register()
class AdaptiveAveragePooling2D(_Average):
    __doc__ = _AdaptivePooling.__doc__
    rank = 2


@LAYERS.register()
class AdaptiveAveragePooling3D(_Average):
    __doc__ = _AdaptivePooling.__doc__
    rank = 3


@LAYERS.register()
class AdaptiveMaxPooling1D(_Max):
    __doc__ = _AdaptivePooling.__doc__
    rank = 1


@LAYERS.register()
class AdaptiveMaxPooling2D(_Max):
    __doc__ = _AdaptivePooling.__doc__
    rank = 2


@LAYERS.register()
class AdaptiveMaxPooling3D(_Max):
    __doc__ = _AdaptivePooling.__doc__
    rank = 3
