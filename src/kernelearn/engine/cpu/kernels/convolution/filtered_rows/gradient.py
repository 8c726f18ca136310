"""The kernel gradient by filtered rows: the transpose of the forward pass.

    dw[i] = G' [sum over rows and tiles of (B d[row * stride + i]) * (A' g[row])]

A task is a part of the batch and a block of filters. It transforms bands of rows of x and g, adds a matrix
product for every row of taps and point to its sums, which stay on the stack, and transforms these back once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.filtered_rows.forward import (
    GRADIENT_MOVES,
    worthwhile,
)
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.transforms import (
    Layout,
    store_gradients,
    store_rows,
)
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.windows import PAIR, Windows
from kernelearn.engine.cpu.kernels.convolution.geometry import forward_geometry
from kernelearn.engine.cpu.kernels.convolution.gradient import (
    MAX_PARTIAL_BYTES,
    WANTED_TASKS,
    find_gradient,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.gradient import LEAST_TERMS
from kernelearn.engine.cpu.kernels.packing import Blocks, one_block
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, multiplies_pairs, rounded_operands
from kernelearn.engine.cpu.kernels.shards import Parts, Put, divided, putter, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import each_vector
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Plan
from kernelearn.engine.program import Operation

# Vectors of filters of a register tile, and filters of a block, at most: each block transforms all of x.
MOST_VECTORS, BLOCK_FILTERS = 4, 64
# Bytes of the sums of a block, at most.
SUMS_BYTES = 2**19
# Tiles that a register tile runs over, at most about: longer sums round more.
LONG_SUM = 64


@dataclass(frozen=True)
class Shape:
    """How the work is cut.

    Attributes:
        blocks: of filters; channels, vectors: of x and of filters in a register tile, at most.
        band: rows of outputs that are transformed at a time; rows: of these in one sum, at most.
    """

    blocks: Blocks
    channels: int
    vectors: int
    band: int
    rows: int


def choose_shape(w: Windows, target: Target) -> Shape | None:
    """The shape; None where rows, or the sums, are too large for the cache."""
    limit, full = (24 if target.registers == 32 else 10), -(-w.outer // target.width)
    most = MOST_VECTORS if target.registers == 32 else 2
    vectors = max(range(1, min(most, full) + 1), key=lambda v: (full % v == 0, v))
    wide = [v for v in range(vectors, BLOCK_FILTERS // target.width + 1, vectors) if full % v == 0]
    blocks = Blocks(w.outer, target.width, max(wide, default=vectors))
    if 4 * w.rows * w.points * w.inner * blocks.lanes > SUMS_BYTES:
        return None
    channels = -(-w.inner // -(-w.inner // (limit // vectors)))
    band = w.band(lambda rows: w.local_rows(rows) * w.inner + rows * blocks.lanes)
    if band is None:
        return None
    sums = -(-band // max(1, LONG_SUM // w.tiles))
    return Shape(blocks, channels, vectors, band, -(-band // sums))


@dataclass(frozen=True)
class FilteredGradient:
    """Parts of the batch; units: blocks of filters; `adds_share`: see `shards.adder`."""

    w: Windows
    s: Shape
    parts: Parts
    adds_share: bool = False

    def emit(self, k: Kernel) -> None:
        w, s = self.w, self.s
        k.local("rows", w.points * Layout(w.local_rows(s.band), w.tiles, w.inner).point)
        k.local("gradients", w.points * Layout(s.band, w.tiles, s.blocks.lanes).point)
        k.local("sums", w.rows * w.points * w.inner * s.blocks.lanes)
        put = putter(k, "dw", self.adds_share)
        with self.parts.each(k, k.scalar("n")) as (part, start, end, unit):

            def body(_: Index, first: int, block: Index, vectors: int, filters: int) -> None:
                column = (block + first) * s.blocks.lanes
                _Block(k, self, column, vectors, filters).emit(part, start, end, put)

            one_block(k, s.blocks, 1, unit, body)


class _Block:
    """One block of filters over a range of images."""

    def __init__(self, k: Kernel, code: FilteredGradient, column: Index, vectors: int, filters: int) -> None:
        self.k, self.w, self.s = k, code.w, code.s
        self.column, self.vectors, self.filters, self.lanes = column, vectors, filters, vectors * k.width
        w, band = self.w, self.s.band
        self.inputs = Layout(w.local_rows(band), w.tiles, w.inner)
        self.gradients = Layout(band, w.tiles, self.lanes)

    def emit(self, part: Index, first: Index, last: Index, put: Put) -> None:
        k, w, band = self.k, self.w, self.s.band
        with k.loop(0, w.rows * w.points * w.inner * self.lanes, k.width) as at:
            k.store(k.zero, "sums", at)
        with k.loop(first, last) as image, k.loop(0, w.y[1], band) as low:
            high = k.minimum(low + band, w.y[1])
            start, end = w.read_rows(k, low, high)
            store_rows(k, w, "rows", self.inputs, image * math.prod(w.x), start, end)
            at = image * math.prod(w.y) + self.column
            store_gradients(k, w, "gradients", self.gradients, at, low, high, self.filters)
            self._multiply(low, high, start)
        self._finish(part, put)

    def _multiply(self, low: Index, high: Index, start: Index) -> None:
        """sums[i, point] += rows[point] of the rows that i meets, transposed, @ gradients[point]."""
        k, w, step = self.k, self.w, self.s.channels
        full, vectors = w.inner // step * step, self.s.vectors
        vectors = vectors if self.vectors % vectors == 0 else 1
        with (
            k.loop(0, w.points) as point,
            k.loop(low, high, self.s.rows) as piece,
            k.loop(0, w.rows) as i,
        ):
            first, last = w.meeting_rows(k, i, piece, k.minimum(piece + self.s.rows, high))
            x = point * self.inputs.point + (i * w.dilation - w.above - start) * self.inputs.row
            g, sums = point * self.gradients.point, (i * w.points + point) * (w.inner * self.lanes)
            for begin, end, size in ((0, full, step), (full, w.inner, w.inner - full)):
                if begin < end:
                    with k.loop(begin, end, size) as c, k.loop(0, self.vectors, vectors) as v:
                        f, at = v * k.width, sums + c * self.lanes
                        self._tile(x + c, g + f, at + f, (first, last), low, size, vectors)

    def _tile(
        self,
        x: Index,
        g: Index,
        sums: Index,
        rows: tuple[Index, Index],
        low: Index,
        channels: int,
        vectors: int,
    ) -> None:
        """A register tile over some rows: short sums, added to those before, round less."""
        k, w = self.k, self.w
        places = [(i, v) for i in range(channels) for v in range(vectors)]
        found = {at: k.register(start=k.zero) for at in places}
        with k.loop(*rows) as row:
            line, grad = x + row * (w.stride * self.inputs.row), g + (row - low) * self.gradients.row
            with k.loop(0, w.tiles) as tile:
                held = [k.load("gradients", grad + tile * self.lanes + v * k.width) for v in range(vectors)]
                for i in range(channels):
                    value = k.broadcast("rows", line + tile * w.inner + i)
                    for v in range(vectors):
                        k.set(found[i, v], k.fma(value, held[v], k.get(found[i, v])))
        for i, v in places:
            at = sums + i * self.lanes + v * k.width
            k.store(k.load("sums", at) + k.get(found[i, v]), "sums", at)

    def _finish(self, part: Index, put: Put) -> None:
        """G' of every weight's sums, into the part's place in the result."""
        k, w = self.k, self.w
        start = part * (w.rows * w.columns * w.x[3] * w.outer) + self.column
        with k.loop(0, w.rows) as row:
            for lanes in w.lanes:
                back = lanes.filter.taps.transposed
                with k.loop(lanes.first, lanes.first + lanes.count) as c:
                    for f, mask in each_vector(k, self.filters):
                        at = (row * (w.points * w.inner) + c) * self.lanes + f
                        points = [k.load("sums", at + p * (w.inner * self.lanes)) for p in range(w.points)]
                        for tap, value in enumerate(back(points)):
                            line = w.weight(row, lanes.start + tap, c)
                            put(value, start + line * w.outer + f, mask)


