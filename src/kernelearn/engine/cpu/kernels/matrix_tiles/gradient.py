"""Kernel gradients of convolutions by matrix tiles: sums over pixels, a tap at a time.

    dw[tap, c, f] = sum over images and pixels p of x[p * stride + tap, c] * g[p, f]

Both operands are copied image by image onto a grid (`grid`, `grid_copies`), on which a tap is a shift of x.
A task has two tiles of filters and a share of the images. It goes through a few images at a time, which stay
in a core's own cache, and adds their sums for all taps and channels to its part of dw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.convolution.gradient import (
    MAX_PARTIAL_BYTES,
    WANTED_TASKS,
    Gradient,
    find_gradient,
)
from kernelearn.engine.cpu.kernels.matrix_tiles.grid import PAIR, Grid, find_grid
from kernelearn.engine.cpu.kernels.matrix_tiles.grid_copies import GridColumns, GridPairs
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import NOTE, PRODUCTS, ROW_CYCLES, STEP_CYCLES
from kernelearn.engine.cpu.kernels.matrix_tiles.weight_gradient import tile_size
from kernelearn.engine.cpu.kernels.precision import TILES_SAVING, copied, multiplies_tiles
from kernelearn.engine.cpu.kernels.products.dense_sizes import dense_sizes
from kernelearn.engine.cpu.kernels.shards import Parts, divided, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.matrix_tiles import LANES, LEFT, RIGHT, ROWS, MatrixTiles
from kernelearn.engine.cpu.language.tables import Table
from kernelearn.engine.cpu.plan import IMAGES, Plan
from kernelearn.engine.program import Operation

# Bytes of the copies of the images that are gone through together.
CACHED = 2**19


@dataclass(frozen=True)
class TileGradient:
    """Parts of the batch; units: two tiles of filters.

    Attributes:
        inner, outer: channels of x and of g.
        images: that are gone through together.
    """

    grid: Grid
    inner: int
    outer: int
    images: int
    parts: Parts

    @property
    def rows(self) -> int:
        """Channels of a tile of x."""
        return tile_size(self.inner, ROWS)

    @property
    def lanes(self) -> int:
        """Filters of a tile of g."""
        return tile_size(self.outer, LANES)

    @property
    def across(self) -> int:
        """Tiles of filters."""
        return self.outer // self.lanes

    @property
    def down(self) -> int:
        """Tiles of channels, of all taps."""
        return len(self.grid.taps) * (self.inner // self.rows)

    def emit(self, k: Kernel) -> None:
        tiles, grid = MatrixTiles(k), self.grid
        size = self.inner * grid.pixels
        taps = Table(k, "taps", [phase * size + first for phase, first in grid.taps], "i64")
        tiles.configure(self.rows, grid.steps.depth, self.lanes)
        with self.parts.each(k, k.scalar("n")) as (part, first, last, unit):
            share = _Share(self, k, tiles, taps, part, first, last)
            full = self.across // 2
            if full:
                with k.all_of([k.compare("slt", unit, full)] if self.across % 2 else []):
                    share.emit(unit * 2, 2)
            if self.across % 2:
                with k.all_of([k.compare("sge", unit, full)] if full else []):
                    share.emit(unit * 2, 1)
        tiles.release()


@dataclass(frozen=True)
class _Share:
    """A part of the batch, the images [first, last)."""

    code: TileGradient
    k: Kernel
    tiles: MatrixTiles
    taps: Table
    part: Index
    first: Index
    last: Index

    def emit(self, column: Index, vectors: int) -> None:
        """So many tiles of filters from one on, some images at a time; without images the sums are zero."""
        k, code = self.k, self.code
        with k.loop(self.first, self.last, code.images) as start:
            end = k.minimum(start + code.images, self.last)
            self._images(start, end, column, vectors)
        if code.parts.shards:
            with k.when(k.compare("sge", self.first, self.last)):
                self._images(self.first, self.first, column, vectors)

    def _images(self, start: Index, end: Index, column: Index, vectors: int) -> None:
        k, down = self.k, self.code.down
        with k.loop(0, down // 2) as pair:
            self._products(start, end, (pair * 2, 2), (column, vectors))
        if down % 2:
            self._products(start, end, (k.const(down - 1), 1), (column, vectors))

    def _products(self, start: Index, end: Index, left: tuple[Index, int], right: tuple[Index, int]) -> None:
        """Tiles from a first one on, so many: their sums over some images, added to those before."""
        k, code, tiles = self.k, self.code, self.tiles
        places = {(i, v): 2 * i + v for i in range(left[1]) for v in range(right[1])}
        size = len(code.grid.taps) * code.inner * code.outer
        target = self.part * size + left[0] * (code.rows * code.outer) + right[0] * code.lanes
        sums = {p: target + p[0] * (code.rows * code.outer) + p[1] * code.lanes for p in places}
        with k.when(k.compare("eq", start, self.first)):
            for tile in places.values():
                tiles.zero(tile)
        with k.when(k.compare("ne", start, self.first)):
            for place, tile in places.items():
                tiles.load(tile, "dw", sums[place], code.outer)
        channels = [self._channels(left[0] + i) for i in range(left[1])]
        with k.loop(start, end) as image:
            self._image(image, channels, right, places)
        for place, tile in places.items():
            tiles.store(tile, "dw", sums[place], code.outer)

    def _channels(self, tile: Index) -> Index:
        """Where the pixels of a tile begin in an image."""
        code, each = self.code, self.code.inner // self.code.rows
        return self.taps.index(tile // each) + (tile % each) * (code.rows * code.grid.pixels)

    def _image(
        self,
        image: Index,
        channels: list[Index],
        right: tuple[Index, int],
        places: dict[tuple[int, int], int],
    ) -> None:
        k, code, tiles, grid = self.k, self.code, self.tiles, self.code.grid
        depth, column = grid.steps.depth, right[0] * code.lanes
        x = image * (grid.phases * code.inner * grid.pixels)
        g = image * (grid.summed // PAIR * code.outer) + column
        with k.loop(0, grid.steps.count) as step:
            for i, at in enumerate(channels):
                tiles.load(LEFT[i], "x", x + at + step * (PAIR * depth), grid.pixels // PAIR, "i16")
            for v in range(right[1]):
                at = g + step * (depth * code.outer) + v * code.lanes
                tiles.load(RIGHT[v], "g", at, code.outer)
            for (i, v), tile in places.items():
                tiles.multiply(tile, LEFT[i], RIGHT[v])


def lower_tile_gradient(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a convolution with one group."""
    if not multiplies_tiles(plan, op) or not plan.is_float(*op.inputs, *op.outputs):
        return False
    g = find_gradient(plan, op)
    return g.groups == 1 and _lower(plan, op, g)


