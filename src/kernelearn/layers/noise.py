"""Layers that are active only in training: dropout and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn._configurable import is_whole
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.activations import SELU_ALPHA, SELU_SCALE
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import Shape, check_rank
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions


class _Random(Layer):
    """A layer with random numbers; `seed` is mixed into its stream, the run's own seed applies too."""

    seed: int | None

    def stream(self, graph: ProgramBuilder) -> int:
        """A number that sets this layer's random numbers apart from the others'."""
        return graph.next_stream() + ((self.seed or 0) << 12)


def check_rate(rate: float) -> None:
    """Raise ArgumentError unless this is a probability."""
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate must lie in [0, 1], got {rate!r}.")


def check_noise_shape(sizes: Any) -> Shape | None:
    """The sizes of a mask: positive ints, or None where the input's size holds.

    Raises: ArgumentError.
    """
    if sizes is None:
        return None
    if not isinstance(sizes, list | tuple) or not all(s is None or (is_whole(s) and s > 0) for s in sizes):
        raise ArgumentError(f"noise_shape must be a list of positive ints or None, got {sizes!r}.")
    return tuple(None if s is None else int(s) for s in sizes)


class _Dropout(_Random):
    """Dropout with a mask of the shape that `_mask_shape` gives; None: that of the input."""

    supports_masking = True
    rate: float

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

    def _mask_shape(self, x: Buffer) -> Shape | None:
        raise NotImplementedError


@LAYERS.register()
class Dropout(_Dropout):
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
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        check_rate(rate)
        self.noise_shape = check_noise_shape(noise_shape)

    def _mask_shape(self, x: Buffer) -> Shape | None:
        return self.noise_shape


class _SpatialDropout(_Dropout):
    """Dropout of whole feature maps.

    Args:
        rate: probability that a map is set to zero.
        data_format: "channels_last" (default) or "channels_first".
    """

    rank = 2
    data_format: str

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        check_rate(rate)

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, self.rank + 2, type(self).__name__)

    def _mask_shape(self, x: Buffer) -> Shape:
        ones = (1,) * self.rank
        return (None, *ones, None) if self.data_format == "channels_last" else (None, None, *ones)


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

    supports_masking = True
    stddev: float

    def __init__(self, stddev: float, seed: int | None = None, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        if stddev < 0:
            raise ArgumentError(f"stddev must be at least 0, got {stddev!r}.")

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if not graph.training or self.stddev == 0:
            return x
        return graph.add("gaussian_noise", x, *graph.clock(), stddev=self.stddev, stream=self.stream(graph))


@LAYERS.register()
class GaussianDropout(_Random):
    """In training, multiply by normal numbers of mean 1 and standard deviation sqrt(rate / (1 - rate)).

    Args:
        rate: as of `Dropout`, whose noise has this deviation; at least 0 and below 1.
        seed: mixed into the random stream of this layer.
    """

    supports_masking = True
    rate: float

    def __init__(self, rate: float, seed: int | None = None, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        _check_share(rate)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if not graph.training or self.rate == 0:
            return x
        deviation = math.sqrt(self.rate / (1 - self.rate))
        ones = graph.add("fill_like", x, value=1.0, dtype=x.dtype)
        factors = graph.add(
            "gaussian_noise", ones, *graph.clock(), stddev=deviation, stream=self.stream(graph)
        )
        return graph.add("multiply", x, factors)


@LAYERS.register()
class AlphaDropout(_Dropout):
    """Dropout for `selu`: what is dropped becomes the value that selu tends to, and mean and variance stay.

    Args:
        rate: probability to be dropped, at least 0 and below 1.
        noise_shape, seed: as of `Dropout`.
    Source: Klambauer et al. (2017), https://arxiv.org/abs/1706.02515, section "new dropout technique".
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        _check_share(rate)
        self.noise_shape = check_noise_shape(noise_shape)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if not graph.training or self.rate == 0:
            return x
        low = -SELU_ALPHA * SELU_SCALE
        scale = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        # a (x m + low (1 - m)) - a low rate, with the dropped mask m / (1 - rate) of ones
        amount = scale * (1 - self.rate)
        kept = super().lower(graph, graph.add("fill_like", x, value=amount, dtype=x.dtype))
        moved = graph.add("multiply", graph.add("scale", x, offset=-low), kept)
        return graph.add("scale", moved, offset=low * amount)

    def _mask_shape(self, x: Buffer) -> Shape | None:
        return self.noise_shape


@LAYERS.register()
class StochasticDepth(_Dropout):
    """In training, drop the whole branch of an image, or scale it by 1 / (1 - rate).

    Takes the branch, or a list [shortcut, branch] of which it gives the sum.

    Args:
        rate: probability to be dropped.
        seed: mixed into the random stream of this layer.
    Source: Huang et al. (2016), https://arxiv.org/abs/1603.09382.
    """

    def __init__(self, rate: float = 0.5, seed: int | None = None, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        check_rate(rate)

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Buffer:
        if len(inputs) > 2:
            raise ArgumentError(
                f"StochasticDepth takes a branch, or a shortcut and a branch, got {len(inputs)} inputs."
            )
        branch = super().lower(graph, inputs[-1])
        return branch if len(inputs) == 1 else graph.add("add", inputs[0], branch)

    def _mask_shape(self, x: Buffer) -> Shape:
        return (None, *(1 for _ in x.shape[1:]))


def _check_share(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ArgumentError(f"rate must be at least 0 and below 1, got {rate!r}.")