def lower_filtered_gradient(plan: Plan, op: Operation) -> bool:
    """Windows of several long rows that save enough; False for others."""
    if not plan.is_float(*op.inputs, *op.outputs) or multiplies_pairs(plan, op):
        return False
    g = find_gradient(plan, op)
    padding = tuple((before, 0) for before in g.before)
    conv = forward_geometry(g.x, g.g, g.kernel, g.stride, padding, g.dilation, g.groups)  # type: ignore[arg-type]
    w = worthwhile(conv, GRADIENT_MOVES, is_split=True)
    shape = choose_shape(w, plan.target) if w and w.least_terms >= LEAST_TERMS else None
    if w is None or shape is None:
        return False
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    size = math.prod(g.kernel) * g.inner * g.g[3]
    shards = max(1, min(-(-WANTED_TASKS // shape.blocks.count), MAX_PARTIAL_BYTES // (4 * size)))
    parts = divided(plan, op, shards, shape.blocks.count, size)
    with sum_of_parts(plan, op, parts, size) as target:
        plan.call(
            op,
            FilteredGradient(w, shape, parts),
            {"x": op.inputs[0], "g": op.inputs[1], "n": "#n"},
            {"dw": target},
            parts.tasks,
            flops=(g.flops, 0.0),
            saving=w.best_saving,
            note=f"rows filtered by {PAIR}, tile {shape.channels}x{shape.vectors}, {parts.note}",
            split=None if parts.shards else (FilteredGradient(w, shape, parts.finer), parts.finer.tasks),
        )
    return True
