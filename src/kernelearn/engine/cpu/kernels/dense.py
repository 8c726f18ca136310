"""Dense layers: matrix products with register tiles of rows x vectors, without a BLAS.

y[m, f]  = sum over c of x[m, c] * w[c, f]      rows m are images (and positions, if x has more axes)
dx[m, c] = sum over f of g[m, f] * w[c, f]      the same product with w packed transposed
dw[c, f] = sum over m of x[m, c] * g[m, f]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks, Order, block_offset, packed_weights
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
from kernelearn.engine.cpu.kernels.products.dense_sizes import dense_sizes
from kernelearn.engine.cpu.kernels.products.kept import are_kept, lower_kept
from kernelearn.engine.cpu.kernels.products.panels import Sizes, lower_panels
from kernelearn.engine.cpu.kernels.shards import Parts, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.language.values import PAIR
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Rows of a register tile, largest first; a remainder is done with the smaller ones.
ROWS = (8, 4, 2, 1)
# Rows of an image from which on weights that are not transposed are packed too, if they are more numbers.
PACKING_ROWS, PACKED = 32, 2**14


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


@dataclass(frozen=True)
class Product:
    """y = x w. Tasks: images, or (`by_block`) blocks of outputs.

    Attributes:
        rows: of x in an image.
        is_packed: whether w lies in blocks, else it is (inner, outer).
        is_paired: whether the inner numbers are pairs of bfloat16.
    """

    inner: int
    outer: int
    rows: int
    blocks: Blocks
    is_packed: bool
    is_paired: bool
    chain: Chain | None
    by_block: bool = False

    def emit(self, k: Kernel) -> None:
        for first, count, vectors, channels in self.blocks.kinds():
            low, high = (k.lo - first, k.minimum(k.hi - first, count)) if self.by_block else (0, count)
            if self.by_block and first:
                low = k.maximum(low, 0)
            with k.loop(low, high) as block:
                self._emit_block(k, first, block, vectors, channels)

    def _emit_block(self, k: Kernel, first: int, block: Index, vectors: int, channels: int) -> None:
        """All rows of the task, in tiles from the largest on."""
        column = block * self.blocks.lanes + first * self.blocks.lanes
        if self.is_packed:
            weights = block_offset(self.blocks, 1, self.inner, 0, first, block)
            step = vectors * k.width
        else:
            weights, step = column, self.outer
        if self.by_block:
            start, end = k.const(0), k.scalar("n") * self.rows
        else:
            start, end = k.lo * self.rows, k.hi * self.rows
        most = 8 if k.target.registers == 32 and self.blocks.vectors <= 3 else 4
        for size in (r for r in ROWS if r <= most):
            stop = start + ((end - start) // size) * size if size > 1 else end
            with k.loop(start, stop, size) as row:
                self._emit_tile(k, row, size, column, weights, step, vectors, channels)
            start = stop

    def _emit_tile(
        self,
        k: Kernel,
        row: Index,
        rows: int,
        column: Index,
        weights: Index,
        step: int,
        vectors: int,
        channels: int,
    ) -> None:
        """rows x vectors sums in registers: each turn loads a row of w and broadcasts a number of each x."""
        masks = [k.mask(channels - v * k.width) for v in range(vectors)]
        sums = {(r, v): k.register(start=k.zero) for r in range(rows) for v in range(vectors)}
        x, element = row * self.inner, PAIR if self.is_paired else "float"

        def turn(c: Index) -> None:
            at = weights + c * step
            held = [
                k.load("w", at + v * k.width, None if self.is_packed else mask, element)
                for v, mask in enumerate(masks)
            ]
            for r in range(rows):
                value = k.broadcast("x", x + c + r * self.inner, element)
                for v in range(vectors):
                    k.set(sums[r, v], k.multiply_add(value, held[v], k.get(sums[r, v])))

        two_a_turn(k, self.inner, turn)
        for (r, v), register in sums.items():
            offset = (row + r) * self.outer + column + v * k.width
            if self.chain is None:
                k.store(k.get(register), "y", offset, masks[v])
            else:
                self.chain.apply(k, (k.get(register),), offset, column + v * k.width, masks[v])


def lower_product(
    plan: Plan, op: Operation, chain: Chain | None = None, operation: Operation | None = None
) -> bool:
    """Add the calls of a dense layer or its input gradient, with a chain at the end (None: stored)."""
    found = dense_sizes(plan, op)
    if found is None:
        return False
    transposed = op.operator == "dense_grad_input"
    rows, inner, outer = found.rows, found.inner, found.outer
    blocks = Blocks(outer, plan.target.width, choose_vectors(outer, plan.target))
    pairs = multiplies_pairs(plan, op) and inner > 1
    sizes = Sizes(inner, outer, rows, transposed)
    keeps = not pairs and are_kept(plan, op, sizes)
    if sizes.are_panels and not pairs and not keeps:
        return lower_panels(plan, op, chain, operation or op, sizes)
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    if keeps:
        return lower_kept(plan, op, chain, operation or op, sizes)
    x, source = op.inputs
    flops = 2.0 * inner * outer * rows
    order = Order(blocks, rows=1, taps=1, inner=inner, groups=1)
    if pairs:
        source = packed_pairs(plan, op, source, order, transposed)
        x, inner = channel_pairs(plan, op, x, inner), -(-inner // 2)
    elif transposed or (rows >= PACKING_ROWS and inner * outer > PACKED):
        source = packed_weights(plan, op, source, order, transposed)
    is_packed = source != op.inputs[1]
    code = Product(inner, outer, rows, blocks, is_packed, pairs, chain)
    few = blocks if is_packed else Blocks(outer, plan.target.width, choose_few_vectors(outer, plan.target))
    split = None
    if few.count > 1:
        split = replace(code, blocks=few, by_block=True), Tasks(fixed=few.count)
    plan.call(
        operation or op,
        code,
        {"x": x, "w": source, "n": "#n", **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        IMAGES,
        flops=(flops, 0.0),
        saving=PAIRS_SAVING if pairs else 1.0,
        note=f"{op.operator} tile 8x{blocks.vectors}{products(op, pairs)}",
        split=split,
        together=8 if rows < 8 else 0,
    )
    return True


@dataclass(frozen=True)
class WeightProduct:
    """dw = x' g. Tasks: shard of the rows and block of `step` inputs; other attributes as of `Product`."""

    inner: int
    outer: int
    rows: int
    blocks: Blocks
    step: int
    shards: int
    is_paired: bool

    def emit(self, k: Kernel) -> None:
        inner, step, shards = self.inner, self.step, self.shards
        parts = -(-inner // step)
        total = (half_of(k.scalar("n")) if self.is_paired else k.scalar("n")) * self.rows
        with k.loop(k.lo, k.hi) as task:
            part, shard = task % parts, task // parts
            start, end = (total * shard) // shards, (total * (shard + 1)) // shards
            for size, condition in ((step, "slt"), (inner % step, "sge")):
                if size == 0 or (condition == "slt" and inner < step):
                    continue
                with k.when(k.compare(condition, part, inner // step)):
                    self._emit_part(k, part, size, shard, start, end)

    def _emit_part(self, k: Kernel, part: Index, size: int, shard: Index, start: Index, end: Index) -> None:
        """Some inputs and all outputs, block by block."""
        for first, count, vectors, channels in self.blocks.kinds():
            with k.loop(0, count) as block:
                column = block * self.blocks.lanes + first * self.blocks.lanes
                target = shard * (self.inner * self.outer) + part * (self.step * self.outer) + column
                self._emit_tile(k, part * self.step, size, column, target, vectors, channels, start, end)

    def _emit_tile(
        self,
        k: Kernel,
        c: Index,
        size: int,
        column: Index,
        target: Index,
        vectors: int,
        channels: int,
        start: Index,
        end: Index,
    ) -> None:
        """size x vectors sums in registers over the rows [start, end)."""
        masks = [k.mask(channels - v * k.width) for v in range(vectors)]
        element = PAIR if self.is_paired else "float"
        sums = {(i, v): k.register(start=k.zero) for i in range(size) for v in range(vectors)}
        with k.loop(start, end) as row:
            held = [
                k.load("g", row * self.outer + column + v * k.width, mask, element)
                for v, mask in enumerate(masks)
            ]
            x = row * self.inner + c
            for i in range(size):
                value = k.broadcast("x", x + i, element)
                for v in range(vectors):
                    k.set(sums[i, v], k.multiply_add(value, held[v], k.get(sums[i, v])))
        for (i, v), register in sums.items():
            k.store(k.get(register), "dw", target + i * self.outer + v * k.width, masks[v])


def lower_weights(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a dense layer."""
    sizes = dense_sizes(plan, op)
    if sizes is None:
        return False
    rows, inner, outer = sizes.rows, sizes.inner, sizes.outer
    blocks = Blocks(outer, plan.target.width, choose_vectors(outer, plan.target))
    step = (24 if blocks.vectors == 1 else 8) if plan.target.registers == 32 else 8
    pairs = multiplies_pairs(plan, op)
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    x, grad = (image_pairs(plan, op, name) for name in op.inputs) if pairs else op.inputs
    parts = -(-inner // step)
    shards = max(1, min(8 // parts, 2**20 // (inner * outer)))
    with sum_of_parts(plan, op, Parts(shards, parts), inner * outer) as target:
        plan.call(
            op,
            WeightProduct(inner, outer, rows, blocks, step, shards, pairs),
            {"x": x, "g": grad, "n": "#n"},
            {"dw": target},
            Tasks(fixed=shards * parts),
            flops=(2.0 * inner * outer * rows, 0.0),
            saving=PAIRS_SAVING if pairs else 1.0,
            note=f"tile {step}x{blocks.vectors}, {shards} shards{products(op, pairs)}",
        )
    return True
