"""Prefetches of what the end of a register tile reads and writes, while its sums are still being made.

Where there is a loop over many channels and little else, one in each of its turns; else all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.kernels.convolution.taps.placed import Placed, placed_maps
from kernelearn.engine.cpu.language.kernel import Index, Kernel


@dataclass(frozen=True)
class Asked:
    """Lines that are prefetched pixel by pixel, one in each turn of a loop.

    Many at once would fill the buffers in which the loads of the first turns wait.

    Attributes:
        place: of the first pixel; step: numbers from one to the next.
        pixels: how many there are.
        roles: role -> whether it is written.
        maps: smaller ones; position: (plane, row, pixel) of the first pixel there.
    """

    place: Index
    step: int
    pixels: int
    roles: Mapping[str, bool]
    maps: Sequence[Placed]
    position: tuple[Index, Index, Index]

    def ask(self, k: Kernel, pixel: Index, vectors: int) -> None:
        """Prefetch the vectors of a pixel."""
        for (role, is_written), v in product(self.roles.items(), range(vectors)):
            k.prefetch(role, self.place + pixel * self.step + v * k.width, is_written=is_written)
        z, y, x = self.position
        for placed, v in product(self.maps, range(vectors)):
            placed.ask((z, y, x + pixel), v)


def asked_in_turn(part: Part, z: Index, y: Index, rows: int, x: Index | int, pixels: int) -> Asked | None:
    """What a tile from (z, y, x) on is to ask for in the loop over a tap's channels.

    None where there are more taps or rows, or fewer turns than pixels.
    """
    taps = math.prod(len(axis.taps) for axis in (part.depth, part.height, part.width))
    if taps > 1 or rows > 1 or part.g.inner // part.tile.unroll < pixels:
        return None
    written = list(part.chain.writes) if part.chain else ["y"]
    roles = {**dict.fromkeys(_read(part), False), **dict.fromkeys(written, True)}
    step, position = part.width.out_step * part.g.y[3], (z, y, part.k.const(0) + x)
    return Asked(part.y_offset(z, y, x, 0), step, pixels, roles, placed_maps(part), position)


def prefetch(part: Part, z: Index, y: Index, x: Index | int, places: Iterable[tuple[int, int, int]]) -> None:
    """Ask at once for what the chain reads at (row, pixel, vector) of a tile from (z, y, x) on."""
    for (r, p, v), role in product(places, _read(part)):
        part.k.prefetch(role, part.y_offset(z, y + r, x, p) + v * part.k.width)


def _read(part: Part) -> list[str]:
    """The roles that the chain reads entry by entry."""
    return [e.role for e in part.chain.externals if e.kind == "full"] if part.chain else []
