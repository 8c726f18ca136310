"""Kernel gradients of dense layers on many rows an image: products of matrices, summed over the images.

    dw[c, f] = sum over images n and rows m of  x[n, m, c] * g[n, m, f]

A task has some rows and columns of dw, and a share of the images, which it goes through in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.precision import (
    has_rounded_operands,
    multiplies_pairs,
    products,
    rounded_operands,
)
from kernelearn.engine.cpu.kernels.products.matrices import Matrices, Side
from kernelearn.engine.cpu.kernels.products.product import choose_code
from kernelearn.engine.cpu.kernels.products.tiles import CHUNK, MatrixProduct, Unit
from kernelearn.engine.cpu.kernels.shards import sum_of_shards
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import type_of
from kernelearn.engine.cpu.plan import Plan, Tasks, has_images, image_sizes
from kernelearn.engine.program import Operation

# Rows of an image, and inputs, from which on it is worth it.
ROWS, INPUTS = 32, 16


def lower_summed(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a dense layer, where images have many rows."""
    shape = plan.shape(op.inputs[0])
    if not plan.is_float(*op.inputs, *op.outputs) or not has_images(shape) or multiplies_pairs(plan, op):
        return False
    *positions, inner = image_sizes(shape)
    outer, rows = image_sizes(plan.shape(op.inputs[1]))[-1], math.prod(positions)
    if rows < ROWS or inner < INPUTS:
        return False
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    x, g, y = (
        Side(rows * inner, (), 1, inner),
        Side(rows * outer, (), outer, 1),
        Side(0, (), outer, 1),
    )
    found = Matrices(True, (), inner, rows, outer, x, g, y)
    product = choose_code(found, plan.target, None)
    assert isinstance(product, MatrixProduct)
    shards = max(1, min(8 // product.units, 2**20 // (inner * outer)))
    with sum_of_shards(plan, op, shards, inner * outer) as target:
        plan.call(
            op,
            SummedProduct(product, shards),
            {"a": op.inputs[0], "b": op.inputs[1], "n": "#n"},
            {"y": target},
            Tasks(fixed=shards * product.units),
            flops=(found.flops, 0.0),
            note=f"tile 8x{product.blocks.vectors}, {shards} shards{products(op, False)}",
        )
    return True


@dataclass(frozen=True)
class SummedProduct:
    """Tasks: shard of the images, and unit of the product."""

    product: MatrixProduct
    shards: int

    def emit(self, k: Kernel) -> None:
        code, images = self.product, k.scalar("n")
        found = code.matrices
        code.make_room(k)
        _, across = code.shares.counts(found.m, code.blocks.count)
        never = k.named("false", type_of("i1"))
        with k.loop(k.lo, k.hi) as task:
            part, shard = task % code.units, task // code.units
            row, block = (part // across) * code.shares.rows, (part % across) * code.shares.blocks
            y = shard * (found.m * found.n)
            Unit(code, k, k.const(0), k.const(0), y, row, block).clear()
            first, last = (images * shard) // self.shards, (images * (shard + 1)) // self.shards
            with k.loop(first, last) as image, k.loop(0, -(-found.k // CHUNK)) as chunk:
                unit = Unit(code, k, image * found.a.image, image * found.b.image, y, row, block)
                unit.emit(*code.part(k, chunk), is_first=never)
