"""Layers that change the colours of images at random in training, and let them pass in inference.

Every image gets a draw of its own from the step's random numbers. All is written with functions of `ops`:
images are (n, height, width, channels) and draws (n, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from kernelearn import ops
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.core.arguments import Shape, check_rank
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.images.augmentation import Factor, _RandomImages, factor_range
from kernelearn.tracing import Traced, tracing, unwrapped

GREY_WEIGHTS = (0.2989, 0.587, 0.114)


class RandomPixels(_RandomImages):
    """Subclasses give `altered`, written with `ops`.

    Attributes:
        bounds: of `factor`; a number f stands for [-f, f] cut to them.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs_colours: ClassVar[bool] = False
    factor: Factor
    value_range: tuple[float, ...]

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, 4, type(self).__name__)
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        if self.needs_colours and channels != 3:
            raise ShapeError(f"{type(self).__name__} takes images of 3 colours, got {channels} channels.")

    def _set_ranges(self, factor: Factor, value_range: Sequence[float]) -> None:
        low, high = factor_range(factor, "factor", self.bounds[0], self.bounds[1])
        self._range = (max(low, self.bounds[0]), high)
        self.value_range = tuple(float(v) for v in value_range)
        if len(self.value_range) != 2 or not self.value_range[0] < self.value_range[1]:
            raise ArgumentError(f"value_range must be (smallest, largest), got {value_range!r}.")

    def change(self, graph: ProgramBuilder, x: Buffer, draw: Buffer) -> Buffer:
        with tracing(graph):
            drawn = Traced(graph, draw)
            draws = [ops.expand_dims(drawn[:, i], (1, 2, 3)) for i in range(self.draws)]
            result: Buffer = unwrapped(self.altered(Traced(graph, x), *draws))
        return result

    def altered(self, x: Any, *draws: Any) -> Any:
        """What becomes of images; each draw is one number in [0, 1) for an image."""
        raise NotImplementedError(f"{type(self).__name__} must define altered(x, *draws).")

    def between(self, draw: Any) -> Any:
        """A draw as a number between the two of `factor`."""
        low, high = self._range
        return low + draw * (high - low)

    def clipped(self, x: Any) -> Any:
        return ops.clip(x, *self.value_range)

    def as_shares(self, x: Any) -> Any:
        """Values from 0 to 1."""
        low, high = self.value_range
        return (x - low) * (1 / (high - low))

    def as_values(self, shares: Any) -> Any:
        """The inverse of `as_shares`."""
        low, high = self.value_range
        return shares * (high - low) + low


def grey(x: Any) -> Any:
    """The brightness of red, green and blue, (..., 1); grey images as they are."""
    if x.shape[-1] == 1:
        return x
    return ops.sum(x * np.array(GREY_WEIGHTS), axis=-1, keepdims=True)


def to_hsv(x: Any) -> tuple[Any, Any, Any]:
    """Hue from 0 to 1, saturation and value, each (..., 1), of red, green and blue."""
    red, green, blue = (x[..., i : i + 1] for i in range(3))
    value = ops.max(x, axis=-1, keepdims=True)
    spread = value - ops.min(x, axis=-1, keepdims=True)
    sixth = 1.0 / (6.0 * ops.where(spread > 0, spread, 1.0))
    hue = ops.where(value == green, sixth * (blue - red) + 2 / 6, sixth * (red - green) + 4 / 6)
    hue = ops.where(value == red, sixth * (green - blue), hue)
    hue = ops.where(spread > 0, ops.where(hue < 0, hue + 1.0, hue), 0.0)
    return hue, ops.where(value > 0, spread / ops.where(value > 0, value, 1.0), 0.0), value


def from_hsv(hue: Any, saturation: Any, value: Any) -> Any:
    """Red, green and blue, (..., 3); the inverse of `to_hsv`."""
    turn = (hue - ops.floor(hue)) * 6.0
    bright = (
        ops.clip(ops.abs(turn - 3.0) - 1.0, 0.0, 1.0),
        ops.clip(2.0 - ops.abs(turn - 2.0), 0.0, 1.0),
        ops.clip(2.0 - ops.abs(turn - 4.0), 0.0, 1.0),
    )
    return ops.concatenate([value * (1.0 - saturation + saturation * one) for one in bright], axis=-1)


class _Ranged(RandomPixels):
    """A layer of a factor and a value range.

    Args:
        factor: a number f for [-f, f] as far as the layer allows it, or (lowest, highest).
        value_range: smallest and largest pixel value: (0, 255), or (0, 1) for images that were rescaled.
        seed: mixed into the random stream of this layer.
    """

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self._set_ranges(factor, value_range)
        self.keep(locals())


@LAYERS.register()
class RandomBrightness(_Ranged):
    """In training, add a share of the value range to every image: `factor` from -1 (black) to 1 (white)."""

    bounds = (-1.0, 1.0)

    def altered(self, x: Any, *draws: Any) -> Any:
        return self.clipped(x + self.between(draws[0]) * (self.value_range[1] - self.value_range[0]))


