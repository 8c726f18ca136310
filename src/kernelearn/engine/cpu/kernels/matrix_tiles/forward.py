"""Convolutions and dense layers by matrix tiles: two tiles of pixels times two of filters at a time.

    image, tile pair of filters, two segments of a row of pixels:
        for run of taps, step:     2 tiles of x, 2 of weights, 4 products
        the sums                   straight to y; or to the stack, and row by row through the chain

A tile of x is loaded from where the pixels lie: neighbouring pixels are its rows, the channels of a run of
taps its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import PartSums, TileSums
from kernelearn.engine.cpu.kernels.packing import Blocks, one_block
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.matrix_tiles import LANES, LEFT, RIGHT, ROWS, MatrixTiles

# Tiles of filters at once.
WIDE = 2
# Bytes of weights from which on all images are done for some filters before the next.
BIG_WEIGHTS = 3 * 2**18
# Steps of a run that are written one after the other; more make a loop.
UNROLLED = 2


@dataclass(frozen=True)
class TileConv:
    """y from the copy of x and packed weights. Tasks: images, or (`by_block`) pairs of their filter tiles."""

    sums: TileSums
    chain: Chain | None
    by_block: bool = False

    @property
    def blocks(self) -> Blocks:
        return Blocks(self.sums.outer, LANES, WIDE)

    def emit(self, k: Kernel) -> None:
        with _tiles(k) as tiles:
            if self.by_block:
                with k.loop(k.lo, k.hi) as task:
                    self._one_block(k, tiles, task)
            elif self.sums.weight_bytes > BIG_WEIGHTS:
                for filters in self._blocks(k):
                    with k.loop(k.lo, k.hi) as image:
                        self._image(k, tiles, image, filters)
            else:
                with k.loop(k.lo, k.hi) as image:
                    for filters in self._blocks(k):
                        self._image(k, tiles, image, filters)

    def _blocks(self, k: Kernel) -> Iterator[Filters]:
        """All filters, block by block."""
        for first, count, vectors, channels in self.blocks.kinds():
            with k.loop(first, first + count) as block:
                yield Filters(block, vectors, channels)

    def _one_block(self, k: Kernel, tiles: MatrixTiles, task: Index) -> None:
        image, block = task // self.blocks.count, task % self.blocks.count

        def body(_: Index, first: int, number: Index, vectors: int, channels: int) -> None:
            self._image(k, tiles, image, Filters(number + first, vectors, channels))

        one_block(k, self.blocks, 1, block, body)

    def _image(self, k: Kernel, tiles: MatrixTiles, image: Index, filters: Filters) -> None:
        """Some filters of an image, class by class."""
        for part in self.sums.parts:
            rows, count = part.segments.rows, part.counts[0] * part.counts[1] * part.segments.count
            tiles.configure(rows, part.steps.depth)
            products = TileProducts(self.sums, part, self.chain, k, tiles, filters, rows)
            with k.loop(0, count, 2) as first:
                second = k.minimum(first + 1, count - 1) if count % 2 else first + 1
                products.emit([_place(self.sums, part, k, image, number) for number in (first, second)])


@dataclass(frozen=True)
class TileRows:
    """The same for a dense layer on images of few rows. Tasks: pairs of filter tiles, with all rows."""

    sums: TileSums
    chain: Chain | None

    @property
    def blocks(self) -> Blocks:
        return Blocks(self.sums.outer, LANES, WIDE)

    def emit(self, k: Kernel) -> None:
        (part,), total = self.sums.parts, k.scalar("n") * self.sums.x[2]
        rows = k.maximum(k.minimum(total, ROWS), 1)
        with _tiles(k) as tiles, k.loop(k.lo, k.hi) as task:

            def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
                tiles.configure(rows, part.steps.depth)
                filters = Filters(block + first, vectors, channels)
                products = TileProducts(self.sums, part, self.chain, k, tiles, filters, rows)
                with k.loop(0, total, 2 * ROWS) as start:
                    products.emit([self._place(k, total, rows, start + i * ROWS) for i in (0, 1)])

            one_block(k, self.blocks, 1, task, body)

    @staticmethod
    def _place(k: Kernel, total: Index, rows: Index, wanted: Index) -> Place:
        """Rows from `wanted` on; where there are too few, some before it once more."""
        start = k.minimum(wanted, total - rows)
        return Place(start, start, wanted - start)


@contextmanager
def _tiles(k: Kernel) -> Iterator[MatrixTiles]:
    """The tiles of a kernel with room for its sums."""
    tiles = MatrixTiles(k)
    k.local("sums", 2 * ROWS * WIDE * LANES)
    yield tiles
    tiles.release()


@dataclass(frozen=True)
class Place:
    """A segment: its first pixel in the copy of x and in y; pixels of it that others write."""

    x: Index
    y: Index
    skipped: Index


def _place(sums: TileSums, part: PartSums, k: Kernel, image: Index, number: Index) -> Place:
    """A segment of an image; the last one of a row may begin with pixels of the one before."""
    segments = part.segments
    row, start, skipped = number, k.const(0), k.const(0)
    if segments.count > 1:
        row, wanted = number // segments.count, (number % segments.count) * segments.rows
        start = k.minimum(wanted, segments.size - segments.rows)
        skipped = wanted - start
    at = row // part.counts[1], row % part.counts[1], start
    x = _pixel(image, [a * move for a, move in zip(at, part.x_moves)], sums.copied)
    y = _pixel(image, [a * move + s for a, move, s in zip(at, part.moves, part.starts)], sums.y)
    return Place(x, y, skipped)


def _pixel(image: Index, at: list[Index], sizes: tuple[int, int, int]) -> Index:
    """Number of a pixel, counted through all images."""
    return ((image * sizes[0] + at[0]) * sizes[1] + at[1]) * sizes[2] + at[2]


@dataclass(frozen=True)
class Filters:
    """Number of a pair of filter tiles; tiles and filters that it has."""

    block: Index
    vectors: int
    channels: int


@dataclass(frozen=True)
class TileProducts:
    """Products of two segments with some filters; rows: of a segment."""

    sums: TileSums
    part: PartSums
    chain: Chain | None
    k: Kernel
    tiles: MatrixTiles
    filters: Filters
    rows: Index | int

    def emit(self, places: list[Place]) -> None:
        for segment in range(2):
            for v in range(self.filters.vectors):
                self.tiles.zero(self._sum(segment, v))
        steps, pairs = self.part.steps, self.sums.pairs
        for number, run in enumerate(self.part.runs):
            line = self.part.line + number * steps.count * steps.depth
            starts = [(place.x + run) * pairs for place in places]
            if steps.count <= UNROLLED:
                for step in range(steps.count):
                    self._step(starts, line, self.k.const(step * steps.depth))
            else:
                with self.k.loop(0, steps.count) as turn:
                    self._step(starts, line, turn * steps.depth)
        self._finish(places)

    def _sum(self, segment: int, v: int) -> int:
        """Number of a tile of sums."""
        return segment * WIDE + v

    def _step(self, starts: list[Index], line: int, pair: Index) -> None:
        """Products of a step of a run, that begins with a pair."""
        tiles, sums, filters = self.tiles, self.sums, self.filters
        tiles.load(LEFT[0], "x", starts[0] + pair, self.part.x_moves[2] * sums.pairs)
        for v in range(filters.vectors):
            tile = filters.block * WIDE + v
            tiles.load(RIGHT[v], "w", (tile * sums.lines + line + pair) * LANES)
            if v == 0:
                tiles.load(LEFT[1], "x", starts[1] + pair, self.part.x_moves[2] * sums.pairs)
        for segment in range(2):
            for v in range(filters.vectors):
                tiles.multiply(self._sum(segment, v), LEFT[segment], RIGHT[v])

    def _finish(self, places: list[Place]) -> None:
        """The sums to memory."""
        vectors, outer, move = self.filters.vectors, self.sums.outer, self.part.moves[2]
        column = self.filters.block * (WIDE * LANES)
        is_plain = self.chain is None and self.filters.channels == vectors * LANES
        for segment, place in enumerate(places):
            for v in range(vectors):
                if is_plain:
                    at = place.y * outer + column + v * LANES
                    self.tiles.store(self._sum(segment, v), "y", at, move * outer)
                else:
                    at = self.k.const((segment * ROWS * WIDE + v) * LANES)
                    self.tiles.store(self._sum(segment, v), "sums", at, WIDE * LANES)
        if not is_plain:
            for segment, place in enumerate(places):
                with self.k.loop(place.skipped, self.rows) as row:
                    self._row(segment * ROWS + row, (place.y + row * move) * outer + column, column)

    def _row(self, row: Index, at: Index, column: Index) -> None:
        """The sums of a pixel through the chain to y."""
        k = self.k
        for v in range(self.filters.vectors):
            mask = k.mask(self.filters.channels - v * LANES)
            value = k.load("sums", (row * WIDE + v) * LANES)
            if self.chain is None:
                k.store(value, "y", at + v * LANES, mask)
            else:
                self.chain.apply(k, (value,), at + v * LANES, column + v * LANES, mask)
