"""Convolution and input gradient of 3 x 3 windows by `winograd`: transform, multiply, transform back.

A kernel takes a few rows of tiles at a time, of all images that it is given one after another. Their
transformed inputs stay on its stack, in the cache; so do the products for one block of output channels, which
are transformed back and go through the chain at the end of the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from kernelearn.engine.cpu.emit import Index, Kernel
from kernelearn.engine.cpu.kernels.chain import Chain
from kernelearn.engine.cpu.kernels.pack import Blocks, block_offset, each_block, packed_once, transpose
from kernelearn.engine.cpu.kernels.winograd import (
    POINTS,
    Product,
    Tiles,
    Value,
    both_axes,
    each_span,
    outputs_transform,
    padded,
    point_stride,
    store_inputs,
    weights_transform,
)
from kernelearn.engine.cpu.lowering import IMAGES, Plan, Tasks
from kernelearn.engine.program import Buffer, Operation

# Input channels a turn of the inner loop.
UNROLL = 2


def transformed_weights(
    plan: Plan, op: Operation, weights: str, blocks: Blocks, inner: int, taps: tuple[tuple[int, ...], ...]
) -> str:
    """Buffer with G g G' as [block][point][c][lane]; arguments as of `lower_winograd`."""
    transposed = op.operator != "conv"
    emit = _emit_transposed_weights if transposed else _emit_weights
    return packed_once(
        plan,
        op,
        weights,
        f"winograd weights {blocks} inner={inner} {taps} transposed={transposed}",
        Buffer("transformed", (POINTS * inner * blocks.padded,), "float32"),
        lambda k: emit(k, blocks, inner, taps),
        Tasks(fixed=blocks.count),
        "transform weights",
    )


def _emit_weights(k: Kernel, blocks: Blocks, inner: int, taps: tuple[tuple[int, ...], ...]) -> None:
    filters = blocks.channels

    def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
        start = (block + first) * blocks.lanes
        target = block_offset(blocks, POINTS, inner, 0, first, block)
        with k.loop(0, inner) as c:
            for v in range(vectors):
                source, mask = start + c * filters + v * k.width, k.mask(channels - v * k.width)
                square = [[k.load("w", source + t * (inner * filters), mask) for t in row] for row in taps]
                _store_weights(k, square, target + c * (vectors * k.width) + v * k.width, inner, vectors)

    each_block(k, blocks, 1, body)


def _emit_transposed_weights(
    k: Kernel, blocks: Blocks, inner: int, taps: tuple[tuple[int, ...], ...]
) -> None:
    """As `_emit_weights`, with channels in the lanes: squares of weights are transposed on the way."""
    width = k.width
    k.local("square", 9 * width * width)

    def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
        start = (block + first) * (blocks.lanes * inner)
        target = block_offset(blocks, POINTS, inner, 0, first, block)

        def square(f: Index, v: int, lanes: int) -> None:
            with k.loop(0, 9) as tap:
                source = start + tap * (blocks.channels * inner) + f
                rows = [
                    k.load("w", source + c * inner, k.mask(lanes)) if c < channels else k.zero
                    for c in range(v * width, (v + 1) * width)
                ]
                for i, column in enumerate(transpose(k, rows)[:lanes]):
                    k.store(column, "square", tap * (width * width) + i * width)
            with k.loop(0, lanes) as line:
                held = [[k.load("square", line * width + t * (width * width)) for t in row] for row in taps]
                _store_weights(k, held, target + (f + line) * (vectors * width) + v * width, inner, vectors)

        full = inner // width * width
        for v in range(vectors):
            with k.loop(0, full, width) as f:
                square(f, v, width)
            if full < inner:
                square(k.const(full), v, inner - full)

    each_block(k, blocks, 1, body)


def _store_weights(
    k: Kernel, square: Sequence[Sequence[Value]], target: Index, inner: int, vectors: int
) -> None:
    """Transform the weights of a vector of output channels and write them, point by point."""
    for point, value in enumerate(v for row in both_axes(k, weights_transform, square) for v in row):
        assert value is not None
        k.store(value, "packed", target + point * (inner * vectors * k.width))


