"""Copies of x and g in bfloat16 on the grid of a kernel gradient by matrix tiles.

x   [phase of the stride][channel][pixel of the grid]    two neighbours are a pair, after any shift
g   [pair of pixels of the grid][filter]                 zeros where the grid is wider than g
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.matrix_tiles.grid import PAIR, SQUARE, Grid
from kernelearn.engine.cpu.language.bfloat16 import pair_of, store_pairs
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_zeros, tiles
from kernelearn.engine.cpu.language.loops import lanes as each_lanes
from kernelearn.engine.cpu.language.matrix_tiles import LANES
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value


@dataclass(frozen=True)
class GridColumns:
    """y[phase][channel][pixel of the grid] of single bfloat16. Tasks: images."""

    grid: Grid
    channels: int

    def emit(self, k: Kernel) -> None:
        grid = self.grid
        size = grid.phases * self.channels * (grid.pixels // PAIR)
        with k.loop(k.lo, k.hi) as image:
            self._clear(k, image * size, size)
            for phase in range(grid.phases):
                for c, count in tiles(k, self.channels):
                    self._block(k, image, phase, c, count)

    def _clear(self, k: Kernel, start: Index, size: int) -> None:
        """Zeros where no pixel of x will be: around an image, or only behind the last one of each channel."""
        if not self.grid.is_flat:
            emit_zeros(k, "y", start, size)
            return
        count = min(self.grid.x[2], self.grid.sizes[2])
        used, step = -(-count // PAIR), self.grid.pixels // PAIR
        with k.loop(0, self.channels) as c:
            for at in range(used, step, LANES):
                k.store(k.zero, "y", start + c * step + at, k.mask(step - at))

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
            emit_zeros(k, "y", start + used * f, (grid.summed // PAIR - used) * f)

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
        emit_zeros(k, "y", place + used * f, (self.grid.sizes[2] // PAIR - used) * f)

    def _clear(self, k: Kernel, start: Index, z: Index) -> None:
        """Zeros in the rows of a plane that g does not have."""
        grid, f = self.grid, self.filters
        row = grid.sizes[2] // PAIR * f
        first = start + (z * grid.sizes[1] + grid.g[1]) * row
        emit_zeros(k, "y", first, (grid.sizes[1] - grid.g[1]) * row)
