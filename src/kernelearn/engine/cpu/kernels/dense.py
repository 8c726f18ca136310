"""Dense layers: matrix products with register tiles of rows x vectors, without a BLAS.

y[m, f]  = sum over c of x[m, c] * w[c, f]      rows m are images (and positions, if x has more axes)
dx[m, c] = sum over f of g[m, f] * w[c, f]      the same product with w packed transposed
dw[c, f] = sum over m of x[m, c] * g[m, f]
"""

from __future__ import annotations

import math

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset, packed_weights
from kernelearn.engine.cpu.kernels.packing_pairs import packed_pairs
from kernelearn.engine.cpu.kernels.precision import (
    PAIRS_SAVING,
    channel_pairs,
    half_of,
    has_rounded_operands,
    image_pairs,
    multiplies_pairs,
    products,
    rounded_operands,
)
from kernelearn.engine.cpu.kernels.shards import sum_of_shards
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Rows of a register tile, largest first; a remainder is done with the smaller ones.
ROWS = (8, 4, 2, 1)


def choose_vectors(channels: int, target: Target, limit: int = 2) -> int:
    """Vectors of a tile: as many as there are, at most `limit`; three if they divide better."""
    full = -(-channels // target.width)
    if target.registers == 32 and full % 3 == 0 and full % 2:
        return 3
    return min(full, limit if target.registers == 32 else 1)


def choose_few_vectors(channels: int, target: Target) -> int:
    """Vectors of a tile for few rows: enough sums at once to hide how long a multiply-add takes."""
    wide = target.registers == 32 and channels >= 8 * target.width
    return 4 if wide else choose_vectors(channels, target)


def emit_product(
    k: Kernel,
    inner: int,
    outer: int,
    rows: int,
    blocks: Blocks,
    is_packed: bool,
    chain: Chain | None,
    by_block: bool = False,
) -> None:
    """y = x w. Tasks: images, or (`by_block`) blocks of outputs.

    Args:
        is_packed: whether w lies in blocks, else it is (inner, outer).
    """
    most = 8 if k.target.registers == 32 and blocks.vectors <= 3 else 4
    sizes = [r for r in ROWS if r <= most]
    for first, count, vectors, channels in blocks.kinds():
        low, high = (k.lo - first, k.minimum(k.hi - first, count)) if by_block else (0, count)
        if by_block and first:
            low = k.maximum(low, 0)
        with k.loop(low, high) as block:
            column = block * blocks.lanes + first * blocks.lanes
            if is_packed:
                weights, step = block_offset(blocks, 1, inner, 0, first, block), vectors * k.width
            else:
                weights, step = column, outer
            start, end = (k.const(0), k.scalar("n") * rows) if by_block else (k.lo * rows, k.hi * rows)
            for size in sizes:
                stop = start + ((end - start) // size) * size if size > 1 else end
                with k.loop(start, stop, size) as row:
                    _product_tile(
                        k, inner, outer, row, size, column, weights, step, vectors, channels, chain, is_packed
                    )
                start = stop


def _product_tile(
    k: Kernel, inner, outer, row: Index, rows: int, column, weights, step, vectors, channels, chain, is_packed
) -> None:
    masks = [k.mask(channels - v * k.width) for v in range(vectors)]
    sums = {(r, v): k.register(start=k.zero) for r in range(rows) for v in range(vectors)}
    x = row * inner

    def turn(c: Index) -> None:
        at = weights + c * step
        held = [k.load("w", at + v * k.width, None if is_packed else masks[v]) for v in range(vectors)]
        for r in range(rows):
            value = k.broadcast("x", x + c + r * inner)
            for v in range(vectors):
                k.set(sums[r, v], k.multiply_add(value, held[v], k.get(sums[r, v])))

    full = inner // 2 * 2
    with k.loop(0, full, 2) as c:
        turn(c)
        turn(c + 1)
    if full < inner:
        turn(k.const(full))
    for (r, v), register in sums.items():
        offset = (row + r) * outer + column + v * k.width
        if chain is None:
            k.store(k.get(register), "y", offset, masks[v])
        else:
            chain.apply(k, (k.get(register),), offset, column + v * k.width, masks[v])


def lower_product(
    plan: Plan, op: Operation, chain: Chain | None = None, operation: Operation | None = None
) -> bool:
    """Add the calls of a dense layer or its input gradient, with a chain at the end (None: stored)."""
    if not plan.is_float(*op.inputs, *op.outputs):
        return False
    transposed = op.operator == "dense_grad_input"
    shape, weights = plan.shape(op.inputs[0]), plan.shape(op.inputs[1])
    if shape[0] is not None or None in shape[1:]:
        return False
    inner, outer = (weights[1], weights[0]) if transposed else weights
    assert inner is not None and outer is not None
    rows = math.prod(s for s in shape[1:-1] if s is not None)
    blocks = Blocks(outer, plan.target.width, choose_vectors(outer, plan.target))
    pairs = multiplies_pairs(plan, op) and inner > 1
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    x, source = op.inputs
    flops = 2.0 * inner * outer * rows
    if pairs:
        source = packed_pairs(plan, op, source, blocks, 1, inner, 1, transposed)
        x, inner = channel_pairs(plan, op, x, inner), -(-inner // 2)
    elif transposed:
        source = packed_weights(plan, op, source, blocks, 1, inner, 1, True)
    is_packed = pairs or transposed
    key = f"product inner={inner} outer={outer} rows={rows} {blocks} {is_packed} {chain.key if chain else ''}"
    key += " pairs" if pairs else ""

    def emit(k: Kernel, blocks: Blocks, by_block: bool = False) -> None:
        k.is_paired = pairs
        emit_product(k, inner, outer, rows, blocks, is_packed, chain, by_block)

    few = blocks if is_packed else Blocks(outer, plan.target.width, choose_few_vectors(outer, plan.target))
    split = None
    if few.count > 1:
        split = f"{key} {few} blocks", lambda k: emit(k, few, by_block=True), Tasks(fixed=few.count)
    plan.call(
        operation or op,
        key,
        lambda k: emit(k, blocks),
        {"x": x, "w": source, "n": "#n", **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(flops, 0.0),
        saving=PAIRS_SAVING if pairs else 1.0,
        note=f"{op.operator} tile 8x{blocks.vectors}{products(op, pairs)}",
        split=split,
    )
    return True


def emit_weights(
    k: Kernel, inner: int, outer: int, rows: int, blocks: Blocks, step: int, shards: int
) -> None:
    """dw = x' g. Tasks: shard of the rows and block of `step` inputs."""
    parts = -(-inner // step)
    total = (half_of(k.scalar("n")) if k.is_paired else k.scalar("n")) * rows
    with k.loop(k.lo, k.hi) as task:
        part, shard = task % parts, task // parts
        start, end = (total * shard) // shards, (total * (shard + 1)) // shards
        for size, condition in ((step, "slt"), (inner % step, "sge")):
            if size == 0 or (condition == "slt" and inner < step):
                continue
            with k.when(k.compare(condition, part, inner // step)):
                for first, count, vectors, channels in blocks.kinds():
                    with k.loop(0, count) as block:
                        column = block * blocks.lanes + first * blocks.lanes
                        target = shard * (inner * outer) + part * (step * outer) + column
                        _weights_tile(
                            k, inner, outer, part * step, size, column, target, vectors, channels, start, end
                        )


def _weights_tile(
    k: Kernel, inner, outer, c: Index, size: int, column, target, vectors, channels, start: Index, end: Index
) -> None:
    masks = [k.mask(channels - v * k.width) for v in range(vectors)]
    sums = {(i, v): k.register(start=k.zero) for i in range(size) for v in range(vectors)}
    with k.loop(start, end) as row:
        held = [k.load("g", row * outer + column + v * k.width, masks[v]) for v in range(vectors)]
        x = row * inner + c
        for i in range(size):
            value = k.broadcast("x", x + i)
            for v in range(vectors):
                k.set(sums[i, v], k.multiply_add(value, held[v], k.get(sums[i, v])))
    for (i, v), register in sums.items():
        k.store(k.get(register), "dw", target + i * outer + v * k.width, masks[v])


def lower_weights(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a dense layer."""
    shape = plan.shape(op.inputs[0])
    if not plan.is_float(*op.inputs, *op.outputs) or shape[0] is not None or None in shape[1:]:
        return False
    inner, outer = shape[-1], plan.shape(op.inputs[1])[-1]
    assert inner is not None and outer is not None
    rows = math.prod(s for s in shape[1:-1] if s is not None)
    blocks = Blocks(outer, plan.target.width, choose_vectors(outer, plan.target))
    step = (24 if blocks.vectors == 1 else 8) if plan.target.registers == 32 else 8
    pairs = multiplies_pairs(plan, op)
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    x, grad = (image_pairs(plan, op, name) for name in op.inputs) if pairs else op.inputs
    parts = -(-inner // step)
    shards = max(1, min(8 // parts, 2**20 // (inner * outer)))

    def emit(k: Kernel) -> None:
        k.is_paired = pairs
        emit_weights(k, inner, outer, rows, blocks, step, shards)

    key = (
        f"product weights inner={inner} outer={outer} rows={rows} {blocks} {step} {shards} {'pairs' * pairs}"
    )
    with sum_of_shards(plan, op, shards, inner * outer) as target:
        plan.call(
            op,
            key,
            emit,
            {"x": x, "g": grad, "n": "#n"},
            {"dw": target},
            Tasks(fixed=shards * parts),
            flops=(2.0 * inner * outer * rows, 0.0),
            saving=PAIRS_SAVING if pairs else 1.0,
            note=f"tile {step}x{blocks.vectors}, {shards} shards{products(op, pairs)}",
        )
    return True
