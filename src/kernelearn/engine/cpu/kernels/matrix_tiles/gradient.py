"""Kernel gradients of convolutions by matrix tiles: sums over pixels, a tap at a time.

    dw[tap, c, f] = sum over images and pixels p of x[p * stride + tap, c] * g[p, f]

Both operands are copied image by image onto a grid as wide as x with the zeros around it, so that a tap is
one shift of the whole grid, whatever the row:

    x   [phase of the stride][channel][pixel of the grid]    two neighbours are a pair, after any shift
    g   [pair of pixels of the grid][filter]                 zeros where the grid is wider than g

A task has two tiles of filters and a share of the images. It goes through a few images at a time, which stay
in a core's own cache, and adds their sums for all taps and channels to its part of dw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from kernelearn.engine.cpu.kernels.convolution.geometry import Three
from kernelearn.engine.cpu.kernels.convolution.gradient import (
    MAX_PARTIAL_BYTES,
    WANTED_TASKS,
    Gradient,
    find_gradient,
)
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import NOTE, PRODUCTS, STEP_CYCLES, Steps
from kernelearn.engine.cpu.kernels.matrix_tiles.weight_gradient import tile_size
from kernelearn.engine.cpu.kernels.precision import TILES_SAVING, copied, multiplies_tiles
from kernelearn.engine.cpu.kernels.shards import Parts, divided, sum_of_parts
from kernelearn.engine.cpu.language.bfloat16 import pair_of, store_pairs
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.loops import lanes as each_lanes
from kernelearn.engine.cpu.language.matrix_tiles import LANES, LEFT, RIGHT, ROWS, MatrixTiles
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.tables import Table
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, has_images, image_sizes
from kernelearn.engine.program import Operation

# Pixels of a pair; of a square that is turned at once.
PAIR, SQUARE = 2, 2 * LANES
# Bytes of the copies of the images that are gone through together.
CACHED = 2**19
# Bytes of a channel's pixels, a multiple of which falls into few places of the first-level cache.
COLLIDING = 1024


@dataclass(frozen=True)
class Grid:
    """The pixels on which x and g meet.

    Attributes:
        x, g: pixels of an image of them; kernel, stride: of the window.
        shifts: along each axis, of each tap: place on the grid from the first pixel of g on, and phase.
        before: pixels of the grid in front of the first pixel of g; sizes: pixels of the grid.
    """

    x: Three
    g: Three
    stride: Three
    shifts: tuple[tuple[tuple[int, int], ...], ...]
    before: Three
    sizes: Three

    @property
    def phases(self) -> int:
        return math.prod(self.stride)

    def place(self, z: int, y: int, x: int) -> int:
        """Number of a pixel of the grid."""
        return (z * self.sizes[1] + y) * self.sizes[2] + x

    @property
    def steps(self) -> Steps:
        """The rows of the grid from the first to the last one of g, as pairs of pixels."""
        pairs = self.place(self.g[0] - 1, self.g[1], 0) // PAIR
        count = -(-pairs // LANES)
        return Steps(count, -(-pairs // count))

    @property
    def summed(self) -> int:
        """Pixels of all steps."""
        return PAIR * self.steps.count * self.steps.depth

    @cached_property
    def taps(self) -> tuple[tuple[int, int], ...]:
        """Phase, and first pixel of the grid, of each tap of the window."""
        found = []
        for (z, pz), (y, py), (x, px) in (
            (a, b, c) for a in self.shifts[0] for b in self.shifts[1] for c in self.shifts[2]
        ):
            at = self.place(*(n + low for n, low in zip((z, y, x), self.before)))
            found.append(((pz * self.stride[1] + py) * self.stride[2] + px, at))
        return tuple(found)

    @property
    def pixels(self) -> int:
        """Of a channel of a phase of the copy of x, all that any tap reads; an even number."""
        most = max(max(first for _, first in self.taps) + self.summed, math.prod(self.sizes) + 1)
        most += most % PAIR
        return most + SQUARE if 2 * most % COLLIDING == 0 else most


def find_grid(g: Gradient) -> Grid:
    """Of a kernel gradient."""
    x, out = g.x[:3], g.g[:3]
    if g.kernel == (1, 1, 1) and g.stride == (1, 1, 1) and not any(g.before) and x == out:
        flat = (1, 1, math.prod(x))
        even = (1, 1, flat[2] + flat[2] % PAIR)
        return Grid(flat, flat, (1, 1, 1), (((0, 0),),) * 3, (0, 0, 0), even)
    shifts, before, sizes = [], [], []
    for a in range(3):
        found = [divmod(g.shift(a, tap), g.stride[a]) for tap in range(g.kernel[a])]
        low, high = max(0, -min(s for s, _ in found)), max(0, *(s for s, _ in found))
        shifts.append(tuple(found))
        before.append(low)
        sizes.append(low + out[a] + high)
    # NOTE: pairs of pixels of g do not go over the end of a row.
    sizes[2] += sizes[2] % PAIR
    return Grid(x, out, g.stride, tuple(shifts), _three(before), _three(sizes))


def _three(values: list[int]) -> Three:
    depth, height, width = values
    return depth, height, width


# --- copies


@dataclass(frozen=True)
class GridColumns:
    """y[phase][channel][pixel of the grid] of single bfloat16. Tasks: images."""

    grid: Grid
    channels: int

    def emit(self, k: Kernel) -> None:
        grid = self.grid
        size = grid.phases * self.channels * (grid.pixels // PAIR)
        with k.loop(k.lo, k.hi) as image:
            emit_flat(k, image * size, image * size + size, lambda at, mask: k.store(k.zero, "y", at, mask))
            for phase in range(grid.phases):
                for c, count in self._blocks(k):
                    self._block(k, image, phase, c, count)

    def _blocks(self, k: Kernel) -> Iterator[tuple[Index, int]]:
        whole = self.channels // LANES * LANES
        if whole:
            with k.loop(0, whole, LANES) as c:
                yield c, LANES
        if whole < self.channels:
            yield k.const(whole), self.channels - whole

    def _block(self, k: Kernel, image: Index, phase: int, c: Index, channels: int) -> None:
        """Some channels of the pixels of a phase, row by row."""
        grid, (sz, sy, sx) = self.grid, self.grid.stride
        phases = phase // (sy * sx), phase // sx % sy, phase % sx
        (z0, z1), (y0, y1), (x0, x1) = (self._inside(a, p) for a, p in enumerate(phases))
        if min(z1 - z0, y1 - y0, x1 - x0) <= 0:
            return
        target = (image * grid.phases + phase) * (self.channels * grid.pixels) + c * grid.pixels
        width = x1 - x0
        together = max(1, (SQUARE - width) // grid.sizes[2] + 1)

        def rows(z: Index, y: Index, count: int) -> None:
            """So many rows of x, in squares of whole rows or of parts of one."""
            source_z = (z - grid.before[0]) * sz + phases[0]
            source_y = (y - grid.before[1]) * sy + phases[1]
            source = ((image * grid.x[0] + source_z) * grid.x[1] + source_y) * grid.x[2]
            source = (source + ((x0 - grid.before[2]) * sx + phases[2])) * self.channels + c
            place = target + (z * grid.sizes[1] + y) * grid.sizes[2] + x0
            full = width // SQUARE * SQUARE
            with k.loop(0, full, SQUARE) as at:
                self._square(k, source + at * (sx * self.channels), place + at, 1, SQUARE, channels)
            if full < width:
                rest = source + full * sx * self.channels
                self._square(k, rest, place + full, count, width - full, channels)

        with k.loop(z0, z1) as z:
            whole = y0 + (y1 - y0) // together * together
            with k.loop(y0, whole, together) as y:
                rows(z, y, together)
            if whole < y1:
                rows(z, k.const(whole), y1 - whole)

    def _inside(self, axis: int, phase: int) -> tuple[int, int]:
        """Places of the grid at which there are pixels of x."""
        grid = self.grid
        count = max(-(-(grid.x[axis] - phase) // grid.stride[axis]), 0)
        return grid.before[axis], min(grid.before[axis] + count, grid.sizes[axis])

    def _square(self, k: Kernel, source: Index, place: Index, rows: int, width: int, channels: int) -> None:
        """Pixels of some rows, turned; behind the last one of an odd number comes a zero."""
        grid, mask = self.grid, k.mask(channels)
        pixels = (rows - 1) * grid.sizes[2] + width

        def load(pixel: int) -> Value:
            row, column = divmod(pixel, grid.sizes[2])
            if pixel >= pixels or column >= width:
                return k.zero
            at = (row * grid.stride[1] * grid.x[2] + column * grid.stride[2]) * self.channels
            return k.load("x", source + at, mask)

        pairs = -(-pixels // PAIR)
        lines = [
            pair_of(k, load(PAIR * i), load(PAIR * i + 1)) if i < pairs else k.zero for i in range(LANES)
        ]
        stored = k.mask(pairs)
        for i, column in enumerate(transpose(k, lines)[:channels]):
            store_pairs(k, column, "y", place + i * self.grid.pixels, stored)


@dataclass(frozen=True)
class GridPairs:
    """y[pair of pixels of the grid][filter]. Tasks: images."""

    grid: Grid
    filters: int

    def emit(self, k: Kernel) -> None:
        grid, f = self.grid, self.filters
        depth, height, width = grid.g
        row = grid.sizes[2] // PAIR
        with k.loop(k.lo, k.hi) as image:
            start = image * (grid.summed // PAIR * f)
            with k.loop(0, depth) as z, k.loop(0, height) as y:
                source = (((image * depth + z) * height + y) * width) * f
                self._row(k, source, start + ((z * grid.sizes[1] + y) * row) * f)
            with k.loop(0, depth - 1) as z:
                self._clear(k, start, z)
            used = grid.place(depth - 1, height, 0) // PAIR
            _zeros(k, start + used * f, (grid.summed // PAIR - used) * f)

    def _row(self, k: Kernel, source: Index, place: Index) -> None:
        """A row of g, and zeros up to the next."""
        width, f = self.grid.g[2], self.filters

        def line(pair: Index, has_second: bool) -> None:
            def body(lane: Index | int, mask: Value | None) -> None:
                at = source + pair * (PAIR * f) + lane
                second = k.load("x", at + f, mask) if has_second else k.zero
                k.store(pair_of(k, k.load("x", at, mask), second), "y", place + pair * f + lane, mask)

            each_lanes(k, f, body)

        with k.loop(0, width // PAIR) as pair:
            line(pair, True)
        if width % PAIR:
            line(k.const(width // PAIR), False)
        used = -(-width // PAIR)
        _zeros(k, place + used * f, (self.grid.sizes[2] // PAIR - used) * f)

    def _clear(self, k: Kernel, start: Index, z: Index) -> None:
        """Zeros in the rows of a plane that g does not have."""
        grid, f = self.grid, self.filters
        row = grid.sizes[2] // PAIR * f
        first = start + (z * grid.sizes[1] + grid.g[1]) * row
        _zeros(k, first, (grid.sizes[1] - grid.g[1]) * row)


def _zeros(k: Kernel, place: Index, count: int) -> None:
    if count:
        emit_flat(k, place, place + count, lambda at, mask: k.store(k.zero, "y", at, mask))


# --- products


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
    shape = plan.shape(op.inputs[0])
    if not multiplies_tiles(plan, op) or not plan.is_float(*op.inputs, *op.outputs):
        return False
    if not has_images(shape) or None in shape[1:]:
        return False
    *positions, inner = image_sizes(shape)
    rows, outer, one = math.prod(positions), image_sizes(plan.shape(op.inputs[1]))[-1], (1, 1, 1)
    return _lower(plan, op, Gradient((1, 1, rows, inner), (1, 1, rows, outer), one, one, (0, 0, 0), one, 1))


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
    """Whether tiles and their copies take less time than sums in float32, in cycles as measured."""
    rows, lanes, pixels = tile_size(g.inner, ROWS), tile_size(g.outer, LANES), math.prod(g.g[:3])
    down, across = math.prod(g.kernel) * g.inner // rows, g.outer // lanes
    tiles = -(-down // 2) * -(-across // 2) * grid.steps.count * (STEP_CYCLES + 2 * rows)
    copies = (grid.phases * g.inner * grid.pixels + g.outer * grid.summed) / 4
    return tiles + copies < math.prod(g.kernel) * g.inner * g.outer * pixels / PRODUCTS
