"""A register tile of a product: some rows times a few vectors of columns, over a chunk of the inner index.

The first tiles that meet what is copied read it where it lies, and copy it on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.products.copies import gather_column
from kernelearn.engine.cpu.kernels.products.matrices import Side
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import two_a_turn
from kernelearn.engine.cpu.language.values import Value

if TYPE_CHECKING:
    from kernelearn.engine.cpu.kernels.products.tiles import Chunk, MatrixProduct


@dataclass(frozen=True)
class ProductTile:
    """rows x vectors sums in registers, over a chunk of the inner index.

    Attributes:
        row, column: the first ones; channels: columns of the block.
        gathers: whether it reads the rows of a transposed a where they lie, and copies them on the way.
        packs: the same of the block of b.
    """

    chunk: Chunk
    row: Index
    rows: int
    column: Index
    vectors: int
    channels: int
    gathers: bool
    packs: bool

    @property
    def k(self) -> Kernel:
        return self.chunk.k

    @property
    def code(self) -> MatrixProduct:
        return self.chunk.code

    @property
    def masks(self) -> list[Value | None]:
        """Of the columns, vector by vector."""
        return [self.k.mask(self.channels - v * self.k.width) for v in range(self.vectors)]

    def emit(self) -> None:
        """The products, and what becomes of the sums."""
        k, chunk, found = self.k, self.chunk, self.code.matrices
        masks = self.masks
        y = chunk.unit.y + self.row * found.y.row + self.column
        begin = self._starts(y, masks)
        sums = {place: k.register(start=value) for place, value in begin.items()}
        a = chunk.unit.a + self.row * found.a.row + chunk.start * found.a.column
        is_copied = self.code.is_gathered and not self.gathers
        left, role, steps = chunk.place(self.row), "a", found.a
        if is_copied:
            role, a, steps = "left", left, Side(0, (), 1, self.code.rows)

        def turn(inner: Index) -> None:
            held = [self._column(inner, v, mask) for v, mask in enumerate(masks)]
            if self.gathers:
                gather_column(
                    k, a + inner * steps.column, left + inner * self.code.rows, self.code.rows, self.rows
                )
            for r in range(self.rows):
                value = k.broadcast(role, a + inner * steps.column + r * steps.row)
                for v in range(self.vectors):
                    k.set(sums[r, v], k.fma(value, held[v], k.get(sums[r, v])))

        asks = self._ask_for_next() if chunk.asks else None
        two_a_turn(k, chunk.depth, turn, asks, found.k % 2 == self.code.chunk % 2 == 0)
        self._finish({place: k.get(register) for place, register in sums.items()}, y, masks)

    def _column(self, inner: Index, v: int, mask: Value | None) -> Value:
        """A vector of a row of the block of b."""
        k, b = self.k, self.code.matrices.b
        place = inner * (self.vectors * k.width) + v * k.width
        if self.code.is_packed and not self.packs:
            return k.load("packed", place)
        value = k.load("b", self.chunk.block(self.column) + inner * b.row + v * k.width, mask)
        if self.packs:
            k.store(value, "packed", place)
        return value

    def _ask_for_next(self) -> Callable[[Index], None]:
        """What prefetches lines of the next chunk, a line of a and one of b in each turn of two indices.

        A turn for every line of a chunk would be too many: tiles share the lines of their block of b, and
        blocks those of their rows of a, half of the indices each.
        """
        k, code, unit, half = self.k, self.code, self.chunk.unit, self.code.chunk // 2
        next_chunk, (a, b) = self.chunk.start + code.chunk, (code.matrices.a, code.matrices.b)
        tile, block = (self.row - unit.row) // code.rows, self.column // code.blocks.lanes
        after_a = unit.a + self.row * a.row + (next_chunk + (block % 2) * half) * a.column
        after_b = unit.b + (next_chunk + (tile % 2) * half) * b.row + self.column
        after_b = after_b + ((tile // 2) % self.vectors) * k.width

        def ask(inner: Index) -> None:
            k.prefetch("a", after_a + (inner // 2) * a.column, 2)
            k.prefetch("b", after_b + (inner // 2) * b.row, 2)

        return ask

    def _starts(self, y: Index, masks: list[Value | None]) -> dict[tuple[int, int], Value]:
        """First values of the sums: zero, after the first chunk what is there already."""
        k, places = self.k, [(r, v) for r in range(self.rows) for v in range(len(masks))]
        if self.chunk.is_first is None:
            return dict.fromkeys(places, k.zero)
        result = {}
        for r, v in places:
            at = y + r * self.code.matrices.y.row + v * k.width
            result[r, v] = self.chunk.is_first.choose(k.zero, k.load(self._target, at, masks[v]))
        return result

    @property
    def _target(self) -> str:
        """The role that sums are written to."""
        chain = self.code.chain
        return "y" if chain is None else chain.stores[0][0]

    def _finish(self, sums: dict[tuple[int, int], Value], y: Index, masks: list[Value | None]) -> None:
        """Store the sums, those of the last chunk through the chain."""
        k, chain, step = self.k, self.code.chain, self.code.matrices.y.row
        is_last = self.chunk.is_last

        def each(through: Chain | None) -> None:
            for (r, v), value in sums.items():
                at = y + r * step + v * k.width
                if through is None:
                    k.store(value, self._target, at, masks[v])
                else:
                    through.apply(k, (value,), at, self.column + v * k.width, masks[v])

        if is_last is None or chain is None:
            each(chain)
            return
        with k.when(is_last):
            each(chain)
        with k.when(~is_last):
            each(None)
