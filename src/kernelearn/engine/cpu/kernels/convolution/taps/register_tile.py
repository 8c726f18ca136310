"""A register tile, rows x pixels x vectors of output channels: the planes that it reads, and its end.

Taps before and behind the image in a third dimension are left out by a branch.
"""

from __future__ import annotations

from itertools import product

from kernelearn.engine.cpu.kernels.convolution.taps.asking import asked_in_turn, asked_weights, prefetch
from kernelearn.engine.cpu.kernels.convolution.taps.input_rows import InputRows
from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.kernels.convolution.taps.placed import placed_maps
from kernelearn.engine.cpu.kernels.convolution.taps.tap_rows import TapRows
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import WINDOW, Pooled
from kernelearn.engine.cpu.language.kernel import Index


class RegisterTile:
    """The positions from (z, y, x) on.

    Args:
        x: a number where the tile stands alone, so that it is known which taps fall outside of the image.
    """

    def __init__(self, part: Part, z: Index, y: Index, rows: int, x: Index | int, pixels: int) -> None:
        self.part, self.z, self.y, self.rows, self.x, self.pixels = part, z, y, rows, x, pixels
        k = part.k
        places = product(range(rows), range(pixels), range(part.vectors))
        self.sums = {place: k.register(start=k.zero) for place in places}

    def emit(self) -> None:
        """The sums, and what becomes of them."""
        part, k, depth = self.part, self.part.k, self.part.depth
        asked = asked_in_turn(part, self.z, self.y, self.rows, self.x, self.pixels)
        if asked is None:
            prefetch(part, self.z, self.y, self.x, self.sums)
        weights = asked_weights(part, self.z, self.y, self.x)
        inputs = InputRows(part, self.sums, self.x, self.pixels, asked, weights)
        tap_rows = TapRows(part, self.y, self.rows, inputs)
        for dz, tz in depth.taps:
            plane = self.z * depth.in_step + dz
            inside = [k.compare("sge", plane, 0)] if dz < 0 else []
            if (depth.count - 1) * depth.in_step + dz >= depth.size:
                inside.append(k.compare("slt", plane, depth.size))
            with k.all_of(inside):
                tap_rows.emit(plane, tz)
        if isinstance(part.chain, Pooled):
            self._pool(part.chain)
        else:
            self._finish(part.chain)

    def _finish(self, chain: Chain | None) -> None:
        """The sums through the chain to memory."""
        part, k, maps = self.part, self.part.k, placed_maps(self.part)
        for (r, p, v), register in self.sums.items():
            offset = part.y_offset(self.z, self.y + r, self.x, p) + v * k.width
            value, mask = k.get(register), k.mask(part.channels - v * k.width)
            if chain is None:
                k.store(value, "y", offset, mask)
            else:
                position = (self.z, self.y + r, k.const(p) + self.x)
                held = {placed.role: placed.load(position, v) for placed in maps}
                chain.apply(k, (value,), offset, part.channel + v * k.width, mask, held)

    def _pool(self, end: Pooled) -> None:
        """The sums through windows of 2 x 2 pixels to memory."""
        part, k = self.part, self.part.k
        row, column = self.y // 2, self.x // 2
        for r, p, v in product(range(self.rows // 2), range(self.pixels // 2), range(part.vectors)):
            window = [(k.get(self.sums[2 * r + i, 2 * p + j, v]),) for i, j in WINDOW]
            channel, mask = part.channel + v * k.width, k.mask(part.channels - v * k.width)
            at = k.const(column + p) if isinstance(column, int) else column + p
            end.apply(k, window, part.n, row + r, at, channel, mask)
