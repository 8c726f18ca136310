"""The kernel gradient of 3 x 3 windows by Winograd: the transpose of the forward pass.

    dw = G' [sum over tiles of (B' d B) * (A g A')] G

For each of the 16 points that is a matrix product over the tiles: (input channels x tiles) @ (tiles x
filters). A task is a shard of the batch and a block of channels and filters; its sums stay on the stack until
they are transformed back, once. Shards are added in a fixed order, see `kernels.shards`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.gradient import (
    MAX_PARTIAL_BYTES,
    WANTED_TASKS,
    Gradient,
    find_gradient,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import (
    MAX_TILES_BYTES,
    POINTS,
    SAVING,
    Tiles,
    padded,
    point_stride,
    worthwhile,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import (
    both_axes,
    load_points,
    store_gradients,
    store_inputs,
    weights_gradient,
)
from kernelearn.engine.cpu.kernels.packing import Blocks, one_block
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, multiplies_pairs, rounded_operands
from kernelearn.engine.cpu.kernels.shards import Parts, divided, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import each_vector
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Plan
from kernelearn.engine.program import Operation

# Products per image and weight, at least, that the transforms are used for.
LEAST_TERMS = 9
# Channels and filters of a unit: its sums have to stay in the second-level cache.
UNIT_CHANNELS = 64
UNIT_FILTERS = 64
# Tiles that a register tile runs over, at least, between loading and storing its sums, for kernels of up to
# so many products of channels and filters.
LEAST_TILES = ((16 * 16, 16), (32 * 64, 32), (None, 64))


@dataclass(frozen=True)
class Unit:
    """How the work is cut.

    Attributes:
        rows: rows of tiles that are transformed at once.
        channels: input channels of a register tile; vectors: its vectors of filters.
        inner, outer: blocks of input channels, and of filters.
        shards: of the batch.
    """

    rows: int
    channels: int
    vectors: int
    inner: Blocks
    outer: Blocks
    shards: int

    @property
    def count(self) -> int:
        return self.inner.count * self.outer.count


def choose_unit(t: Tiles, target: Target, wanted_tasks: int, most_shards: int) -> Unit | None:
    """The unit, or None if the tiles of one row are too many for the cache.

    Args:
        wanted_tasks: at least so many if the shards allow it; most_shards: limit of these.
    """
    width = target.width
    inner = Blocks(t.x[2], width, -(-min(t.x[2], UNIT_CHANNELS) // width))
    outer = Blocks(t.y[2], width, -(-min(t.y[2], UNIT_FILTERS) // width))
    row_bytes = 4 * POINTS * t.columns * (inner.lanes + outer.lanes)
    if row_bytes > MAX_TILES_BYTES:
        return None
    least = next(tiles for weights, tiles in LEAST_TILES if weights is None or t.x[2] * t.y[2] <= weights)
    rows = max(1, min(-(-least // t.columns), MAX_TILES_BYTES // row_bytes))
    limit, widest = (24, 4) if target.registers == 32 else (10, 2)
    vectors = max(v for v in range(1, widest + 1) if outer.vectors % v == 0)
    channels = min(16, limit // vectors)
    shards = max(1, min(-(-wanted_tasks // (inner.count * outer.count)), most_shards))
    return Unit(rows, channels, vectors, inner, outer, shards)


@dataclass(frozen=True)
class WinogradGradient:
    """Parts of the batch; units: blocks of channels and of filters."""

    t: Tiles
    u: Unit
    taps: tuple[tuple[int, ...], ...]
    parts: Parts

    def emit(self, k: Kernel) -> None:
        count = self.u.rows * self.t.columns
        k.local("tiles", POINTS * point_stride(count, self.u.inner.lanes))
        k.local("gradients", POINTS * point_stride(count, self.u.outer.lanes))
        k.local("sums", POINTS * point_stride(self.u.inner.lanes, self.u.outer.lanes))
        with self.parts.each(k, k.scalar("n")) as (part, first, last, unit):

            def inner_block(_: Index, first_block: int, block: Index, __: int, channels: int) -> None:
                c = (block + first_block) * self.u.inner.lanes

                def outer_block(_: Index, first_block: int, block: Index, vectors: int, filters: int) -> None:
                    f = (block + first_block) * self.u.outer.lanes
                    _Unit(k, self.t, self.u, self.taps, part, c, f, channels, filters, vectors).emit(
                        first, last
                    )

                one_block(k, self.u.outer, 1, unit % self.u.outer.count, outer_block)

            one_block(k, self.u.inner, 1, unit // self.u.outer.count, inner_block)


class _Unit:
    """One block of channels and filters over a range of images."""

    def __init__(
        self,
        k: Kernel,
        t: Tiles,
        u: Unit,
        taps: tuple[tuple[int, ...], ...],
        part: Index,
        c: Index,
        f: Index,
        channels: int,
        filters: int,
        vectors: int,
    ) -> None:
        self.k, self.t, self.u, self.taps, self.part = k, t, u, taps, part
        self.c, self.f, self.channels, self.filters = c, f, channels, filters
        self.vectors, self.lanes = vectors, vectors * k.width
        self.depth = padded(channels, k.width)
        count = u.rows * t.columns
        self.x_step, self.g_step = point_stride(count, self.depth), point_stride(count, self.lanes)
        self.step = point_stride(channels, self.lanes)

    def emit(self, first: Index, last: Index) -> None:
        k, t, u = self.k, self.t, self.u
        with k.loop(0, POINTS * self.step, k.width) as at:
            k.store(k.zero, "sums", at)
        last = last * t.rows
        with k.loop(first * t.rows, last, u.rows) as start:
            end = k.minimum(start + u.rows, last) if u.rows > 1 else start + 1
            with k.loop(start, end) as place:
                image, row, tile = place // t.rows, place % t.rows, (place - start) * t.columns
                x = image * (t.x[0] * t.x[1] * t.x[2]) + self.c
                store_inputs(k, t, "tiles", x, row, tile, self.x_step, self.channels)
                g = image * (t.y[0] * t.y[1] * t.y[2]) + self.f
                store_gradients(k, t, "gradients", g, row, tile, self.g_step, self.filters)
            self._multiply((end - start) * t.columns)
        self._finish()

    def _multiply(self, used: Index) -> None:
        """sums[point] += tiles[point]' @ gradients[point]."""
        k, step = self.k, self.u.channels
        vectors = self.u.vectors if self.vectors % self.u.vectors == 0 else 1
        full = self.channels // step * step
        with k.loop(0, POINTS) as point:
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
        with k.loop(0, used) as tile:
            held = [k.load("gradients", g + tile * self.lanes + v * k.width) for v in range(vectors)]
            for i in range(channels):
                value = k.broadcast("tiles", x + tile * self.depth + i)
                for v in range(vectors):
                    k.set(sums[i, v], k.fma(value, held[v], k.get(sums[i, v])))
        for i, v in places:
            at = place + i * self.lanes + v * k.width
            k.store(k.load("sums", at) + k.get(sums[i, v]), "sums", at)

    def _finish(self) -> None:
        """G' u G of every weight, into the part's place in the result."""
        k, inner, outer = self.k, self.t.x[2], self.t.y[2]
        with k.loop(0, self.channels) as c:
            target = self.part * (9 * inner * outer) + (self.c + c) * outer + self.f
            for f, mask in each_vector(k, self.filters):
                source = c * self.lanes + f
                points = load_points(k, "sums", source, self.step)
                for taps, values in zip(self.taps, both_axes(weights_gradient, points)):
                    for tap, value in zip(taps, values):
                        k.store(value, "dw", target + f + tap * (inner * outer), mask)


