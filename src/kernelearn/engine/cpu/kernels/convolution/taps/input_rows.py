"""One input row multiplied into the sums of a register tile: a loop over its channels.

Numbers of the input are broadcast and multiplied with packed weights of all taps that read them. Columns of
taps outside of the image are left out when the code is made, so no padded copy of the input is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from kernelearn.engine.cpu.kernels.convolution.taps.asking import Asked, AskedWeights
from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.language.kernel import Index, Register
from kernelearn.engine.cpu.language.shuffles import numbers, permuted
from kernelearn.engine.cpu.language.values import Value

# (row or pixel of the tile, row or column of the tap that reads)
Pair = tuple[int, int]
# The same of rows, and where the input row begins, counted from the first one.
RowPair = tuple[int, Index | int, int]
# An input column, and what reads it.
Readers = tuple[int, list[Pair]]
# (row, pixel, vector) of the tile -> its sum.
Sums = Mapping[tuple[int, int, int], Register]
# Where a pixel's channels begin -> what each vector of the tile multiplies.
Inputs = Callable[[Index], list[Value]]


class InputRows:
    """What multiplies rows of the input into the sums of a tile, whose first pixel is x.

    Args:
        asked, weights: what is asked for in the loop over the channels; None: nothing.
    """

    def __init__(
        self,
        part: Part,
        sums: Sums,
        x: Index | int,
        pixels: int,
        asked: Asked | None,
        weights: AskedWeights | None,
    ) -> None:
        self.part, self.k, self.g = part, part.k, part.g
        self.sums, self.x, self.pixels, self.asked, self.weights = sums, x, pixels, asked, weights
        self.readers = self._columns()

    def multiply(self, plane: Index, row: Index, tz: int, pairs: Sequence[RowPair]) -> None:
        """Add the products of a row of a plane with those rows of taps, of plane tz."""
        k, g = self.k, self.g
        _, height, width, channels = g.x
        start = self.part.x + (plane * height + row) * (width * channels)
        if not isinstance(self.x, int):
            start = start + self.x * (self.part.width.in_step * channels)
        if not self.readers:
            return
        unroll = min(self.part.tile.unroll, g.inner)
        full = g.inner // unroll * unroll
        asking = 0
        if self.asked is not None:
            asking = self.asked.pixels * unroll
            with k.loop(0, asking, unroll) as c:
                self.asked.ask(k, c // unroll, self.part.vectors)
                for u in range(unroll):
                    self._channel(start, c + u, tz, pairs)
        if asking < full:
            with k.loop(asking, full, unroll) as c:
                if self.weights is not None:
                    # NOTE: one of the two is 0: see `asked_weights`.
                    share = tz * self.weights.rows + pairs[0][0] + pairs[0][1]
                    self.weights.ask(k, share, (c - asking) // unroll, (full - asking) // unroll)
                for u in range(unroll):
                    self._channel(start, c + u, tz, pairs)
        for last in range(full, g.inner):
            self._channel(start, k.const(last), tz, pairs)

    def _columns(self) -> list[Readers]:
        """Input columns (from the tile's first; absolute if it is static) -> (pixel, tap) that read them."""
        axis = self.part.width
        readers: dict[int, list[Pair]] = {}
        for p in range(self.pixels):
            for d, t in axis.taps:
                column = p * axis.in_step + d
                if isinstance(self.x, int):
                    column += self.x * axis.in_step
                    if not 0 <= column < axis.size:
                        continue
                readers.setdefault(column, []).append((p, t))
        return sorted(readers.items())

    def _channel(self, x: Index, c: Index, tz: int, pairs: Sequence[RowPair]) -> None:
        """One input channel, in one of two orders."""
        at = self.part.weights + c * (self.g.taps_together * self.part.lanes)
        inputs = self._inputs_of(c)
        if self._fits(pairs):
            self._by_columns(x, at, tz, pairs, inputs)
        else:
            self._by_taps(x, at, tz, pairs, inputs)

    def _fits(self, pairs: Sequence[RowPair]) -> bool:
        """Whether the weights of all these taps have place in registers beside the sums."""
        taps = {(ty, tx) for _, users in self.readers for _, tx in users for _, ty, _ in pairs}
        vectors = self.part.vectors
        return vectors == 1 or len(self.sums) + len(taps) * vectors < self.k.target.registers

    def _by_columns(self, x: Index, at: Index, tz: int, pairs: Sequence[RowPair], inputs: Inputs) -> None:
        """Broadcast each column once, and multiply it with the weights of all taps that read it."""
        k, g = self.k, self.g
        held: dict[tuple[Index | int, int, int], Value] = {}

        def weight(ty: Index | int, tx: int, v: int) -> Value:
            if (ty, tx, v) not in held:
                held[ty, tx, v] = k.load("w", at + self._tap(tz, ty, tx) + v * k.width, element=g.element)
            return held[ty, tx, v]

        for (column, users), (apart, rows) in product(self.readers, _by_input_row(pairs)):
            values = inputs(x + apart + column * g.x[3])
            for (p, tx), (r, ty), v in product(users, rows, range(self.part.vectors)):
                register = self.sums[r, p, v]
                k.set(register, k.multiply_add(values[v], weight(ty, tx, v), k.get(register)))

    def _by_taps(self, x: Index, at: Index, tz: int, pairs: Sequence[RowPair], inputs: Inputs) -> None:
        """Tap by tap: its weights in registers, and the columns broadcast again for each tap.

        To broadcast a number again takes no longer than to read a weight again.
        """
        k, g, vectors = self.k, self.g, range(self.part.vectors)
        users: dict[int, list[Pair]] = {}
        for column, found in self.readers:
            for p, tx in found:
                users.setdefault(tx, []).append((column, p))
        tap_rows = list(dict.fromkeys(ty for _, ty, _ in pairs))
        for tx, ty in product(sorted(users), tap_rows):
            k.forget()
            place = at + self._tap(tz, ty, tx)
            weights = [k.load("w", place + v * k.width, element=g.element) for v in vectors]
            rows = [(r, apart) for r, tap, apart in pairs if tap == ty]
            for (r, apart), (column, p) in product(rows, users[tx]):
                values = inputs(x + apart + column * g.x[3])
                for v in vectors:
                    register = self.sums[r, p, v]
                    k.set(register, k.multiply_add(values[v], weights[v], k.get(register)))

    def _tap(self, tz: int, ty: Index | int, tx: int) -> Index | int:
        """Where the weights of a tap begin, counted from those of the same channel and the first tap."""
        g = self.g
        row = (ty + tz * g.kernel[1]) * g.kernel[2]
        return (row * g.inner + tx * (1 if g.taps_together > 1 else g.inner)) * self.part.lanes

    def _inputs_of(self, c: Index) -> Inputs:
        """What the vectors of the tile multiply, of a pixel that begins at an offset: channel c of its group.

        That is one number in all lanes; or a channel in each; or the channel of each lane's own group, which
        is brought there from a vector with the channels of all groups of the vector.
        """
        k, g, vectors = self.k, self.g, self.part.vectors
        if not g.is_depthwise and not g.few:
            return lambda at: [k.broadcast("x", at + c, g.element)] * vectors
        channels = [self.part.channels - v * k.width for v in range(vectors)]
        if g.is_depthwise:
            return lambda at: [k.load("x", at + v * k.width, k.mask(n)) for v, n in enumerate(channels)]
        groups = k.width // g.few
        lanes = [min(groups, -(-n // g.few)) * g.inner for n in channels]
        order = numbers(k, (i // g.few * g.inner for i in range(k.width))) + c.to_int().splat()
        return lambda at: [
            permuted(k, k.load("x", at + v * (groups * g.inner), k.mask(n)), order)
            for v, n in enumerate(lanes)
        ]


def _by_input_row(pairs: Sequence[RowPair]) -> list[tuple[int, list[tuple[int, Index | int]]]]:
    """(where an input row begins, [(row of the tile, row of taps) that read it])."""
    rows: dict[int, list[tuple[int, Index | int]]] = {}
    for r, ty, apart in pairs:
        rows.setdefault(apart, []).append((r, ty))
    return list(rows.items())
