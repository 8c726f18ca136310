"""Layers that blur, sharpen or erase at random in training, and let images pass in inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn import ops
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import Ints, whole_numbers
from kernelearn.layers.core.base import LAYERS, LayerOptions
from kernelearn.layers.images.augmentation import Factor, factor_range
from kernelearn.layers.images.colours import RandomPixels, _Ranged
from kernelearn.tracing import Traced, current


def neighbours(x: Any, axis: int, count: int) -> list[Any]:
    """The images moved by -(count // 2) to count // 2 pixels along an axis; zeros come in."""
    before = count // 2
    widths = [(before, before) if i == axis else (0, 0) for i in range(4)]
    padded, size = ops.pad(x, widths), x.shape[axis]
    return [
        padded[:, i : i + size] if axis == 1 else padded[:, :, i : i + size] for i in range(2 * before + 1)
    ]


def _added(parts: Sequence[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@LAYERS.register()
class RandomSharpness(_Ranged):
    """In training, blur or sharpen every image: `factor` 0 is blurred, 0.5 leaves it, 1 is the sharpest."""

    def altered(self, x: Any, *draws: Any) -> Any:
        around = _added(neighbours(_added(neighbours(x, 1, 3)), 2, 3))
        smooth = around * (1 / 13) + x * (4 / 13)
        return self.clipped(x + (1.0 - 2.0 * self.between(draws[0])) * (smooth - x))


@LAYERS.register()
class RandomGaussianBlur(RandomPixels):
    """In training, blur some images by a Gaussian of random width.

    Args:
        factor: the probability of an image, or a range that it is drawn from.
        kernel_size: pixels of the window, odd: a number, or (height, width).
        sigma: standard deviation in pixels, within [0, 1]: s for [0, s], or (lowest, highest). NOTE: every
            image gets its own; Keras 3 draws one for the batch.
        value_range: smallest and largest pixel value.
        seed: mixed into the random stream of this layer.
    """

    draws = 4

    def __init__(
        self,
        factor: Factor = 1.0,
        kernel_size: Ints = 3,
        sigma: Factor = 1.0,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self._set_ranges(factor, value_range)
        low, high = factor_range(sigma, "sigma", 0.0, 1.0)
        self._sigma = (max(low, 0.0), high)
        sizes = whole_numbers(kernel_size, "kernel_size")
        self._sizes = sizes * 2 if len(sizes) == 1 else whole_numbers(kernel_size, "kernel_size", 2)
        self.keep(locals())
        if any(size < 1 or size % 2 == 0 for size in self._sizes):
            raise ArgumentError(f"kernel_size must be odd, got {kernel_size!r}.")

    def altered(self, x: Any, *draws: Any) -> Any:
        low, high = self._sigma
        blurred = x
        for axis, count, draw in zip((1, 2), self._sizes, draws[2:]):
            sigma = low + draw * (high - low) + 1e-6
            places = range(-(count // 2), count // 2 + 1)
            weights = [ops.exp(-(place**2) / (2.0 * sigma * sigma)) for place in places]
            parts = neighbours(blurred, axis, count)
            blurred = _added([w * p for w, p in zip(weights, parts)]) / _added(weights)
        return self.clipped(ops.where(draws[1] < self.between(draws[0]), blurred, x))


@LAYERS.register()
class RandomErasing(RandomPixels):
    """In training, cover a random rectangle of some images.

    Args:
        factor: the probability of an image, or a range that it is drawn from.
        scale: share of the image that is covered: (lowest, highest) within [0, 1].
        fill_value: what covers it: a number, one for each channel, or None for noise.
        value_range: smallest and largest pixel value.
        seed: mixed into the random stream of this layer.
    Source: Zhong et al. (2017), https://arxiv.org/abs/1708.04896.
    """

    draws = 6

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = (0.02, 0.33),
        fill_value: float | Sequence[float] | None = None,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self._set_ranges(factor, value_range)
        low, high = factor_range(scale, "scale", 0.0, 1.0)
        self._scale = (max(low, 0.0), high)
        self.fill_value = list(fill_value) if isinstance(fill_value, list | tuple) else fill_value
        self.keep(locals())

    def altered(self, x: Any, *draws: Any) -> Any:
        low, high = self._scale
        shares = [ops.sqrt(low + draw * (high - low)) for draw in draws[:2]]
        is_inside = inside(x.shape[1], x.shape[2], shares, draws[2:4])
        is_chosen = draws[5] < self.between(draws[4])
        covered = ops.where(is_inside, self.clipped(self._filling(x)), x)
        return ops.where(is_chosen, covered, x)

    def _filling(self, x: Any) -> Any:
        if self.fill_value is not None:
            return ops.zeros_like(x) + ops.convert_to_tensor(self.fill_value, dtype=str(x.dtype))
        graph: ProgramBuilder | None = current()
        assert graph is not None
        zeros: Buffer = ops.zeros_like(x).buffer
        attrs = {"stddev": self.value_range[1], "stream": self.stream(graph)}
        return Traced(graph, graph.add("gaussian_noise", zeros, *graph.clock(), **attrs))


def inside(height: int, width: int, shares: Sequence[Any], places: Sequence[Any]) -> Any:
    """Which pixels, (n, h, w, 1), are in a rectangle of these shares of the sides at these places, 0 to 1."""
    is_inside = None
    for axis, size, share, place in zip((1, 2), (height, width), shares, places):
        start = place * (size - share * size)
        numbers = ops.reshape(
            ops.arange(size, dtype=str(place.dtype)), [-1 if i == axis else 1 for i in range(4)]
        )
        within = ops.logical_and(numbers >= start, numbers < start + share * size)
        is_inside = within if is_inside is None else ops.logical_and(is_inside, within)
    return is_inside
