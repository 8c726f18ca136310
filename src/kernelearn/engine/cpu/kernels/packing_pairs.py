"""Packed weights in bfloat16: the order of `packing`, with a pair of neighbouring inner channels in a lane.

forward:     packed[group][block][tap][c][lane] = (w[tap][2c][..], w[tap][2c+1][..])
transposed:  packed[group][block][tap][f][lane] = (w[tap][..][2f], w[tap][..][2f+1])

An odd number of inner channels is filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset, each_block, packed_once
from kernelearn.engine.cpu.language.bfloat16 import pair
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Buffer, Operation


def packed_pairs(
    plan: Plan,
    op: Operation,
    weights: str,
    blocks: Blocks,
    taps: int,
    inner: int,
    groups: int,
    transposed: bool,
) -> str:
    """Buffer with packed pairs; arguments as of `packing.packed_weights`."""
    packed = Buffer("pairs", (groups * taps * -(-inner // 2) * blocks.padded,), "uint32")
    kind = PackedPairsTransposed if transposed else PackedPairs
    tasks = Tasks(fixed=groups * blocks.count)
    note = "pack weights in bfloat16"
    return packed_once(plan, op, weights, kind(blocks, taps, inner, groups), packed, tasks, note)


@dataclass(frozen=True)
class PackedPairs:
    """As `packing.PackedWeights`, of pairs of rows."""

    blocks: Blocks
    taps: int
    inner: int
    groups: int

    def emit(self, k: Kernel) -> None:
        filters, half = self.groups * self.blocks.channels, -(-self.inner // 2)

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target = block_offset(self.blocks, self.taps, half, group, first, block)
            source = group * self.blocks.channels + (block + first) * self.blocks.lanes

            def one(tap: Index, c: Index, has_second: bool) -> None:
                start, place = (
                    source + (tap * self.inner + c * 2) * filters,
                    target + (tap * half + c) * (vectors * k.width),
                )
                for v in range(vectors):
                    mask, at = k.mask(channels - v * k.width), start + v * k.width
                    second = k.load("w", at + filters, mask) if has_second else k.zero
                    k.store(pair(k.load("w", at, mask), second), "packed", place + v * k.width)

            with k.loop(0, self.taps) as tap:
                with k.loop(0, self.inner // 2) as c:
                    one(tap, c, True)
                if self.inner % 2:
                    one(tap, k.const(self.inner // 2), False)

        each_block(k, self.blocks, self.groups, body)


@dataclass(frozen=True)
class PackedPairsTransposed:
    """As `packing.PackedTransposed`, of pairs of columns."""

    blocks: Blocks
    taps: int
    inner: int
    groups: int

    def emit(self, k: Kernel) -> None:
        filters, half, width = self.groups * self.inner, -(-self.inner // 2), k.width

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target = block_offset(self.blocks, self.taps, half, group, first, block)
            start = (block + first) * (self.blocks.lanes * filters) + group * self.inner
            with k.loop(0, self.taps) as tap:
                source = start + tap * (self.blocks.channels * filters)
                place = target + tap * (half * vectors * width)

                def square(turn: Index, lanes: int) -> None:
                    for v in range(vectors):
                        rows = [
                            k.load("w", source + turn * width + c * filters, k.mask(lanes))
                            if c < channels
                            else k.zero
                            for c in range(v * width, (v + 1) * width)
                        ]
                        columns = [*transpose(k, rows)[:lanes], k.zero]
                        for i in range(0, lanes, 2):
                            at = place + (turn * (width // 2) + i // 2) * (vectors * width) + v * width
                            k.store(pair(columns[i], columns[i + 1]), "packed", at)

                full = self.inner // width
                with k.loop(0, full) as turn:
                    square(turn, width)
                if self.inner % width:
                    square(k.const(full), self.inner % width)

        each_block(k, self.blocks, self.groups, body)
