"""Products with large weights and few rows: a task multiplies one block of outputs of all rows.

    y[row, f] = sum over c of x[row, c] * w[c, f]          (or w[f, c], transposed)

x is copied once, 8 rows side by side: [c][row]. Then

for block of outputs:                                      a task
    for rows, at most ROWS:
        for piece of the inner channels, at most DEPTH of them:
            copy the piece of the block's weights, turned if need be; else the first tile copies on its way
            for 8 rows:  8 x vectors sums in registers, added to those of the pieces before
        the chain at the end of the product

So weights are read from memory once for all rows, no copy of them is written to memory, and a piece of them
stays in the first-level cache while the rows pass by; the next piece is asked for meanwhile. Sums of DEPTH
products are added up, which rounds less than one long sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands, products
from kernelearn.engine.cpu.kernels.products.copies import pack_columns, pack_rows, rounded
from kernelearn.engine.cpu.kernels.products.even_blocks import EvenBlocks
from kernelearn.engine.cpu.kernels.products.matrices import Side
from kernelearn.engine.cpu.kernels.products.pieces import DEPTH, PiecewiseBlock, piece_depth
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import SIZES, Value
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation

# Rows whose sums a task keeps on its stack.
ROWS = 256
# Weights from this size on, in bytes, stay in no core's own cache: they are read once for all rows, if images
# have no more rows than this.
LARGE_WEIGHTS, FEW_ROWS = 2**20, 64
# Turns of a tile after which lines of the next piece of weights are asked for, where there are so many rows:
# each tile of them asks for its share. Many lines at once would fill the buffers in which loads wait.
ASKING = ((128, 16), (32, 4), (0, 1))
# Bytes of a cache line.
LINE = 64
# Channels of x that a task copies.
COPIED = 64


def tile_rows(target: Target) -> tuple[int, int]:
    """Rows and vectors of a register tile."""
    return (8, 3) if target.registers == 32 else (6, 2)


def tiles(k: Kernel, most: int, count: Index, is_full: bool = True) -> Iterator[tuple[Index, int]]:
    """(first row, rows) of the tiles that so many rows are cut into, from the largest on.

    is_full: whether to begin with the largest, or with what is left behind these.
    """
    start = k.const(0) if is_full else (count // most) * most
    for size in (most, 4, 2, 1)[not is_full :]:
        end = count if size == 1 else start + ((count - start) // size) * size
        with k.loop(start, end, size) as row:
            yield row, size
        start = end


@dataclass(frozen=True)
class Panels:
    """y = x w. Tasks: blocks of outputs.

    Attributes:
        inner, outer: channels; rows: of x in an image.
        blocks: the outputs, cut into blocks; tile: rows of a register tile.
        is_transposed: whether w is (outer, inner).
        is_rounded: whether x and w are rounded to bfloat16.
    """

    inner: int
    outer: int
    rows: int
    blocks: EvenBlocks
    tile: int
    is_transposed: bool
    is_rounded: bool
    chain: Chain | None

    @property
    def side(self) -> Side:
        """How the weights are passed through."""
        return Side(0, (), 1, self.inner) if self.is_transposed else Side(0, (), self.outer, 1)

    def emit(self, k: Kernel) -> None:
        k.local("packed", DEPTH * self.blocks.lanes)
        k.local("sums", ROWS * self.blocks.lanes)
        total = k.scalar("n") * self.rows
        with k.loop(k.lo, k.hi) as task:

            def body(column: Index, vectors: int, channels: int) -> None:
                with k.loop(0, total, self.most) as start:
                    count = k.minimum(total - start, self.most)
                    _Block(self, k, start, count, column, vectors, channels).emit()

            self.blocks.each(k, task, body)

    @property
    def most(self) -> int:
        """Rows at once: whole tiles."""
        return ROWS // self.tile * self.tile


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
    """Add the calls of a product of x and w, the inputs of `op`; other arguments as of `lower_product`."""
    s, (tile, vectors) = sizes, tile_rows(plan.target)
    blocks = EvenBlocks(s.outer, plan.target.width, min(vectors, -(-s.outer // plan.target.width)))
    x, weights = op.inputs
    is_rounded = has_rounded_operands(op)
    turned = plan.scratch(f"{x}/turned", (None, s.rows * s.inner))
    plan.call(
        op,
        TurnedRows(s.inner, s.rows, tile, is_rounded),
        {"x": x, "n": "#n"},
        {"y": turned},
        Tasks(fixed=-(-s.inner // COPIED)),
        note="copy rows side by side",
    )
    plan.call(
        operation,
        Panels(s.inner, s.outer, s.rows, blocks, tile, s.is_transposed, is_rounded, chain),
        {"x": turned, "w": weights, "n": "#n", **(chain.reads if chain else {})},
        chain.writes if chain else {"y": op.outputs[0]},
        Tasks(fixed=blocks.count),
        flops=(2.0 * s.inner * s.outer * s.rows, 0.0),
        note=f"{op.operator} panels of {piece_depth(s.inner)}x{blocks.lanes}{products(op, False)}",
    )
    return True


@dataclass(frozen=True)
class TurnedRows:
    """y[first][c][r] = x[first + r][c] for the rows of each tile. Tasks: COPIED channels.

    Attributes:
        channels: of x; rows: of an image; tile: rows of a full tile; is_rounded: whether to bfloat16.
    """

    channels: int
    rows: int
    tile: int
    is_rounded: bool

    def emit(self, k: Kernel) -> None:
        total, full = k.scalar("n") * self.rows, self.channels // k.width * k.width
        low, high = k.lo * COPIED, k.minimum(k.hi * COPIED, full)
        for row, size in tiles(k, self.tile, total):
            with k.loop(low, high, k.width) as c:
                self._square(k, row, size, c, k.width)
        if full < self.channels:
            with k.when(k.compare("sge", k.hi * COPIED, self.channels)):
                for row, size in tiles(k, self.tile, total):
                    self._square(k, row, size, k.const(full), self.channels - full)

    def _square(self, k: Kernel, row: Index, size: int, c: Index, channels: int) -> None:
        """Some channels of the rows of a tile."""
        for start in range(0, size, k.width):
            count = min(k.width, size - start)
            held = [
                k.load("x", (row + (start + r)) * self.channels + c, k.mask(channels))
                if r < count
                else k.zero
                for r in range(k.width)
            ]
            for i, column in enumerate(transpose(k, held)[:channels]):
                place = row * self.channels + (c + i) * size + start
                k.store(rounded(column, self.is_rounded), "y", place, k.mask(count))


@dataclass(frozen=True)
class _Block(PiecewiseBlock):
    """One that copies the weights of a piece before it multiplies them."""

    code: Panels

    def _piece(self, first: Index, depth: int) -> None:
        """Add the products with `depth` rows of weights."""
        k, full = self.k, (self.count // self.code.tile) * self.code.tile
        if self._packs_on_the_way and depth == self.depth:
            start = k.minimum(full, self.code.tile)
            with k.when(k.compare("sgt", full, 0)):
                self._packing_tile(first)
            with k.when(k.compare("eq", full, 0)):
                self._pack(first, depth)
        else:
            start = k.const(0)
            self._pack(first, depth)
        # The first that there are rows enough for does all tiles.
        for least, gap in ASKING if depth == self.depth else ASKING[-1:]:
            end = k.either(k.compare("sge", self.count, least), full, start)
            with k.loop(start, end, self.code.tile) as row:
                self._tile(first, depth, row, self.code.tile, gap)
            start = end
        for row, size in tiles(k, self.code.tile, self.count, is_full=False):
            self._tile(first, depth, row, size)

    def _pack(self, first: Index, depth: int) -> None:
        """Copy the weights of a piece."""
        side = self.code.side
        pack = pack_columns if self.code.is_transposed else pack_rows
        source = first * side.row + self.column * side.column
        pack(self.k, source, side, depth, self.vectors, self.channels, "w", self.code.is_rounded)

    @property
    def _packs_on_the_way(self) -> bool:
        """Whether the first tile copies the weights of a piece while it multiplies them."""
        return not self.code.is_transposed and not self.code.is_rounded

    def _packing_tile(self, first: Index) -> None:
        """The first rows, with weights from where they lie; other tiles read the copy."""
        k, vectors, side, gap = self.k, self.vectors, self.code.side, ASKING[0][1]
        sums = self._sums(self.code.tile)
        source = first * side.row + self.column
        # What the tiles of so many rows ask for each in `gap` turns.
        shares = k.const(1)
        for (least, _), (_, turns) in pairwise(ASKING):
            shares = k.either(k.compare("slt", self.count, least), k.const(gap // turns), shares)

        def turn(c: Index) -> None:
            held = []
            for v in range(vectors):
                mask = k.mask(self.channels - v * k.width)
                held.append(k.load("w", source + c * side.row + v * k.width, mask))
                k.store(held[v], "packed", (c * vectors + v) * k.width)
            self._multiply(first, k.const(0), c, held, sums)

        with k.loop(0, self.depth, gap) as c:
            with k.loop(0, shares) as share:
                self._ask(first, c // gap * shares + share)
            with k.loop(c, c + gap, 2, checked=False) as pair:
                turn(pair)
                turn(pair + 1)
        self._add(sums, k.const(0))

    def _sums(self, rows: int) -> dict[tuple[int, int], Register]:
        """Zeros: the sums of a tile, by row and vector."""
        k = self.k
        return {(r, v): k.register(start=k.zero) for r in range(rows) for v in range(self.vectors)}

    def _multiply(
        self, first: Index, row: Index, c: Index, held: list[Value], sums: dict[tuple[int, int], Register]
    ) -> None:
        """A line of weights with numbers of x, of the rows of a tile."""
        k, rows = self.k, len(sums) // self.vectors
        x = (self.start + row) * self.code.inner + first * rows
        for r in range(rows):
            value = k.broadcast("x", x + c * rows + r)
            for v in range(self.vectors):
                k.set(sums[r, v], k.fma(value, held[v], k.get(sums[r, v])))

    def _tile(self, first: Index, depth: int, row: Index, rows: int, gap: int = 1) -> None:
        """rows x vectors sums in registers: each turn loads a line of weights and broadcasts numbers of x.

        gap: turns after which some lines of the next piece are asked for.
        """
        k, vectors, sums = self.k, self.vectors, self._sums(rows)

        def turn(c: Index) -> None:
            if gap == 1:
                self._ask(first, c)
            held = [k.load("packed", (c * vectors + v) * k.width) for v in range(vectors)]
            self._multiply(first, row, c, held, sums)

        if gap > 1:
            with k.loop(0, depth, gap) as c:
                self._ask(first, ((row // rows) * self.depth + c) // gap)
                with k.loop(c, c + gap, 2, checked=False) as pair:
                    turn(pair)
                    turn(pair + 1)
        else:
            two_a_turn(k, depth, turn)
        self._add(sums, row)

    # --- asking for the next piece of weights, into the second-level cache

    @property
    def _line(self) -> int:
        """Numbers of a cache line."""
        return LINE // SIZES[self.k.float]

    @property
    def _lines_across(self) -> int:
        """Lines that follow each other in memory."""
        numbers = self.depth if self.code.is_transposed else self.vectors * self.k.width
        return -(-numbers // self._line)

    @property
    def _lines(self) -> int:
        """Lines of a piece."""
        return self._lines_across * (self.vectors * self.k.width if self.code.is_transposed else self.depth)

    def _ask(self, first: Index, c: Index) -> None:
        """Prefetch share number c of `depth`: the lines of a row of weights, transposed as many."""
        k, across = self.k, self._lines_across
        source, step = self._next(first)
        each = self._lines // self.depth
        for i in range(each):
            row, part = (c * each + i) // across, (c * each + i) % across
            if not self.code.is_transposed:
                row, part = c, k.const(i)
            k.prefetch("w", source + row * step + part * self._line, 2)

    def _next(self, first: Index) -> tuple[Index, int]:
        """Where the next piece of weights begins, or the first one of the next block; and its next row."""
        k, side = self.k, self.code.side
        has_next = k.compare("slt", first + self.depth, self.code.inner)
        row = k.either(has_next, first + self.depth, k.const(0))
        column = k.either(has_next, self.column, self.column + self.vectors * k.width)
        source = row * side.row + column * side.column
        return source, side.column if self.code.is_transposed else side.row
