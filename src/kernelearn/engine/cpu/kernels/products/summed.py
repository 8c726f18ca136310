"""Kernel gradients of dense layers on many rows, and of windows of one pixel: sums over all images.

    dw[c, f] = sum over images n and rows (pixels) m of  x[n, m, c] * g[n, m, f]

A task has some rows and columns of dw, and a share of the images, whose rows it goes through as one long row,
chunk by chunk. Of each chunk it copies its columns of x and g side by side, into its own cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.convolution.gradient import WANTED_TASKS, find_gradient
from kernelearn.engine.cpu.kernels.precision import (
    has_rounded_operands,
    multiplies_pairs,
    products,
    rounded_operands,
)
from kernelearn.engine.cpu.kernels.products.matrices import Matrices, Side
from kernelearn.engine.cpu.kernels.products.product import choose_code
from kernelearn.engine.cpu.kernels.products.tiles import MatrixProduct, Unit
from kernelearn.engine.cpu.kernels.shards import Parts, divided, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import type_of
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes
from kernelearn.engine.program import Operation

# Rows of an image, and inputs, from which on it is worth it.
ROWS, INPUTS = 32, 16
# Filters that a copy of x serves, and numbers of an image, or weights, above which copies are worth while.
FILTERS, NUMBERS, WEIGHTS = 32, 2**15, 2**13
# Rows of a chunk: a strip of two vectors of them takes half of the first-level cache.
CHUNK = 128
# Rows of a unit at most: a copy of g serves all of them.
UNIT_ROWS = 132


def lower_summed(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a dense layer, where images have many rows."""
    shape = plan.shape(op.inputs[0])
    if not plan.is_float(*op.inputs, *op.outputs) or not has_images(shape) or multiplies_pairs(plan, op):
        return False
    *positions, inner = image_sizes(shape)
    outer, rows = image_sizes(plan.shape(op.inputs[1]))[-1], math.prod(positions)
    if rows < ROWS or inner < INPUTS:
        return False
    return _lower(plan, op, inner, outer, rows)


def lower_pointwise_gradient(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of windows of one pixel that move by one, if it is large."""
    if not plan.is_float(*op.inputs, *op.outputs) or multiplies_pairs(plan, op):
        return False
    g = find_gradient(plan, op)
    if g.kernel != (1, 1, 1) or g.stride != (1, 1, 1) or g.groups > 1 or any(g.before) or g.x[:3] != g.g[:3]:
        return False
    rows = math.prod(g.g[:3])
    if not is_large(rows, g.inner, g.outer) or not stack.is_deep():
        return False
    return _lower(plan, op, g.inner, g.outer, rows)


def is_large(rows: int, inner: int, outer: int) -> bool:
    """Whether the gradient of so many pixels, channels and filters is worth copies of them."""
    return (rows * inner > NUMBERS or inner * outer > WEIGHTS) and inner >= INPUTS and outer >= FILTERS


def _lower(plan: Plan, op: Operation, inner: int, outer: int, rows: int) -> bool:
    """Add the calls; rows: of an image."""
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    x, g, y = (
        Side(rows * inner, (), 1, inner),
        Side(rows * outer, (), outer, 1),
        Side(0, (), outer, 1),
    )
    found = Matrices(True, (), inner, rows, outer, x, g, y)
    product = choose_sum(found, plan.target)
    shards = max(1, min(-(-WANTED_TASKS // product.units), 2**20 // (inner * outer)))
    parts = divided(plan, op, shards, product.units, inner * outer)
    with sum_of_parts(plan, op, parts, inner * outer) as target:
        plan.call(
            op,
            SummedProduct(product, parts),
            {"a": op.inputs[0], "b": op.inputs[1], "n": "#n"},
            {"y": target},
            parts.tasks,
            flops=(found.flops, 0.0),
            note=f"tile {product.rows}x{product.blocks.vectors}, {parts.note}{products(op, False)}",
            split=None if parts.shards else (SummedProduct(product, parts.finer), parts.finer.tasks),
        )
    return True


def choose_sum(found: Matrices, target: Target) -> MatrixProduct:
    """The product of a task's chunk: as many sums as registers allow."""
    product = choose_code(found, target, None)
    assert isinstance(product, MatrixProduct)
    sums = 24 if target.registers == 32 else 8
    rows = min(sums // product.blocks.vectors, 12)
    # NOTE: the rows of a unit are whole tiles, but for the last unit's; units are of nearly equal size.
    tiles = -(-found.m // rows)
    shares = replace(product.shares, rows=-(-tiles // -(-tiles * rows // UNIT_ROWS)) * rows)
    is_gathered = stack.is_deep()
    return replace(product, rows=rows, shares=shares, chunk=CHUNK, is_packed=True, is_gathered=is_gathered)


@dataclass(frozen=True)
class SummedProduct:
    """Parts of the batch, and units of the product."""

    product: MatrixProduct
    parts: Parts

    def emit(self, k: Kernel) -> None:
        code = self.product
        found = code.matrices
        code.make_room(k)
        _, across = code.shares.counts(found.m, code.blocks.count)
        never = k.named("false", type_of("i1"))
        with self.parts.each(k, k.scalar("n")) as (part, first, last, number):
            row, block = (number // across) * code.shares.rows, (number % across) * code.shares.blocks
            y = part * (found.m * found.n)
            unit = Unit(code, k, k.const(0), k.const(0), y, row, block)
            unit.clear()
            end = last * found.k
            with k.loop(first * found.k, end, CHUNK) as start:
                unit.emit(start, k.minimum(end - start, CHUNK), is_first=never, asks=True)
