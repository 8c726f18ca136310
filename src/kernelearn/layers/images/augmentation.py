"""Layers that change images at random in training and let them pass in inference: flip, crop, turn, zoom,
contrast.

Every image of a batch gets a draw of its own from the step's random numbers; what is done with it is a
deterministic operator with an exact gradient, so that these layers may stand anywhere in a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from kernelearn._configurable import is_number
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.images.augmentation import INDEX_RULES, INTERPOLATIONS
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.layers.core.arguments import (
    Shape,
    check_positive,
    check_rank,
    from_channels_last,
    known_sizes,
    to_channels_last,
)
from kernelearn.layers.core.base import LAYERS, LayerOptions
from kernelearn.layers.images.preprocessing import SingleImages, centre_crop
from kernelearn.layers.noise import _Random

Factor = float | Sequence[float]
FLIP_MODES = {"horizontal": (2,), "vertical": (1,), "horizontal_and_vertical": (1, 2)}


def factor_range(factor: Any, name: str, low: float = -1.0, high: float = 1.0) -> tuple[float, float]:
    """(smallest, largest) from a number f, meaning (-f, f), or from two numbers.

    Raises: ArgumentError unless both lie in [low, high].

    >>> factor_range(0.2, "factor")
    (-0.2, 0.2)
    """
    listed = isinstance(factor, list | tuple | np.ndarray) and np.ndim(factor) == 1
    values = tuple(factor) if listed else (factor,)
    in_range = all(is_number(v) and low <= v <= high for v in values)
    if len(values) != (2 if listed else 1) or not in_range:
        raise ArgumentError(f"{name} must be a number or two numbers in [{low:g}, {high:g}], got {factor!r}.")
    smallest, largest = sorted(values) if len(values) == 2 else (-abs(values[0]), abs(values[0]))
    return float(smallest), float(largest)


class _RandomImages(SingleImages, _Random):
    """Subclasses give `change` on channels-last buffers, with `draws` random numbers per image."""

    draws = 1
    data_format: str
    # NOTE: as in Keras, a call on arrays that does not say training=False shows what the layer does.
    called_training = True

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, 4, type(self).__name__)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        y = self.change(graph, x, self._draw(graph, x)) if graph.training else self.leave(graph, x)
        return from_channels_last(graph, y, self.data_format)

    def _draw(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        attrs = {"shape": (self.draws,), "low": 0.0, "high": 1.0, "stream": self.stream(graph)}
        return graph.add("random_uniform", x, *graph.clock(), **attrs)

    def change(self, graph: ProgramBuilder, x: Buffer, draw: Buffer) -> Buffer:
        """What happens in training; `draw` is (n, draws) in [0, 1)."""
        raise NotImplementedError(f"{type(self).__name__} must define change(graph, x, draw).")

    def leave(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        """What happens in inference: nothing."""
        return x


@LAYERS.register()
class RandomFlip(_RandomImages):
    """In training, mirror every image with probability one half.

    Args:
        mode: "horizontal" (left-right), "vertical" (top-bottom) or "horizontal_and_vertical". NOTE: the last
            decides for each direction on its own; Keras 3 takes one decision for both.
        seed: mixed into the random stream of this layer.
    """

    mode: str

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        if mode not in FLIP_MODES:
            raise unknown_name("flip mode", mode, FLIP_MODES)
        self.draws = len(FLIP_MODES[mode])

    def change(self, graph: ProgramBuilder, x: Buffer, draw: Buffer) -> Buffer:
        return graph.add("flip", x, draw, axes=FLIP_MODES[self.mode])


@LAYERS.register()
class RandomCrop(_RandomImages):
    """In training a window at a random place of every image, in inference the one in the middle.

    Images that are smaller than the window are cropped to its aspect ratio and enlarged, in both cases. NOTE:
    every image gets a place of its own; Keras 3 takes one for the batch, and its inference leaves images
    uncropped.

    Args:
        height, width: size of the window in pixels.
        seed: mixed into the random stream of this layer.
    """

    draws = 2

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.height = check_positive(height, "height")
        self.width = check_positive(width, "width")

    def change(self, graph: ProgramBuilder, x: Buffer, draw: Buffer) -> Buffer:
        height, width, _ = known_sizes(x)
        if height < self.height or width < self.width:
            return self.leave(graph, x)
        return graph.add("crop", x, draw, size=(self.height, self.width))

    def leave(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return centre_crop(graph, x, (self.height, self.width))


class _RandomWarp(_RandomImages):
    """A random affine map: how it is read where the image ends.

    `fill_mode` is "reflect" (about the edge), "constant" (`fill_value`), "wrap" or "nearest"; `interpolation`
    is "bilinear" or "nearest".
    """

    kind = ""
    fill_mode: str
    interpolation: str
    fill_value: float

    def _check_outside(self) -> None:
        if self.fill_mode not in INDEX_RULES:
            raise unknown_name("fill_mode", self.fill_mode, INDEX_RULES)
        if self.interpolation not in INTERPOLATIONS:
            raise unknown_name("interpolation", self.interpolation, INTERPOLATIONS)

    def ranges(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of every parameter of the map."""
        raise NotImplementedError(f"{type(self).__name__} must define ranges().")

    def change(self, graph: ProgramBuilder, x: Buffer, draw: Buffer) -> Buffer:
        maps = graph.add("affine_map", x, draw, kind=self.kind, ranges=self.ranges())
        outside = {"fill_mode": self.fill_mode, "fill_value": self.fill_value}
        return graph.add("warp", x, maps, interpolation=self.interpolation, **outside)


