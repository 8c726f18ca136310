"""Products of matrices in register tiles: 8 rows times a few vectors of columns.

for unit (matrix, some rows, some columns):
    for chunk of the inner index:
        for block of columns:  copy the chunk of b next to each other, if it lies apart
            for 8 rows:        8 x vectors sums in registers

    k ->              v0 v1 v2      a row of the block of b, in registers
    a[row + 0, k]     s  s  s
    ...                             every turn adds a number of a in all lanes times the row
    a[row + 7, k]     s  s  s
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.kernels.products.matrices import Matrices, Side
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import tiles
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value

# Rows of b that are multiplied before the sums go back to memory: a block of them stays in the first cache.
CHUNK = 256


@dataclass(frozen=True)
class Shares:
    """How the result of one product is cut into units: rows of each, and blocks of columns of each."""

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
        by_unit: whether tasks are units.
        chain: what is done with the sums; None: they are stored in "y".
    """

    matrices: Matrices
    blocks: Blocks
    shares: Shares
    rows: int
    is_packed: bool
    chain: Chain | None
    by_unit: bool = False

    @property
    def units(self) -> int:
        """Of an image, or of all where there are no images."""
        return self.matrices.count * math.prod(self.shares.counts(self.matrices.m, self.blocks.count))

    @property
    def depth(self) -> int:
        """Rows of b in a chunk."""
        return min(self.matrices.k, CHUNK)

    def emit(self, k: Kernel) -> None:
        found = self.matrices
        if self.is_packed:
            k.local("packed", self.depth * self.blocks.lanes)
        down, across = self.shares.counts(found.m, self.blocks.count)
        scale = self.units if found.has_images and not self.by_unit else 1
        with k.loop(k.lo * scale, k.hi * scale) as unit:
            image = unit // self.units if found.has_images else k.const(0)
            rest = unit % self.units if found.has_images else unit
            part = rest % (down * across)
            starts = starts_of(found, image, rest // (down * across))
            self._emit_unit(k, *starts, part // across, part % across)

    def _emit_unit(self, k: Kernel, a: Index, b: Index, y: Index, down: Index, across: Index) -> None:
        """Some rows and columns of one product."""
        chunks = -(-self.matrices.k // CHUNK)
        first = across * self.shares.blocks
        with k.loop(0, chunks) as chunk:
            unit = _Unit(self, k, a, b, y, down * self.shares.rows, chunk if chunks > 1 else None)
            for start, count, vectors, channels in self.blocks.kinds():
                low, high = first, first + self.shares.blocks
                if self.blocks.count <= self.shares.blocks:
                    low, high = k.const(0), k.const(count)
                else:
                    low, high = k.maximum(low - start, 0), k.minimum(high - start, count)
                with k.loop(low, high) as block:
                    unit.emit_block((block + start) * self.blocks.lanes, vectors, channels)


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
class _Unit:
    """Some rows of a product on one chunk of the inner index; a, b, y: where its matrices begin."""

    code: MatrixProduct
    k: Kernel
    a: Index
    b: Index
    y: Index
    row: Index
    chunk: Index | None

    @property
    def inner(self) -> tuple[Index, Index | int]:
        """First row of b in the chunk, and how many there are."""
        total = self.code.matrices.k
        if self.chunk is None:
            return self.k.const(0), total
        start = self.chunk * CHUNK
        return start, self.k.minimum(self.k.const(total) - start, CHUNK)

    def emit_block(self, column: Index, vectors: int, channels: int) -> None:
        """All rows of the unit times a block of columns."""
        k, code = self.k, self.code
        start, depth = self.inner
        if code.is_packed:
            source = self.b + start * code.matrices.b.row + column * code.matrices.b.column
            pack = _pack_rows if code.matrices.b.column == 1 else _pack_columns
            pack(k, source, code.matrices.b, depth, vectors, channels)
        m, share, size = code.matrices.m, code.shares.rows, code.rows
        rows: Index | int = m if share >= m else k.minimum(k.const(m) - self.row, share)
        full = (rows // size) * size
        with k.loop(self.row, self.row + full, size) as row:
            self._emit_tile(row, size, column, vectors, channels, start, depth)
        left = m % size
        if left and share >= m:
            self._emit_tile(self.row + full, left, column, vectors, channels, start, depth)
        elif left:
            with k.when(k.compare("sgt", rows, full)):
                self._emit_tile(self.row + full, left, column, vectors, channels, start, depth)

    def _emit_tile(
        self,
        row: Index,
        rows: int,
        column: Index,
        vectors: int,
        channels: int,
        start: Index,
        depth: Index | int,
    ) -> None:
        """rows x vectors sums in registers."""
        k, found = self.k, self.code.matrices
        masks = [k.mask(channels - v * k.width) for v in range(vectors)]
        y = self.y + row * found.y.row + column
        begin = self._starts(y, rows, masks)
        sums = {place: k.register(start=value) for place, value in begin.items()}
        a = self.a + row * found.a.row + start * found.a.column
        b = self.b + start * found.b.row + column

        def turn(inner: Index) -> None:
            held = []
            for v, mask in enumerate(masks):
                if self.code.is_packed:
                    held.append(k.load("packed", inner * (vectors * k.width) + v * k.width))
                else:
                    held.append(k.load("b", b + inner * found.b.row + v * k.width, mask))
            for r in range(rows):
                value = k.broadcast("a", a + inner * found.a.column + r * found.a.row)
                for v in range(vectors):
                    k.set(sums[r, v], k.fma(value, held[v], k.get(sums[r, v])))

        even = (depth // 2) * 2
        with k.loop(0, even, 2) as inner:
            turn(inner)
            turn(inner + 1)
        if not isinstance(depth, int) or depth % 2:
            with k.loop(even, depth) as inner:
                turn(inner)
        self._finish({place: k.get(register) for place, register in sums.items()}, y, column, masks)

    def _starts(self, y: Index, rows: int, masks: list[Value | None]) -> dict[tuple[int, int], Value]:
        """First values of the sums: zero, after the first chunk what is there already."""
        k, places = self.k, [(r, v) for r in range(rows) for v in range(len(masks))]
        if self.chunk is None:
            return dict.fromkeys(places, k.zero)
        result, is_first = {}, k.compare("eq", self.chunk, 0)
        for r, v in places:
            at = y + r * self.code.matrices.y.row + v * k.width
            result[r, v] = is_first.choose(k.zero, k.load(self._target, at, masks[v]))
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

        if self.chunk is None or chain is None:
            each(chain)
            return
        last = -(-self.code.matrices.k // CHUNK) - 1
        with k.when(k.compare("eq", self.chunk, last)):
            each(chain)
        with k.when(k.compare("ne", self.chunk, last)):
            each(None)


def _pack_rows(k: Kernel, b: Index, side: Side, depth: Index | int, vectors: int, channels: int) -> None:
    """Rows of a block that lie apart, next to each other."""
    with k.loop(0, depth) as row:
        for v in range(vectors):
            mask = k.mask(channels - v * k.width)
            value = k.load("b", b + row * side.row + v * k.width, mask)
            k.store(value, "packed", row * (vectors * k.width) + v * k.width)


def _pack_columns(k: Kernel, b: Index, side: Side, depth: Index | int, vectors: int, channels: int) -> None:
    """Columns of a block, whose numbers follow each other in memory, turned in squares in registers."""

    def square(start: Index, lanes: int | None, mask: Value | None) -> None:
        for v in range(vectors):
            columns = range(v * k.width, (v + 1) * k.width)
            held = [
                k.load("b", b + start + c * side.column, mask) if c < channels else k.zero for c in columns
            ]
            for i, row in enumerate(transpose(k, held)[:lanes]):
                k.store(row, "packed", (start + i) * (vectors * k.width) + v * k.width)

    if isinstance(depth, int):
        for start, count in tiles(k, depth):
            square(start, count, k.mask(count))
        return
    full = (depth // k.width) * k.width
    with k.loop(0, full, k.width) as start:
        square(start, None, None)
    with k.when(k.compare("slt", full, depth)):
        # NOTE: CHUNK is a whole number of vectors, so that rows of a rest that do not exist have a place.
        square(full, None, k.mask_below(depth - full))
