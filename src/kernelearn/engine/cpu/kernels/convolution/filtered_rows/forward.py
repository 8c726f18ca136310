"""Convolution and input gradient by filtered rows: transform a band of rows, multiply, transform back.

All rows of x that a band of outputs meets are transformed once, into an array on the stack that stays in the
second-level cache. For a block of output channels and each point, a register tile holds tiles of a row times
vectors of channels, and the sums run over some rows of taps and all channels; they are short sums that are
added up, which rounds less than a long one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.convolution.filtered_rows.transforms import (
    Layout,
    outputs_of,
    store_rows,
)
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.weights import transformed_rows
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.windows import (
    PAIR,
    Windows,
    find_windows,
    rounded_up,
)
from kernelearn.engine.cpu.kernels.convolution.geometry import TapConv, geometry, segments
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import MAX_WEIGHTS_BYTES, is_enabled
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, multiplies_pairs, rounded_operands
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import BANDS, IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Moving a number into a tile or out of one takes as long as so many products, in a kernel gradient fewer
# beside what taps take there. And the gain that is asked for.
MOVES, GRADIENT_MOVES, LEAST_GAIN = 16, 8, 1.05
# Tiles of an image, at least, where weights of more than MAX_WEIGHTS_BYTES come from afar.
LEAST_TILES = 48
# Terms of one sum, at most about, of windows of up to three places and of longer ones, which round more.
SHORT_WINDOW, LONG_SUM, SHORT_SUM = 3, 160, 64


@dataclass(frozen=True)
class Shape:
    """How the work is cut.

    Attributes:
        blocks: the output channels, cut into blocks of a register tile's vectors.
        tiles: of a row in a register tile, at most.
        band: rows of outputs that are made at a time.
        rows: of taps in one sum, at most.
    """

    blocks: Blocks
    tiles: int
    band: int
    rows: int


def choose_shape(w: Windows, target: Target, step: int = 1) -> Shape | None:
    """The shape; None where rows are too long for the cache. `step`: rows of a band are a multiple of it."""
    limit, full = (24 if target.registers == 32 else 12), -(-w.outer // target.width)

    def tiles(vectors: int) -> int:
        """Of a register tile beside the weights and a number of x."""
        return max(1, min(limit, target.registers - 1 - vectors) // vectors)

    def use(vectors: int) -> float:
        """Sums that a register tile holds on the average, without lanes that nobody reads."""
        parts = segments(w.tiles, tiles(vectors))
        blocks = -(-full // vectors)
        return w.tiles * vectors / len(parts) * full / (blocks * vectors)

    vectors = max(range(1, min(4, full) + 1), key=lambda v: (use(v), v))
    terms = LONG_SUM if w.most <= SHORT_WINDOW else SHORT_SUM
    blocks, sums = Blocks(w.outer, target.width, vectors), -(-w.rows // max(1, terms // w.inner))
    band = w.band(lambda rows: max(w.local_rows(rows) * w.inner, rows * blocks.lanes), step)
    return Shape(blocks, tiles(vectors), band, -(-w.rows // sums)) if band else None


@dataclass(frozen=True)
class FilteredRows:
    """The kernel: tasks are images, or bands of an image's rows.

    Attributes:
        are_bands: whether tasks are single bands.
    """

    w: Windows
    s: Shape
    chain: Chain | Pooled | None
    are_bands: bool = False

    @property
    def bands(self) -> int:
        """Of an image."""
        return -(-self.w.y[1] // self.s.band)

    def emit(self, k: Kernel) -> None:
        each = 1 if self.are_bands else self.bands
        band = _Band(k, self)
        with k.loop(k.lo * each, k.hi * each) as number:
            image, low = number // self.bands, (number % self.bands) * self.s.band
            band.emit(image, low, k.minimum(low + self.s.band, self.w.y[1]))


class _Band:
    """The steps of the kernel."""

    def __init__(self, k: Kernel, code: FilteredRows) -> None:
        self.k, self.w, self.s, self.chain = k, code.w, code.s, code.chain
        w, s = self.w, self.s
        self.inputs = Layout(w.local_rows(s.band), w.tiles, w.inner)
        k.local("rows", w.points * self.inputs.point)
        k.local("products", w.points * Layout(s.band, w.tiles, s.blocks.lanes).point)

    def emit(self, image: Index, low: Index, high: Index) -> None:
        """The rows [low, high) of outputs of an image."""
        k, w, blocks = self.k, self.w, self.s.blocks
        first, end = w.read_rows(k, low, high)
        store_rows(k, w, "rows", self.inputs, image * math.prod(w.x), first, end)
        for start, count, vectors, channels in blocks.kinds():
            layout = Layout(self.s.band, w.tiles, vectors * k.width)
            with k.loop(0, count) as block:
                weights = block_offset(blocks, w.rows * w.points, w.inner, 0, start, block)
                self._multiply(layout, weights, low, high, first, vectors)
                channel = (block + start) * blocks.lanes
                if isinstance(self.chain, Pooled):
                    self._write_pooled(self.chain, layout, image, low, high, channel, vectors, channels)
                else:
                    self._write(layout, image, low, high, channel, vectors, channels)

    def _multiply(
        self, layout: Layout, weights: Index, low: Index, high: Index, first: Index, vectors: int
    ) -> None:
        """products[point][row] = sum over rows of taps i: rows[point][row * stride + i] @ w[i, point]."""
        k, w, lanes = self.k, self.w, layout.channels
        with k.loop(0, w.points) as point:
            for piece in range(0, w.rows, self.s.rows):
                last = min(piece + self.s.rows, w.rows)
                with k.loop(low, high) as row:
                    start, end = w.met_rows(k, row)
                    start = k.maximum(start, piece) if piece else start
                    end = k.minimum(end, last) if last < w.rows else end
                    x = point * self.inputs.point + (row * w.stride - w.above - first) * self.inputs.row
                    y = point * layout.point + (row - low) * layout.row
                    for tile, count in self._segments():
                        with k.loop(*tile, count) as t:
                            self._tile(
                                x + t * w.inner,
                                weights + point * (w.inner * lanes),
                                y + t * lanes,
                                (start, end),
                                count,
                                vectors,
                                is_first=piece == 0,
                            )

    def _segments(self) -> list[tuple[tuple[int, int], int]]:
        """A row of tiles in pieces: ((first, end), size) of those of equal size."""
        found = segments(self.w.tiles, self.s.tiles)
        sizes = sorted({size for _, size in found})
        ranges = [[start for start, size in found if size == wanted] for wanted in sizes]
        return [((starts[0], starts[-1] + size), size) for starts, size in zip(ranges, sizes)]

    def _tile(
        self,
        x: Index,
        weights: Index,
        y: Index,
        rows: tuple[Index, Index],
        tiles: int,
        vectors: int,
        is_first: bool,
    ) -> None:
        """A register tile of products, over some rows of taps: stored, or added to those before."""
        k, w, lanes = self.k, self.w, vectors * self.k.width
        sums = [[k.register(start=k.zero) for _ in range(vectors)] for _ in range(tiles)]
        with k.loop(*rows) as i:
            source = x + i * (w.dilation * self.inputs.row)
            line = weights + i * (w.points * w.inner * lanes)

            def turn(c: Index) -> None:
                held = [k.load("w", line + c * lanes + v * k.width) for v in range(vectors)]
                for number, row in enumerate(sums):
                    value = k.broadcast("rows", source + c + number * w.inner)
                    for register, weight in zip(row, held):
                        k.set(register, k.fma(value, weight, k.get(register)))

            two_a_turn(k, w.inner, turn)
        for number, row in enumerate(sums):
            for v, register in enumerate(row):
                at, total = y + number * lanes + v * k.width, k.get(register)
                k.store(total if is_first else k.load("products", at) + total, "products", at)

    def _write(
        self,
        layout: Layout,
        image: Index,
        low: Index,
        high: Index,
        channel: Index,
        vectors: int,
        channels: int,
    ) -> None:
        """A m of a block of channels, through the chain to memory."""
        k, w = self.k, self.w
        with k.loop(low, high) as row:
            line = (image * w.y[1] + row) * (w.y[2] * w.outer) + channel
            for first, last, count in w.whole_and_rest:
                with k.loop(first, last) as tile:
                    source = (row - low) * layout.row + tile * layout.channels
                    for v in range(vectors):
                        c, mask = v * k.width, k.mask(channels - v * k.width)
                        found = outputs_of(k, "products", source + c, layout.point, w)
                        for i in range(count):
                            at = line + (tile * PAIR + i) * w.outer + c
                            if self.chain is None:
                                k.store(found[i], "y", at, mask)
                            elif isinstance(self.chain, Chain):
                                self.chain.apply(k, (found[i],), at, channel + c, mask)

    def _write_pooled(
        self,
        chain: Pooled,
        layout: Layout,
        image: Index,
        low: Index,
        high: Index,
        channel: Index,
        vectors: int,
        channels: int,
    ) -> None:
        """The same of two rows at a time: their tiles are the windows of a pooling."""
        k, w = self.k, self.w
        with k.loop(low, high, 2) as row, k.loop(0, w.tiles) as tile:
            source = (row - low) * layout.row + tile * layout.channels
            for v in range(vectors):
                places = (source + v * k.width + line * layout.row for line in range(2))
                found = [outputs_of(k, "products", at, layout.point, w) for at in places]
                window = [(value,) for values in found for value in values]
                mask = k.mask(channels - v * k.width)
                chain.apply(k, window, image, row // 2, tile, channel + v * k.width, mask)


def lower_filtered_rows(
    plan: Plan, op: Operation, chain: Chain | Pooled | None = None, operation: Operation | None = None
) -> bool:
    """Windows of several long rows that save enough; False for others. Arguments as of `lower_taps`."""
    if not plan.is_float(op.inputs[0], op.inputs[1], op.outputs[0]):
        return False
    g, _ = geometry(plan, op)
    step = 2 if isinstance(chain, Pooled) else 1
    w = None if (chain and chain.placed) or multiplies_pairs(plan, op) else worthwhile(g)
    shape = choose_shape(w, plan.target, step) if w and w.y[1] % step == w.y[2] % step == 0 else None
    if w is None or shape is None or (w.weights_bytes > MAX_WEIGHTS_BYTES and not plan.is_training):
        return False
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    x, weights = op.inputs
    code = FilteredRows(w, shape, chain)
    band = min(shape.band, rounded_up(-(-w.y[1] // BANDS), step))
    finer = FilteredRows(w, replace(shape, band=band), chain, are_bands=True)
    plan.call(
        operation or op,
        code,
        {"x": x, "w": transformed_rows(plan, op, weights, shape.blocks, w), **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(g.flops, 0.0),
        saving=w.best_saving,
        note=f"{op.operator} rows filtered by {PAIR}, tile {shape.tiles}x{shape.blocks.vectors}",
        split=(finer, Tasks(per_image=finer.bands)) if finer.bands > 1 else None,
    )
    return True


def worthwhile(g: TapConv, moves: float = MOVES, is_split: bool = False) -> Windows | None:
    """The windows; None if taps are as good. `moves`: see MOVES; `is_split`: see `Windows`."""
    if g.groups > 1 or g.is_depthwise or len(g.parts) > 1 or g.kernel[1] == 1 or not is_enabled():
        return None
    found = find_windows(g.x, g.y, g.parts[0], g.kernel)
    found = replace(found, is_split=is_split) if found else None
    if found is None:
        return None
    moved = found.stride / (found.rows * found.outer) + 1 / (found.rows * found.inner)
    is_far = found.weights_bytes > MAX_WEIGHTS_BYTES and found.y[1] * found.tiles < LEAST_TILES
    return found if found.saving >= LEAST_GAIN * (1 + moves * moved) and not is_far else None
