"""From an operation to the calls of its kernel: the tile, packed operands, and how the work is divided."""

from __future__ import annotations

import math

from kernelearn.engine.cpu.kernels.convolution.geometry import (
    TapConv,
    Tile,
    choose_joined_tile,
    choose_tile,
    geometry,
)
from kernelearn.engine.cpu.kernels.convolution.taps.tasks import TapBands, TapBlocks, Taps
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled
from kernelearn.engine.cpu.kernels.narrow import fitting, on_vectors
from kernelearn.engine.cpu.kernels.packing import Blocks, Order, packed_weights
from kernelearn.engine.cpu.kernels.packing_pairs import packed_pairs
from kernelearn.engine.cpu.kernels.precision import (
    PAIRS_SAVING,
    channel_pairs,
    has_rounded_operands,
    multiplies_pairs,
    products,
    rounded_operands,
)
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import BANDS, IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Weights beyond this size stay in the cache only if all images are done for one block of them first.
BIG_WEIGHTS = 3 * 2**18
# Bytes of x and y that a band of rows takes, so that they stay in the cache for all blocks of channels.
BAND_BYTES = 2**16


def lower_taps(
    plan: Plan, op: Operation, chain: Chain | Pooled | None = None, operation: Operation | None = None
) -> bool:
    """Add the calls of a convolution whose results go through a chain (None: are stored).

    Args:
        operation: what the calls are said to do, if it is more than `op`.
    """
    if not plan.is_float(op.inputs[0], op.inputs[1], op.outputs[0]):
        return False
    g, transposed = geometry(plan, op)
    pairs = multiplies_pairs(plan, op) and not g.is_depthwise and g.inner > 1
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    g = g if pairs else g.joined(plan.target)
    target = plan.target if pairs or g.few else fitting(plan.target, g.outer)
    tile = _choose(g, target, isinstance(chain, Pooled), pairs)
    blocks, flops = Blocks(g.outer, target.width, tile.vectors), g.flops
    x, weights = _operands(plan, op, g, blocks, transposed, pairs)
    g = g.in_pairs() if pairs else g
    finer = _split(g, tile, chain, blocks.count * g.groups)
    plan.call(
        operation or op,
        on_vectors(_whole(g, tile, chain, blocks), target.width, plan.target),
        {"x": x, "w": weights, **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(flops, 0.0),
        saving=PAIRS_SAVING if pairs else 1.0,
        note=f"{op.operator} tile {tile.rows}x{tile.pixels}x{tile.vectors}{products(op, pairs)}",
        split=finer and (on_vectors(finer[0], target.width, plan.target), finer[1]),
    )
    return True


def _choose(g: TapConv, target: Target, has_windows: bool, pairs: bool) -> Tile:
    """The register tile, for the largest residue class."""
    highest, widest = (max(part[axis].count for part in g.parts) for axis in (1, 2))
    inner = -(-g.inner // 2) if pairs else g.inner
    if g.few:
        return choose_joined_tile(highest, widest, inner, target, has_windows)
    return choose_tile(g.outer, highest, widest, inner, target, has_windows)


def _operands(
    plan: Plan, op: Operation, g: TapConv, blocks: Blocks, transposed: bool, pairs: bool
) -> tuple[str, str]:
    """The input and the packed weights as the kernel reads them."""
    x, weights = op.inputs
    together = g.taps_together
    order = Order(blocks, g.tap_count // together, together, g.inner, g.groups)
    if pairs:
        return channel_pairs(plan, op, x, g.inner), packed_pairs(plan, op, weights, order, transposed)
    return x, packed_weights(plan, op, weights, order, transposed, g.few)


def _whole(g: TapConv, tile: Tile, chain: Chain | Pooled | None, blocks: Blocks) -> Taps:
    """The convolution of whole images, in the order in which what is used again stays in the cache."""
    size = 4 * g.tap_count * g.inner * blocks.padded * g.groups
    blocks_outside = size > BIG_WEIGHTS and blocks.count > 1
    return Taps(g, tile, chain, blocks_outside, 1 if blocks_outside else _bands(g, tile, blocks.count))


def _bands(g: TapConv, tile: Tile, blocks: int) -> int:
    """Bands of rows of an image that a depthwise convolution does for all blocks, one after the other.

    Then a row of a large map goes through the cache once and not once for each block. The weights do that for
    each band instead; of other convolutions they are too many.
    """
    size = 4 * (math.prod(g.x) + math.prod(g.y))
    highest, lowest = (find(part[1].count for part in g.parts) for find in (max, min))
    if not g.is_depthwise or blocks == 1 or g.x[0] > 1 or size < 2 * BAND_BYTES:
        return 1
    if any(part[1].count % tile.rows for part in g.parts):
        return 1
    rows = max(1, highest * BAND_BYTES // size)
    return max(1, min(highest // rows, lowest // tile.rows))


def _split(
    g: TapConv, tile: Tile, chain: Chain | Pooled | None, blocks: int
) -> tuple[TapBands | TapBlocks, Tasks] | None:
    """The convolution of one image as several tasks: bands of rows, or blocks of channels; None: neither."""
    rows = min(part[1].count for part in g.parts)
    if rows >= 2 * BANDS and all(part[1].count % tile.rows == 0 for part in g.parts):
        return TapBands(g, tile, chain, BANDS), Tasks(per_image=BANDS)
    if blocks > 1:
        return TapBlocks(g, tile, chain), Tasks(per_image=blocks)
    return None
