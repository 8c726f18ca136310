"""Layers that are active only in training: dropout and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.layers.arguments import check_data_format, check_rank
from kernelearn.layers.base import LAYERS, Layer


class _Random(Layer):
    """A layer with random numbers; `seed` is mixed into its stream, the run's own seed applies too."""

    def __init__(self, seed: int | None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed

    def stream(self, graph: ProgramBuilder) -> int:
        """A number that sets this layer's random numbers apart from the others'."""
        return graph.next_stream() + ((self.seed or 0) << 12)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def check_rate(rate: float) -> float:
    """A probability."""
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate must lie in [0, 1], got {rate!r}.")
    return float(rate)


@LAYERS.register()
class Dropout(_Random):
    """In training, set a share `rate` of the inputs to zero and scale the rest by 1 / (1 - rate).

    Args:
        rate: probability of zero.
        noise_shape: sizes of the mask with the batch first; a 1 shares the decision along an axis, None
            follows x.
        seed: mixed into the random stream of this layer.
    Source: Srivastava et al. 2014.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, **options)
        self.rate = check_rate(rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if not graph.training or self.rate == 0:
            return x
        y, _ = graph.add(
            "dropout",
            x,
            *graph.clock(),
            rate=self.rate,
            stream=self.stream(graph),
            noise_shape=self._mask_shape(x),
        )
        return y

    def _mask_shape(self, x: Buffer) -> tuple[int | None, ...] | None:
        return self.noise_shape

    def get_config(self) -> dict[str, Any]:
        noise_shape = None if self.noise_shape is None else list(self.noise_shape)
        return {**super().get_config(), "rate": self.rate, "noise_shape": noise_shape}


class _SpatialDropout(Dropout):
    """Dropout of whole feature maps.

    Args:
        rate: probability that a map is set to zero.
        data_format: "channels_last" (default) or "channels_first".
    """

    rank = 2

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(rate, None, seed, **options)
        self.data_format = check_data_format(data_format)

    def build(self, input_shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)

    def _mask_shape(self, x: Buffer) -> tuple[int | None, ...]:
        ones = (1,) * self.rank
        return (None, *ones, None) if self.data_format == "channels_last" else (None, None, *ones)

    def get_config(self) -> dict[str, Any]:
        values = {**super().get_config(), "data_format": self.data_format}
        return {k: v for k, v in values.items() if k != "noise_shape"}


@LAYERS.register()
class SpatialDropout1D(_SpatialDropout):
    __doc__ = _SpatialDropout.__doc__
    rank = 1


@LAYERS.register()
class SpatialDropout2D(_SpatialDropout):
    __doc__ = _SpatialDropout.__doc__


@LAYERS.register()
class SpatialDropout3D(_SpatialDropout):
    __doc__ = _SpatialDropout.__doc__
    rank = 3


@LAYERS.register()
class GaussianNoise(_Random):
    """In training, add normal noise of standard deviation `stddev`."""

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        if stddev < 0:
            raise ArgumentError(f"stddev must be at least 0, got {stddev!r}.")
        self.stddev = float(stddev)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if not graph.training or self.stddev == 0:
            return x
        return graph.add("gaussian_noise", x, *graph.clock(), stddev=self.stddev, stream=self.stream(graph))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}
