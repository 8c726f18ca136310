"""Convolution and input gradient by minimal filtering: transform, multiply, transform back.

A kernel takes a few units of tiles at a time, of all images that it is given one after another. Their
transformed inputs stay on its stack, in the cache; so do the products for one block of output channels, which
are transformed back and go through the chain at the end of the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.geometry import TapConv, geometry
from kernelearn.engine.cpu.kernels.convolution.winograd.axes import cut_axis
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import (
    MAX_WEIGHTS_BYTES,
    Product,
    Tiles,
    choose_product,
    padded,
    point_stride,
    worthwhile,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import (
    Place,
    Side,
    along_axes,
    each_tile,
    load_points,
    outputs_of,
    store_inputs,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.weights import transformed_weights
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled
from kernelearn.engine.cpu.kernels.packing import block_offset, one_block
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, multiplies_pairs, rounded_operands
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import BANDS, IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Input channels of one sum, about.
LONG_SUM = 32


@dataclass(frozen=True)
class WinogradRows:
    """The whole kernel: tasks are images, or bands of an image's units."""

    t: Tiles
    p: Product
    chain: Chain | Pooled | None
    bands: int = 1

    def emit(self, k: Kernel) -> None:
        conv = _Convolution(k, self.t, self.p, self.chain)
        last = (k.hi * self.t.units) // self.bands
        with k.loop((k.lo * self.t.units) // self.bands, last, self.p.units) as start:
            end = k.minimum(start + self.p.units, last)
            conv.transform(start, end)
            for first, count, vectors, channels in self.p.blocks.kinds():
                with k.loop(0, count) as block:
                    conv.outputs(start, end, first, block, vectors, channels)


@dataclass(frozen=True)
class WinogradBlocks:
    """The kernel for few images with few tiles: tasks are blocks of output channels of an image."""

    t: Tiles
    p: Product
    chain: Chain | Pooled | None

    def emit(self, k: Kernel) -> None:
        conv = _Convolution(k, self.t, self.p, self.chain)
        with k.loop(k.lo, k.hi) as task:
            last = (task // self.p.blocks.count + 1) * self.t.units

            def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
                with k.loop(last - self.t.units, last, self.p.units) as start:
                    end = k.minimum(start + self.p.units, last)
                    conv.transform(start, end)
                    conv.outputs(start, end, first, block, vectors, channels)

            one_block(k, self.p.blocks, 1, task % self.p.blocks.count, body)


class _Convolution:
    """The steps of a kernel, each for the units [start, end), counted through all images."""

    def __init__(self, k: Kernel, t: Tiles, p: Product, chain: Chain | Pooled | None) -> None:
        self.k, self.t, self.p, self.chain = k, t, p, chain
        self.depth = padded(t.x[3], k.width)
        self.count = -(-p.units * t.segment // p.tiles) * p.tiles
        self.stride = point_stride(self.count, self.depth)
        k.local("tiles", t.points * self.stride)
        if t.is_deep:
            flat = t.points // t.axes[0].filter.points
            k.local("planes", len(t.axes[0].reads) * flat * k.width)
        k.local("products", t.points * point_stride(self.count, p.blocks.lanes))

    def transform(self, start: Index, end: Index) -> None:
        """B d of all input channels."""
        t = self.t
        with self.k.loop(start, end) as unit:
            image = (unit // t.units) * math.prod(t.x)
            tile = (unit - start) * t.segment
            store_inputs(self.k, t, "tiles", image, unit % t.units, tile, self.stride, t.x[3])
        if t.columns % t.segment or t.segment % self.p.tiles:
            self._clear_rest(t.used(self.k, start, end))

    def _clear_rest(self, used: Index) -> None:
        """Zeros behind the tiles that are used, up to a whole register tile.

        What lies there is multiplied as well, and numbers that memory holds by chance are often denormal:
        some processors take a hundred times as long for each of these.
        """
        k, tiles = self.k, self.p.tiles
        whole = ((used + (tiles - 1)) // tiles) * tiles
        with k.loop(0, self.t.points) as point, k.loop(used * self.depth, whole * self.depth, k.width) as at:
            k.store(k.zero, "tiles", point * self.stride + at)

    def outputs(
        self, start: Index, end: Index, first: int, block: Index, vectors: int, channels: int
    ) -> None:
        """One block of output channels: `block` counts from `first`, the first of its kind."""
        t, blocks = self.t, self.p.blocks
        self._multiply(
            block_offset(blocks, t.points, t.x[3], 0, first, block), t.used(self.k, start, end), vectors
        )
        channel = (block + first) * blocks.lanes
        with self.k.loop(start, end) as unit:
            self._write(unit, (unit - start) * t.segment, channel, vectors, channels)

    def _multiply(self, weights: Index, used: Index, vectors: int) -> None:
        """products[point][tile] = tiles[point][tile] @ w[point].

        Sums of LONG_SUM channels are added up: they round less than long ones.
        """
        k, inner, lanes = self.k, self.t.x[3], vectors * self.k.width
        step = point_stride(self.count, lanes)
        count = max(1, round(inner / LONG_SUM))
        piece = -(-inner // count // 2) * 2  # the inner loop has two channels a turn
        with k.loop(0, self.t.points) as point, k.loop(0, used, self.p.tiles) as tile:
            x, w = point * self.stride + tile * self.depth, weights + point * (inner * lanes)
            y = point * step + tile * lanes
            self._piece(x, w, y, min(piece, inner), vectors, is_first=True)
            with k.loop(piece, inner // piece * piece, piece) as c:
                self._piece(x + c, w + c * lanes, y, piece, vectors)
            if inner > piece and inner % piece:
                c = k.const(inner // piece * piece)
                self._piece(x + c, w + c * lanes, y, inner % piece, vectors)

    def _piece(
        self, x: Index, w: Index, y: Index, channels: int, vectors: int, is_first: bool = False
    ) -> None:
        """A register tile of products, over some channels: stored, or added to those before."""
        k, lanes = self.k, vectors * self.k.width
        sums = [[k.register(start=k.zero) for _ in range(vectors)] for _ in range(self.p.tiles)]

        def turn(c: Index) -> None:
            held = [k.load("w", w + c * lanes + v * k.width) for v in range(vectors)]
            for i, row in enumerate(sums):
                value = k.broadcast("tiles", x + c + i * self.depth)
                for v, register in enumerate(row):
                    k.set(register, k.fma(value, held[v], k.get(register)))

        two_a_turn(k, channels, turn)
        for i, row in enumerate(sums):
            for v, register in enumerate(row):
                at, total = y + i * lanes + v * k.width, k.get(register)
                k.store(total if is_first else k.load("products", at) + total, "products", at)

    def _write(self, unit: Index, tile: Index, channel: Index, vectors: int, channels: int) -> None:
        """A m of a unit of tiles, through the chain to memory."""
        k, t, lanes = self.k, self.t, vectors * self.k.width
        maps = [axis.filter.outputs for axis in t.axes]
        step, side = point_stride(self.count, lanes), outputs_of(t)
        image, unit = unit // t.units, unit % t.units
        for place in each_tile(k, t, unit, side.alike):
            at, offsets = side.located(place)
            corner = image * math.prod(t.y) + at + channel
            for v in range(vectors):
                source = (tile + place.tile) * lanes + v * k.width
                first, rest = channel + v * k.width, channels - v * k.width
                if t.is_deep:
                    self._write_deep(side, place, source, step, offsets, corner + v * k.width, first, rest)
                    continue
                results = along_axes(maps, load_points(k, "products", source, step, t.points))
                if isinstance(self.chain, Pooled):
                    window = [(value,) for value in results]
                    _, row, column = place.numbers
                    self.chain.apply(k, window, image, row, column, first, k.mask(rest))
                    continue
                self._store_all(results, offsets, corner + v * k.width, first, rest)

    def _write_deep(
        self,
        side: Side,
        place: Place,
        source: Index,
        step: int,
        offsets: Sequence[int | None],
        corner: Index,
        channel: Index,
        channels: int,
    ) -> None:
        """The same for a vector of a deep tile: along the depth first, into "planes", then plane by plane."""
        k, (depth, *others) = self.k, self.t.axes
        along, within = depth.filter.outputs, [axis.filter.outputs for axis in others]
        flat = math.prod(m.size for m in within)
        with k.loop(0, flat) as point:
            held = load_points(k, "products", source + point * step, flat * step, along.size)
            for i, value in enumerate(along(held)):
                k.store(value, "planes", (point + i * flat) * k.width)
        for plane, offset, number in side.planes(k, place):
            with k.when(k.compare("slt", number, depth.count)):
                held = load_points(k, "planes", plane * (flat * k.width), k.width, flat)
                self._store_all(along_axes(within, held), offsets, corner + offset, channel, channels)

    def _store_all(
        self,
        results: Sequence[Value],
        offsets: Sequence[int | None],
        corner: Index,
        channel: Index,
        channels: int,
    ) -> None:
        """The results of a tile that exist, through the chain to memory."""
        for offset, value in zip(offsets, results):
            if offset is not None:
                self._store(value, corner + offset, channel, self.k.mask(channels))

    def _store(self, value: Value, at: Index, channel: Index, mask: Value | None) -> None:
        if self.chain is None:
            self.k.store(value, "y", at, mask)
        elif isinstance(self.chain, Chain):
            self.chain.apply(self.k, (value,), at, channel, mask)


def lower_winograd(
    plan: Plan, op: Operation, chain: Chain | Pooled | None = None, operation: Operation | None = None
) -> bool:
    """Windows that save enough, and enough channels; False for others. Arguments as of `lower_taps`."""
    if not plan.is_float(op.inputs[0], op.inputs[1], op.outputs[0]) or (chain and chain.placed):
        return False
    g, _ = geometry(plan, op)
    if multiplies_pairs(plan, op) and not g.is_depthwise and g.inner > 1:
        return False
    found = _find_tiles(plan, g, isinstance(chain, Pooled))
    if found is None:
        return False
    t, p = found
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    x, weights = op.inputs
    weights = transformed_weights(plan, op, weights, p.blocks, t)
    plan.call(
        operation or op,
        WinogradRows(t, p, chain),
        {"x": x, "w": weights, **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(g.flops, 0.0),
        saving=t.best_saving,
        note=f"{op.operator} Winograd {t.size}, tile {p.tiles}x{p.blocks.vectors}",
        split=_split(t, p, chain),
    )
    return True


def _find_tiles(plan: Plan, g: TapConv, has_windows: bool) -> tuple[Tiles, Product] | None:
    """Tiles, and shape of the products of a convolution; None if taps are as good.

    Args:
        has_windows: whether tiles have to be whole windows of a pooling.
    """
    if g.groups > 1 or g.is_depthwise:
        return None
    classes = [list(dict.fromkeys(part[a] for part in g.parts)) for a in range(3)]
    axes = [cut_axis(classes[a], g.kernel[a], g.y[a]) for a in range(3)]
    tiles = worthwhile(g.x, g.y, axes)
    found = choose_product(tiles, plan.target) if tiles else None
    if found is None or (has_windows and not found[0].is_whole):
        return None
    if found[0].weights_bytes > MAX_WEIGHTS_BYTES and not plan.is_training:
        return None
    return found


def _split(
    t: Tiles, p: Product, chain: Chain | Pooled | None
) -> tuple[WinogradRows | WinogradBlocks, Tasks] | None:
    """The convolution of one image as several tasks: bands of units, or blocks of channels."""
    if t.units >= 2 * BANDS:
        q = p.cut(-(-t.units // BANDS), t)
        return WinogradRows(t, q, chain, BANDS), Tasks(per_image=BANDS)
    if p.blocks.count > 1:
        q = p.cut(t.units, t)
        return WinogradBlocks(t, q, chain), Tasks(per_image=p.blocks.count)
    return None
