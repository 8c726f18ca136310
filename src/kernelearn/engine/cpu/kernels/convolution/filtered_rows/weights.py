"""The weights of filtered rows: packed[block][row][point][c][lane] = (G g[row, :, c, lane])[point]."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.filtered_rows.windows import Windows
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset, each_block, packed_once
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import tiles, vectors_of
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Buffer, Operation


def transformed_rows(plan: Plan, op: Operation, weights: str, blocks: Blocks, w: Windows) -> str:
    """Buffer with the transformed weights, made by a call that is added to the plan (once for all users)."""
    return packed_once(
        plan,
        op,
        weights,
        TransposedRows(blocks, w) if w.is_turned else TransformedRows(blocks, w),
        Buffer("filtered", (w.rows * w.points * w.inner * blocks.padded,), "float32"),
        Tasks(fixed=blocks.count),
        "transform weights",
    )


@dataclass(frozen=True)
class TransformedRows:
    """With filters in the lanes."""

    blocks: Blocks
    w: Windows

    def emit(self, k: Kernel) -> None:
        w = self.w

        def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            start, lanes = (block + first) * self.blocks.lanes, vectors * k.width
            packed = block_offset(self.blocks, w.rows * w.points, w.inner, 0, first, block)
            with k.loop(0, w.rows) as row:
                for part in w.lanes:
                    places = range(part.start, part.start + part.taps)
                    with k.loop(part.first, part.first + part.count) as c:
                        for v, present in vectors_of(k, vectors, channels):
                            lines = [w.weight(row, place, c) * w.outer for place in places]
                            at = start + v * k.width
                            held = [k.load("w", line + at, k.mask(present)) for line in lines]
                            target = packed + (row * (w.points * w.inner) + c) * lanes + v * k.width
                            for point, value in enumerate(part.filter.taps(held)):
                                k.store(value, "packed", target + point * (w.inner * lanes))

        each_block(k, self.blocks, 1, body)


@dataclass(frozen=True)
class TransposedRows:
    """With channels in the lanes, for an input gradient: squares of weights are transposed on the way."""

    blocks: Blocks
    w: Windows

    def emit(self, k: Kernel) -> None:
        w, width, (part,) = self.w, k.width, self.w.lanes
        k.local("square", w.columns * width * width)

        def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            lanes = vectors * width
            packed = block_offset(self.blocks, w.rows * w.points, w.inner, 0, first, block)
            start = (block + first) * (self.blocks.lanes * w.inner)
            with k.loop(0, w.rows) as row:
                for f, count in tiles(k, w.inner):
                    for v, present in vectors_of(k, vectors, channels):
                        corner = start + v * (width * w.inner) + f
                        self._transpose(k, row, corner, present, count)
                        with k.loop(0, count) as line:
                            places = range(w.columns)
                            held = [k.load("square", line * width + p * (width * width)) for p in places]
                            target = packed + (row * (w.points * w.inner) + f + line) * lanes + v * width
                            for point, value in enumerate(part.filter.taps(held)):
                                k.store(value, "packed", target + point * (w.inner * lanes))

        each_block(k, self.blocks, 1, body)

    def _transpose(self, k: Kernel, row: Index, corner: Index, present: int, count: int) -> None:
        """Squares of all places of a row, with channels in the lanes."""
        w, width = self.w, k.width
        last = row * -1 + (w.rows - 1)
        with k.loop(0, w.columns) as place:
            tap = last * w.columns + (w.columns - 1) - place
            source = corner + tap * (w.outer * w.inner)
            lines = [
                k.load("w", source + c * w.inner, k.mask(count)) if c < present else k.zero
                for c in range(width)
            ]
            for i, column in enumerate(transpose(k, lines)[:count]):
                k.store(column, "square", place * (width * width) + i * width)
