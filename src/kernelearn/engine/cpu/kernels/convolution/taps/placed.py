"""Smaller maps that the end of a register tile reads: every so many pixels have numbers of them.

    placed[n, z, y, x, c] = map[n, (z - start) / step, (y - start) / step, (x - start) / step, c]

where all three divide, and are inside of the map. The whole map with its zeros is never in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.geometry import TapAxis, three
from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.kernels.entrywise.chain import External, Place
from kernelearn.engine.cpu.kernels.entrywise.elements import load
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import Value


@dataclass(frozen=True)
class Placed:
    """A smaller map beside the outputs of a part."""

    part: Part
    external: External

    @property
    def role(self) -> str:
        return self.external.role

    def load(self, position: tuple[Index, Index, Index], vector: int) -> Value:
        """A vector of channels of what is placed at a position of the part: (plane, row, pixel)."""
        k, left = self.part.k, self.part.channels - vector * self.part.k.width
        found = self._find(position)
        if found is None:
            return k.zero
        place, conditions = found
        mask = k.mask(left)
        if conditions:
            inside = conditions[0]
            for condition in conditions[1:]:
                inside = inside & condition
            mask = k.mask_below(k.either(inside, k.const(min(left, k.width)), k.const(0)))
        return load(k, self.role, place + vector * k.width, mask, self.external.dtype)

    def ask(self, position: tuple[Index, Index, Index], vector: int) -> None:
        """Prefetch what is placed there, or at the pixel before."""
        found = self._find(position)
        if found is not None:
            self.part.k.prefetch(self.role, found[0] + vector * self.part.k.width)

    def _find(self, position: tuple[Index, Index, Index]) -> tuple[Index, list[Value]] | None:
        """Where a pixel's numbers begin, and under which conditions it has some; None: it never has."""
        part = self.part
        places = three(self.external.places, (0, 1, 1))
        counts = [count for _, count, _ in places]
        pixel, conditions = part.n * math.prod(counts), list[Value]()
        for axis, place, i, below in zip((part.depth, part.height, part.width), places, position, (2, 1, 0)):
            found = _along(part.k, axis, place, i)
            if found is None:
                return None
            pixel = pixel + found[0] * math.prod(counts[3 - below :])
            conditions += found[1]
        return pixel * part.g.y[3] + part.channel, conditions


def placed_maps(part: Part) -> list[Placed]:
    """Those that the chain of a part reads."""
    return [Placed(part, e) for e in part.chain.placed] if part.chain else []


def _along(k: Kernel, axis: TapAxis, place: Place, i: Index) -> tuple[Index, list[Value]] | None:
    """Which pixel of a smaller map stands at position i, and under which conditions; None: none does."""
    start, count, step = place
    apart, conditions = axis.out_start - start, list[Value]()
    if axis.out_step % step == 0:
        if apart % step:
            return None
        index = i * (axis.out_step // step) + apart // step
    else:
        pixel = i * axis.out_step + apart
        index = pixel // step
        conditions.append(k.compare("eq", pixel % step, 0))
    if apart < 0:
        # NOTE: a quotient of a negative number, which has no sign, lies behind the map.
        conditions.append(k.compare("sge", index, 0))
    if apart < 0 or ((axis.count - 1) * axis.out_step + apart) // step >= count:
        conditions.append(k.compare("slt", index, count))
    return index, conditions
