"""The kernel gradient by minimal filtering: the transpose of the forward pass.

    dw = G' [sum over tiles of (B d) * (A' g)]

along all axes. For each of the points that is a matrix product over the tiles: (input channels x tiles) @
(tiles x filters). A task is a shard of the batch and a block of channels and filters; its sums stay on the
stack until they are transformed back, once. Shards are added in a fixed order, see `kernels.shards`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.geometry import forward_geometry
from kernelearn.engine.cpu.kernels.convolution.gradient import (
    MAX_PARTIAL_BYTES,
    WANTED_TASKS,
    Gradient,
    find_gradient,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.axes import cut_axis
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import (
    GRADIENT,
    Tiles,
    in_units,
    padded,
    point_stride,
    worthwhile,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import (
    along_axes,
    load_points,
    store_gradients,
    store_inputs,
)
from kernelearn.engine.cpu.kernels.packing import Blocks, one_block
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, multiplies_pairs, rounded_operands
from kernelearn.engine.cpu.kernels.shards import Parts, Put, divided, putter, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import each_vector
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Plan
from kernelearn.engine.program import Operation

# Products per image and weight, at least, that the transforms are used for: a sum of few terms has the
# rounding of its neighbours' terms too.
LEAST_TERMS = 9
# Points whose sums, of a unit each, find place on the stack.
MOST_POINTS = 48
# Channels and filters of a unit: its sums have to stay in the second-level cache.
UNIT_CHANNELS = 64
UNIT_FILTERS = 64
# Bytes of a result that no cache holds from one time to the next: it is asked for while it is computed.
LARGE_BYTES = 2**20
# Tiles that a register tile runs over, at least, between loading and storing its sums. Long sums round more:
# 64 instead of 16 save at most 3 % of the time, and round 1.5 times as much.
LEAST_TILES = 16


@dataclass(frozen=True)
class Unit:
    """How the work is cut.

    Attributes:
        units: units of tiles that are transformed at once.
        channels: input channels of a register tile; vectors: its vectors of filters.
        inner, outer: blocks of input channels, and of filters.
        shards: of the batch.
    """

    units: int
    channels: int
    vectors: int
    inner: Blocks
    outer: Blocks
    shards: int

    @property
    def count(self) -> int:
        return self.inner.count * self.outer.count


def choose_unit(t: Tiles, target: Target, wanted_tasks: int, most_shards: int) -> tuple[Tiles, Unit] | None:
    """The tiles in units, and how the work is cut; None if the tiles of one unit are too many for the cache.

    Args:
        wanted_tasks: at least so many if the shards allow it; most_shards: limit of these.
    """
    width, (channels, filters) = target.width, (t.x[3], t.y[3])
    inner = Blocks(channels, width, -(-min(channels, UNIT_CHANNELS) // width))
    outer = Blocks(filters, width, -(-min(filters, UNIT_FILTERS) // width))
    found = in_units(t, LEAST_TILES, 4 * t.points * (inner.lanes + outer.lanes))
    if found is None:
        return None
    limit, widest = (24, 4) if target.registers == 32 else (10, 2)
    vectors = max(v for v in range(1, widest + 1) if outer.vectors % v == 0)
    rows = min(16, limit // vectors)
    shards = max(1, min(-(-wanted_tasks // (inner.count * outer.count)), most_shards))
    return found[0], Unit(found[1], rows, vectors, inner, outer, shards)


@dataclass(frozen=True)
class WinogradGradient:
    """Parts of the batch; units: blocks of channels and of filters; `adds_share`: see `shards.adder`."""

    t: Tiles
    u: Unit
    parts: Parts
    adds_share: bool = False

    def emit(self, k: Kernel) -> None:
        count, points = self.u.units * self.t.segment, self.t.points
        k.local("tiles", points * point_stride(count, self.u.inner.lanes))
        k.local("gradients", points * point_stride(count, self.u.outer.lanes))
        k.local("sums", points * point_stride(self.u.inner.lanes, self.u.outer.lanes))
        put = putter(k, "dw", self.adds_share)
        with self.parts.each(k, k.scalar("n")) as (part, first, last, block_number):

            def inner_block(_: Index, first_block: int, block: Index, __: int, channels: int) -> None:
                c = (block + first_block) * self.u.inner.lanes

                def outer_block(_: Index, first_block: int, block: Index, vectors: int, filters: int) -> None:
                    f = (block + first_block) * self.u.outer.lanes
                    unit = _Unit(k, self.t, self.u, part, c, f, channels, filters, vectors)
                    unit.emit(first, last, put)

                one_block(k, self.u.outer, 1, block_number % self.u.outer.count, outer_block)

            one_block(k, self.u.inner, 1, block_number // self.u.outer.count, inner_block)


class _Unit:
    """One block of channels and filters over a range of images."""

    def __init__(
        self,
        k: Kernel,
        t: Tiles,
        u: Unit,
        part: Index,
        c: Index,
        f: Index,
        channels: int,
        filters: int,
        vectors: int,
    ) -> None:
        self.k, self.t, self.u, self.part = k, t, u, part
        self.c, self.f, self.channels, self.filters = c, f, channels, filters
        self.vectors, self.lanes = vectors, vectors * k.width
        self.depth = padded(channels, k.width)
        count = u.units * t.segment
        self.x_step, self.g_step = point_stride(count, self.depth), point_stride(count, self.lanes)
        self.step = point_stride(channels, self.lanes)
        self.asks_ahead = 4 * t.taps * t.x[3] * t.y[3] > LARGE_BYTES

    def emit(self, first: Index, last: Index, put: Put) -> None:
        k, t, u = self.k, self.t, self.u
        with k.loop(0, t.points * self.step, k.width) as at:
            k.store(k.zero, "sums", at)
        last = last * t.units
        with k.loop(first * t.units, last, u.units) as start:
            end = k.minimum(start + u.units, last) if u.units > 1 else start + 1
            # NOTE: others would only be in the way; a line that lies in the cache costs next to nothing.
            self.is_late = k.either(k.compare("sge", start + 2 * u.units, last), k.const(1), k.const(0))
            with k.loop(start, end) as place:
                image, unit, tile = place // t.units, place % t.units, (place - start) * t.segment
                x = image * math.prod(t.x) + self.c
                store_inputs(k, t, "tiles", x, unit, tile, self.x_step, self.channels)
                g = image * math.prod(t.y) + self.f
                store_gradients(k, t, "gradients", g, unit, tile, self.g_step, self.filters)
            self._multiply(t.used(k, start, end))
        self._finish(put)

    def _multiply(self, used: Index) -> None:
        """sums[point] += tiles[point]' @ gradients[point]."""
        k, step = self.k, self.u.channels
        vectors = self.u.vectors if self.vectors % self.u.vectors == 0 else 1
        full = self.channels // step * step
        with k.loop(0, self.t.points) as point:
            for first, last, size in ((0, full, step), (full, self.channels, self.channels - full)):
                if first == last:
                    continue
                with k.loop(first, last, size) as c, k.loop(0, self.vectors, vectors) as v:
                    self._tile(point, c, v * k.width, size, vectors, used)

    def _tile(self, point: Index, c: Index, f: Index, channels: int, vectors: int, used: Index) -> None:
        k = self.k
        place = point * self.step + c * self.lanes + f
        places = [(i, v) for i in range(channels) for v in range(vectors)]
        # NOTE: they begin at zero: short sums that are added up round less than one long sum.
        sums = {at: k.register(start=k.zero) for at in places}
        x, g = point * self.x_step + c, point * self.g_step + f
        lines = self._lines(point, c, f, channels, vectors) if self.asks_ahead else []
        with k.loop(0, used) as tile:
            self._ask(lines, tile)
            held = [k.load("gradients", g + tile * self.lanes + v * k.width) for v in range(vectors)]
            for i in range(channels):
                value = k.broadcast("tiles", x + tile * self.depth + i)
                for v in range(vectors):
                    k.set(sums[i, v], k.fma(value, held[v], k.get(sums[i, v])))
        for i, v in places:
            at = place + i * self.lanes + v * k.width
            k.store(k.load("sums", at) + k.get(sums[i, v]), "sums", at)

    def _lines(self, point: Index, c: Index, f: Index, channels: int, vectors: int) -> list[Index]:
        """The vectors of the first tap's weights that a register tile asks for, others at each point."""
        places, points = channels * vectors, self.t.points
        numbers = [self.k.minimum(point + start, places - 1) for start in range(0, places, points)]
        return [
            self._place(c + number // vectors, f + (number % vectors) * self.k.width) for number in numbers
        ]

    def _ask(self, lines: Sequence[Index], tile: Index) -> None:
        """Prefetch these weights of a tap, a tap in each turn of the loop over the last tiles."""
        if lines:
            tap = self.k.minimum(tile, self.t.taps - 1) * (self.t.x[3] * self.t.y[3])
            for line in lines:
                self.k.prefetch("dw", (line + tap) * self.is_late, 2)

    def _place(self, c: Index, f: Index) -> Index:
        """Where the first tap's weight of a channel and a filter of this block lies in the result."""
        inner, outer = self.t.x[3], self.t.y[3]
        return self.part * (self.t.taps * inner * outer) + (self.c + c) * outer + self.f + f

    def _finish(self, put: Put) -> None:
        """G' u of every weight, into the part's place in the result."""
        k, t, (inner, outer) = self.k, self.t, (self.t.x[3], self.t.y[3])
        maps = [axis.filter.taps.transposed for axis in t.axes]
        with k.loop(0, self.channels) as c:
            for f, mask in each_vector(k, self.filters):
                points = load_points(k, "sums", c * self.lanes + f, self.step, t.points)
                for tap, value in enumerate(along_axes(maps, points)):
                    put(value, self._place(c, f) + tap * (inner * outer), mask)


def lower_winograd_gradient(plan: Plan, op: Operation) -> bool:
    """Windows that save enough, and enough channels; False for others."""
    if not plan.is_float(*op.inputs, *op.outputs) or multiplies_pairs(plan, op):
        return False
    g = find_gradient(plan, op)
    found = _find_unit(plan, g)
    if found is None:
        return False
    tiles, unit = found
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    size = tiles.taps * g.inner * g.outer
    parts = divided(plan, op, unit.shards, unit.count, size)
    finer = parts.finer
    with sum_of_parts(plan, op, parts, size) as target:
        plan.call(
            op,
            WinogradGradient(tiles, unit, parts),
            {"x": op.inputs[0], "g": op.inputs[1], "n": "#n"},
            {"dw": target},
            parts.tasks,
            flops=(g.flops, 0.0),
            saving=tiles.best_saving,
            note=f"Winograd {tiles.size}, tile {unit.channels}x{unit.vectors}, {parts.note}",
            split=None if parts.shards else (WinogradGradient(tiles, unit, finer), finer.tasks),
        )
    return True


def _find_unit(plan: Plan, g: Gradient) -> tuple[Tiles, Unit] | None:
    """Tiles, and how the work is cut; None where taps are as good."""
    # NOTE: along three axes these sums would round twice as much as tap by tap.
    if g.groups > 1 or g.kernel[0] > 1:
        return None
    padding = tuple((before, 0) for before in g.before)
    conv = forward_geometry(g.x, g.g, g.kernel, g.stride, padding, g.dilation, 1)  # type: ignore[arg-type]
    axes = [cut_axis([axis], taps, axis.count) for axis, taps in zip(conv.parts[0], g.kernel)]
    tiles = worthwhile(g.x, g.g, axes, GRADIENT)
    if tiles is None or tiles.least_terms < LEAST_TERMS or tiles.points > MOST_POINTS:
        return None
    most_shards = MAX_PARTIAL_BYTES // (4 * tiles.taps * g.inner * g.outer)
    return choose_unit(tiles, plan.target, WANTED_TASKS, most_shards)
