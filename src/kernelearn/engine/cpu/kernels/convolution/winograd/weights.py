"""Weights transformed as in `filters`, along all axes, in the order in which their products read them.

packed[block][point][c][lane] = (G g)[point], g the window of output channel `lane` and input channel c
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.winograd.axes import Window
from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import Tiles
from kernelearn.engine.cpu.kernels.convolution.winograd.transforms import along_axes
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset, each_block, packed_once
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import vectors_of
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Buffer, Operation

# Of depth, height and width.
Windows = tuple[Window, ...]


def transformed_weights(plan: Plan, op: Operation, weights: str, blocks: Blocks, t: Tiles) -> str:
    """Buffer with the transformed weights, made by a call that is added to the plan (once for all users)."""
    kind = TransformedWeights if op.operator == "conv" else TransposedWeights
    return packed_once(
        plan,
        op,
        weights,
        kind(blocks, t.x[3], tuple(axis.window for axis in t.axes)),
        Buffer("transformed", (t.points * t.x[3] * blocks.padded,), "float32"),
        Tasks(fixed=blocks.count),
        "transform weights",
    )


def _points(windows: Windows) -> int:
    return math.prod(window.filter.points for window in windows)


def _taps(windows: Windows) -> int:
    return math.prod(window.taps for window in windows)


@dataclass(frozen=True)
class TransformedWeights:
    """G g with output channels in the lanes."""

    blocks: Blocks
    inner: int
    windows: Windows

    def emit(self, k: Kernel) -> None:
        filters, points = self.blocks.channels, _points(self.windows)

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            start = (block + first) * self.blocks.lanes
            target = block_offset(self.blocks, points, self.inner, 0, first, block)
            with k.loop(0, self.inner) as c:
                for v, present in vectors_of(k, vectors, channels):
                    source, mask = start + c * filters + v * k.width, k.mask(present)
                    held = [
                        k.load("w", source + tap * (self.inner * filters), mask)
                        for tap in range(_taps(self.windows))
                    ]
                    place = target + c * (vectors * k.width) + v * k.width
                    _store_weights(k, self.windows, held, place, self.inner, vectors)

        each_block(k, self.blocks, 1, body)


@dataclass(frozen=True)
class TransposedWeights:
    """As `TransformedWeights`, with channels in the lanes: squares of weights are transposed on the way."""

    blocks: Blocks
    inner: int
    windows: Windows

    def emit(self, k: Kernel) -> None:
        width, taps, points = k.width, _taps(self.windows), _points(self.windows)
        k.local("square", taps * width * width)

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            start = (block + first) * (self.blocks.lanes * self.inner)
            target = block_offset(self.blocks, points, self.inner, 0, first, block)

            def square(f: Index, v: Index, present: int, lanes: int) -> None:
                with k.loop(0, taps) as tap:
                    source = start + tap * (self.blocks.channels * self.inner) + f + v * (width * self.inner)
                    rows = [
                        k.load("w", source + c * self.inner, k.mask(lanes)) if c < present else k.zero
                        for c in range(width)
                    ]
                    for i, column in enumerate(transpose(k, rows)[:lanes]):
                        k.store(column, "square", tap * (width * width) + i * width)
                with k.loop(0, lanes) as line:
                    held = [k.load("square", line * width + tap * (width * width)) for tap in range(taps)]
                    place = target + (f + line) * (vectors * width) + v * width
                    _store_weights(k, self.windows, held, place, self.inner, vectors)

            full = self.inner // width * width
            for v, present in vectors_of(k, vectors, channels):
                with k.loop(0, full, width) as f:
                    square(f, v, present, width)
                if full < self.inner:
                    square(k.const(full), v, present, self.inner - full)

        each_block(k, self.blocks, 1, body)


def _store_weights(
    k: Kernel, windows: Windows, held: Sequence[Value], target: Index, inner: int, vectors: int
) -> None:
    """Transform the weights of a vector of output channels and write them, point by point."""
    maps = [window.filter.taps for window in windows]
    for point, value in enumerate(along_axes(maps, held)):
        k.store(value, "packed", target + point * (inner * vectors * k.width))