def emit_winograd(k: Kernel, t: Tiles, p: Product, chain: Chain | None, bands: int = 1) -> None:
    """The whole kernel: tasks are images, or bands of an image's rows of tiles."""
    depth = padded(t.x[2], k.width)
    count = -(-p.rows * t.columns // p.tiles) * p.tiles
    stride = point_stride(count, depth)
    k.local("tiles", POINTS * stride)
    k.local("products", POINTS * point_stride(count, p.blocks.lanes))
    first, last = (k.lo * t.rows) // bands, (k.hi * t.rows) // bands
    with k.loop(first, last, p.rows) as start:
        end = k.minimum(start + p.rows, last) if p.rows > 1 else start + 1
        with k.loop(start, end) as row:
            image = (row // t.rows) * (t.x[0] * t.x[1] * t.x[2])
            store_inputs(k, t, "tiles", image, row % t.rows, (row - start) * t.columns, stride, t.x[2])
        used = (end - start) * t.columns
        for block_first, blocks, vectors, channels in p.blocks.kinds():
            with k.loop(0, blocks) as block:
                lanes = vectors * k.width
                weights = block_offset(p.blocks, POINTS, t.x[2], 0, block_first, block)
                _multiply(k, t, p, weights, used, stride, count, vectors)
                channel = block * lanes + block_first * p.blocks.lanes
                with k.loop(start, end) as row:
                    tile = (row - start) * t.columns
                    _outputs(k, t, chain, row, tile, channel, count, vectors, channels)


def _multiply(
    k: Kernel, t: Tiles, p: Product, weights: Index, used: Index, stride: int, count: int, vectors: int
) -> None:
    """products[point][tile] = tiles[point][tile] @ w[point] for one block of output channels."""
    inner, depth, lanes = t.x[2], padded(t.x[2], k.width), vectors * k.width
    with k.loop(0, POINTS) as point, k.loop(0, used, p.tiles) as tile:
        sums = [[k.register(start=k.zero) for _ in range(vectors)] for _ in range(p.tiles)]
        x = point * stride + tile * depth
        w = weights + point * (inner * lanes)

        def turn(c: Index, sums=sums, x=x, w=w) -> None:
            held = [k.load("w", w + c * lanes + v * k.width) for v in range(vectors)]
            for i, row in enumerate(sums):
                value = k.broadcast("tiles", x + c + i * depth)
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
                target = point * point_stride(count, lanes) + (tile + i) * lanes + v * k.width
                k.store(k.get(register), "products", target)


def _outputs(
    k: Kernel,
    t: Tiles,
    chain: Chain | None,
    row: Index,
    tile: Index,
    channel: Index,
    count: int,
    vectors: int,
    channels: int,
) -> None:
    """A' m A of a row of tiles, through the chain to memory."""
    lanes = vectors * k.width
    _, width, filters = t.y
    step = point_stride(count, lanes)
    image, row = row // t.rows, row % t.rows
    for rows, columns, column in each_span(k, t, row):
        source = (tile + column) * lanes
        corner = image * (t.y[0] * width * filters) + row * (2 * width * filters) + column * (2 * filters)
        for v in range(vectors):
            mask = k.mask(channels - v * k.width)
            square = [
                [k.load("products", source + (4 * i + j) * step + v * k.width) for j in range(4)]
                for i in range(4)
            ]
            results = both_axes(k, outputs_transform, square)
            for i, j in product(range(len(rows.kept)), range(len(columns.kept))):
                if not (rows.kept[i] and columns.kept[j]):
                    continue
                at = corner + channel + (i * width + j) * filters + v * k.width
                value = results[i][j] if max(i, j) < 2 else k.zero
                assert value is not None
                if chain is None:
                    k.store(value, "y", at, mask)
                else:
                    chain.apply(k, (value,), at, channel + v * k.width, mask)


def lower_winograd(
    plan: Plan,
    op: Operation,
    t: Tiles,
    p: Product,
    taps: tuple[tuple[int, ...], ...],
    chain: Chain | None,
    operation: Operation,
    bands: int,
) -> None:
    """Add the calls of a convolution.

    Args:
        op: conv or conv_grad_input.
        taps: number of the weight that meets input (i, j) of a tile, for the output (0, 0).
        operation: what the calls are said to do.
        bands: tasks of an image when there are few images.
    """
    x, weights = op.inputs
    weights = transformed_weights(plan, op, weights, p.blocks, t.x[2], taps)
    key = f"winograd {t} {p} {chain.key if chain else ''}"
    split = None
    if bands > 1:
        split = (
            f"{key} bands",
            lambda k: emit_winograd(k, t, p, chain, bands),
            Tasks(per_image=bands),
        )
    plan.call(
        operation,
        key,
        lambda k: emit_winograd(k, t, p, chain),
        {"x": x, "w": weights, **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(t.flops, 0.0),
        note=f"{op.operator} Winograd 2x2, tile {p.tiles}x{p.blocks.vectors}",
        split=split,
    )
