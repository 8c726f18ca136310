"""Outputs of a product in blocks of about the same size, so that threads that share them end together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kernelearn.engine.cpu.language.kernel import Index, Kernel

# Blocks are a multiple of so many where they are many: two threads, or four, get as much each.
TOGETHER = 4

_Number = TypeVar("_Number", int, Index)


@dataclass(frozen=True)
class EvenBlocks:
    """Channels cut into blocks of `most` vectors, or of one less.

    Attributes:
        channels: to cut; width: lanes of a vector; most: vectors of the largest block.
    """

    channels: int
    width: int
    most: int

    @property
    def vectors(self) -> int:
        """Of all blocks; the last one may have lanes without a channel."""
        return -(-self.channels // self.width)

    @property
    def count(self) -> int:
        least = -(-self.vectors // self.most)
        even = -(-least // TOGETHER) * TOGETHER
        return even if self.vectors // even >= max(self.most - 1, 1) else least

    @property
    def lanes(self) -> int:
        """Of the largest block."""
        return self.most * self.width

    def each(self, k: Kernel, block: Index, body: Callable[[Index, int, int], None]) -> None:
        """body(first channel, vectors, channels), emitted for each size, run for that of a block."""
        left = self.channels % self.width
        # A last block with empty lanes stands apart.
        whole = self.count - bool(left)
        first, size = self.start(block), self._size(block)
        for vectors in sorted({self._size(b) for b in range(whole)}, reverse=True):
            with k.all_of([k.compare("slt", block, whole), k.compare("eq", size, vectors)]):
                body(first * self.width, vectors, vectors * self.width)
        if left:
            vectors = self._size(whole)
            with k.when(k.compare("sge", block, whole)):
                body(first * self.width, vectors, (vectors - 1) * self.width + left)

    def start(self, block: _Number) -> _Number:
        """Number of the first vector of a block."""
        return block * self.vectors // self.count

    def _size(self, block: _Number) -> _Number:
        """Vectors of a block."""
        return self.start(block + 1) - self.start(block)
