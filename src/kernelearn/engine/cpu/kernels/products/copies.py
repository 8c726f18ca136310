"""Copies of parts of operands that products read many times: in the order in which they are read.

"packed"   a block of b, a row of it after another
"left"     rows of a transposed a, tile by tile: 8 numbers of a column after another
"""

from __future__ import annotations

from kernelearn.engine.cpu.kernels.products.matrices import Side
from kernelearn.engine.cpu.language.bfloat16 import rounded_bits
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import tiles
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.values import Value


def rounded(value: Value, is_rounded: bool) -> Value:
    """A vector, rounded to bfloat16 or as it is."""
    return rounded_bits(value).from_bits() if is_rounded else value


def pack_rows(
    k: Kernel,
    b: Index,
    side: Side,
    depth: Index | int,
    vectors: int,
    channels: int,
    role: str = "b",
    is_rounded: bool = False,
) -> None:
    """Rows of a block that lie apart, next to each other."""
    with k.loop(0, depth) as row:
        for v in range(vectors):
            mask = k.mask(channels - v * k.width)
            value = rounded(k.load(role, b + row * side.row + v * k.width, mask), is_rounded)
            k.store(value, "packed", row * (vectors * k.width) + v * k.width)


def pack_columns(
    k: Kernel,
    b: Index,
    side: Side,
    depth: Index | int,
    vectors: int,
    channels: int,
    role: str = "b",
    is_rounded: bool = False,
) -> None:
    """Columns of a block, whose numbers follow each other in memory, turned in squares in registers."""

    def square(start: Index, lanes: int | None, mask: Value | None) -> None:
        for v in range(vectors):
            columns = range(v * k.width, (v + 1) * k.width)
            held = [
                k.load(role, b + start + c * side.column, mask) if c < channels else k.zero for c in columns
            ]
            for i, row in enumerate(transpose(k, held)[:lanes]):
                place = (start + i) * (vectors * k.width) + v * k.width
                k.store(rounded(row, is_rounded), "packed", place)

    if isinstance(depth, int):
        for start, count in tiles(k, depth):
            square(start, count, k.mask(count))
        return
    full = (depth // k.width) * k.width
    with k.loop(0, full, k.width) as start:
        square(start, None, None)
    with k.when(k.compare("slt", full, depth)):
        # NOTE: a chunk is a whole number of vectors, so that rows of a rest that do not exist have a place.
        square(full, None, k.mask_below(depth - full))


def gather_column(k: Kernel, source: Index, place: Index, size: int, rows: int) -> None:
    """A column of a tile of `size` rows, `rows` of which there are, of a transposed a: it lies together."""
    for v in range(0, size, k.width):
        value = k.load("a", source + v, k.mask(max(rows - v, 0)))
        # NOTE: what is too much of a vector is overwritten by the next; behind the last there is room.
        k.store(value, "left", place + v)
