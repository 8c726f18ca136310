"""A block of outputs of a product, whose sums are made piece by piece of the inner channels.

The sums of all rows of the block lie on the task's stack meanwhile: clear them, add the products of each
piece, and pass them through the chain to memory. Pieces are short, so that sums round less than a long one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register

# Inner channels of a piece at most, and what they are a multiple of.
DEPTH, STEP = 128, 16


def piece_depth(inner: int) -> int:
    """Inner channels of a full piece: pieces are as equal as they can be, so that no short one is left."""
    return -(-inner // (-(-inner // DEPTH) * STEP)) * STEP


class Product(Protocol):
    """Channels of a product, and what its results go through; None: they are stored."""

    @property
    def inner(self) -> int: ...
    @property
    def outer(self) -> int: ...
    @property
    def chain(self) -> Chain | None: ...


@dataclass(frozen=True)
class PiecewiseBlock(ABC):
    """A block of outputs, `channels` of them from `column` on, of `count` rows from `start` on.

    The kernel has room for its sums, a local named "sums".
    """

    code: Product
    k: Kernel
    start: Index
    count: Index
    column: Index
    vectors: int
    channels: int

    def emit(self) -> None:
        """The sums, and what becomes of them."""
        k, inner = self.k, self.code.inner
        with k.loop(0, self.count * (self.vectors * k.width), k.width, checked=False) as at:
            k.store(k.zero, "sums", at)
        full = inner // self.depth * self.depth
        with k.loop(0, full, self.depth) as first:
            self._piece(first, self.depth)
        if full < inner:
            self._piece(k.const(full), inner - full)
        with k.loop(0, self.count, checked=False) as row:
            for v in range(self.vectors):
                self._finish(row, v)

    @property
    def depth(self) -> int:
        """Inner channels of a full piece."""
        return piece_depth(self.code.inner)

    @abstractmethod
    def _piece(self, first: Index, depth: int) -> None:
        """Add the products of the inner channels [first, first + depth), of all rows."""

    def _add(self, sums: Mapping[tuple[int, int], Register], row: Index, vector: int = 0) -> None:
        """Add the sums of a tile from a row and a vector on, by row and vector of the tile."""
        k = self.k
        for (r, v), register in sums.items():
            at = self._place(row + r, vector + v)
            k.store(k.load("sums", at) + k.get(register), "sums", at)

    def _place(self, row: Index, vector: int) -> Index:
        """Where a vector of sums is kept."""
        return (row * self.vectors + vector) * self.k.width

    def _finish(self, row: Index, vector: int) -> None:
        """A vector of sums through the chain to memory."""
        k, chain = self.k, self.code.chain
        value, mask = k.load("sums", self._place(row, vector)), k.mask(self.channels - vector * k.width)
        at = (self.start + row) * self.code.outer + self.column + vector * k.width
        if chain is None:
            k.store(value, "y", at, mask)
        else:
            chain.apply(k, (value,), at, self.column + vector * k.width, mask)
