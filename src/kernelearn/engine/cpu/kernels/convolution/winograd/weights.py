"""Weights of 3 x 3 windows transformed as in `transforms`, in the order in which its products read them.

packed[block][point][c][lane] = (G g G')[point], g the window of output channel `lane` and input channel c
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import POINTS
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import both_axes, weights_transform
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset, each_block, packed_once
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value
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
    kind = TransformedWeights if op.operator == "conv" else TransposedWeights
    return packed_once(
        plan,
        op,
        weights,
        kind(blocks, inner, taps),
        Buffer("transformed", (POINTS * inner * blocks.padded,), "float32"),
        Tasks(fixed=blocks.count),
        "transform weights",
    )


@dataclass(frozen=True)
class TransformedWeights:
    """G g G' with output channels in the lanes."""

    blocks: Blocks
    inner: int
    taps: tuple[tuple[int, ...], ...]

    def emit(self, k: Kernel) -> None:
        filters = self.blocks.channels

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            start = (block + first) * self.blocks.lanes
            target = block_offset(self.blocks, POINTS, self.inner, 0, first, block)
            with k.loop(0, self.inner) as c:
                for v in range(vectors):
                    source, mask = start + c * filters + v * k.width, k.mask(channels - v * k.width)
                    square = [
                        [k.load("w", source + t * (self.inner * filters), mask) for t in row]
                        for row in self.taps
                    ]
                    _store_weights(
                        k, square, target + c * (vectors * k.width) + v * k.width, self.inner, vectors
                    )

        each_block(k, self.blocks, 1, body)


@dataclass(frozen=True)
class TransposedWeights:
    """As `TransformedWeights`, with channels in the lanes: squares of weights are transposed on the way."""

    blocks: Blocks
    inner: int
    taps: tuple[tuple[int, ...], ...]

    def emit(self, k: Kernel) -> None:
        width = k.width
        k.local("square", 9 * width * width)

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            start = (block + first) * (self.blocks.lanes * self.inner)
            target = block_offset(self.blocks, POINTS, self.inner, 0, first, block)

            def square(f: Index, v: int, lanes: int) -> None:
                with k.loop(0, 9) as tap:
                    source = start + tap * (self.blocks.channels * self.inner) + f
                    rows = [
                        k.load("w", source + c * self.inner, k.mask(lanes)) if c < channels else k.zero
                        for c in range(v * width, (v + 1) * width)
                    ]
                    for i, column in enumerate(transpose(k, rows)[:lanes]):
                        k.store(column, "square", tap * (width * width) + i * width)
                with k.loop(0, lanes) as line:
                    held = [
                        [k.load("square", line * width + t * (width * width)) for t in row]
                        for row in self.taps
                    ]
                    _store_weights(
                        k, held, target + (f + line) * (vectors * width) + v * width, self.inner, vectors
                    )

            full = self.inner // width * width
            for v in range(vectors):
                with k.loop(0, full, width) as f:
                    square(f, v, width)
                if full < self.inner:
                    square(k.const(full), v, self.inner - full)

        each_block(k, self.blocks, 1, body)


def _store_weights(
    k: Kernel, square: Sequence[Sequence[Value]], target: Index, inner: int, vectors: int
) -> None:
    """Transform the weights of a vector of output channels and write them, point by point."""
    for point, value in enumerate(v for row in both_axes(weights_transform, square) for v in row):
        k.store(value, "packed", target + point * (inner * vectors * k.width))
