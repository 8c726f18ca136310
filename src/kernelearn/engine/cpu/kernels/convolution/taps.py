"""Convolution and its input gradient: one emitter for both, for all strides, dilations and dimensions.

    y[n, p, f] = sum over taps and c of x[n, p * step + d(tap), c] * w[tap, c, f]

The forward pass is one such sum. The input gradient with stride s is s (in 2D: s * s) of them, one for every
residue of the pixel's position, because only every s-th tap reaches a pixel; each writes every s-th pixel.

A register tile holds R rows x P pixels x V vectors of output channels. Its inner loop runs over the input
channels, broadcasts inputs and multiplies them with packed weights. Taps that fall outside of the image are
left out: in columns when the code is made, in rows by a branch. So no padded copy of the input is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from kernelearn.engine.cpu.kernels.convolution.geometry import (
    TapAxis,
    TapConv,
    Tile,
    choose_joined_tile,
    choose_tile,
    geometry,
    segments,
)
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import WINDOW, Pooled
from kernelearn.engine.cpu.kernels.narrow import fitting, on_vectors
from kernelearn.engine.cpu.kernels.packing import Blocks, Order, block_offset, one_block, packed_weights
from kernelearn.engine.cpu.kernels.packing_pairs import packed_pairs
from kernelearn.engine.cpu.kernels.precision import (
    PAIRS_SAVING,
    channel_pairs,
    has_rounded_operands,
    multiplies_pairs,
    products,
    rounded_operands,
)
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import numbers, permuted
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import BANDS, IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Weights beyond this size stay in the cache only if all images are done for one block of them first.
BIG_WEIGHTS = 3 * 2**18
# Bytes of x and y that a band of rows takes, so that they stay in the cache for all blocks of channels.
BAND_BYTES = 2**16
# Bytes of a multiply-add with a number in memory, and those that the code of a tile may have before rows of
# taps become a loop: a quarter of the first-level cache of instructions.
INSTRUCTION_BYTES, LONG_CODE = 8, 2**13
# The same where a tile has several rows, which share the numbers of an input row in code that is written out.
LONG_CODE_OF_ROWS = 2 * LONG_CODE


@dataclass(frozen=True)
class TapBands:
    """The kernel for few images: tasks are bands of rows of an image."""

    g: TapConv
    tile: Tile
    chain: Chain | Pooled | None
    bands: int

    def emit(self, k: Kernel) -> None:
        blocks = Blocks(self.g.outer, k.width, self.tile.vectors)
        with k.loop(k.lo, k.hi) as task, k.loop(0, self.g.groups) as group:
            n, band = task // self.bands, task % self.bands
            for first, count, vectors, channels in blocks.kinds():
                with k.loop(0, count) as block:
                    for part in self.g.parts:
                        rows = _Rows(k, self.g, self.tile, self.chain, blocks, part, vectors, channels)
                        rows.keep_to(band, self.bands)
                        rows.emit(n, group, first, block)


@dataclass(frozen=True)
class TapBlocks:
    """The kernel for few images with few rows: tasks are blocks of channels of an image."""

    g: TapConv
    tile: Tile
    chain: Chain | Pooled | None

    def emit(self, k: Kernel) -> None:
        blocks = Blocks(self.g.outer, k.width, self.tile.vectors)
        with k.loop(k.lo, k.hi) as task:
            n, unit = task // (blocks.count * self.g.groups), task % (blocks.count * self.g.groups)

            def body(
                group: Index, first: int, block: Index, vectors: int, channels: int, n: Index = n
            ) -> None:
                for part in self.g.parts:
                    _Rows(k, self.g, self.tile, self.chain, blocks, part, vectors, channels).emit(
                        n, group, first, block
                    )

            one_block(k, blocks, self.g.groups, unit, body)


@dataclass(frozen=True)
class Taps:
    """The whole kernel: tasks are images.

    Attributes:
        blocks_outside: whether all images are done for a block of filters before the next block.
        bands: of rows of an image, each of which is done for all blocks before the next band.
    """

    g: TapConv
    tile: Tile
    chain: Chain | Pooled | None
    blocks_outside: bool
    bands: int = 1

    def emit(self, k: Kernel) -> None:
        blocks = Blocks(self.g.outer, k.width, self.tile.vectors)

        def all_rows(
            n: Index,
            group: Index,
            first: int,
            block: Index,
            vectors: int,
            channels: int,
            band: Index | None = None,
        ) -> None:
            for part in self.g.parts:
                rows = _Rows(k, self.g, self.tile, self.chain, blocks, part, vectors, channels)
                if band is not None:
                    rows.keep_to(band, self.bands)
                rows.emit(n, group, first, block)

        for first, count, vectors, channels in blocks.kinds() if self.blocks_outside else ():
            with k.loop(0, self.g.groups) as group, k.loop(0, count) as block, k.loop(k.lo, k.hi) as n:
                all_rows(n, group, first, block, vectors, channels)
        if not self.blocks_outside:
            with k.loop(k.lo, k.hi) as n, k.loop(0, self.bands) as band, k.loop(0, self.g.groups) as group:
                for first, count, vectors, channels in blocks.kinds():
                    with k.loop(0, count) as block:
                        part = band if self.bands > 1 else None
                        all_rows(n, group, first, block, vectors, channels, part)


# (row or pixel of the tile, row or column of the tap that reads)
Pair = tuple[int, int]
# The same of rows, and where the input row begins, counted from the first one.
RowPair = tuple[int, Index | int, int]
# An input column, and what reads it.
Readers = tuple[int, list[Pair]]


@dataclass(frozen=True)
class _Asked:
    """Lines that are prefetched pixel by pixel, one in each turn of a loop.

    Many at once would fill the buffers in which the loads of the first turns wait.

    Attributes:
        place: of the first pixel; step: numbers from one to the next.
        pixels: how many there are.
        roles: role -> whether it is written.
    """

    place: Index
    step: int
    pixels: int
    roles: Mapping[str, bool]

    def ask(self, k: Kernel, pixel: Index, vectors: int) -> None:
        """Prefetch the vectors of a pixel."""
        for (role, is_written), v in product(self.roles.items(), range(vectors)):
            k.prefetch(role, self.place + pixel * self.step + v * k.width, is_written=is_written)


class _Rows:
    """All positions of one image, one block of output channels and one residue class."""

    def __init__(
        self,
        k: Kernel,
        g: TapConv,
        tile: Tile,
        chain: Chain | Pooled | None,
        blocks: Blocks,
        part: tuple[TapAxis, TapAxis, TapAxis],
        vectors: int,
        channels: int,
    ) -> None:
        self.k, self.g, self.tile, self.chain, self.blocks = k, g, tile, chain, blocks
        self.depth, self.height, self.width = part
        self.vectors, self.channels = vectors, channels
        self.lanes = vectors * k.width
        self.lo: Index | int = 0
        self.hi: Index | int = self.height.count // tile.rows * tile.rows

    def keep_to(self, band: Index, bands: int) -> None:
        """Do one of so many bands of rows; the tile's rows have to divide theirs."""
        turns, rows = self.height.count // self.tile.rows, self.tile.rows
        self.lo, self.hi = ((band * turns) // bands) * rows, (((band + 1) * turns) // bands) * rows

    def emit(self, n: Index, group: Index, first: int, block: Index) -> None:
        g, k = self.g, self.k
        self.n = n
        self.channel = group * g.outer + block * self.lanes + first * self.blocks.lanes
        first_input = self.channel if g.is_depthwise else group * g.inner
        if g.few:
            first_input = (self.channel // g.few) * g.inner
        self.x_image = n * math.prod(g.x) + first_input
        self.y_image = n * math.prod(g.y) + self.channel
        self.weights = block_offset(self.blocks, g.tap_count, g.inner, group, first, block)
        full = self.height.count // self.tile.rows * self.tile.rows
        with k.loop(0, self.depth.count) as z:
            if full:
                with k.loop(self.lo, self.hi, self.tile.rows) as y:
                    self._segments(z, y, self.tile.rows)
            if full < self.height.count:
                self._segments(z, k.const(full), self.height.count - full)

    def _segments(self, z: Index, y: Index, rows: int) -> None:
        """A row in tiles: runs of inner tiles of one size in a loop, those at the border one by one."""
        if isinstance(self.chain, Pooled):
            windows = segments(self.width.count // 2, self.tile.pixels // 2)
            pieces = [(2 * start, 2 * count) for start, count in windows]
        else:
            pieces = segments(self.width.count, self.tile.pixels)
        i = 0
        while i < len(pieces):
            end = i
            while (
                end + 1 < len(pieces)
                and pieces[end + 1][1] == pieces[i][1]
                and not self._at_border(pieces[i])
                and not self._at_border(pieces[end + 1])
            ):
                end += 1
            start, pixels = pieces[i]
            if end > i:
                with self.k.loop(start, pieces[end][0] + 1, pixels) as x:
                    self._tile(z, y, rows, x, pixels)
            else:
                self._tile(z, y, rows, start, pixels)
            i = end + 1

    def _at_border(self, piece: tuple[int, int]) -> bool:
        axis = self.width
        reads = [(piece[0] + p) * axis.in_step + d for p in range(piece[1]) for d, _ in axis.taps]
        return any(not 0 <= x < axis.size for x in reads)

    def _tile(self, z: Index, y: Index, rows: int, x: Index | int, pixels: int) -> None:
        k = self.k
        places = [(r, p, v) for r in range(rows) for p in range(pixels) for v in range(self.vectors)]
        self.sums = {place: k.register(start=k.zero) for place in places}
        self.asked = self._asked_in_turn(z, y, rows, x, pixels)
        if self.asked is None:
            self._prefetch(z, y, x)
        depth = self.depth
        for dz, tz in depth.taps:
            plane = z * depth.in_step + dz
            inside = [k.compare("sge", plane, 0)] if dz < 0 else []
            if (depth.count - 1) * depth.in_step + dz >= depth.size:
                inside.append(k.compare("slt", plane, depth.size))
            with k.all_of(inside):
                self._planes(plane, tz, y, rows, x, pixels)
        chain = self.chain
        if isinstance(chain, Pooled):
            self._pool(chain, y // 2, x // 2, rows // 2, pixels // 2)
            return
        for (r, p, v), register in self.sums.items():
            offset = self._y_offset(z, y + r, x, p) + v * k.width
            value, mask = k.get(register), k.mask(self.channels - v * k.width)
            if chain is None:
                k.store(value, "y", offset, mask)
            else:
                chain.apply(k, (value,), offset, self.channel + v * k.width, mask)

    def _pool(self, end: Pooled, row: Index, column: Index | int, rows: int, columns: int) -> None:
        """The windows of a tile, from window (row, column) on."""
        k = self.k
        for r, p, v in product(range(rows), range(columns), range(self.vectors)):
            window = [(k.get(self.sums[2 * r + i, 2 * p + j, v]),) for i, j in WINDOW]
            channel, mask = self.channel + v * k.width, k.mask(self.channels - v * k.width)
            at = k.const(column + p) if isinstance(column, int) else column + p
            end.apply(k, window, self.n, row + r, at, channel, mask)

    def _prefetch(self, z: Index, y: Index, x: Index | int) -> None:
        """Ask for what the chain reads at the end of the tile, while the sums are still being made."""
        full = [e.role for e in self.chain.externals if e.kind == "full"] if self.chain else []
        for (r, p, v), role in product(self.sums, full):
            self.k.prefetch(role, self._y_offset(z, y + r, x, p) + v * self.k.width)

    def _asked_in_turn(self, z: Index, y: Index, rows: int, x: Index | int, pixels: int) -> _Asked | None:
        """What the end of the tile reads and writes, to be asked for in the loop over a tap's channels.

        None where there are more taps or rows, or fewer turns than pixels.
        """
        taps = math.prod(len(axis.taps) for axis in (self.depth, self.height, self.width))
        if taps > 1 or rows > 1 or self.g.inner // self.tile.unroll < pixels:
            return None
        read = [e.role for e in self.chain.externals if e.kind == "full"] if self.chain else []
        written = list(self.chain.writes) if self.chain else ["y"]
        roles = {**dict.fromkeys(read, False), **dict.fromkeys(written, True)}
        return _Asked(self._y_offset(z, y, x, 0), self.width.out_step * self.g.y[3], pixels, roles)

    def _planes(self, plane: Index, tz: int, y: Index, rows: int, x: Index | int, pixels: int) -> None:
        """Every input row that the tile needs, with the (row of the tile, tap) pairs that read it."""
        axis = self.height
        if self._is_long(rows, pixels):
            self._tap_rows(plane, tz, y, rows, x, pixels)
            return
        needed: dict[int, list[RowPair]] = {}
        for r in range(rows):
            for dy, ty in axis.taps:
                needed.setdefault(r * axis.in_step + dy, []).append((r, ty, 0))
        last = axis.count - rows
        for shift, pairs in sorted(needed.items()):
            row = y * axis.in_step + shift
            inside = [self.k.compare("sge", row, 0)] if shift < 0 else []
            if last * axis.in_step + shift >= axis.size:
                inside.append(self.k.compare("slt", row, axis.size))
            with self.k.all_of(inside):
                self._row(plane, row, tz, pairs, x, pixels)

    def _is_long(self, rows: int, pixels: int) -> bool:
        """Whether the code of a tile, written out for each row of taps, would not stay in its cache."""
        channels = min(self.tile.unroll, self.g.inner) + self.g.inner % self.tile.unroll
        count = len(self.height.taps) * len(self.width.taps) * channels * rows * pixels * self.vectors
        limit = LONG_CODE if rows == 1 else LONG_CODE_OF_ROWS
        return len(self.height.taps) > 1 and count * INSTRUCTION_BYTES > limit

    def _tap_rows(self, plane: Index, tz: int, y: Index, rows: int, x: Index | int, pixels: int) -> None:
        """As `_planes`: a loop over the rows of taps that fall inside of the image for all rows of the tile.

        Those that do so for some rows only come before and behind, row by row of the tile: near the upper
        border the first row of the tile has the fewest, near the lower one the last.
        """
        k, axis = self.k, self.height
        taps = sorted(axis.taps)
        (shift, tap), (second, other) = taps[:2]
        step, apart = second - shift, axis.in_step * self.g.x[2] * self.g.x[3]
        bounds = [self._taps_inside((y + r) * axis.in_step + shift, step, len(taps)) for r in range(rows)]

        def loop(low: Index | int, high: Index | int, first: int, last: int) -> None:
            """The rows [first, last) of the tile."""
            if isinstance(low, int) and isinstance(high, int) and low >= high:
                return
            start = (y + first) * axis.in_step + shift
            with k.loop(low, high) as number:
                tap_row = number * (other - tap) + tap
                pairs = [(r, tap_row, (r - first) * apart) for r in range(first, last)]
                self._row(plane, start + number * step, tz, pairs, x, pixels)

        low, high = bounds[0][0], bounds[-1][1]
        for r in range(1, rows):
            loop(bounds[r][0], _least(k, low, bounds[r][1]), r, r + 1)
        loop(low, high, 0, rows)
        for r in range(rows - 1):
            # In low maps the last row of the tile may have no tap in common with the first.
            loop(_most(k, low, high), bounds[r][1], r, r + 1)

    def _taps_inside(self, row: Index, step: int, count: int) -> tuple[Index | int, Index | int]:
        """[first, last) of so many rows of taps that read inside of the image.

        Args:
            row: what the first one reads; step: rows from one to the next.
        """
        k, axis = self.k, self.height
        low: Index | int = 0
        high: Index | int = count
        shifts = [d for d, _ in axis.taps]
        if min(shifts) < 0:
            low = k.minimum((k.maximum(k.const(0) - row, 0) + (step - 1)) // step, count)
        if (axis.count - 1) * axis.in_step + max(shifts) >= axis.size:
            high = k.minimum((k.maximum(k.const(axis.size) - row, 0) + (step - 1)) // step, count)
        return low, high

    def _row(
        self, plane: Index, row: Index, tz: int, pairs: Sequence[RowPair], x: Index | int, pixels: int
    ) -> None:
        """Multiply one input row into the tile: loop over its channels."""
        k, g = self.k, self.g
        _, height, width, channels = g.x
        start = self.x_image + (plane * height + row) * (width * channels)
        if not isinstance(x, int):
            start = start + x * (self.width.in_step * channels)
        readers = self._columns(x, pixels)
        if not readers:
            return
        unroll = min(self.tile.unroll, g.inner)
        full = g.inner // unroll * unroll
        asking = 0
        if self.asked is not None:
            asking = self.asked.pixels * unroll
            with k.loop(0, asking, unroll) as c:
                self.asked.ask(k, c // unroll, self.vectors)
                for u in range(unroll):
                    self._channel(start, c + u, tz, pairs, readers)
        if asking < full:
            with k.loop(asking, full, unroll) as c:
                for u in range(unroll):
                    self._channel(start, c + u, tz, pairs, readers)
        for last in range(full, g.inner):
            self._channel(start, k.const(last), tz, pairs, readers)

    def _columns(self, x: Index | int, pixels: int) -> list[Readers]:
        """Input columns (from the tile's first; absolute if it is static) -> (pixel, tap) that read them."""
        axis = self.width
        readers: dict[int, list[Pair]] = {}
        for p in range(pixels):
            for d, t in axis.taps:
                column = p * axis.in_step + d
                if isinstance(x, int):
                    column += x * axis.in_step
                    if not 0 <= column < axis.size:
                        continue
                readers.setdefault(column, []).append((p, t))
        return sorted(readers.items())

    def _channel(
        self, x: Index, c: Index, tz: int, pairs: Sequence[RowPair], readers: Sequence[Readers]
    ) -> None:
        """One input channel: broadcast each column, multiply with the weights of all taps that read it."""
        k, g = self.k, self.g
        at = self.weights + c * (g.taps_together * self.lanes)
        inputs = self._inputs_of(c)
        if not self._fits(pairs, readers):
            self._channel_by_taps(x, at, tz, pairs, readers, inputs)
            return
        held: dict[tuple[Index | int, int, int], Value] = {}

        def weight(ty: Index | int, tx: int, v: int) -> Value:
            if (ty, tx, v) not in held:
                held[ty, tx, v] = k.load("w", at + self._tap(tz, ty, tx) + v * k.width, element=g.element)
            return held[ty, tx, v]

        for (column, users), (apart, rows) in product(readers, _by_input_row(pairs)):
            values = inputs(x + apart + column * g.x[3])
            for p, tx in users:
                for r, ty in rows:
                    for v in range(self.vectors):
                        register = self.sums[r, p, v]
                        k.set(register, k.multiply_add(values[v], weight(ty, tx, v), k.get(register)))

    def _fits(self, pairs: Sequence[RowPair], readers: Sequence[Readers]) -> bool:
        """Whether the weights of all these taps have place in registers beside the sums."""
        taps = {(ty, tx) for _, users in readers for _, tx in users for _, ty, _ in pairs}
        return self.vectors == 1 or len(self.sums) + len(taps) * self.vectors < self.k.target.registers

    def _channel_by_taps(
        self,
        x: Index,
        at: Index,
        tz: int,
        pairs: Sequence[RowPair],
        readers: Sequence[Readers],
        inputs: Callable[[Index], list[Value]],
    ) -> None:
        """The same tap by tap: its weights in registers, and the columns broadcast again for each tap.

        To broadcast a number again takes no longer than to read a weight again.
        """
        k = self.k
        users: dict[int, list[Pair]] = {}
        for column, found in readers:
            for p, tx in found:
                users.setdefault(tx, []).append((column, p))
        tap_rows = list(dict.fromkeys(ty for _, ty, _ in pairs))
        for tx, ty in product(sorted(users), tap_rows):
            k.forget()
            place = at + self._tap(tz, ty, tx)
            weights = [k.load("w", place + v * k.width, element=self.g.element) for v in range(self.vectors)]
            rows = [(r, apart) for r, tap, apart in pairs if tap == ty]
            for (r, apart), (column, p) in product(rows, users[tx]):
                values = inputs(x + apart + column * self.g.x[3])
                for v in range(self.vectors):
                    register = self.sums[r, p, v]
                    k.set(register, k.multiply_add(values[v], weights[v], k.get(register)))

    def _tap(self, tz: int, ty: Index | int, tx: int) -> Index | int:
        """Where the weights of a tap begin, counted from those of the same channel and the first tap."""
        g = self.g
        row = (ty + tz * g.kernel[1]) * g.kernel[2]
        return (row * g.inner + tx * (1 if g.taps_together > 1 else g.inner)) * self.lanes

    def _inputs_of(self, c: Index) -> Callable[[Index], list[Value]]:
        """What the vectors of the tile multiply, of a pixel that begins at an offset: channel c of its group.

        That is one number in all lanes; or a channel in each; or the channel of each lane's own group, which
        is brought there from a vector with the channels of all groups of the vector.
        """
        k, g = self.k, self.g
        if not g.is_depthwise and not g.few:
            return lambda at: [k.broadcast("x", at + c, g.element)] * self.vectors
        channels = [self.channels - v * k.width for v in range(self.vectors)]
        if g.is_depthwise:
            return lambda at: [k.load("x", at + v * k.width, k.mask(n)) for v, n in enumerate(channels)]
        groups = k.width // g.few
        lanes = [min(groups, -(-n // g.few)) * g.inner for n in channels]
        order = numbers(k, (i // g.few * g.inner for i in range(k.width))) + c.to_int().splat()
        return lambda at: [
            permuted(k, k.load("x", at + v * (groups * g.inner), k.mask(n)), order)
            for v, n in enumerate(lanes)
        ]

    def _y_offset(self, z: Index, y: Index, x: Index | int, p: int) -> Index:
        _, height, width, channels = self.g.y
        plane = z * self.depth.out_step + self.depth.out_start
        row = y * self.height.out_step + self.height.out_start
        offset = self.y_image + (plane * height + row) * (width * channels)
        column = (x + p) * self.width.out_step + self.width.out_start
        return offset + column * channels


def _least(k: Kernel, a: Index | int, b: Index | int) -> Index | int:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else k.minimum(k.const(0) + a, b)


def _most(k: Kernel, a: Index | int, b: Index | int) -> Index | int:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else k.maximum(k.const(0) + a, b)


def _by_input_row(pairs: Sequence[RowPair]) -> list[tuple[int, list[tuple[int, Index | int]]]]:
    """(where an input row begins, [(row of the tile, row of taps) that read it])."""
    rows: dict[int, list[tuple[int, Index | int]]] = {}
    for r, ty, apart in pairs:
        rows.setdefault(apart, []).append((r, ty))
    return list(rows.items())


def lower_taps(
    plan: Plan, op: Operation, chain: Chain | Pooled | None = None, operation: Operation | None = None
) -> bool:
    """Add the calls of a convolution whose results go through a chain (None: are stored).

    Args:
        operation: what the calls are said to do, if it is more than `op`.
    """
    if not plan.is_float(op.inputs[0], op.inputs[1], op.outputs[0]):
        return False
    g, transposed = geometry(plan, op)
    pairs = multiplies_pairs(plan, op) and not g.is_depthwise and g.inner > 1
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    widest = max(part[2].count for part in g.parts)
    highest = max(part[1].count for part in g.parts)
    inner = -(-g.inner // 2) if pairs else g.inner
    g = g if pairs else g.joined(plan.target)
    target = plan.target if pairs or g.few else fitting(plan.target, g.outer)
    has_windows = isinstance(chain, Pooled)
    if g.few:
        tile = choose_joined_tile(highest, widest, inner, target, has_windows)
    else:
        tile = choose_tile(g.outer, highest, widest, inner, target, has_windows)
    blocks, flops = Blocks(g.outer, target.width, tile.vectors), g.flops
    x, weights = _operands(plan, op, g, blocks, transposed, pairs)
    g = g.in_pairs() if pairs else g
    size = 4 * g.tap_count * g.inner * blocks.padded * g.groups
    blocks_outside = size > BIG_WEIGHTS and blocks.count > 1
    bands = 1 if blocks_outside else _bands(g, tile, blocks.count)
    finer = _split(g, tile, chain, blocks.count * g.groups)
    reads = {"x": x, "w": weights, **(chain.reads if chain else {})}
    writes = chain.writes if chain else {"y": op.outputs[0]}
    plan.call(
        operation or op,
        on_vectors(Taps(g, tile, chain, blocks_outside, bands), target.width, plan.target),
        reads,
        writes,
        IMAGES,
        flops=(flops, 0.0),
        saving=PAIRS_SAVING if pairs else 1.0,
        note=f"{op.operator} tile {tile.rows}x{tile.pixels}x{tile.vectors}{products(op, pairs)}",
        split=finer and (on_vectors(finer[0], target.width, plan.target), finer[1]),
    )
    return True


def _operands(
    plan: Plan, op: Operation, g: TapConv, blocks: Blocks, transposed: bool, pairs: bool
) -> tuple[str, str]:
    """The input and the packed weights as the kernel reads them."""
    x, weights = op.inputs
    together = g.taps_together
    order = Order(blocks, g.tap_count // together, together, g.inner, g.groups)
    if pairs:
        return channel_pairs(plan, op, x, g.inner), packed_pairs(plan, op, weights, order, transposed)
    return x, packed_weights(plan, op, weights, order, transposed, g.few)


def _bands(g: TapConv, tile: Tile, blocks: int) -> int:
    """Bands of rows of an image that a depthwise convolution does for all blocks, one after the other.

    Then a row of a large map goes through the cache once and not once for each block. The weights do that for
    each band instead; of other convolutions they are too many.
    """
    size = 4 * (math.prod(g.x) + math.prod(g.y))
    highest, lowest = (find(part[1].count for part in g.parts) for find in (max, min))
    if not g.is_depthwise or blocks == 1 or g.x[0] > 1 or size < 2 * BAND_BYTES:
        return 1
    if any(part[1].count % tile.rows for part in g.parts):
        return 1
    rows = max(1, highest * BAND_BYTES // size)
    return max(1, min(highest // rows, lowest // tile.rows))


def _split(
    g: TapConv, tile: Tile, chain: Chain | Pooled | None, blocks: int
) -> tuple[TapBands | TapBlocks, Tasks] | None:
    """The convolution of one image as several tasks: bands of rows, or blocks of channels; None: neither."""
    rows = min(part[1].count for part in g.parts)
    if rows >= 2 * BANDS and all(part[1].count % tile.rows == 0 for part in g.parts):
        return TapBands(g, tile, chain, BANDS), Tasks(per_image=BANDS)
    if blocks > 1:
        return TapBlocks(g, tile, chain), Tasks(per_image=blocks)
    return None
