"""Rows between memory and the arrays of their products: name[point][row][tile][channel]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.convolution.filtered_rows.windows import (
    PAIR,
    Alike,
    Lanes,
    Windows,
    outputs,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import point_stride
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import Value


@dataclass(frozen=True)
class Layout:
    """Where numbers of the array of a band of rows lie.

    Attributes:
        rows, tiles, channels: of the array.
    """

    rows: int
    tiles: int
    channels: int

    @property
    def row(self) -> int:
        return self.tiles * self.channels

    @property
    def point(self) -> int:
        """From one point to the next."""
        return point_stride(self.rows * self.tiles, self.channels)


@dataclass(frozen=True)
class Vectors:
    """Neighbouring vectors of a place's channels that share their code.

    Attributes:
        first, last: channels, [first, last); count: of each vector.
        lanes: whose channels they hold; there: channels of a vector that the image has, of each input.
    """

    first: int
    last: int
    count: int
    lanes: tuple[Lanes, ...]
    there: tuple[int, ...]


def vectors_alike(w: Windows, alike: Alike, width: int) -> list[Vectors]:
    """The vectors of a place's channels, in tiles that are alike."""
    found: list[Vectors] = []
    for c in range(0, w.inner, width):
        end = min(c + width, w.inner)
        lanes = tuple(part for part in w.lanes if part.first < end and c < part.first + part.count)
        made = Vectors(c, end, end - c, lanes, tuple(min(max(t - c, 0), end - c) for t in alike.there))
        if found and replace(made, first=found[-1].first, last=c) == found[-1]:
            found[-1] = replace(found[-1], last=end)
        else:
            found.append(made)
    return found


def store_rows(
    k: Kernel, w: Windows, name: str, layout: Layout, image: Index, low: Index, high: Index
) -> None:
    """B d of the rows [low, high) of the image of "x" that begins at `image`; `low` is row 0 of the array."""
    with k.loop(low, high) as row:
        source, target = image + row * (w.x[2] * w.x[3]), (row - low) * layout.row
        for alike in w.alike:
            with k.loop(alike.first, alike.last + 1) as tile:
                at = source + (tile * PAIR - w.before) * w.inner
                place = target + tile * layout.channels
                for vectors in vectors_alike(w, alike, k.width):
                    with k.loop(vectors.first, vectors.last, k.width) as c:
                        for point, value in enumerate(_points(k, w, vectors, at + c)):
                            k.store(value, name, place + c + point * layout.point, k.mask(vectors.count))


def _points(k: Kernel, w: Windows, vectors: Vectors, at: Index) -> list[Value]:
    """B d of a vector of a tile, whose channels may differ in their taps."""
    held = [
        k.load("x", at + place * w.inner, k.mask(there)) if there else k.nothing
        for place, there in enumerate(vectors.there)
    ]
    *others, last = vectors.lanes
    found = last.filter.inputs(held)
    for lanes in reversed(others):
        mask = k.mask(lanes.first + lanes.count - vectors.first)
        assert mask is not None
        found = [
            own if own.is_absent and other.is_absent else mask.choose(own, other)
            for own, other in zip(lanes.filter.inputs(held), found)
        ]
    return found


def store_gradients(
    k: Kernel, w: Windows, name: str, layout: Layout, at: Index, low: Index, high: Index, filters: int
) -> None:
    """A' g of the rows [low, high) of a block of filters of "g"; `at` is where the image's block begins."""
    back = outputs(w.pieces).transposed
    with k.loop(low, high) as row:
        source, target = at + row * (w.y[2] * w.outer), (row - low) * layout.row
        for first, last, count in w.whole_and_rest:
            with k.loop(first, last) as tile:
                for c in range(0, layout.channels, k.width):
                    mask, place = k.mask(filters - c), source + tile * (PAIR * w.outer) + c
                    held = [
                        k.load("g", place + i * w.outer, mask) if i < count else k.nothing
                        for i in range(PAIR)
                    ]
                    for point, value in enumerate(back(held)):
                        k.store(value, name, target + tile * layout.channels + c + point * layout.point)


def outputs_of(k: Kernel, name: str, at: Index, step: int, w: Windows) -> Sequence[Value]:
    """Both outputs of a tile, whose points lie `step` apart from `at` on."""
    return outputs(w.pieces)([k.load(name, at + point * step) for point in range(w.points)])
