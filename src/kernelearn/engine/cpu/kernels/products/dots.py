"""Products of a few rows with a transposed matrix: lanes lie along the inner index, as it does in memory.

    y[i, j] = sum_k a[i, k] * b[j, k]

A tile is one row of a times as many rows of b as a vector has lanes; their sums are turned and added, which
gives a vector of results.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.products.matrices import Matrices
from kernelearn.engine.cpu.kernels.products.tiles import starts_of
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value

# Results of a unit, in vectors.
SHARE = 16


@dataclass(frozen=True)
class DotProducts:
    """y = a b, of a transposed b. Tasks: images, or units of up to SHARE vectors of columns."""

    matrices: Matrices
    width: int
    chain: Chain | None
    by_unit: bool = False

    @property
    def across(self) -> int:
        """Units of one product."""
        return -(-self.matrices.n // (SHARE * self.width))

    @property
    def units(self) -> int:
        """Of an image, or of all where there are no images."""
        return self.matrices.count * self.across

    def emit(self, k: Kernel) -> None:
        found = self.matrices
        scale = self.units if found.has_images and not self.by_unit else 1
        with k.loop(k.lo * scale, k.hi * scale) as unit:
            image = unit // self.units if found.has_images else k.const(0)
            rest = unit % self.units if found.has_images else unit
            starts = starts_of(found, image, rest // self.across)
            self._emit_unit(k, *starts, rest % self.across)

    def _emit_unit(self, k: Kernel, a: Index, b: Index, y: Index, part: Index) -> None:
        """Some columns, all rows."""
        n, width = self.matrices.n, k.width
        full = n // width
        low = part * SHARE
        high = k.minimum(low + SHARE, full) if self.across > 1 else k.const(full)
        with k.loop(low, high) as tile:
            self._emit_rows(k, a, b, y, tile * width, width)
        if n % width:
            with k.when(k.compare("eq", part, self.across - 1)):
                self._emit_rows(k, a, b, y, k.const(full * width), n % width)

    def _emit_rows(self, k: Kernel, a: Index, b: Index, y: Index, column: Index, lanes: int) -> None:
        found = self.matrices
        with k.loop(0, found.m) as row:
            sums = self._sums(k, a + row * found.a.row, b + column * found.b.column, lanes)
            at, mask = y + row * found.y.row + column, k.mask(lanes)
            if self.chain is None:
                k.store(sums, "y", at, mask)
            else:
                self.chain.apply(k, (sums,), at, column, mask)

    def _sums(self, k: Kernel, a: Index, b: Index, lanes: int) -> Value:
        """A vector of one row of a times `lanes` rows of b."""
        found = self.matrices
        registers = [k.register(start=k.zero) for _ in range(lanes)]

        def turn(inner: Index, mask: Value | None) -> None:
            held = k.load("a", a + inner, mask)
            for j, register in enumerate(registers):
                other = k.load("b", b + inner + j * found.b.column, mask)
                k.set(register, k.fma(held, other, k.get(register)))

        full = found.k // k.width * k.width
        with k.loop(0, full, k.width) as inner:
            turn(inner, None)
        if full < found.k:
            turn(k.const(full), k.mask(found.k - full))
        columns = transpose(k, [*map(k.get, registers), *[k.zero] * (k.width - lanes)])
        while len(columns) > 1:
            columns = [one + other for one, other in zip(columns[::2], columns[1::2])]
        return columns[0]
