"""Rows of images and of gradients between memory and the arrays of their products: name[point][row][tile][channel]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.filtered_rows.windows import PAIR, Alike, Lanes, Windows, outputs
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
        """NOTE: a cache line more than needed, as for `point_stride`: no multiples of 4 KiB."""
        return self.rows * self.row + 16


def store_rows(k: Kernel, w: Windows, name: str, layout: Layout, image: Index, low: Index, high: Index) -> None:
    """B d of the rows [low, high) of an image of "x", which begins at `image`; `low` is row 0 of the array."""
    with k.loop(low, high) as row:
        source, target = image + row * (w.x[2] * w.x[3]), (row - low) * layout.row
        for alike in w.alike:
            with k.loop(alike.first, alike.last + 1) as tile:
                at = source + (tile * PAIR - w.before) * w.inner
                for lanes in w.lanes:
                    _store_lanes(k, w, lanes, alike, at, name, target + tile * layout.channels, layout.point)


def _store_lanes(
    k: Kernel, w: Windows, lanes: Lanes, alike: Alike, source: Index, name: str, target: Index, step: int
) -> None:
    """The points of a tile, for every vector of some channels."""
    for first, last, loops in _vectors(k, lanes, alike):
        with k.loop(first, last, k.width) as c:
            at = c if loops else k.const(first)
            count = k.width if loops else last - first
            held = [
                _load(k, source + at + place * w.inner, count if loops else min(there - first, count))
                for place, there in enumerate(alike.there)
            ]
            if loops:
                held = [v if there else k.nothing for v, there in zip(held, alike.there)]
            for point, value in enumerate(lanes.filter.inputs(held)):
                k.store(value, name, target + at + point * step, k.mask(count))


def _load(k: Kernel, at: Index, count: int) -> Value:
    return k.load("x", at, k.mask(count)) if count > 0 else k.nothing


def _vectors(k: Kernel, lanes: Lanes, alike: Alike) -> list[tuple[int, int, bool]]:
    """(first, end, whether they are whole vectors that are all there or all absent) of ranges of channels."""
    end = lanes.first + lanes.count
    whole = lanes.first + lanes.count // k.width * k.width
    if any(lanes.first < there < end for there in alike.there):
        return [(c, min(c + k.width, end), False) for c in range(lanes.first, end, k.width)]
    found = [(lanes.first, whole, True)] if whole > lanes.first else []
    return found + ([(whole, end, False)] if whole < end else [])


def store_gradients(
    k: Kernel, w: Windows, name: str, layout: Layout, at: Index, low: Index, high: Index, filters: int
) -> None:
    """A' g of the rows [low, high) of a block of filters of "g"; `at` is where the image's block begins."""
    back, whole = outputs(w.pieces).transposed, w.y[2] // PAIR
    with k.loop(low, high) as row:
        source, target = at + row * (w.y[2] * w.outer), (row - low) * layout.row
        for first, last, count in ((0, whole, PAIR), (whole, w.tiles, 1)):
            with k.loop(first, last) as tile:
                if first == last:
                    continue
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
