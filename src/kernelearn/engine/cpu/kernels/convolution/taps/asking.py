"""Prefetches, while the sums of a register tile are still being made.

What its end reads and writes: where there is a loop over many channels and little else, in each of its turns;
else all at once. And weights of the next block of outputs, where few tiles share those of a block: the first
of them would wait for memory at every line, and it is a good part of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.kernels.convolution.taps.placed import Placed, placed_maps
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import SIZES

# Tiles of a block up to which the weights of the next block are asked for, and bytes of all weights from
# which on they are not in a core's cache anyway.
FEW_TILES, LARGE_WEIGHTS = 32, 2**18
# Bytes of a cache line.
LINE = 64


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


@dataclass(frozen=True)
class AskedWeights:
    """A tile's share of the weights of the next block, asked for while rows of taps are multiplied.

    Attributes:
        place: where the share begins.
        rows: of taps in a plane of them, or of the tile, if it has several; numbers: of the share for each.
    """

    place: Index
    numbers: int
    rows: int

    def ask(self, k: Kernel, row: Index | int, turn: Index, turns: int) -> None:
        """Prefetch a part in one of so many turns of a loop over the channels.

        Args:
            row: which of `rows` it is, counted through all planes of taps.
        """
        step, line = -(-self.numbers // turns), LINE // SIZES[k.float]
        start = self.place + turn * step + (k.const(0) + row * self.numbers)
        for at in range(0, step, line):
            k.prefetch("w", start + at, 2)


def asked_weights(part: Part, z: Index, y: Index, x: Index | int) -> AskedWeights | None:
    """What a tile from (z, y, x) on is to ask for.

    None where many tiles share a block's weights, or these are few; and where the rows of the input, whose
    numbers shares are counted by, are not those of the taps or of the tile.
    """
    g, tile_rows, tap_rows = part.g, part.tile_rows, len(part.height.taps)
    pieces = -(-part.width.count // part.tile.pixels)
    tiles = part.depth.count * tile_rows * pieces
    if tiles > FEW_TILES or 4 * g.tap_count * g.inner * g.outer * g.groups < LARGE_WEIGHTS:
        return None
    if len(g.parts) > 1 or g.is_depthwise or g.is_paired or g.few or min(part.tile.rows, tap_rows) > 1:
        return None
    each, block = max(part.tile.rows, tap_rows), g.tap_count * g.inner * part.lanes
    numbers = -(-block // (tiles * len(part.depth.taps) * each))
    piece = (part.k.const(0) + x) * pieces // part.width.count
    number = (z * tile_rows + (y - part.low) // part.tile.rows) * pieces + piece
    share = numbers * len(part.depth.taps) * each
    return AskedWeights(part.weights + block + number * share, numbers, each)


def prefetch(part: Part, z: Index, y: Index, x: Index | int, places: Iterable[tuple[int, int, int]]) -> None:
    """Ask at once for what the chain reads at (row, pixel, vector) of a tile from (z, y, x) on."""
    for (r, p, v), role in product(places, _read(part)):
        part.k.prefetch(role, part.y_offset(z, y + r, x, p) + v * part.k.width)


def _read(part: Part) -> list[str]:
    """The roles that the chain reads entry by entry."""
    return [e.role for e in part.chain.externals if e.kind == "full"] if part.chain else []
