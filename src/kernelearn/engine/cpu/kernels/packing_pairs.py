"""Packed weights in bfloat16: the order of `packing`, with a pair of neighbouring inner channels in a lane.

forward:     packed[group][block][row][c][tap][lane] = (w[row][tap][2c][..], w[row][tap][2c+1][..])
transposed:  packed[group][block][row][f][tap][lane] = (w[row][tap][..][2f], w[row][tap][..][2f+1])

An odd number of inner channels is filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.packing import Order, each_block, packed_once
from kernelearn.engine.cpu.language.bfloat16 import pair
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.plan import Plan
from kernelearn.engine.program import Buffer, Operation


def packed_pairs(plan: Plan, op: Operation, weights: str, order: Order, transposed: bool) -> str:
    """Buffer with packed pairs; arguments as of `packing.packed_weights`, of numbers and not of pairs."""
    code = PackedPairsTransposed(order) if transposed else PackedPairs(order)
    packed = Buffer("pairs", (halved(order).numbers,), "uint32")
    return packed_once(plan, op, weights, code, packed, order.tasks, "pack weights in bfloat16")


def halved(order: Order) -> Order:
    """The order of the pairs."""
    return replace(order, inner=-(-order.inner // 2))


@dataclass(frozen=True)
class PackedPairs:
    """As `packing.PackedWeights`, of pairs of lines."""

    order: Order

    def emit(self, k: Kernel) -> None:
        o, pairs, blocks = self.order, halved(self.order), self.order.blocks
        filters = o.groups * blocks.channels

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target, lanes = pairs.start(group, first, block), vectors * k.width
            column = group * blocks.channels + (block + first) * blocks.lanes

            def one(row: Index, tap: Index, c: Index, has_second: bool) -> None:
                start = column + ((row * o.taps + tap) * o.inner + c * 2) * filters
                place = target + pairs.line(row, c, tap) * lanes
                for v in range(vectors):
                    mask, at = k.mask(channels - v * k.width), start + v * k.width
                    second = k.load("w", at + filters, mask) if has_second else k.zero
                    k.store(pair(k.load("w", at, mask), second), "packed", place + v * k.width)

            with k.loop(0, o.rows) as row, k.loop(0, o.taps) as tap:
                with k.loop(0, o.inner // 2) as c:
                    one(row, tap, c, True)
                if o.inner % 2:
                    one(row, tap, k.const(o.inner // 2), False)

        each_block(k, blocks, o.groups, body)


@dataclass(frozen=True)
class PackedPairsTransposed:
    """As `packing.PackedTransposed`, of pairs of columns."""

    order: Order

    def emit(self, k: Kernel) -> None:
        o, pairs, blocks, width = self.order, halved(self.order), self.order.blocks, k.width
        filters = o.groups * o.inner

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target, lanes = pairs.start(group, first, block), vectors * width
            start = (block + first) * (blocks.lanes * filters) + group * o.inner
            with k.loop(0, o.rows) as row, k.loop(0, o.taps) as tap:
                source = start + (row * o.taps + tap) * (blocks.channels * filters)

                def square(turn: Index, count: int) -> None:
                    for v in range(vectors):
                        rows = [
                            k.load("w", source + turn * width + c * filters, k.mask(count))
                            if c < channels
                            else k.zero
                            for c in range(v * width, (v + 1) * width)
                        ]
                        columns = [*transpose(k, rows)[:count], k.zero]
                        for i in range(0, count, 2):
                            line = pairs.line(row, turn * (width // 2) + i // 2, tap)
                            k.store(
                                pair(columns[i], columns[i + 1]), "packed", target + line * lanes + v * width
                            )

                full = o.inner // width
                with k.loop(0, full) as turn:
                    square(turn, width)
                if o.inner % width:
                    square(k.const(full), o.inner % width)

        each_block(k, blocks, o.groups, body)
