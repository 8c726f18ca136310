"""Packed weights in bfloat16: the order of `packing`, with a pair of neighbouring inner channels in a lane.

forward:     packed[group][block][tap][c][lane] = (w[tap][2c][..], w[tap][2c+1][..])
transposed:  packed[group][block][tap][f][lane] = (w[tap][..][2f], w[tap][..][2f+1])

An odd number of inner channels is filled up with zeros.
"""

from __future__ import annotations

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
    key = f"pack pairs {blocks} taps={taps} inner={inner} groups={groups} transposed={transposed}"
    packed = Buffer("pairs", (groups * taps * -(-inner // 2) * blocks.padded,), "uint32")
    emit = _emit_transposed if transposed else _emit_forward
    tasks = Tasks(fixed=groups * blocks.count)
    note = "pack weights in bfloat16"
    return packed_once(
        plan, op, weights, key, packed, lambda k: emit(k, blocks, taps, inner, groups), tasks, note
    )


def _emit_forward(k: Kernel, blocks: Blocks, taps: int, inner: int, groups: int) -> None:
    filters, half = groups * blocks.channels, -(-inner // 2)

    def body(group, first, block, vectors, channels):
        target = block_offset(blocks, taps, half, group, first, block)
        source = group * blocks.channels + (block + first) * blocks.lanes

        def one(tap: Index, c: Index, has_second: bool) -> None:
            start, place = (
                source + (tap * inner + c * 2) * filters,
                target + (tap * half + c) * (vectors * k.width),
            )
            for v in range(vectors):
                mask, at = k.mask(channels - v * k.width), start + v * k.width
                second = k.load("w", at + filters, mask) if has_second else k.zero
                k.store(pair(k, k.load("w", at, mask), second), "packed", place + v * k.width)

        with k.loop(0, taps) as tap:
            with k.loop(0, inner // 2) as c:
                one(tap, c, True)
            if inner % 2:
                one(tap, k.const(inner // 2), False)

    each_block(k, blocks, groups, body)


def _emit_transposed(k: Kernel, blocks: Blocks, taps: int, inner: int, groups: int) -> None:
    filters, half, width = groups * inner, -(-inner // 2), k.width

    def body(group, first, block, vectors, channels):
        target = block_offset(blocks, taps, half, group, first, block)
        start = (block + first) * (blocks.lanes * filters) + group * inner
        with k.loop(0, taps) as tap:
            source = start + tap * (blocks.channels * filters)
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
                        k.store(pair(k, columns[i], columns[i + 1]), "packed", at)

            full = inner // width
            with k.loop(0, full) as turn:
                square(turn, width)
            if inner % width:
                square(k.const(full), inner % width)

    each_block(k, blocks, groups, body)