@LAYERS.register()
class RandomSaturation(_Ranged):
    """In training, make colours paler or stronger: `factor` 0 is grey, 0.5 leaves them, 1 is the strongest.

    NOTE: saturation is kept from 0 to 1; Keras 3.15 lets it grow to value_range[1].
    """

    needs_colours = True

    def altered(self, x: Any, *draws: Any) -> Any:
        factor = self.between(draws[0])
        hue, saturation, value = to_hsv(x)
        stronger = ops.clip(saturation * (factor / (1.0 - factor + 1e-7)), 0.0, 1.0)
        return from_hsv(hue, stronger, value)


@LAYERS.register()
class RandomHue(_Ranged):
    """In training, turn the colours of every image on the circle of hues: `factor` 1 is half a turn.

    The direction of the turn is drawn, too.
    """

    needs_colours, draws = True, 2

    def altered(self, x: Any, *draws: Any) -> Any:
        turn = ops.where(draws[1] > 0.5, -0.5, 0.5) * self.between(draws[0])
        hue, saturation, value = to_hsv(self.as_shares(x))
        return self.as_values(ops.clip(from_hsv(hue + turn, saturation, value), 0.0, 1.0))


@LAYERS.register()
class RandomColorDegeneration(_Ranged):
    """In training, mix every image with its grey one: `factor` is the share of grey."""

    def altered(self, x: Any, *draws: Any) -> Any:
        return self.clipped(x + self.between(draws[0]) * (grey(x) - x))


@LAYERS.register()
class RandomPosterization(_Ranged):
    """In training, keep only the highest bits of 8: `factor` is how many, from 1 to 8.

    A number f stands for 1 to f - 1; of two different numbers, the second is not drawn.
    """

    bounds = (1.0, 8.0)

    def altered(self, x: Any, *draws: Any) -> Any:
        low, high = self._range
        bits = ops.floor(low + draws[0] * (high - low))
        step = ops.power(2.0, 8.0 - bits)
        values = ops.floor(self.as_shares(x) * 255.0 + 1e-4)
        return self.as_values(ops.floor(values / step) * step * (1 / 255))


@LAYERS.register()
class RandomInvert(RandomPixels):
    """In training, turn some images into their negatives.

    Args:
        factor: the probability of an image, or a range that it is drawn from.
        value_range: smallest and largest pixel value.
        seed: mixed into the random stream of this layer.
    """

    draws = 2

    def __init__(
        self,
        factor: Factor = 1.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self._set_ranges(factor, value_range)
        self.keep(locals())

    def altered(self, x: Any, *draws: Any) -> Any:
        return ops.where(draws[1] < self.between(draws[0]), self.value_range[1] - x, x)


@LAYERS.register()
class RandomGrayscale(RandomPixels):
    """In training, make some images grey, in as many channels as they had.

    Args:
        factor: the probability of an image.
        seed: mixed into the random stream of this layer.
    """

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self._set_ranges((factor, factor), (0, 1))
        self.keep(locals())
        del self.value_range

    def altered(self, x: Any, *draws: Any) -> Any:
        return ops.where(draws[0] < self.between(draws[0]), grey(x) + ops.zeros_like(x), x)


@LAYERS.register()
class Solarization(RandomPixels):
    """In training, add an amount to every image and turn values from a threshold on into their negatives.

    Args:
        addition_factor: share of the value range to add: a number f for [0, f], or (lowest, highest).
        threshold_factor: share of the value range where negatives begin, in the same way.
        value_range: smallest and largest pixel value.
        seed: mixed into the random stream of this layer.
    """

    draws = 2

    def __init__(
        self,
        addition_factor: Factor = 0.0,
        threshold_factor: Factor = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self._set_ranges(addition_factor, value_range)
        low, high = factor_range(threshold_factor, "threshold_factor", 0.0, 1.0)
        self._threshold = (max(low, 0.0), high)
        self.keep(locals())

    def altered(self, x: Any, *draws: Any) -> Any:
        low, high = self._threshold
        shares = ops.clip(self.as_shares(x) + self.between(draws[0]), 0.0, 1.0)
        return self.as_values(ops.where(shares < low + draws[1] * (high - low), shares, 1.0 - shares))


@LAYERS.register()
class RandomColorJitter(_RandomImages):
    """In training, change brightness, contrast, saturation and hue of every image, one after the other.

    Args:
        value_range: smallest and largest pixel value.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: the factors of `RandomBrightness`,
            `RandomContrast`, `RandomSaturation` and `RandomHue`; None leaves that out.
        seed: mixed into the random streams.
    """

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        brightness_factor: Factor | None = None,
        contrast_factor: Factor | None = None,
        saturation_factor: Factor | None = None,
        hue_factor: Factor | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.value_range = tuple(value_range)
        from kernelearn.layers.images.augmentation import RandomContrast

        kinds: tuple[tuple[Any, Factor | None], ...] = (
            (RandomBrightness, brightness_factor),
            (RandomContrast, contrast_factor),
            (RandomSaturation, saturation_factor),
            (RandomHue, hue_factor),
        )
        shared = {"value_range": value_range, "seed": seed, "data_format": data_format}
        self._steps: list[Layer] = [
            kind(factor, name=f"{self.name}_{i}", **shared)
            for i, (kind, factor) in enumerate(kinds)
            if factor is not None
        ]

    def build(self, input_shape: Shape) -> None:
        for step in self._steps:
            step.build(input_shape)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        for step in self._steps:
            x = step.lower(graph, x)
        return x
