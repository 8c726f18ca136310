"""Weights of 3 x 3 windows transformed as in `transforms`, in the order in which its products read them.

packed[block][point][c][lane] = (G g G')[point], g the window of output channel `lane` and input channel c
"""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import POINTS
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import Value, both_axes, weights_transform
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset, each_block, packed_once
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Buffer, Operation


def transformed_weights(
    plan: Plan, op: Operation, weights: str, blocks: Blocks, inner: int, taps: tuple[tuple[int, ...], ...]
) -> str:
    """Buffer with the transformed weights, made by a call that is added to the plan (once for all users).

    Args:
        inner: channels that the products sum over.
        taps: number of the weight that meets input (i, j) of a tile, for the output (0, 0).
    """
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