@LAYERS.register()
class RandomRotation(_RandomWarp):
    """In training, turn every image about its middle.

    Args:
        factor: share of a full turn, counter-clockwise: f for [-f, f], or (lowest, highest), within [-1, 1].
        fill_mode, fill_value: what lies outside: "reflect", "constant" (fill_value), "wrap" or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: mixed into the random stream of this layer.
    """

    kind = "rotation"

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_outside()
        self._range = factor_range(factor, "factor")

    def ranges(self) -> tuple[tuple[float, float], ...]:
        return (self._range,)


@LAYERS.register()
class RandomTranslation(_RandomWarp):
    """In training, shift every image.

    Args:
        height_factor: share of the height, positive is down: f for [-f, f], or (lowest, highest), within [-1,
            1].
        width_factor: share of the width, positive is to the right.
        (the others as in `RandomRotation`)
    """

    kind = "translation"
    draws = 2

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_outside()
        self._ranges = (
            factor_range(height_factor, "height_factor"),
            factor_range(width_factor, "width_factor"),
        )

    def ranges(self) -> tuple[tuple[float, float], ...]:
        return self._ranges


@LAYERS.register()
class RandomZoom(_RandomWarp):
    """In training, shrink (positive factors) or enlarge (negative ones) every image about its middle.

    Args:
        height_factor: f for [-f, f], or (lowest, highest), within (-1, 1]; 0.2 shows 20 % more of the image.
        width_factor: the same for the width; None keeps the aspect ratio.
        (the others as in `RandomRotation`)
    """

    kind = "zoom"

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_outside()
        pairs = (("height_factor", height_factor), ("width_factor", width_factor))
        self._ranges = tuple(self._around_one(f, name) for name, f in pairs if f is not None)
        self.draws = len(self._ranges)

    def _around_one(self, factor: Factor, name: str) -> tuple[float, float]:
        low, high = factor_range(factor, name)
        if low <= -1 and factor != 1:
            raise ArgumentError(
                f"{name} must be greater than -1, which would enlarge without end; got {factor!r}."
            )
        return 1 + low, 1 + high

    def ranges(self) -> tuple[tuple[float, float], ...]:
        return self._ranges


@LAYERS.register()
class RandomContrast(_RandomImages):
    """In training, stretch every channel of every image about its mean: (x - mean) * f + mean, clipped.

    Args:
        factor: f lies in [1 - factor, 1 + factor], or for two numbers in [1 - factor[0], 1 + factor[1]];
            within [0, 1].
            NOTE: as Keras documents it; Keras 3.15 takes [1, 1 + factor] for a single number.
        value_range: smallest and largest pixel value: (0, 255), or (0, 1) for images that were rescaled.
        seed: mixed into the random stream of this layer.
    """

    factor: Factor

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        factor_range(factor, "factor", 0.0)
        self.value_range = tuple(value_range)
        if len(self.value_range) != 2 or not self.value_range[0] < self.value_range[1]:
            raise ArgumentError(f"value_range must be (smallest, largest), got {value_range!r}.")

    def change(self, graph: ProgramBuilder, x: Buffer, draw: Buffer) -> Buffer:
        lower, upper = np.broadcast_to(self.factor, 2).tolist()
        bounds = {"low": 1.0 - lower, "high": 1.0 + upper}
        return graph.add("contrast", x, draw, value_range=self.value_range, **bounds)
