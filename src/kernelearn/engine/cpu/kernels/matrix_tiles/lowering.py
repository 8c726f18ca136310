"""From operations to calls on matrix tiles, and whether these are faster than other kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kernelearn.engine.cpu.kernels.convolution.geometry import TapConv, geometry
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled, lower_pooled, make_pooled
from kernelearn.engine.cpu.kernels.matrix_tiles.copies import left_operand, right_operand
from kernelearn.engine.cpu.kernels.matrix_tiles.forward import WIDE, TileConv, TileRows
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import (
    NOTE,
    PRODUCTS,
    ROW_CYCLES,
    STEP_CYCLES,
    TileSums,
    find_sums,
    rows_sums,
)
from kernelearn.engine.cpu.kernels.precision import TILES_SAVING, multiplies_tiles
from kernelearn.engine.cpu.kernels.products.dense_sizes import dense_sizes
from kernelearn.engine.cpu.language.matrix_tiles import LANES
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, per_image
from kernelearn.engine.program import Operation

# Inputs, filters and weights of a dense layer from which on tiles are faster than sums in float32.
LEAST_INPUTS, LEAST_FILTERS, LEAST_WEIGHTS = 32, 8, 2**10
# Rows of an image from which on images are tasks.
IMAGE_ROWS = 16
# Cycles a row of a segment that its sums take to memory.
WRITE_CYCLES = 12
# Numbers that a pass over the map takes on in a cycle.
PASSED = 4


def lower_tile_conv(
    plan: Plan, op: Operation, chain: Chain | Pooled | None = None, operation: Operation | None = None
) -> bool:
    """Add the calls of a convolution or its input gradient; arguments as of `lower_taps`."""
    if isinstance(chain, Pooled) or (chain and chain.placed):
        return False
    if not plan.is_float(op.inputs[0], op.inputs[1], op.outputs[0]):
        return False
    return multiplies_tiles(plan, op) and _lower_conv(plan, op, chain, operation or op, 0)


def lower_tile_pooled(plan: Plan, op: Operation, body: Sequence[Operation]) -> bool:
    """A convolution, a chain and a pooling: the convolution by tiles, the others in a pass of their own."""
    conv = body[0]
    if len(body) < 3 or not multiplies_tiles(plan, conv):
        return False
    if not plan.is_float(*conv.inputs) or make_pooled(plan, body[1:], (), op.outputs) is None:
        return False
    map_size = per_image(plan.shape(conv.outputs[0]))
    return _lower_conv(plan, conv, None, conv, map_size) and lower_pooled(plan, op, body[1:])


def _lower_conv(plan: Plan, op: Operation, chain: Chain | None, operation: Operation, passed: int) -> bool:
    """Add the calls, if these are faster although so many numbers of an image are read once more."""
    g, transposed = geometry(plan, op)
    if g.is_depthwise or g.groups > 1:
        return False
    sums = find_sums(g)
    if not is_worthwhile(g, sums, passed):
        return False
    _add_conv(plan, op, sums, transposed, chain, operation, g.flops)
    return True


def is_worthwhile(g: TapConv, sums: TileSums, passed: int = 0) -> bool:
    """Whether tiles and their copies take less time than sums in float32, in estimated cycles."""
    tiles = passed / PASSED
    for part in sums.parts:
        rows, runs = part.segments.rows, len(part.runs)
        pairs = -(-part.counts[0] * part.counts[1] * part.segments.count // 2)
        each = runs * part.steps.count * (STEP_CYCLES + ROW_CYCLES * rows) + WRITE_CYCLES * rows
        tiles += pairs * -(-sums.outer // (WIDE * LANES)) * each
    copies = math.prod(sums.copied) * sums.pairs / 2
    is_filtered = g.kernel[1:] == (3, 3) and len(g.parts) == 1 and g.parts[0][2].in_step == 1
    return tiles + copies < g.flops / (2 * PRODUCTS * (1 + is_filtered))


def is_large(inner: int, outer: int) -> bool:
    """Whether the same holds for a dense layer."""
    return inner >= LEAST_INPUTS and outer >= LEAST_FILTERS and inner * outer >= LEAST_WEIGHTS


def _add_conv(
    plan: Plan,
    op: Operation,
    sums: TileSums,
    transposed: bool,
    chain: Chain | None,
    operation: Operation,
    flops: float,
) -> None:
    """Add the calls, tasks of which are images."""
    x = left_operand(plan, op, op.inputs[0], sums)
    w = right_operand(plan, op, op.inputs[1], sums, transposed)
    code, finer = TileConv(sums, chain), TileConv(sums, chain, by_block=True)
    plan.call(
        operation,
        code,
        {"x": x, "w": w, **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(flops, 0.0),
        saving=TILES_SAVING,
        note=f"{op.operator}, {NOTE}",
        split=(finer, Tasks(per_image=code.blocks.count)) if code.blocks.count > 1 else None,
    )


def lower_tile_product(
    plan: Plan, op: Operation, chain: Chain | None = None, operation: Operation | None = None
) -> bool:
    """Add the calls of a dense layer or its input gradient; arguments as of `lower_product`."""
    sizes = dense_sizes(plan, op)
    if not multiplies_tiles(plan, op) or sizes is None or not is_large(sizes.inner, sizes.outer):
        return False
    transposed = op.operator == "dense_grad_input"
    rows, inner, outer = sizes.rows, sizes.inner, sizes.outer
    sums, flops = rows_sums(inner, outer, rows), 2.0 * inner * outer * rows
    if rows >= IMAGE_ROWS:
        _add_conv(plan, op, sums, transposed, chain, operation or op, flops)
        return True
    x = left_operand(plan, op, op.inputs[0], sums)
    w = right_operand(plan, op, op.inputs[1], sums, transposed)
    code = TileRows(sums, chain)
    plan.call(
        operation or op,
        code,
        {"x": x, "w": w, "n": "#n", **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        Tasks(fixed=code.blocks.count),
        flops=(flops, 0.0),
        saving=TILES_SAVING,
        note=f"{op.operator}, {NOTE}",
    )
    return True
