"""Products of matrices in register tiles: 8 rows times a few vectors of columns.

for unit (matrix, some rows, some columns):
    for chunk of the inner index:
        for block of columns:
            for 8 rows:            8 x vectors sums in registers

    k ->              v0 v1 v2      a row of the block of b, in registers
    a[row + 0, k]     s  s  s
    ...                             every turn adds a number of a in all lanes times the row
    a[row + 7, k]     s  s  s

What many tiles read and does not lie together is copied: the rows of a transposed a while they meet the first
block of columns, a block of b while it meets the first rows. A transposed block of b is turned before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.kernels.products.copies import pack_columns, pack_rows
from kernelearn.engine.cpu.kernels.products.matrices import Matrices, Side
from kernelearn.engine.cpu.kernels.products.product_tile import ProductTile
from kernelearn.engine.cpu.language.kernel import Index, Kernel
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
        self._each_block(Chunk(self, start, depth, is_first, is_last, asks).emit_block)

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
class Chunk:
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

    @property
    def _packs_on_the_way(self) -> bool:
        """Whether the first tile of a block copies it; a transposed block is turned before."""
        return self.code.is_packed and self.code.matrices.b.column == 1

    def place(self, row: Index) -> Index:
        """Where the copy of a tile begins."""
        return (row - self.unit.row) * self.code.chunk

    def emit_block(self, column: Index, vectors: int, channels: int) -> None:
        """All rows of the unit times a block of columns."""
        k, code, side = self.k, self.code, self.code.matrices.b
        if code.is_packed and not self._packs_on_the_way:
            pack_columns(k, self.block(column), side, self.depth, vectors, channels)
        tiles = partial(self._emit_tiles, column, vectors, channels)
        if not code.is_gathered:
            tiles(is_first=False)
            return
        is_first = k.compare("eq", column, self.unit.block * code.blocks.lanes)
        with k.when(is_first):
            tiles(is_first=True)
        with k.when(~is_first):
            tiles(is_first=False)

    def block(self, column: Index) -> Index:
        """Where the chunk of a block of b begins."""
        side = self.code.matrices.b
        return self.unit.b + self.start * side.row + column * side.column

    def _emit_tiles(self, column: Index, vectors: int, channels: int, is_first: bool) -> None:
        """All tiles of a block, whose rows are copied if it is the first.

        The first tile copies the block; one that is smaller than others and first finds it copied.
        """
        k, code = self.k, self.code

        def tile(row: Index, rows: int) -> None:
            def emit(packs: bool) -> None:
                ProductTile(self, row, rows, column, vectors, channels, is_first, packs).emit()

            if not self._packs_on_the_way:
                emit(False)
                return
            begins = k.compare("eq", row, self.unit.row)
            if rows < code.rows:
                with k.when(begins):
                    side = code.matrices.b
                    pack_rows(k, self.block(column), side, self.depth, vectors, channels)
                emit(False)
                return
            with k.when(begins):
                emit(True)
            with k.when(~begins):
                emit(False)

        self.unit.each_tile(tile)
