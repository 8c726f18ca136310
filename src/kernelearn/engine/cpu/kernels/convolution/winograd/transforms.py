"""Tiles between memory and the arrays of their products, along up to three axes.

In two dimensions a tile of 2 x 2 outputs of a window of 3 x 3 takes 16 products instead of 36 (Lavin & Gray
2016, arXiv:1509.09308), and the sums over channels become 16 matrix products. Each output still depends on
the pixels of its own window and no others, so zeros, NaN and borders stay where they belong; how rounding
differs from a sum tap by tap is measured in docs/cpu-engine.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from kernelearn.engine.cpu.kernels.convolution.geometry import Sizes
from kernelearn.engine.cpu.kernels.convolution.winograd.axes import Alike, Axis
from kernelearn.engine.cpu.kernels.convolution.winograd.filters import Linear
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import Tiles, padded
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import each_vector
from kernelearn.engine.cpu.language.values import Value


def along_axes(maps: Sequence[Linear], values: Sequence[Value]) -> list[Value]:
    """Maps along the axes of a block of values, the last axis innermost; the last axis first."""
    found = list(values)
    sizes = [m.size for m in maps]
    for number in reversed(range(len(maps))):
        m = maps[number]
        before, behind = math.prod(sizes[:number]), math.prod(sizes[number + 1 :])
        sizes[number] = m.results
        made: list[Value] = []
        for outer in range(before):
            start = outer * m.size * behind
            columns = [m(found[start + i : start + m.size * behind : behind]) for i in range(behind)]
            made += [value for row in zip(*columns) for value in row]
        found = made
    return found


@dataclass(frozen=True)
class Place:
    """A tile: which of its pixels are there, and its number, along each axis; its number within its unit."""

    there: tuple[tuple[bool, ...], ...]
    numbers: tuple[Index, Index, Index]
    tile: Index


def each_tile(k: Kernel, t: Tiles, unit: Index, alike: Sequence[tuple[Alike, ...]]) -> Iterator[Place]:
    """Every tile of a unit of an image whose number is known at run time.

    Args:
        alike: along each axis; the code is emitted once for each of their combinations.
    """
    depth, height, _ = t.axes
    line, low, high = _piece(t, unit)
    row = line % height.tiles if depth.tiles > 1 else line
    plane = line // height.tiles if depth.tiles > 1 else k.const(0)
    # NOTE: planes are looked at when they are read and written, or there would be three times as much code.
    fronts = (Alike(0, depth.tiles - 1, (True,)),) if t.is_deep else alike[0]
    for front, rows in product(fronts, alike[1]):
        with k.all_of([*_within(k, depth, plane, front), *_within(k, height, row, rows)]):
            for columns in alike[2]:
                first = columns.first if low is None else k.maximum(low, columns.first)
                end = columns.last + 1 if high is None else k.minimum(high, columns.last + 1)
                with k.loop(first, end) as column:
                    tile = column if low is None else column - low
                    there = front.there, rows.there, columns.there
                    yield Place(there, (plane, row, column), tile)


def _piece(t: Tiles, unit: Index) -> tuple[Index, Index | None, Index | None]:
    """The line of tiles that a unit belongs to, and its columns; None: all of them."""
    if t.segments == 1:
        return unit, None, None
    low = (unit % t.segments) * t.segment
    return unit // t.segments, low, low + t.segment


def _within(k: Kernel, axis: Axis, number: Index, tiles: Alike) -> list[str]:
    """That a tile is one of these."""
    found: list[str] = [k.compare("sge", number, tiles.first)] if tiles.first else []
    if tiles.last < axis.tiles - 1:
        found.append(k.compare("sle", number, tiles.last))
    return found


def _origin(axis: Axis, number: Index, step: int) -> Index:
    """The pixel of a tile that is `step` per tile of a phase."""
    if axis.phases == 1:
        return number * step
    return (number // axis.phases) * step + number % axis.phases


@dataclass(frozen=True)
class Side:
    """The inputs of tiles, or their outputs, along each axis.

    Attributes:
        sizes: of an image, with channels.
        pixels: of the first tile; steps: to the next tile of a phase.
        maps: to the points.
        alike: tiles with the same pixels.
    """

    tiles: Tiles
    sizes: Sizes
    pixels: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...]
    maps: tuple[Linear, ...]
    alike: tuple[tuple[Alike, ...], ...]

    def located(self, place: Place) -> tuple[Index, list[int | None]]:
        """A place in an image, and the offsets of a tile's pixels from it; None for those that are not there.

        Where tiles are deep, those of the first plane.
        """
        strides, axes = _strides(self.sizes), self.tiles.axes
        tiles = zip(axes, place.numbers, self.steps, strides)
        origins = [_origin(axis, number, step) * s for axis, number, step, s in tiles]
        pixels = [self.pixels[0][:1] if self.tiles.is_deep else self.pixels[0], *self.pixels[1:]]
        first = sum(line[0] * s for line, s in zip(pixels, strides))
        lines = [[(i - line[0]) * s for i in line] for line, s in zip(pixels, strides)]
        return origins[0] + origins[1] + origins[2] + first, _offsets(lines, place.there)

    def planes(self, k: Kernel, place: Place) -> Iterator[tuple[Index, Index, Index]]:
        """(number, offset from the first, number in the image) of every plane of a deep tile."""
        pixels = self.pixels[0]
        gap = pixels[1] - pixels[0]
        first = _origin(self.tiles.axes[0], place.numbers[0], self.steps[0]) + pixels[0]
        with k.loop(0, len(pixels)) as plane:
            yield plane, plane * (gap * _strides(self.sizes)[0]), first + plane * gap


def inputs_of(t: Tiles) -> Side:
    axes = t.axes
    maps = tuple(a.filter.inputs for a in axes)
    pixels, steps = tuple(a.reads for a in axes), tuple(a.read_step for a in axes)
    return Side(t, t.x, pixels, steps, maps, tuple(a.inputs for a in axes))


def outputs_of(t: Tiles) -> Side:
    axes = t.axes
    maps = tuple(a.filter.outputs.transposed for a in axes)
    pixels, steps = tuple(a.writes for a in axes), tuple(a.write_step for a in axes)
    return Side(t, t.y, pixels, steps, maps, tuple(a.outputs for a in axes))


def _strides(sizes: Sequence[int]) -> tuple[int, int, int]:
    """Numbers from one pixel to the next along each axis of (depth, height, width, channels)."""
    _, height, width, channels = sizes
    return height * width * channels, width * channels, channels


def _offsets(lines: Sequence[Sequence[int]], exist: Sequence[Sequence[bool]]) -> list[int | None]:
    """Sums of an offset along each axis, where the pixel exists along all of them."""
    return [
        sum(line[i] for line, i in zip(lines, numbers))
        if all(there[i] for there, i in zip(exist, numbers))
        else None
        for numbers in product(*(range(len(line)) for line in lines))
    ]


def store_inputs(
    k: Kernel, t: Tiles, name: str, image: Index, unit: Index, tile: Index, stride: int, channels: int
) -> None:
    """B d, along all axes, of a unit of tiles of "x".

    Args:
        name: the local array [point][tile][channel] that is written; channels padded to whole vectors.
        image: where the first of the `channels` that are wanted starts in the image.
        tile: number of the unit's first tile in the array; stride: numbers between points.
    """
    side, depth = inputs_of(t), padded(channels, k.width)
    for place in each_tile(k, t, unit, side.alike):
        at, offsets = side.located(place)
        target = (tile + place.tile) * depth
        if t.is_deep:
            _store_deep(k, side, place, image + at, offsets, name, target, stride, channels)
        else:
            _store(k, side.maps, "x", image + at, offsets, name, target, stride, channels)


def store_gradients(
    k: Kernel, t: Tiles, name: str, image: Index, unit: Index, tile: Index, stride: int, channels: int
) -> None:
    """A' g, along all axes, of a unit of tiles of "g"; arguments as of `store_inputs`."""
    side, depth = outputs_of(t), padded(channels, k.width)
    for place in each_tile(k, t, unit, side.alike):
        at, offsets = side.located(place)
        _store(k, side.maps, "g", image + at, offsets, name, (tile + place.tile) * depth, stride, channels)


