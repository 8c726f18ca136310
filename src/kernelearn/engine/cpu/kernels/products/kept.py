"""Products with weights that stay the same from run to run: packed once, and read in one stream.

    y[row, f] = sum over c of x[row, c] * w[c, f]          (or w[f, c], transposed)

for block of outputs:                                      a task, or a few for parts of the rows
    for rows, at most ROWS:
        for piece of the inner channels, at most DEPTH of them:
            for strip of the block:
                for 8 rows:  8 x vectors sums in registers, added to those of the pieces before
        the chain at the end of the product

A strip's packed weights follow each other in memory, in the order in which they are read: weights of a few
rows come at the speed at which memory gives them, and the processor asks ahead by itself. Tiles of 8 rows ask
for what is read next, each for a share, so that none waits for the weights that it is the first to read. Rows
that are fewer than 8 take all vectors of the block at once, so that there are enough sums to wait for none of
them. Sums of DEPTH products are added up, in the same order for any number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks, Order, one_block, packed_weights
from kernelearn.engine.cpu.kernels.precision import products
from kernelearn.engine.cpu.kernels.products.panels import FEW_ROWS, LINE, Sizes
from kernelearn.engine.cpu.kernels.products.pieces import DEPTH, PiecewiseBlock, piece_depth
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.language.values import SIZES
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation

# Weights of fewer bytes stay in a core's own cache, whatever their order; a copy of more would take too much
# memory.
LEAST_BYTES, MOST_BYTES = 2**17, 2**27
# Rows that a task takes at a time: they stay in the first-level cache beside a strip of weights. Vectors of a
# block; rows of register tiles, for what rows are left.
ROWS, VECTORS, TILES = 32, 4, (8, 4, 2, 1)
# Rows of so many bytes, or a multiple, fall into the same few places of the first-level cache.
COLLIDING = 2048
# Rows whose tile takes one strip; fewer take the whole block. MANY rows are copied if they collide.
STRIP_ROWS, MANY = 8, 4
# Tasks at least, as far as there are rows: they are divided among tasks in units of so many.
LEAST_TASKS, UNIT = 16, 16


@dataclass(frozen=True)
class KeptPanels:
    """y = x w. Tasks: blocks of outputs.

    Attributes:
        inner, outer: channels; rows: of x in an image.
        blocks: the outputs, cut into blocks; strip: vectors of a register tile of 8 rows.
        shares: tasks of a block, each with a share of the rows.
    """

    inner: int
    outer: int
    rows: int
    blocks: Blocks
    strip: int
    shares: int
    chain: Chain | None

    @property
    def is_copied(self) -> bool:
        """Whether many rows of x have to be copied: they would fall into the same few places of the cache."""
        return 4 * self.inner % COLLIDING == 0

    def emit(self, k: Kernel) -> None:
        k.local("sums", ROWS * self.blocks.lanes)
        if self.is_copied:
            k.local("rows", ROWS * (DEPTH + k.width))
        total = k.scalar("n") * self.rows
        with k.loop(k.lo, k.hi) as task:

            def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
                column = (block + first) * self.blocks.lanes
                begin, end = self._rows(k, total, task)
                with k.loop(begin, end, ROWS) as start:
                    count = k.minimum(end - start, ROWS)
                    _Block(self, k, start, count, column, vectors, channels).emit()

            one_block(k, self.blocks, 1, task // self.shares if self.shares > 1 else task, body)

    def _rows(self, k: Kernel, total: Index, task: Index) -> tuple[Index, Index]:
        """Rows [begin, end) of a task."""
        if self.shares == 1:
            return k.const(0), total
        units, share = (total + (UNIT - 1)) // UNIT, task % self.shares
        begin, end = ((units * s) // self.shares * UNIT for s in (share, share + 1))
        return begin, k.minimum(end, total)


def are_kept(plan: Plan, op: Operation, sizes: Sizes) -> bool:
    """Whether the weights of a product are constant, and of a size that is worth a packed copy."""
    size = 4 * sizes.inner * sizes.outer
    is_worth = LEAST_BYTES <= size <= MOST_BYTES and sizes.rows <= FEW_ROWS and plan.keeps_constants
    return is_worth and plan.root(op.inputs[1]) in plan.constant and stack.is_deep()


def lower_kept(plan: Plan, op: Operation, chain: Chain | None, operation: Operation, sizes: Sizes) -> bool:
    """Add the call of a product of x and w, the inputs of `op`; other arguments as of `lower_product`."""
    s, wide, width = sizes, plan.target.registers == 32, plan.target.width
    vectors = min(VECTORS if wide else VECTORS // 2, -(-s.outer // width))
    strip = min(2 if wide else 1, vectors)
    x, weights = op.inputs
    order = Order(Blocks(s.outer, width, strip), rows=1, taps=1, inner=s.inner, groups=1)
    packed = packed_weights(plan, op, weights, order, s.is_transposed)
    blocks = Blocks(s.outer, width, vectors)
    shares = max(1, LEAST_TASKS // blocks.count)
    code = KeptPanels(s.inner, s.outer, s.rows, blocks, strip, shares, chain)
    plan.call(
        operation,
        code,
        {"x": x, "w": packed, "n": "#n", **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        Tasks(fixed=code.blocks.count * code.shares),
        flops=(2.0 * s.inner * s.outer * s.rows, 0.0),
        note=f"{op.operator} packed panels of {piece_depth(s.inner)}x{blocks.lanes}{products(op, False)}",
    )
    return True


@dataclass(frozen=True)
class _Block(PiecewiseBlock):
    """One whose weights are packed: it reads them where they lie."""

    code: KeptPanels

    def _piece(self, first: Index, depth: int) -> None:
        """Add the products with `depth` rows of weights, of all rows, in tiles from the largest on."""
        k, strip = self.k, self.code.strip
        if self.code.is_copied:
            with k.when(k.compare("sge", self.count, MANY)):
                self._copy_rows(first, depth)
        start: Index = k.const(0)
        for size in TILES:
            end = (self.count // size) * size if size > 1 else self.count
            step = strip if size >= STRIP_ROWS else self.vectors
            for v in range(0, self.vectors, step):
                with k.loop(start, end, size) as row:
                    self._tile(first, depth, row, size, v, min(step, self.vectors - v))
            start = end

    def _copy_rows(self, first: Index, depth: int) -> None:
        """Rows of x, a vector more than needed apart."""
        k = self.k
        with k.loop(0, self.count, checked=False) as row:
            source = (self.start + row) * self.code.inner + first
            for c in range(0, depth, k.width):
                k.store(k.load("x", source + c, k.mask(depth - c)), "rows", row * (DEPTH + k.width) + c)

    def _tile(self, first: Index, depth: int, row: Index, rows: int, vector: int, vectors: int) -> None:
        """rows x vectors sums in registers: each turn loads a line of weights and broadcasts numbers of x."""
        k = self.k
        sums = {(r, v): k.register(start=k.zero) for r in range(rows) for v in range(vectors)}
        is_copied = self.code.is_copied and rows >= MANY
        role, step = ("rows", DEPTH + k.width) if is_copied else ("x", self.code.inner)
        x = row * step if is_copied else (self.start + row) * step + first
        lines = [self._line(first, vector + v) for v in range(vectors)]

        def turn(c: Index) -> None:
            held = [k.load("w", place + c * lanes) for place, lanes in lines]
            for r in range(rows):
                value = k.broadcast(role, x + c + r * step)
                for v in range(vectors):
                    k.set(sums[r, v], k.fma(value, held[v], k.get(sums[r, v])))

        if rows >= STRIP_ROWS and depth == self.depth:
            self._turns_that_ask(first, row // rows, vector, vectors, turn)
        else:
            two_a_turn(k, depth, turn)
        self._add(sums, row, vector)

    def _turns_that_ask(
        self, first: Index, tile: Index, vector: int, vectors: int, turn: Callable[[Index], None]
    ) -> None:
        """As `two_a_turn`; each turn of the loop prefetches a line or two of what is read next.

        So each of ROWS' tiles asks for its share. Many lines at once would fill the buffers in which loads
        wait for the second-level cache, which takes longer than it saves.
        """
        k, (start, lanes), line = self.k, self._after(first, vector, vectors), LINE // SIZES[self.k.float]
        turns = self.depth // 2
        each = -(-self.depth * lanes // line // turns // (ROWS // STRIP_ROWS))
        own = start + tile * (turns * each * line)
        with k.loop(0, self.depth, 2, checked=False) as c:
            for i in range(each):
                k.prefetch("w", own + (c // 2) * (each * line) + i * line, 2)
            turn(c)
            turn(c + 1)

    def _after(self, first: Index, vector: int, vectors: int) -> tuple[Index, int]:
        """Where what is read next begins, and its lanes: of the next strip, or the first's next piece."""
        if vector + vectors < self.vectors:
            return self._line(first, vector + vectors)
        return self._line(first + self.depth, 0)

    def _line(self, first: Index, vector: int) -> tuple[Index, int]:
        """Where the packed weights of a vector begin in a piece, and numbers from one to the next."""
        width, strip = self.k.width, self.code.strip
        before = vector // strip * strip
        lanes = min(strip, self.vectors - before) * width
        start = (self.column + before * width) * self.code.inner + (vector - before) * width
        return start + first * lanes, lanes
