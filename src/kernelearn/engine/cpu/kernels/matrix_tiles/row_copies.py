"""Copies in bfloat16 of the rows of all images, for sums over rows by matrix tiles.

x   [channel][pair of rows]
g   [pair of rows][channel]
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.language.bfloat16 import pair_of
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes as each_lanes
from kernelearn.engine.cpu.language.matrix_tiles import LANES
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value

# Channels that a task copies.
COPIED = 4 * LANES


@dataclass(frozen=True)
class RowSteps:
    """The rows of all images as pairs, in equal steps.

    Attributes:
        total: rows; count: steps; depth: pairs of a step.
    """

    total: Index
    count: Index
    depth: Index

    @property
    def pairs(self) -> Index:
        return self.count * self.depth


def row_steps(k: Kernel, rows: int) -> RowSteps:
    """For images of so many rows; without images there is no step, but tiles need a depth."""
    total = k.scalar("n") * rows
    pairs = (total + 1) // 2
    count = (pairs + (LANES - 1)) // LANES
    steps = k.maximum(count, 1)
    return RowSteps(total, count, k.maximum((pairs + steps - 1) // steps, 1))


@dataclass(frozen=True)
class ColumnPairs:
    """y[channel][pair of rows]. Tasks: COPIED channels. rows: of an image."""

    channels: int
    rows: int

    def emit(self, k: Kernel) -> None:
        steps = row_steps(k, self.rows)
        whole = self.channels // LANES
        first, end = k.lo * (COPIED // LANES), k.hi * (COPIED // LANES)
        with k.loop(first, k.minimum(end, whole)) as block:
            self._block(k, steps, block * LANES, LANES)
        left = self.channels % LANES
        if left:
            with k.when(k.compare("sgt", end, whole)):
                self._block(k, steps, k.const(whole * LANES), left)

    def _block(self, k: Kernel, steps: RowSteps, c: Index, channels: int) -> None:
        full = steps.total // (2 * LANES)
        with k.loop(0, full) as square:
            self._square(k, steps, c, channels, square, False)
        with k.when(k.compare("slt", full * LANES, steps.pairs)):
            self._square(k, steps, c, channels, full, True)

    def _square(
        self, k: Kernel, steps: RowSteps, c: Index, channels: int, square: Index, is_last: bool
    ) -> None:
        """Twice as many rows as lanes; the last ones may not exist."""
        first, mask = square * (2 * LANES), k.mask(channels)

        def load(row: Index) -> Value:
            found = mask
            if is_last:
                has_row = k.compare("slt", row, steps.total)
                found = k.mask_below(k.either(has_row, k.const(channels), k.const(0)))
            return k.load("x", row * self.channels + c, found)

        pairs = [pair_of(k, load(first + 2 * i), load(first + (2 * i + 1))) for i in range(LANES)]
        stored = k.mask_below(steps.pairs - square * LANES) if is_last else None
        for i, column in enumerate(transpose(k, pairs)[:channels]):
            k.store(column, "y", (c + i) * steps.pairs + square * LANES, stored)


@dataclass(frozen=True)
class RowPairs:
    """y[pair of rows][channel]. Tasks: COPIED channels. rows: of an image."""

    channels: int
    rows: int

    def emit(self, k: Kernel) -> None:
        steps = row_steps(k, self.rows)
        whole = self.channels // COPIED
        with k.loop(k.lo, k.minimum(k.hi, whole)) as task:
            self._columns(k, steps, task * COPIED, COPIED)
        left = self.channels % COPIED
        if left:
            with k.when(k.compare("sgt", k.hi, whole)):
                self._columns(k, steps, k.const(whole * COPIED), left)

    def _columns(self, k: Kernel, steps: RowSteps, c: Index, channels: int) -> None:
        full = steps.total // 2
        with k.loop(0, full) as pair:
            self._line(k, c, channels, pair, 2)
        with k.when(k.compare("sgt", steps.total, full * 2)):
            self._line(k, c, channels, full, 1)
        with k.loop((steps.total + 1) // 2, steps.pairs) as pair:
            self._line(k, c, channels, pair, 0)

    def _line(self, k: Kernel, c: Index, channels: int, pair: Index, rows: int) -> None:
        """A pair, of which so many rows exist."""

        def body(lane: Index | int, mask: Value | None) -> None:
            at = c + lane
            first, second = (
                k.load("x", (pair * 2 + i) * self.channels + at, mask) if i < rows else k.zero for i in (0, 1)
            )
            k.store(pair_of(k, first, second), "y", pair * self.channels + at, mask)

        each_lanes(k, channels, body)
