"""How maps are cut into tiles for Winograd, where that is worthwhile, and the shape of the products.

A tile is 2 x 2 outputs with the 4 x 4 inputs that they read. Tiles at the border reach over it; those that
reach over it in the same way share their code.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.machine.target import Target

# Products per tile of 2 x 2 outputs.
POINTS = 16
# Products of the sum over the windows of a tile, for each of these.
SAVING = 36 / POINTS
# Fewer channels than this gain nothing: moving numbers into the tiles takes as long as multiplying them.
LEAST_CHANNELS = 8
# At least so many products tap by tap for each one of the tiles: those of small maps reach far outside.
LEAST_SAVING = 1.3
# Transformed weights beyond this size take longer to load, for a single image, than taps take to multiply.
MAX_WEIGHTS_BYTES = 2**20
# Bytes of the transformed tiles that a kernel keeps on its stack.
MAX_TILES_BYTES = 2**20


def is_enabled() -> bool:
    """Whether convolutions may use the transform; KERNELEARN_WINOGRAD=0 sums tap by tap instead."""
    return os.environ.get("KERNELEARN_WINOGRAD", "1").strip() != "0" and stack.is_deep()


@dataclass(frozen=True)
class Span:
    """Tiles along one axis that reach over the border in the same way.

    Attributes:
        first, last: numbers of the tiles, both included.
        inside: which of the tile's four inputs lie in the image.
        kept: which of its two outputs exist; and one more True for every output behind the last tile that
            meets the image, which is zero.
    """

    first: int
    last: int
    inside: tuple[bool, ...]
    kept: tuple[bool, ...]


def spans(inputs: int, outputs: int, start: int) -> tuple[Span, ...]:
    """The tiles of an axis.

    Args:
        start: input that the first weight meets at output 0: minus the padding.
    """
    found: list[Span] = []
    inside = [tuple(0 <= 2 * tile + start + i < inputs for i in range(4)) for tile in range(-(-outputs // 2))]
    last = max((tile for tile, there in enumerate(inside) if any(there)), default=0)
    for tile in range(last + 1):
        count = outputs - 2 * tile if tile == last else 2
        kept = tuple(i < count for i in range(max(count, 2)))
        if found and (found[-1].inside, found[-1].kept) == (inside[tile], kept):
            found[-1] = replace(found[-1], last=tile)
        else:
            found.append(Span(tile, tile, inside[tile], kept))
    return tuple(found)


@dataclass(frozen=True)
class Tiles:
    """How an image is cut: `x`, `y` are (height, width, channels), `start` as of `spans`, for both axes."""

    x: tuple[int, int, int]
    y: tuple[int, int, int]
    start: tuple[int, int]

    @property
    def rows(self) -> int:
        """Rows of tiles; likewise `columns`."""
        return self.row_spans[-1].last + 1

    @property
    def columns(self) -> int:
        return self.column_spans[-1].last + 1

    @property
    def row_spans(self) -> tuple[Span, ...]:
        return spans(self.x[0], self.y[0], self.start[0])

    @property
    def column_spans(self) -> tuple[Span, ...]:
        return spans(self.x[1], self.y[1], self.start[1])

    @property
    def is_whole(self) -> bool:
        """Whether all tiles have their four outputs, and there are no others."""
        return all(span.kept == (True, True) for span in (*self.row_spans, *self.column_spans))

    @property
    def weights_bytes(self) -> int:
        """Size of the transformed weights."""
        return 4 * POINTS * self.x[2] * self.y[2]

    @property
    def least_terms(self) -> int:
        """Products in the kernel gradient's sum of an image, for the weight that meets the fewest inputs."""
        terms = 1
        for size, count, start in zip(self.x, self.y[:2], self.start):
            terms *= min(sum(0 <= i + start + tap < size for i in range(count)) for tap in range(3))
        return terms

    @property
    def saving(self) -> float:
        """Products of a sum over the taps inside of the image, for each product of the tiles."""
        pairs = 1
        for size, count, start in zip(self.x, self.y[:2], self.start):
            pairs *= sum(0 <= i + start + tap < size for i in range(count) for tap in range(3))
        return pairs / (POINTS * self.rows * self.columns)

    @property
    def flops(self) -> float:
        """Multiplications and additions per image of a sum tap by tap, those at the border included."""
        return 2.0 * 9 * math.prod(self.y) * self.x[2]


def worthwhile(x: tuple[int, ...], y: tuple[int, ...], start: tuple[int, int]) -> Tiles | None:
    """The tiles of a convolution with windows of 3 x 3 and steps of one; None if taps are as good.

    Args: as of `Tiles`.
    """
    tiles = Tiles(x, y, start)  # type: ignore[arg-type]
    if not is_enabled() or min(x[2], y[2]) < LEAST_CHANNELS or tiles.saving < LEAST_SAVING:
        return None
    return tiles


def padded(channels: int, width: int) -> int:
    """Channels with the empty lanes of the last vector."""
    return -(-channels // width) * width


def point_stride(tiles: int, channels: int) -> int:
    """Numbers from one point to the next in an array [point][tile][channel].

    A cache line more than needed: multiples of 4 KiB would all fall into the same few places of the cache.
    """
    return tiles * channels + 16


@dataclass(frozen=True)
class Product:
    """Shape of the matrix products of a kernel.

    Attributes:
        rows: rows of tiles that are transformed at once.
        tiles: tiles of a register tile.
        blocks: the output channels, cut into blocks.
    """

    rows: int
    tiles: int
    blocks: Blocks

    def cut(self, rows: int, t: Tiles) -> Product:
        """The same with at most so many rows at once, in register tiles that divide them well."""
        rows = min(rows, self.rows)
        count = rows * t.columns
        return Product(rows, -(-count // -(-count // self.tiles)), self.blocks)


def choose_product(t: Tiles, target: Target) -> Product | None:
    """The shape, or None if the tiles of one row are too many for the cache."""
    full = -(-t.y[2] // target.width)
    vectors = 1 if full == 1 else 2
    limit = (24 if target.registers == 32 else 12) // vectors
    row_bytes = 4 * POINTS * t.columns * padded(t.x[2], target.width)
    if row_bytes > MAX_TILES_BYTES:
        return None
    # NOTE: the larger the weights, the more tiles have to share what is loaded of them.
    wanted = 16 if t.weights_bytes < 2**18 else 32
    rows = max(1, min(-(-wanted // t.columns), MAX_TILES_BYTES // row_bytes))
    return Product(rows, limit, Blocks(t.y[2], target.width, vectors)).cut(rows, t)
