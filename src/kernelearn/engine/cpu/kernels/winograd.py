"""Convolution with windows of 3 x 3 in fewer multiplications: Winograd's minimal filtering F(2 x 2, 3 x 3).

Two neighbouring outputs of a window of three need four products instead of six (Winograd 1980; for
convolutional networks Lavin & Gray 2016, arXiv:1509.09308):

    y = A' [(G g) * (B' d)]     d: 4 inputs, g: 3 weights, y: 2 outputs, * entry by entry

In two dimensions a tile of 2 x 2 outputs takes 16 products instead of 36, and the sums over channels become
16 matrix products. B and A hold 0 and +-1 only, G halves. Each output still depends on the pixels of its own
window and no others, so zeros, NaN and borders stay where they belong; how rounding differs from a sum tap by
tap is measured in docs/cpu-engine.md. The tiles of the largest transforms fit into a core's cache.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu import stack
from kernelearn.engine.cpu.emit import Index, Kernel
from kernelearn.engine.cpu.kernels.pack import Blocks
from kernelearn.engine.cpu.target import Target

# A value of a tile, or None where it is known to be zero.
Value = str | None

# Products per tile of 2 x 2 outputs.
POINTS = 16
# Products of the sum over the windows of a tile, for each of these.
SAVING = 36 / POINTS
# Fewer channels than this gain nothing: moving numbers into the tiles takes as long as multiplying them.
LEAST_CHANNELS = 16
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


def add(k: Kernel, a: Value, b: Value) -> Value:
    if a is None or b is None:
        return b if a is None else a
    return k.add(a, b)


def sub(k: Kernel, a: Value, b: Value) -> Value:
    if b is None:
        return a
    return k.sub(k.zero, b) if a is None else k.sub(a, b)


def inputs_transform(k: Kernel, d: Sequence[Value]) -> list[Value]:
    """B' d."""
    return [sub(k, d[0], d[2]), add(k, d[1], d[2]), sub(k, d[2], d[1]), sub(k, d[1], d[3])]


def outputs_transform(k: Kernel, m: Sequence[Value]) -> list[Value]:
    """A' m."""
    return [add(k, add(k, m[0], m[1]), m[2]), sub(k, sub(k, m[1], m[2]), m[3])]


def gradients_transform(k: Kernel, g: Sequence[Value]) -> list[Value]:
    """A g: the transpose of `outputs_transform`."""
    return [g[0], add(k, g[0], g[1]), sub(k, g[0], g[1]), sub(k, None, g[1])]


def weights_transform(k: Kernel, g: Sequence[Value]) -> list[Value]:
    """G g."""
    half = k.constant(0.5)
    assert g[0] is not None and g[1] is not None and g[2] is not None
    outer, middle = k.mul(half, k.add(g[0], g[2])), k.mul(half, g[1])
    return [g[0], k.add(outer, middle), k.sub(outer, middle), g[2]]


def weights_gradient(k: Kernel, u: Sequence[Value]) -> list[Value]:
    """G' u: the transpose of `weights_transform`."""
    half = k.constant(0.5)
    total, difference = add(k, u[1], u[2]), sub(k, u[1], u[2])
    assert total is not None and difference is not None
    total = k.mul(half, total)
    return [add(k, u[0], total), k.mul(half, difference), add(k, total, u[3])]


def both_axes(k: Kernel, transform, square: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """A transform along the rows of a square of values, then along its columns."""
    along = [transform(k, row) for row in square]
    columns = [transform(k, [row[i] for row in along]) for i in range(len(along[0]))]
    return [list(row) for row in zip(*columns)]


def each_span(k: Kernel, t: Tiles, row: Index) -> Iterator[tuple[Span, Span, Index]]:
    """(span of the row, span of the column, column) of every tile in a row of tiles known at run time."""
    for rows in t.row_spans:
        conditions = [k.compare("sge", row, rows.first)] if rows.first else []
        if rows.last < t.rows - 1:
            conditions.append(k.compare("sle", row, rows.last))
        with k.all_of(conditions):
            for columns in t.column_spans:
                with k.loop(columns.first, columns.last + 1) as column:
                    yield rows, columns, column


def store_inputs(
    k: Kernel, t: Tiles, name: str, image: Index, row: Index, tile: Index, stride: int, channels: int
) -> None:
    """B' d B of a row of tiles of "x".

    Args:
        name: the local array [point][tile][channel] that is written; channels padded to whole vectors.
        image: where the first of the `channels` that are wanted starts in the image.
        tile: number of the row's first tile in the array; stride: numbers between points.
    """
    _, width, step = t.x
    depth = padded(channels, k.width)
    for rows, columns, column in each_span(k, t, row):
        corner = image + (row * 2 + t.start[0]) * (width * step) + (column * 2 + t.start[1]) * step
        target = (tile + column) * depth
        inside = [[a and b for b in columns.inside] for a in rows.inside]
        for c, mask in each_vector(k, channels):
            square = _load_square(k, "x", corner + c, width * step, step, inside, mask)
            store_points(k, both_axes(k, inputs_transform, square), name, target + c, stride)


def store_gradients(
    k: Kernel, t: Tiles, name: str, image: Index, row: Index, tile: Index, stride: int, channels: int
) -> None:
    """A g A' of a row of tiles of "g"; arguments as of `store_inputs`."""
    _, width, step = t.y
    depth = padded(channels, k.width)
    for rows, columns, column in each_span(k, t, row):
        corner = image + row * (2 * width * step) + column * (2 * step)
        target = (tile + column) * depth
        kept = [[a and b for b in columns.kept[:2]] for a in rows.kept[:2]]
        for c, mask in each_vector(k, channels):
            square = _load_square(k, "g", corner + c, width * step, step, kept, mask)
            store_points(k, both_axes(k, gradients_transform, square), name, target + c, stride)


def _load_square(
    k: Kernel, name: str, corner: Index, row: int, column: int, exists: list[list[bool]], mask: str | None
) -> list[list[Value]]:
    """Values of a tile; `row` and `column` are the steps from one to the next."""
    return [
        [k.load(name, corner + i * row + j * column, mask) if there else None for j, there in enumerate(line)]
        for i, line in enumerate(exists)
    ]


def store_points(k: Kernel, square: Sequence[Sequence[Value]], name: str, at: Index, stride: int) -> None:
    """Write the 16 values of a tile, one for each point."""
    for point, value in enumerate(v for row in square for v in row):
        k.store(k.zero if value is None else value, name, at + point * stride)


def each_vector(k: Kernel, channels: int) -> Iterator[tuple[Index, str | None]]:
    """(first channel, mask) of every vector of channels; the last may be partial."""
    full = channels // k.width * k.width
    if full:
        with k.loop(0, full, k.width) as c:
            yield c, None
    if full < channels:
        yield k.const(full), k.mask(channels - full)


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
