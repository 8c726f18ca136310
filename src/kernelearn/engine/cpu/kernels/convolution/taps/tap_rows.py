"""Which rows of taps meet a register tile: each input row once with all taps that read it, or a loop.

Taps above and below the image are left out by a branch, or by the bounds of that loop.
"""

from __future__ import annotations

from kernelearn.engine.cpu.kernels.convolution.taps.input_rows import InputRows, RowPair
from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.language.kernel import Index, Kernel

# Bytes of a multiply-add with a number in memory, and those that the code of a tile may have before rows of
# taps become a loop: a quarter of the first-level cache of instructions.
INSTRUCTION_BYTES, LONG_CODE = 8, 2**13
# The same where a tile has several rows, which share the numbers of an input row in code that is written out.
LONG_CODE_OF_ROWS = 2 * LONG_CODE


class TapRows:
    """The rows of taps of a tile that begins with row y.

    Args:
        inputs: what multiplies an input row into the tile.
    """

    def __init__(self, part: Part, y: Index, rows: int, inputs: InputRows) -> None:
        self.part, self.k, self.axis = part, part.k, part.height
        self.y, self.rows, self.inputs = y, rows, inputs

    def emit(self, plane: Index, tz: int) -> None:
        """Those of one plane of the input, and of the taps."""
        if self._is_long():
            self._in_a_loop(plane, tz)
        else:
            self._written_out(plane, tz)

    def _is_long(self) -> bool:
        """Whether the code of a tile, written out for each row of taps, would not stay in its cache."""
        g, unroll = self.part.g, self.part.tile.unroll
        channels = min(unroll, g.inner) + g.inner % unroll
        taps = len(self.axis.taps) * len(self.part.width.taps)
        count = taps * channels * self.rows * self.inputs.pixels * self.part.vectors
        limit = LONG_CODE if self.rows == 1 else LONG_CODE_OF_ROWS
        return len(self.axis.taps) > 1 and count * INSTRUCTION_BYTES > limit

    def _written_out(self, plane: Index, tz: int) -> None:
        """Every input row that the tile needs, with the (row of the tile, tap) pairs that read it."""
        k, axis = self.k, self.axis
        needed: dict[int, list[RowPair]] = {}
        for r in range(self.rows):
            for dy, ty in axis.taps:
                needed.setdefault(r * axis.in_step + dy, []).append((r, ty, 0))
        last = axis.count - self.rows
        for shift, pairs in sorted(needed.items()):
            row = self.y * axis.in_step + shift
            inside = [k.compare("sge", row, 0)] if shift < 0 else []
            if last * axis.in_step + shift >= axis.size:
                inside.append(k.compare("slt", row, axis.size))
            with k.all_of(inside):
                self.inputs.multiply(plane, row, tz, pairs)

    def _in_a_loop(self, plane: Index, tz: int) -> None:
        """A loop over the rows of taps that fall inside of the image for all rows of the tile.

        Those that do so for some rows only come before and behind, row by row of the tile: near the upper
        border the first row of the tile has the fewest, near the lower one the last.
        """
        k, axis, rows = self.k, self.axis, self.rows
        taps = sorted(axis.taps)
        (shift, tap), (second, other) = taps[:2]
        step, apart = second - shift, axis.in_step * self.part.g.x[2] * self.part.g.x[3]
        bounds = [self._inside((self.y + r) * axis.in_step + shift, step, len(taps)) for r in range(rows)]

        def loop(low: Index | int, high: Index | int, first: int, last: int) -> None:
            """The rows [first, last) of the tile."""
            if isinstance(low, int) and isinstance(high, int) and low >= high:
                return
            start = (self.y + first) * axis.in_step + shift
            with k.loop(low, high) as number:
                tap_row = number * (other - tap) + tap
                pairs = [(r, tap_row, (r - first) * apart) for r in range(first, last)]
                self.inputs.multiply(plane, start + number * step, tz, pairs)

        low, high = bounds[0][0], bounds[-1][1]
        for r in range(1, rows):
            loop(bounds[r][0], _least(k, low, bounds[r][1]), r, r + 1)
        loop(low, high, 0, rows)
        for r in range(rows - 1):
            # In low maps the last row of the tile may have no tap in common with the first.
            loop(_most(k, low, high), bounds[r][1], r, r + 1)

    def _inside(self, row: Index, step: int, count: int) -> tuple[Index | int, Index | int]:
        """[first, last) of so many rows of taps that read inside of the image.

        Args:
            row: what the first one reads; step: rows from one to the next.
        """
        k, axis = self.k, self.axis
        low: Index | int = 0
        high: Index | int = count
        shifts = [d for d, _ in axis.taps]
        if min(shifts) < 0:
            low = k.minimum((k.maximum(k.const(0) - row, 0) + (step - 1)) // step, count)
        if (axis.count - 1) * axis.in_step + max(shifts) >= axis.size:
            high = k.minimum((k.maximum(k.const(axis.size) - row, 0) + (step - 1)) // step, count)
        return low, high


def _least(k: Kernel, a: Index | int, b: Index | int) -> Index | int:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else k.minimum(k.const(0) + a, b)


def _most(k: Kernel, a: Index | int, b: Index | int) -> Index | int:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else k.maximum(k.const(0) + a, b)
