"""Products with large weights and few rows: a task multiplies one block of outputs of all rows.

    y[row, f] = sum over c of x[row, c] * w[c, f]          (or w[f, c], transposed)

for block of outputs:                                      a task
    for rows, at most ROWS:
        for piece of the inner channels, DEPTH of them:
            copy the piece of the block's weights, strip by strip, turned if need be
            for strip:
                for 8 rows:  8 x vectors sums in registers, added to those of the pieces before
        the chain at the end of the product

So weights are read from memory once for all rows, no copy of them is written to memory, and a strip of a
piece stays in the first-level cache while the rows pass by. Sums of DEPTH products are added up, which rounds
less than one long sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks, one_block
from kernelearn.engine.cpu.kernels.precision import products
from kernelearn.engine.cpu.kernels.products.copies import pack_columns, pack_rows
from kernelearn.engine.cpu.kernels.products.matrices import Side
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation

# Rows whose sums a task keeps on its stack, and inner channels of a piece.
ROWS, DEPTH = 128, 128
# Weights from this size on, in bytes, stay in no core's own cache: they are read once for all rows, if images
# have no more rows than this.
LARGE_WEIGHTS, FEW_ROWS = 2**20, 64
# Vectors of outputs of a block.
VECTORS = 4
# Rows of a register tile, largest first; a remainder is done with the smaller ones.
TILES = (8, 4, 2, 1)
# Rows that lie a multiple of so many bytes apart would fall into the same few places of the cache.
COLLIDING = 2048
# Numbers of a cache line.
LINE = 16


@dataclass(frozen=True)
class Panels:
    """y = x w. Tasks: blocks of outputs.

    Attributes:
        inner, outer: channels; rows: of x in an image.
        blocks: the outputs, cut into blocks; strip: vectors of a register tile.
        is_transposed: whether w is (outer, inner).
    """

    inner: int
    outer: int
    rows: int
    blocks: Blocks
    strip: int
    is_transposed: bool
    chain: Chain | None

    @property
    def is_copied(self) -> bool:
        """Whether rows of x have to be copied."""
        return 4 * self.inner % COLLIDING == 0

    @property
    def side(self) -> Side:
        """How the weights are passed through."""
        return Side(0, (), 1, self.inner) if self.is_transposed else Side(0, (), self.outer, 1)

    def emit(self, k: Kernel) -> None:
        k.local("packed", DEPTH * self.blocks.lanes)
        k.local("sums", ROWS * self.blocks.lanes)
        if self.is_copied:
            k.local("rows", ROWS * (DEPTH + k.width))
        total = k.scalar("n") * self.rows
        with k.loop(k.lo, k.hi) as task:

            def body(_: Index, first: int, block: Index, vectors: int, channels: int) -> None:
                column = (block + first) * self.blocks.lanes
                with k.loop(0, total, ROWS) as start:
                    count = k.minimum(total - start, ROWS)
                    _Block(self, k, start, count, column, vectors, channels).emit()

            one_block(k, self.blocks, 1, task, body)


@dataclass(frozen=True)
class Sizes:
    """Of a product: see `Panels`."""

    inner: int
    outer: int
    rows: int
    is_transposed: bool

    @property
    def are_panels(self) -> bool:
        """Whether weights are so large, and rows of an image so few, that tasks are blocks of outputs."""
        return 4 * self.inner * self.outer >= LARGE_WEIGHTS and self.rows <= FEW_ROWS and stack.is_deep()


def lower_panels(plan: Plan, op: Operation, chain: Chain | None, operation: Operation, sizes: Sizes) -> bool:
    """Add the call of a product of x and w, the inputs of `op`; other arguments as of `lower_product`."""
    s, wide = sizes, plan.target.registers == 32
    vectors = min(VECTORS if wide else VECTORS // 2, -(-s.outer // plan.target.width))
    blocks = Blocks(s.outer, plan.target.width, vectors)
    code = Panels(s.inner, s.outer, s.rows, blocks, 2 if wide else 1, s.is_transposed, chain)
    x, weights = op.inputs
    plan.call(
        operation,
        code,
        {"x": x, "w": weights, "n": "#n", **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        Tasks(fixed=blocks.count),
        flops=(2.0 * s.inner * s.outer * s.rows, 0.0),
        note=f"{op.operator} panels of {DEPTH}x{blocks.lanes}{products(op, False)}",
    )
    return True


@dataclass(frozen=True)
class _Block:
    """A block of outputs, `channels` of them from `column` on, of `count` rows from `start` on."""

    code: Panels
    k: Kernel
    start: Index
    count: Index
    column: Index
    vectors: int
    channels: int

    def emit(self) -> None:
        k, inner = self.k, self.code.inner
        with k.loop(0, self.count * (self.vectors * k.width), k.width, checked=False) as at:
            k.store(k.zero, "sums", at)
        full = inner // DEPTH * DEPTH
        with k.loop(0, full, DEPTH) as first:
            self._piece(first, DEPTH)
        if full < inner:
            self._piece(k.const(full), inner - full)
        for strip, vectors in self._strips():
            self._finish(strip, vectors)

    def _strips(self) -> list[tuple[int, int]]:
        """(first vector, vectors) of the strips of the block."""
        step = self.code.strip
        return [(v, min(step, self.vectors - v)) for v in range(0, self.vectors, step)]

    def _piece(self, first: Index, depth: int) -> None:
        """Add the products with `depth` rows of weights."""
        k, side = self.k, self.code.side
        if self.code.is_copied:
            self._copy_rows(first, depth)
        for v, vectors in self._strips():
            source = first * side.row + (self.column + v * k.width) * side.column
            channels, place = self.channels - v * k.width, v * k.width * DEPTH
            pack = pack_columns if self.code.is_transposed else pack_rows
            pack(k, source, side, depth, vectors, channels, "w", place)
        for v, vectors in self._strips():
            self._multiply(first, depth, v, vectors)

    def _copy_rows(self, first: Index, depth: int) -> None:
        """Rows of x, a vector more than needed apart."""
        k = self.k
        with k.loop(0, self.count, checked=False) as row:
            source = (self.start + row) * self.code.inner + first
            for c in range(0, depth, k.width):
                k.store(k.load("x", source + c, k.mask(depth - c)), "rows", row * (DEPTH + k.width) + c)

    def _multiply(self, first: Index, depth: int, strip: int, vectors: int) -> None:
        """All rows, in tiles from the largest on."""
        k = self.k
        start: Index = k.const(0)
        for size in TILES:
            end = (self.count // size) * size if size > 1 else self.count
            with k.loop(start, end, size) as row:
                self._tile(first, depth, row, size, strip, vectors)
            start = end

    def _tile(self, first: Index, depth: int, row: Index, rows: int, strip: int, vectors: int) -> None:
        """rows x vectors sums in registers: each turn loads a line of weights and broadcasts numbers of x."""
        k = self.k
        sums = {(r, v): k.register(start=k.zero) for r in range(rows) for v in range(vectors)}
        role, step = ("rows", DEPTH + k.width) if self.code.is_copied else ("x", self.code.inner)
        x = row * step if self.code.is_copied else (self.start + row) * step + first
        weights = strip * k.width * DEPTH

        def turn(c: Index) -> None:
            self._ask_for_next(first, c, strip, vectors)
            held = [k.load("packed", c * (vectors * k.width) + weights + v * k.width) for v in range(vectors)]
            for r in range(rows):
                value = k.broadcast(role, x + c + r * step)
                for v in range(vectors):
                    k.set(sums[r, v], k.fma(value, held[v], k.get(sums[r, v])))

        even = depth // 2 * 2
        with k.loop(0, even, 2) as c:
            turn(c)
            turn(c + 1)
        if even < depth:
            turn(k.const(even))
        for (r, v), register in sums.items():
            at = self._place(row + r, strip + v)
            k.store(k.load("sums", at) + k.get(register), "sums", at)

    def _ask_for_next(self, first: Index, c: Index, strip: int, vectors: int) -> None:
        """Prefetch a part of the strip's next piece of weights into the second-level cache."""
        k, side, column = self.k, self.code.side, self.column + strip * self.k.width
        lines = vectors * k.width // LINE
        if not self.code.is_transposed:
            for i in range(lines):
                k.prefetch("w", (first + DEPTH + c) * side.row + column + i * LINE, 2)
            return
        each = DEPTH // LINE
        for i in range(lines):
            row, part = (c * lines + i) // each, (c * lines + i) % each
            k.prefetch("w", (column + row) * side.column + first + DEPTH + part * LINE, 2)

    def _place(self, row: Index, vector: int) -> Index:
        """Where a vector of sums is kept."""
        return (row * self.vectors + vector) * self.k.width

    def _finish(self, strip: int, vectors: int) -> None:
        """The sums of all rows through the chain to memory."""
        k, chain = self.k, self.code.chain
        with k.loop(0, self.count, checked=False) as row:
            for v in range(strip, strip + vectors):
                value, mask = k.load("sums", self._place(row, v)), k.mask(self.channels - v * k.width)
                at = (self.start + row) * self.code.outer + self.column + v * k.width
                if chain is None:
                    k.store(value, "y", at, mask)
                else:
                    chain.apply(k, (value,), at, self.column + v * k.width, mask)