def lower_tile_row_weights(plan: Plan, op: Operation) -> bool:
    """That of a dense layer on images of many rows."""
    sizes, one = dense_sizes(plan, op), (1, 1, 1)
    if not multiplies_tiles(plan, op) or sizes is None:
        return False
    x, g = ((1, 1, sizes.rows, channels) for channels in (sizes.inner, sizes.outer))
    return _lower(plan, op, Gradient(x, g, one, one, (0, 0, 0), one, 1))


def _lower(plan: Plan, op: Operation, g: Gradient) -> bool:
    """Add the calls, if that is faster than sums in float32."""
    inner, outer, grid = g.inner, g.outer, find_grid(g)
    if not is_worthwhile(g, grid):
        return False
    x_size, g_size = grid.phases * inner * grid.pixels // PAIR, grid.summed // PAIR * outer
    images = max(1, CACHED // (4 * (x_size + g_size)))
    size = math.prod(g.kernel) * inner * outer
    units = -(-(outer // tile_size(outer, LANES)) // 2)
    shards = max(1, min(-(-WANTED_TASKS // units), MAX_PARTIAL_BYTES // (4 * size)))
    parts = divided(plan, op, shards, units, size)
    x = copied(plan, op, op.inputs[0], GridColumns(grid, inner), (None, x_size), "uint32", IMAGES)
    grad = copied(plan, op, op.inputs[1], GridPairs(grid, outer), (None, g_size), "uint32", IMAGES)
    code = TileGradient(grid, inner, outer, images if parts.shards else 1, parts)
    with sum_of_parts(plan, op, parts, size) as sums:
        plan.call(
            op,
            code,
            {"x": x, "g": grad, "n": "#n"},
            {"dw": sums},
            parts.tasks,
            flops=(g.flops, 0.0),
            saving=TILES_SAVING,
            note=f"{NOTE}, {parts.note}",
            split=None if parts.shards else (replace(code, parts=parts.finer), parts.finer.tasks),
        )
    return True


def is_worthwhile(g: Gradient, grid: Grid) -> bool:
    """Whether tiles and their copies take less time than sums in float32, in estimated cycles."""
    rows, lanes, pixels = tile_size(g.inner, ROWS), tile_size(g.outer, LANES), math.prod(g.g[:3])
    down, across = math.prod(g.kernel) * g.inner // rows, g.outer // lanes
    tiles = -(-down // 2) * -(-across // 2) * grid.steps.count * (STEP_CYCLES + ROW_CYCLES * rows)
    copies = (grid.phases * g.inner * grid.pixels + g.outer * grid.summed) / 4
    return tiles + copies < math.prod(g.kernel) * g.inner * g.outer * pixels / PRODUCTS