def lower_winograd_gradient(plan: Plan, op: Operation) -> bool:
    """Windows of 3 x 3 and enough channels; False for all others."""
    if not plan.is_float(*op.inputs, *op.outputs) or multiplies_pairs(plan, op):
        return False
    g = find_gradient(plan, op)
    found = _find_unit(plan, g)
    if found is None:
        return False
    tiles, unit = found
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    taps = ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    size = 9 * g.inner * g.outer
    parts = divided(plan, op, unit.shards, unit.count, size)
    finer = parts.finer
    with sum_of_parts(plan, op, parts, size) as target:
        plan.call(
            op,
            WinogradGradient(tiles, unit, taps, parts),
            {"x": op.inputs[0], "g": op.inputs[1], "n": "#n"},
            {"dw": target},
            parts.tasks,
            flops=(g.flops, 0.0),
            saving=SAVING,
            note=f"Winograd 2x2, tile {unit.channels}x{unit.vectors}, {parts.note}",
            split=None if parts.shards else (WinogradGradient(tiles, unit, taps, finer), finer.tasks),
        )
    return True


def _find_unit(plan: Plan, g: Gradient) -> tuple[Tiles, Unit] | None:
    """Tiles, and how the work is cut; None where taps are as good."""
    if g.kernel != (1, 3, 3) or g.groups > 1 or max(*g.stride, *g.dilation) > 1:
        return None
    if g.x[0] > 1 or g.g[0] > 1 or g.before[0]:
        return None
    tiles = worthwhile(g.x[1:], g.g[1:], (-g.before[1], -g.before[2]))
    # NOTE: a sum of few terms has the rounding of its neighbours' terms too.
    if tiles is None or tiles.least_terms < LEAST_TERMS:
        return None
    most_shards = MAX_PARTIAL_BYTES // (4 * 9 * g.inner * g.outer)
    unit = choose_unit(tiles, plan.target, WANTED_TASKS, most_shards)
    return None if unit is None else (tiles, unit)
