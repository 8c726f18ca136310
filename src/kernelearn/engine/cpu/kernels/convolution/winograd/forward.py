"""Convolution and input gradient of 3 x 3 windows by Winograd: transform, multiply, transform back.

A kernel takes a few rows of tiles at a time, of all images that it is given one after another. Their
transformed inputs stay on its stack, in the cache; so do the products for one block of output channels, which
are transformed back and go through the chain at the end of the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from kernelearn.engine.cpu.kernels.convolution.geometry import TapAxis, TapConv, geometry
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import (
    MAX_WEIGHTS_BYTES,
    POINTS,
    SAVING,
    Product,
    Tiles,
    choose_product,
    padded,
    point_stride,
    worthwhile,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import (
    both_axes,
    each_span,
    load_points,
    outputs_transform,
    store_inputs,
)
from kernelearn.engine.cpu.kernels.convolution.winograd.weights import transformed_weights
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import WINDOW, Pooled
from kernelearn.engine.cpu.kernels.packing import block_offset, one_block
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, multiplies_pairs, rounded_operands
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import BANDS, IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Number of the weight that meets input (i, j) of a tile, for the output (0, 0).
Order = tuple[tuple[int, ...], ...]
# Input channels a turn of the inner loop.
UNROLL = 2


@dataclass(frozen=True)
class WinogradRows:
    """The whole kernel: tasks are images, or bands of an image's rows of tiles."""

    t: Tiles
    p: Product
    chain: Chain | Pooled | None
    bands: int = 1

    def emit(self, k: Kernel) -> None:
        conv = _Convolution(k, self.t, self.p, self.chain)
        last = (k.hi * self.t.rows) // self.bands
        with k.loop((k.lo * self.t.rows) // self.bands, last, self.p.rows) as start:
            end = k.minimum(start + self.p.rows, last)
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
            last = (task // self.p.blocks.count + 1) * self.t.rows

            def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
                with k.loop(last - self.t.rows, last, self.p.rows) as start:
                    end = k.minimum(start + self.p.rows, last)
                    conv.transform(start, end)
                    conv.outputs(start, end, first, block, vectors, channels)

            one_block(k, self.p.blocks, 1, task % self.p.blocks.count, body)


class _Convolution:
    """The steps of a kernel, each for the rows of tiles [start, end), counted through all images."""

    def __init__(self, k: Kernel, t: Tiles, p: Product, chain: Chain | Pooled | None) -> None:
        self.k, self.t, self.p, self.chain = k, t, p, chain
        self.depth = padded(t.x[2], k.width)
        self.count = -(-p.rows * t.columns // p.tiles) * p.tiles
        self.stride = point_stride(self.count, self.depth)
        k.local("tiles", POINTS * self.stride)
        k.local("products", POINTS * point_stride(self.count, p.blocks.lanes))

    def transform(self, start: Index, end: Index) -> None:
        """B' d B of all input channels."""
        t = self.t
        with self.k.loop(start, end) as row:
            image = (row // t.rows) * (t.x[0] * t.x[1] * t.x[2])
            tile = (row - start) * t.columns
            store_inputs(self.k, t, "tiles", image, row % t.rows, tile, self.stride, t.x[2])
        if t.columns % self.p.tiles:
            self._clear_rest((end - start) * t.columns)

    def _clear_rest(self, used: Index) -> None:
        """Zeros behind the tiles that are used, up to a whole register tile.

        What lies there is multiplied as well, and numbers that memory holds by chance are often denormal:
        some processors take a hundred times as long for each of these.
        """
        k, tiles = self.k, self.p.tiles
        whole = ((used + (tiles - 1)) // tiles) * tiles
        with k.loop(0, POINTS) as point, k.loop(used * self.depth, whole * self.depth, k.width) as at:
            k.store(k.zero, "tiles", point * self.stride + at)

    def outputs(
        self, start: Index, end: Index, first: int, block: Index, vectors: int, channels: int
    ) -> None:
        """One block of output channels: `block` counts from `first`, the first of its kind."""
        t, blocks = self.t, self.p.blocks
        self._multiply(
            block_offset(blocks, POINTS, t.x[2], 0, first, block), (end - start) * t.columns, vectors
        )
        channel = (block + first) * blocks.lanes
        with self.k.loop(start, end) as row:
            self._write(row, (row - start) * t.columns, channel, vectors, channels)

    def _multiply(self, weights: Index, used: Index, vectors: int) -> None:
        """products[point][tile] = tiles[point][tile] @ w[point]."""
        k, inner, lanes = self.k, self.t.x[2], vectors * self.k.width
        step = point_stride(self.count, lanes)
        with k.loop(0, POINTS) as point, k.loop(0, used, self.p.tiles) as tile:
            sums = [[k.register(start=k.zero) for _ in range(vectors)] for _ in range(self.p.tiles)]
            x, w = point * self.stride + tile * self.depth, weights + point * (inner * lanes)

            def turn(c: Index, sums: list[list[Register]] = sums, x: Index = x, w: Index = w) -> None:
                held = [k.load("w", w + c * lanes + v * k.width) for v in range(vectors)]
                for i, row in enumerate(sums):
                    value = k.broadcast("tiles", x + c + i * self.depth)
                    for v, register in enumerate(row):
                        k.set(register, k.fma(value, held[v], k.get(register)))

            full = inner // UNROLL * UNROLL
            with k.loop(0, full, UNROLL) as c:
                for u in range(UNROLL):
                    turn(c + u)
            for rest in range(full, inner):
                turn(k.const(rest))
            for i, row in enumerate(sums):
                for v, register in enumerate(row):
                    k.store(k.get(register), "products", point * step + (tile + i) * lanes + v * k.width)

    def _write(self, row: Index, tile: Index, channel: Index, vectors: int, channels: int) -> None:
        """A' m A of a row of tiles, through the chain to memory."""
        k, t, lanes = self.k, self.t, vectors * self.k.width
        height, width, filters = t.y
        step = point_stride(self.count, lanes)
        image, row = row // t.rows, row % t.rows
        for rows, columns, column in each_span(k, t, row):
            source = (tile + column) * lanes
            corner = ((image * height + row * 2) * width + column * 2) * filters + channel
            for v in range(vectors):
                points = load_points(k, "products", source + v * k.width, step)
                results = both_axes(outputs_transform, points)
                if isinstance(self.chain, Pooled):
                    self._pool(results, image, row, column, channel + v * k.width, channels - v * k.width)
                    continue
                for i, j in product(range(len(rows.kept)), range(len(columns.kept))):
                    if rows.kept[i] and columns.kept[j]:
                        value = results[i][j] if max(i, j) < 2 else k.zero
                        at = corner + (i * width + j) * filters + v * k.width
                        self._store(value, at, channel + v * k.width, k.mask(channels - v * k.width))

    def _pool(
        self,
        results: Sequence[Sequence[Value]],
        image: Index,
        row: Index,
        column: Index,
        channel: Index,
        lanes: int,
    ) -> None:
        """The four outputs of a tile are one window."""
        assert isinstance(self.chain, Pooled)
        window = [(results[i][j],) for i, j in WINDOW]
        self.chain.apply(self.k, window, image, row, column, channel, self.k.mask(lanes))

    def _store(self, value: Value, at: Index, channel: Index, mask: Value | None) -> None:
        if self.chain is None:
            self.k.store(value, "y", at, mask)
        elif isinstance(self.chain, Chain):
            self.chain.apply(self.k, (value,), at, channel, mask)


def lower_winograd(
    plan: Plan, op: Operation, chain: Chain | Pooled | None = None, operation: Operation | None = None
) -> bool:
    """Windows of 3 x 3 and enough channels; False for all others. Arguments as of `taps.lower_taps`."""
    if not plan.is_float(op.inputs[0], op.inputs[1], op.outputs[0]):
        return False
    g, _ = geometry(plan, op)
    if multiplies_pairs(plan, op) and not g.is_depthwise and g.inner > 1:
        return False
    found = _find_tiles(plan, g, isinstance(chain, Pooled))
    if found is None:
        return False
    t, p, taps = found
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    x, weights = op.inputs
    weights = transformed_weights(plan, op, weights, p.blocks, t.x[2], taps)
    plan.call(
        operation or op,
        WinogradRows(t, p, chain),
        {"x": x, "w": weights, **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(t.flops, 0.0),
        saving=SAVING,
        note=f"{op.operator} Winograd 2x2, tile {p.tiles}x{p.blocks.vectors}",
        split=_split(t, p, chain),
    )
    return True


def _find_tiles(plan: Plan, g: TapConv, has_windows: bool) -> tuple[Tiles, Product, Order] | None:
    """Tiles, shape of the products and order of the taps of a convolution; None if taps are as good.

    Args:
        has_windows: whether tiles have to be whole windows of a pooling.
    """
    axes = _window_axes(g)
    if axes is None:
        return None
    height, width = axes
    rows, columns = sorted(height.taps), sorted(width.taps)
    tiles = worthwhile(g.x[1:], g.y[1:], (rows[0][0], columns[0][0]))
    product = choose_product(tiles, plan.target) if tiles else None
    if tiles is None or product is None or (has_windows and not tiles.is_whole):
        return None
    if tiles.weights_bytes > MAX_WEIGHTS_BYTES and not plan.is_training:
        return None
    return tiles, product, tuple(tuple(ty * 3 + tx for _, tx in columns) for _, ty in rows)


def _window_axes(g: TapConv) -> tuple[TapAxis, TapAxis] | None:
    """The two axes of windows of 3 x 3 that move by one pixel; None for other convolutions."""
    depth, height, width = g.parts[0]
    if g.kernel != (1, 3, 3) or len(g.parts) > 1 or g.groups > 1 or g.is_depthwise:
        return None
    if depth.size > 1 or depth.count > 1 or depth.taps[0][0]:
        return None
    for axis in (height, width):
        taps = sorted(axis.taps)
        if axis.in_step > 1 or [d - taps[0][0] for d, _ in taps] != [0, 1, 2]:
            return None
    return height, width


def _split(
    t: Tiles, p: Product, chain: Chain | Pooled | None
) -> tuple[WinogradRows | WinogradBlocks, Tasks] | None:
    """The convolution of one image as several tasks: bands of rows of tiles, or blocks of channels."""
    if t.rows >= 2 * BANDS:
        q = p.cut(-(-t.rows // BANDS), t)
        return WinogradRows(t, q, chain, BANDS), Tasks(per_image=BANDS)
    if p.blocks.count > 1:
        q = p.cut(t.rows, t)
        return WinogradBlocks(t, q, chain), Tasks(per_image=p.blocks.count)
    return None
