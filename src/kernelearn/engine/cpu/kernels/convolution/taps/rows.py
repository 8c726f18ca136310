"""The rows of an image in register tiles: runs of equal tiles are loops, those at the border stand alone.

A tile that stands alone knows its pixels, and so which taps fall outside of the image.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernelearn.engine.cpu.kernels.convolution.geometry import segments
from kernelearn.engine.cpu.kernels.convolution.taps.part import Part
from kernelearn.engine.cpu.kernels.convolution.taps.register_tile import RegisterTile
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled
from kernelearn.engine.cpu.language.kernel import Index

# First pixel and number of pixels of a tile.
Piece = tuple[int, int]


def emit_rows(part: Part, low: Index | int, high: Index | int) -> None:
    """The rows [low, high), which are whole tiles, and what rows are left behind the last whole one."""
    k, count, rows = part.k, part.height.count, part.tile.rows
    full = count // rows * rows
    with k.loop(0, part.depth.count) as z:
        if full:
            with k.loop(low, high, rows) as y:
                _emit_row(part, z, y, rows)
        if full < count:
            _emit_row(part, z, k.const(full), count - full)


def _emit_row(part: Part, z: Index, y: Index, rows: int) -> None:
    """A row of tiles: runs of inner tiles of one size in a loop, those at the border one by one."""
    for run in _runs(part):
        start, pixels = run[0]
        if len(run) > 1:
            with part.k.loop(start, run[-1][0] + 1, pixels) as x:
                RegisterTile(part, z, y, rows, x, pixels).emit()
        else:
            RegisterTile(part, z, y, rows, start, pixels).emit()


def _runs(part: Part) -> Iterator[list[Piece]]:
    """The tiles of a row; those that are the same code together."""
    run: list[Piece] = []
    for piece in _pieces(part):
        if run and (piece[1] != run[0][1] or _is_at_border(part, piece) or _is_at_border(part, run[0])):
            yield run
            run = []
        run.append(piece)
    yield run


def _pieces(part: Part) -> list[Piece]:
    """The tiles of a row; whole windows where a pooling follows."""
    count, pixels = part.width.count, part.tile.pixels
    if isinstance(part.chain, Pooled):
        return [(2 * start, 2 * size) for start, size in segments(count // 2, pixels // 2)]
    return segments(count, pixels)


def _is_at_border(part: Part, piece: Piece) -> bool:
    """Whether some tap of the tile falls outside of the image."""
    axis = part.width
    reads = [(piece[0] + p) * axis.in_step + d for p in range(piece[1]) for d, _ in axis.taps]
    return any(not 0 <= x < axis.size for x in reads)
