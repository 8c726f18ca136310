"""Products of matrices in register tiles: 8 rows times a few vectors of columns.

for unit (matrix, some rows, some columns):
    for chunk of the inner index:  copy the rows of a, if it is transposed and large
        for block of columns:      copy the chunk of b next to each other, if it lies apart
            for 8 rows:            8 x vectors sums in registers

    k ->              v0 v1 v2      a row of the block of b, in registers
    a[row + 0, k]     s  s  s
    ...                             every turn adds a number of a in all lanes times the row
    a[row + 7, k]     s  s  s
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.kernels.products.copies import gather_tile, pack_columns, pack_rows
from kernelearn.engine.cpu.kernels.products.matrices import Matrices, Side
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.language.values import Value


@dataclass(frozen=True)
class Shares:
    """How the result of one product is cut into units: rows of each (whole tiles), and blocks of columns."""

    rows: int
    blocks: int

    def counts(self, m: int, blocks: int) -> tuple[int, int]:
        """Units along the rows and along the columns."""
        return -(-m // self.rows), -(-blocks // self.blocks)


@dataclass(frozen=True)
class MatrixProduct:
    """y = a b. Tasks: images, or units.

    Attributes:
        rows: of a full tile.
        is_packed: whether blocks of b are copied; a transposed b is turned there.
        is_gathered: whether the rows of a unit are copied, of a transposed a.
        chunk: rows of b that are multiplied before the sums go back to memory.
        by_unit: whether tasks are units.
        chain: what is done with the sums; None: they are stored in "y".
    """

    matrices: Matrices
    blocks: Blocks
    shares: Shares
    rows: int
    is_packed: bool
    is_gathered: bool
    chain: Chain | None
    chunk: int
    by_unit: bool = False

    @property
    def units(self) -> int:
        """Of an image, or of all where there are no images."""
        return self.matrices.count * math.prod(self.shares.counts(self.matrices.m, self.blocks.count))

    def emit(self, k: Kernel) -> None:
        found = self.matrices
        self.make_room(k)
        down, across = self.shares.counts(found.m, self.blocks.count)
        scale = self.units if found.has_images and not self.by_unit else 1
        with k.loop(k.lo * scale, k.hi * scale) as unit:
            image = unit // self.units if found.has_images else k.const(0)
            rest = unit % self.units if found.has_images else unit
            part = rest % (down * across)
            starts = starts_of(found, image, rest // (down * across))
            self._emit_unit(k, *starts, part // across, part % across)

    def make_room(self, k: Kernel) -> None:
        """Places for copies."""
        if self.is_packed:
            k.local("packed", self.chunk * self.blocks.lanes)
        if self.is_gathered:
            rows = min(self.shares.rows, self.matrices.m)
            k.local("left", -(-rows // self.rows) * self.rows * self.chunk + k.width)

    def _emit_unit(self, k: Kernel, a: Index, b: Index, y: Index, down: Index, across: Index) -> None:
        """Some rows and columns of one product."""
        unit = Unit(self, k, a, b, y, down * self.shares.rows, across * self.shares.blocks)
        chunks = -(-self.matrices.k // self.chunk)
        if chunks == 1:
            unit.emit(k.const(0), self.matrices.k)
            return
        with k.loop(0, chunks) as chunk:
            is_first, is_last = k.compare("eq", chunk, 0), k.compare("eq", chunk, chunks - 1)
            unit.emit(*self.part(k, chunk), is_first, is_last)

    def part(self, k: Kernel, chunk: Index) -> tuple[Index, Index | int]:
        """Where a chunk of the inner index begins, and how long it is."""
        start, inner = chunk * self.chunk, self.matrices.k
        return start, inner if inner <= self.chunk else k.minimum(k.const(inner) - start, self.chunk)


def starts_of(found: Matrices, image: Index, matrix: Index) -> tuple[Index, Index, Index]:
    """Where the matrices of an index of the leading axes begin, in a, b and y."""
    places = [side_start(image, side) for side in (found.a, found.b, found.y)]
    for axis in reversed(range(len(found.counts))):
        index, matrix = matrix % found.counts[axis], matrix // found.counts[axis]
        steps = (side.steps[axis] for side in (found.a, found.b, found.y))
        places = [place + index * step for place, step in zip(places, steps)]
    a, b, y = places
    return a, b, y


def side_start(image: Index, side: Side) -> Index:
    """Where an image begins."""
    return image * side.image


@dataclass(frozen=True)
class Unit:
    """Some rows and columns of a product.

    Attributes:
        a, b, y: where its matrices begin.
        row, block: the first of its rows, and of its blocks of columns.
    """

    code: MatrixProduct
    k: Kernel
    a: Index
    b: Index
    y: Index
    row: Index
    block: Index

    def emit(
        self,
        start: Index,
        depth: Index | int,
        is_first: Value | None = None,
        is_last: Value | None = None,
        asks: bool = False,
    ) -> None:
        """Add the products over a chunk of the inner index.

        Args:
            start, depth: where the chunk begins, and how long it is.
            is_first, is_last: whether the sums begin here, and end; None for yes, both.
            asks: whether the next chunk is asked for meanwhile, because it comes from far away.
        """
        chunk = _Chunk(self, start, depth, is_first, is_last, asks)
        if self.code.is_gathered:
            chunk.gather()
        self._each_block(chunk.emit_block)

    def clear(self) -> None:
        """Store zeros."""

        def block(column: Index, vectors: int, channels: int) -> None:
            k = self.k
            with k.loop(self.row, self.row + self.rows) as row:
                at = self.y + row * self.code.matrices.y.row + column
                for v in range(vectors):
                    k.store(k.zero, "y", at + v * k.width, k.mask(channels - v * k.width))

        self._each_block(block)

    def _each_block(self, body: Callable[[Index, int, int], None]) -> None:
        """body(first column, vectors, channels) for the blocks of columns."""
        k, code = self.k, self.code
        for first, count, vectors, channels in code.blocks.kinds():
            low, high = k.const(0), k.const(count)
            if code.blocks.count > code.shares.blocks:
                low = k.maximum(self.block - first, 0)
                high = k.minimum(self.block + code.shares.blocks - first, count)
            with k.loop(low, high) as block:
                body((block + first) * code.blocks.lanes, vectors, channels)

    @property
    def rows(self) -> Index | int:
        """How many rows it has."""
        m, share = self.code.matrices.m, self.code.shares.rows
        return m if share >= m else self.k.minimum(self.k.const(m) - self.row, share)

    def each_tile(self, body: Callable[[Index, int], None]) -> None:
        """body(first row, rows) for the full tiles and what is left."""
        k, size, m = self.k, self.code.rows, self.code.matrices.m
        rows, left = self.rows, m % size
        full = (rows // size) * size
        with k.loop(self.row, self.row + full, size) as row:
            body(row, size)
        if left and isinstance(rows, int):
            body(self.row + full, left)
        elif left:
            with k.when(k.compare("sgt", rows, full)):
                body(self.row + full, left)


@dataclass(frozen=True)
class _Chunk:
    """A unit on a chunk of the inner index; attributes as of `Unit.emit`."""

    unit: Unit
    start: Index
    depth: Index | int
    is_first: Value | None
    is_last: Value | None
    asks: bool = False

    @property
    def k(self) -> Kernel:
        return self.unit.k

    @property
    def code(self) -> MatrixProduct:
        return self.unit.code

    def gather(self) -> None:
        """Copy the rows of a."""
        unit, side = self.unit, self.code.matrices.a

        def copy(row: Index, rows: int) -> None:
            source = unit.a + row * side.row + self.start * side.column
            gather_tile(self.k, source, side, self.depth, self._place(row), (self.code.rows, rows))

        unit.each_tile(copy)

    def _place(self, row: Index) -> Index:
        """Where the copy of a tile begins."""
        return (row - self.unit.row) * self.code.chunk

    def emit_block(self, column: Index, vectors: int, channels: int) -> None:
        """All rows of the unit times a block of columns."""
        code, side = self.code, self.code.matrices.b
        if code.is_packed:
            source = self.unit.b + self.start * side.row + column * side.column
            pack = pack_rows if side.column == 1 else pack_columns
            pack(self.k, source, side, self.depth, vectors, channels)
        self.unit.each_tile(lambda row, rows: self._emit_tile(row, rows, column, vectors, channels))

    def _emit_tile(self, row: Index, rows: int, column: Index, vectors: int, channels: int) -> None:
        """rows x vectors sums in registers."""
        k, found, depth = self.k, self.code.matrices, self.depth
        masks = [k.mask(channels - v * k.width) for v in range(vectors)]
        y = self.unit.y + row * found.y.row + column
        begin = self._starts(y, rows, masks)
        sums = {place: k.register(start=value) for place, value in begin.items()}
        role, a, steps = "a", self.unit.a + row * found.a.row + self.start * found.a.column, found.a
        if self.code.is_gathered:
            role, a, steps = "left", self._place(row), Side(0, (), 1, self.code.rows)
        b = self.unit.b + self.start * found.b.row + column

        def turn(inner: Index) -> None:
            held = []
            for v, mask in enumerate(masks):
                if self.code.is_packed:
                    held.append(k.load("packed", inner * (vectors * k.width) + v * k.width))
                else:
                    held.append(k.load("b", b + inner * found.b.row + v * k.width, mask))
            for r in range(rows):
                value = k.broadcast(role, a + inner * steps.column + r * steps.row)
                for v in range(vectors):
                    k.set(sums[r, v], k.fma(value, held[v], k.get(sums[r, v])))

        two_a_turn(k, depth, turn, self._ask_for_next(row, column, vectors) if self.asks else None)
        self._finish({place: k.get(register) for place, register in sums.items()}, y, column, masks)

    def _ask_for_next(self, row: Index, column: Index, vectors: int) -> Callable[[Index], None]:
        """What prefetches lines of the next chunk, a line of a and one of b in each turn of two indices.

        A turn for every line of a chunk would be too many: tiles share the lines of their block of b, and
        blocks those of their rows of a, half of the indices each.
        """
        k, code, half = self.k, self.code, self.code.chunk // 2
        next_chunk, (a, b) = self.start + code.chunk, (code.matrices.a, code.matrices.b)
        tile, block = (row - self.unit.row) // code.rows, column // code.blocks.lanes
        after_a = self.unit.a + row * a.row + (next_chunk + (block % 2) * half) * a.column
        after_b = self.unit.b + (next_chunk + (tile % 2) * half) * b.row + column
        after_b = after_b + ((tile // 2) % vectors) * k.width

        def ask(inner: Index) -> None:
            k.prefetch("a", after_a + (inner // 2) * a.column, 2)
            k.prefetch("b", after_b + (inner // 2) * b.row, 2)

        return ask

    def _starts(self, y: Index, rows: int, masks: list[Value | None]) -> dict[tuple[int, int], Value]:
        """First values of the sums: zero, after the first chunk what is there already."""
        k, places = self.k, [(r, v) for r in range(rows) for v in range(len(masks))]
        if self.is_first is None:
            return dict.fromkeys(places, k.zero)
        result = {}
        for r, v in places:
            at = y + r * self.code.matrices.y.row + v * k.width
            result[r, v] = self.is_first.choose(k.zero, k.load(self._target, at, masks[v]))
        return result

    @property
    def _target(self) -> str:
        """The role that sums are written to."""
        chain = self.code.chain
        return "y" if chain is None else chain.stores[0][0]

    def _finish(
        self, sums: dict[tuple[int, int], Value], y: Index, column: Index, masks: list[Value | None]
    ) -> None:
        """Store the sums, those of the last chunk through the chain."""
        k, chain, step = self.k, self.code.chain, self.code.matrices.y.row

        def each(through: Chain | None) -> None:
            for (r, v), value in sums.items():
                at = y + r * step + v * k.width
                if through is None:
                    k.store(value, self._target, at, masks[v])
                else:
                    through.apply(k, (value,), at, column + v * k.width, masks[v])

        if self.is_last is None or chain is None:
            each(chain)
            return
        with k.when(self.is_last):
            each(chain)
        with k.when(~self.is_last):
            each(None)