def _store(
    k: Kernel,
    maps: Sequence[Linear],
    role: str,
    source: Index,
    offsets: Sequence[int | None],
    name: str,
    target: Index,
    stride: int,
    channels: int,
) -> None:
    """The points of a tile, for every vector of its channels."""
    for c, mask in each_vector(k, channels):
        held = [k.nothing if o is None else k.load(role, source + c + o, mask) for o in offsets]
        for point, value in enumerate(along_axes(maps, held)):
            k.store(value, name, target + c + point * stride)


def _store_deep(
    k: Kernel,
    side: Side,
    place: Place,
    source: Index,
    offsets: Sequence[int | None],
    name: str,
    target: Index,
    stride: int,
    channels: int,
) -> None:
    """The same of deep tiles of "x" in two turns, the points of each plane between them in "planes"."""
    along, *within = side.maps
    flat = math.prod(m.results for m in within)
    for c, mask in each_vector(k, channels):
        for plane, offset, number in side.planes(k, place):
            at = plane * (flat * k.width)
            with k.when(k.compare("uge", number, side.sizes[0])), k.loop(0, flat) as point:
                k.store(k.zero, "planes", at + point * k.width)
            with k.when(k.compare("ult", number, side.sizes[0])):
                start = source + c + offset
                held = [k.nothing if o is None else k.load("x", start + o, mask) for o in offsets]
                for i, value in enumerate(along_axes(within, held)):
                    k.store(value, "planes", at + i * k.width)
        with k.loop(0, flat) as point:
            held = [k.load("planes", (point + i * flat) * k.width) for i in range(along.size)]
            for i, value in enumerate(along(held)):
                k.store(value, name, target + c + (point + i * flat) * stride)


def load_points(k: Kernel, name: str, at: Index, stride: int, points: int) -> list[Value]:
    """The values of a tile, one for each point."""
    return [k.load(name, at + point * stride) for point in range(points)]
