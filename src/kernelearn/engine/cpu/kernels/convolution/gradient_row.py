"""A row of pixels of a kernel gradient: what each tap sees times the gradients, into the sums of a tile.

Several pixels are taken at a time where what one tap sees of a pixel is what another sees of the next: with
one vector of filters every multiply-add would wait for a load of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.values import Value

if TYPE_CHECKING:
    from kernelearn.engine.cpu.kernels.convolution.gradient import Gradient

# What stands at an offset of x, a value a vector.
Read = Callable[[Index], list[Value]]
# A tap of a plane: its row and its column.
Tap = tuple[int, int]
# Pixels that a tile takes at a time at most: more would be long code.
MOST_TOGETHER = 4


@dataclass(frozen=True)
class GradientRow:
    """The pixels of one row of the gradient.

    Attributes:
        masks: of the vectors of filters.
        sums: (row and column of a tap, channel, vector) -> its sum.
        rows: row of a tap -> where the row of x that it sees begins.
        gradient: where the row of the gradient begins.
        inputs: what is read of a pixel of x, channel by channel.
    """

    k: Kernel
    g: Gradient
    masks: Sequence[Value | None]
    sums: Mapping[tuple[int, int, int, int], Register]
    rows: Mapping[int, Index]
    gradient: Index
    inputs: Sequence[Read]

    def emit(self, taps: Sequence[Tap]) -> None:
        """Pixels at the border, where some taps fall outside, one by one; the others in a loop."""
        k, g = self.k, self.g
        inside = {tap: g.bounds(2, tap[1]) for tap in taps}
        low = max(first for first, _ in inside.values())
        high = min(end for _, end in inside.values())
        if low >= high:
            low = high = g.g[2]
        for x in [*range(low), *range(high, g.g[2])]:
            if active := [tap for tap in taps if inside[tap][0] <= x < inside[tap][1]]:
                self._pixels(k.const(x), 1, active)
        if low == high:
            return
        together = self._together(taps, high - low)
        whole = low + (high - low) // together * together
        with k.loop(low, whole, together) as x:
            self._pixels(x, together, taps)
        if whole < high:
            with k.loop(whole, high) as x:
                self._pixels(x, 1, taps)

    def _pixels(self, x: Index, count: int, taps: Sequence[Tap]) -> None:
        """So many of them from x on; what several taps see is read once."""
        k, g = self.k, self.g
        values = [
            [
                k.load("g", self.gradient + (x + p) * g.g[3] + v * k.width, mask, g.element)
                for v, mask in enumerate(self.masks)
            ]
            for p in range(count)
        ]
        for (ty, column), readers in self._columns(taps, count).items():
            at = self.rows[ty] + (x * g.stride[2] + column) * g.x[3]
            for i, read in enumerate(self.inputs):
                held = read(at)
                for (p, tx), v in product(readers, range(len(self.masks))):
                    register = self.sums[ty, tx, i, v]
                    k.set(register, k.multiply_add(held[v], values[p][v], k.get(register)))

    def _columns(self, taps: Sequence[Tap], count: int) -> dict[Tap, list[Tap]]:
        """(row of a tap, column of x behind the first pixel's) -> (pixel, column of the tap) that see it."""
        g = self.g
        columns: dict[Tap, list[Tap]] = {}
        for p, (ty, tx) in product(range(count), taps):
            columns.setdefault((ty, p * g.stride[2] + g.shift(2, tx)), []).append((p, tx))
        return dict(sorted(columns.items()))

    def _together(self, taps: Sequence[Tap], count: int) -> int:
        """How many of so many pixels to take at a time, so that least is read, as far as registers allow.

        With two vectors a number that is read serves two multiply-adds in any case.
        """
        vectors, is_depthwise = len(self.masks), self.g.is_depthwise
        if vectors > 1 and not is_depthwise:
            return 1
        each = vectors if is_depthwise else 1
        free = self.k.target.registers - 1 - len(self.sums) - each

        def loads(together: int) -> int:
            turn = len(self._columns(taps, together)) * len(self.inputs) * each + together * vectors
            alone = (len(taps) * len(self.inputs) * each + vectors) * (count % together)
            return count // together * turn + alone

        most = min(MOST_TOGETHER, count, max(free // vectors, 1))
        return min(range(1, most + 1), key=loads)
