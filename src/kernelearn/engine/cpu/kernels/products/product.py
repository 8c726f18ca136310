"""From `matmul` and `turned_matmul` to calls: as a dense layer, in tiles, or as sums along lanes."""

from __future__ import annotations

from dataclasses import replace

from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.cpu.kernels.dense import choose_vectors, lower_product
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, products, rounded_operands
from kernelearn.engine.cpu.kernels.products.dots import DotProducts
from kernelearn.engine.cpu.kernels.products.matrices import Matrices, Stored, find_matrices
from kernelearn.engine.cpu.kernels.products.tiles import MatrixProduct, Shares
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images
from kernelearn.engine.program import Operation

# At most this many rows of `a` are multiplied with a transposed `b` along lanes instead of turning it.
FEW_ROWS = 4
# Rows of `a` from which on a block of `b` that lies apart is copied; smaller matrices than this stay where
# they are, numbers.
COPYING_ROWS, NEAR = 32, 8192
# Blocks of `b` from which on the rows of a transposed `a` are copied.
COPYING_BLOCKS = 4
# Rows of b that are multiplied before the sums go back to memory: a block of them stays in the first cache.
CHUNK = 256
# Rows and columns of a unit.
UNIT_ROWS, UNIT_COLUMNS = 128, 256


def lower_as_dense(
    plan: Plan, op: Operation, chain: Chain | None = None, operation: Operation | None = None
) -> bool:
    """One matrix b for all images, all of whose rows are multiplied with it: a dense layer."""
    a, b = (plan.shape(name) for name in op.inputs)
    if len(b) != 2 or op.attrs["transpose_a"] or not has_images(a):
        return False
    operator = "dense_grad_input" if op.attrs["transpose_b"] else "dense"
    dense = replace(op, operator=operator, attrs={"precision": op.attrs["precision"]})
    return lower_product(plan, dense, chain, operation or op)


def lower_matmul(
    plan: Plan, op: Operation, chain: Chain | None = None, operation: Operation | None = None
) -> bool:
    """Add the call of a product, with a chain at the end (None: stored)."""
    if not plan.is_float(*op.inputs, *op.outputs):
        return False
    stored = [
        Stored(plan.shape(name), op.attrs.get(order))
        for name, order in zip((*op.inputs, *op.outputs), ("order_a", "order_b", "order_y"))
    ]
    if (written := stored[2].order) is not None:
        # The order of the result says how it is written, not how it is read.
        stored[2] = Stored(stored[2].shape, inverse_order(written))
    found = find_matrices(stored[0], stored[1], stored[2], op.attrs["transpose_a"], op.attrs["transpose_b"])
    if found is None or 1 not in (found.b.row, found.b.column) or found.y.column != 1:
        return False
    swapped = stored[2].taken[-1] == 1
    if has_rounded_operands(op):
        op = rounded_operands(plan, op)
    a, b = reversed(op.inputs) if swapped else op.inputs
    code = choose_code(found, plan.target, chain)
    finer = replace(code, by_unit=True), Tasks(per_image=code.units)
    plan.call(
        operation or op,
        code,
        {"a": a, "b": b, **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES if found.has_images else Tasks(fixed=code.units),
        flops=(found.flops, 0.0) if found.has_images else (0.0, found.flops),
        note=_note(code) + products(op, False),
        split=finer if found.has_images and code.units > 1 else None,
        together=1,
    )
    return True


def choose_code(found: Matrices, target: Target, chain: Chain | None) -> MatrixProduct | DotProducts:
    """What multiplies matrices of these sizes."""
    is_turned = found.b.column != 1
    if is_turned and found.b.row == 1 and found.a.column == 1 and found.m <= FEW_ROWS:
        return DotProducts(found, target.width, chain)
    blocks = Blocks(found.n, target.width, choose_vectors(found.n, target))
    is_apart = found.m >= COPYING_ROWS and found.k * found.b.row > NEAR and found.n > blocks.lanes
    is_gathered = found.a.row == 1 and found.k * found.a.column > NEAR and blocks.count >= COPYING_BLOCKS
    is_gathered = is_gathered and stack.is_deep()
    shares = Shares(UNIT_ROWS, max(UNIT_COLUMNS // blocks.lanes, 1))
    chunk = min(found.k, CHUNK)
    return MatrixProduct(found, blocks, shares, 8, is_turned or is_apart, is_gathered, chain, chunk)


def _note(code: MatrixProduct | DotProducts) -> str:
    if isinstance(code, DotProducts):
        return f"matmul along lanes, 1x{code.width}"
    return f"matmul tile {code.rows}x{code.blocks.vectors}"
