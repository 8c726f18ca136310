"""Where windows lie on an axis, worked out when code is made: runs of positions that look alike.

Forward, positions differ in the taps that fall into the image; backward, pixels differ in the windows that
they belong to. Inside of the image all are alike, so a few segments cover an axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from kernelearn.engine.cpu.language.kernel import Index, Kernel

Item = TypeVar("Item")

# Positions [low, high) that are known when the kernel runs.
Range = tuple[Index, Index]


@dataclass(frozen=True)
class WindowAxis:
    """Windows on one axis.

    Attributes:
        size: pixels; window, stride: of the windows, in pixels; before: padding before the first pixel, below
            zero for pixels that are cut off; outputs: number of windows.
    """

    size: int
    window: int
    stride: int
    before: int
    outputs: int

    def taps(self, output: int) -> range:
        """Taps of a window that fall on pixels."""
        start = output * self.stride - self.before
        return range(max(-start, 0), max(min(self.window, self.size - start), max(-start, 0)))

    def covers(self, pixel: int) -> tuple[Cover, ...]:
        """The windows that a pixel belongs to, by tap."""
        cell, rest = divmod(pixel + self.before, self.stride)
        found = []
        for back, tap in enumerate(range(rest, self.window, self.stride)):
            if 0 <= cell - back < self.outputs:
                found.append(Cover(tap, back, len(self.taps(cell - back))))
        return tuple(found)


@dataclass(frozen=True)
class Cover:
    """A pixel in a window: by which tap, how many windows back, and how many pixels that window has."""

    tap: int
    back: int
    count: int


@dataclass(frozen=True)
class Windows:
    """Neighbouring windows with the same taps."""

    start: int
    stop: int
    taps: range


@dataclass(frozen=True)
class Cells:
    """Neighbouring cells of one stride each, alike.

    Attributes:
        pixels: place within the cell -> windows that the pixel there belongs to.
    """

    start: int
    stop: int
    pixels: tuple[tuple[int, tuple[Cover, ...]], ...]


def window_segments(axis: WindowAxis) -> list[Windows]:
    """All windows of an axis."""
    return [Windows(a, b, taps) for a, b, taps in _runs(0, [axis.taps(o) for o in range(axis.outputs)])]


def cell_segments(axis: WindowAxis) -> list[Cells]:
    """All pixels of an axis."""
    first, last = axis.before // axis.stride, (axis.size - 1 + axis.before) // axis.stride
    cells = []
    for cell in range(first, last + 1):
        start = cell * axis.stride - axis.before
        inside = [r for r in range(axis.stride) if 0 <= start + r < axis.size]
        cells.append(tuple((r, axis.covers(start + r)) for r in inside))
    return [Cells(a, b, pixels) for a, b, pixels in _runs(first, cells)]


def _runs(first: int, items: Sequence[Item]) -> Iterator[tuple[int, int, Item]]:
    """(start, stop, item) of equal neighbours."""
    for item, group in groupby(items):
        length = len(list(group))
        yield first, first + length, item
        first += length


def tap_range(k: Kernel, axis: WindowAxis, output: Index) -> Range:
    """`WindowAxis.taps` in code, for a window that is known when the kernel runs."""
    start = output * axis.stride - axis.before
    return k.maximum(start * -1, 0), k.minimum(start * -1 + axis.size, axis.window)


def output_range(k: Kernel, axis: WindowAxis, pixel: Index) -> Range:
    """The windows [low, high) that a pixel belongs to, in code."""
    # Shifted by whole strides, because division in code is that of numbers from zero.
    shift = (axis.window + abs(axis.before)) // axis.stride + 2
    last = (pixel + (axis.before + shift * axis.stride)) // axis.stride - shift
    first = (pixel + (axis.before - axis.window + (shift + 1) * axis.stride)) // axis.stride - shift
    return k.maximum(first, 0), k.minimum(last, axis.outputs - 1) + 1
