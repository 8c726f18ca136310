"""Loops over memory: numbers of a range, vectors of a row, blocks of channels, images.

Each calls or yields with an offset and the mask of the lanes that exist (None: all of them). They differ in
how much is unrolled, and in what is known when the code is made:

    emit_flat     any range: unrolled, vector by vector, tail
    one_by_one    any range, for bodies too long to unroll
    two_a_turn    numbers below a count, two in each turn of the loop
    lanes         a row of known length; short rows without a loop
    each_vector   a row of known length, always by a loop
    vectors_of    the same of a block of so many vectors
    Row           a row of known length that several passes go over, short ones held in registers
    blocks        a row in blocks of several vectors; `task_blocks`: a block a task
    windows       rows that are gone through block by block, a few at a time
    tiles         a known count in pieces of a vector's width
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import Value

# Rows of at most this many vectors stay in registers; longer ones are read again in each pass.
HELD = 4

Body = Callable[[Index | int, Value | None, Value | None], Value | None]

# A vector of a row: its first channel within a block, and the mask of its lanes.
Lanes = tuple[int, Value | None]

# Numbers per task of tensors without images.
BLOCK = 4096

UNROLL = 4

# Numbers of the rows that are gone through together.
WINDOW = 2048


class Row:
    """A row of `size` numbers, in vectors.

    `each` calls body(offset, mask, held) for every vector and gives what the bodies return; a later pass over
    the row that is given these gets them as `held`. For long rows `held` is None: nothing was kept.
    """

    def __init__(self, k: Kernel, size: int) -> None:
        self.k, self.size = k, size
        self.is_short = size <= HELD * k.width

    def each(self, body: Body, held: list[Value] | None = None) -> list[Value] | None:
        k, width = self.k, self.k.width
        if self.is_short:
            starts = range(0, self.size, width)
            values = [body(c, k.mask(self.size - c), held[i] if held else None) for i, c in enumerate(starts)]
            return [v for v in values if v is not None] or None
        full = self.size // width * width
        with k.loop(0, full, width) as column:
            body(column, None, None)
        if full < self.size:
            body(full, k.mask(self.size - full), None)
        return None


@contextmanager
def images(k: Kernel, per_image: int) -> Iterator[tuple[Index, Index]]:
    """The images of a kernel's tasks: (image, offset of its first number)."""
    with k.loop(k.lo, k.hi, checked=False) as image:
        yield image, image * per_image


def lanes(k: Kernel, channels: int, body: Callable[[Index | int, Value | None], None]) -> None:
    """body(channel, mask) for all vectors of a row of channels; a row of few vectors needs no loop."""
    full = channels // k.width * k.width
    if full > 4 * k.width:
        with k.loop(0, full, k.width) as start:
            body(start, None)
    else:
        for channel in range(0, full, k.width):
            body(channel, None)
    if full < channels:
        body(full, k.mask(channels - full))


def blocks(k: Kernel, channels: int, most: int) -> Iterator[tuple[Index, list[Lanes]]]:
    """Row of channels in blocks of `most` vectors: (first channel, [(channel within the block, mask)]).

    The body is emitted once for all full blocks, and once for the rest.
    """
    vectors = [(c, k.mask(channels - c)) for c in range(0, channels, k.width)]
    whole = channels // (k.width * most)
    wide = k.width * most
    if whole:
        with k.loop(0, whole * wide, wide) as first:
            yield first, vectors[:most]
    rest = vectors[whole * most :]
    if rest:
        start = whole * wide
        yield k.const(start), [(c - start, mask) for c, mask in rest]


def window(channels: int) -> int:
    """Rows of so many channels that a kernel goes through block by block, before the next rows."""
    return max(8, WINDOW // channels)


def block_count(width: int, channels: int, most: int) -> int:
    """How many blocks of `most` vectors a row of channels has, the last one perhaps shorter."""
    return -(-channels // (width * most))


def windows(k: Kernel, rows: int, channels: int) -> Iterator[tuple[Index, int]]:
    """(first row, number of rows) of pieces that are gone through block by block."""
    step = window(channels)
    whole = rows // step * step
    if whole:
        with k.loop(0, whole, step) as row:
            yield row, step
    if whole < rows:
        yield k.const(whole), rows - whole


def task_blocks(k: Kernel, channels: int, most: int) -> Iterator[tuple[Index, list[Lanes]]]:
    """As `blocks`, where every block is one of the kernel's tasks."""
    wide = k.width * most
    whole = channels // wide
    vectors = [(c, k.mask(channels - c)) for c in range(0, channels, k.width)]
    if whole:
        with k.loop(k.lo, k.minimum(k.hi, whole)) as task:
            yield task * wide, vectors[:most]
    rest = vectors[whole * most :]
    if rest:
        start = whole * wide
        with k.when(k.compare("sgt", k.hi, whole)):
            yield k.const(start), [(c - start, mask) for c, mask in rest]


def two_a_turn(
    k: Kernel,
    count: Index | int,
    body: Callable[[Index], None],
    before: Callable[[Index], None] | None = None,
    is_even: bool = False,
) -> None:
    """Emit `body` for every number below `count`, for two of them in a turn of the loop, `before` once.

    Args:
        is_even: whether it is known that the count is.
    """
    even = (count // 2) * 2
    with k.loop(0, even, 2) as at:
        if before is not None:
            before(at)
        body(at)
        body(at + 1)
    if not isinstance(count, int):
        if not is_even:
            with k.loop(even, count) as at:
                body(at)
    elif count % 2:
        body(k.const(count - 1))


def one_by_one(k: Kernel, lo: Index, hi: Index, use: Callable[[Index, Value | None], None]) -> None:
    """use(offset, mask) for vectors of the range; for numbers whose words do not stand in order."""
    whole = lo + ((hi - lo) // k.width) * k.width
    with k.loop(lo, whole, k.width) as at:
        use(at, None)
    with k.when(k.compare("slt", whole, hi)):
        use(whole, k.mask_below(hi - whole))


def tiles(k: Kernel, count: int) -> Iterator[tuple[Index, int]]:
    """(start, size) of pieces of at most a vector's width."""
    whole = count // k.width * k.width
    if whole:
        with k.loop(0, whole, k.width) as start:
            yield start, k.width
    if whole < count:
        yield k.const(whole), count - whole


def emit_flat(k: Kernel, lo: Index, hi: Index, body: Callable[[Index, Value | None], object]) -> None:
    """body(offset, mask) over a range of numbers: unrolled, then vector by vector, then the tail."""
    if lo.register == hi.register:
        _emit_known(k, lo, hi.constant - lo.constant, body)
        return
    wide = k.width * UNROLL
    blocks = (hi - lo) // wide
    middle = lo + blocks * wide
    with k.loop(lo, middle, wide) as at:
        for i in range(UNROLL):
            body(at + i * k.width, None)
    vectors = (hi - middle) // k.width
    tail = middle + vectors * k.width
    with k.loop(middle, tail, k.width) as at:
        body(at, None)
    with k.when(k.compare("slt", tail, hi)):
        body(tail, k.mask_below(hi - tail))


def emit_zeros(k: Kernel, argument: str, lo: Index, count: int) -> None:
    """Zeros in so many numbers of an argument; there is no code for none."""
    if count:
        emit_flat(k, lo, lo + count, lambda at, mask: k.store(k.zero, argument, at, mask))


def _emit_known(k: Kernel, lo: Index, count: int, body: Callable[[Index, Value | None], object]) -> None:
    """The same for so many numbers: there is no code for what they do not have."""
    wide = k.width * UNROLL
    middle, whole = count // wide * wide, count // k.width * k.width
    for start, end, step in ((0, middle, wide), (middle, whole, k.width)):
        if end - start == step:
            turns: AbstractContextManager[Index] = nullcontext(lo + start)
        elif start < end:
            turns = k.loop(lo + start, lo + end, step, checked=False)
        else:
            continue
        with turns as at:
            for offset in range(0, step, k.width):
                body(at + offset, None)
    if whole < count:
        body(lo + whole, k.mask(count - whole))


def vectors_of(k: Kernel, vectors: int, channels: int) -> Iterator[tuple[Index, int]]:
    """(number, channels that there are) of the vectors of a block: those that are full by a loop."""
    full = channels // k.width
    if full:
        with k.loop(0, full) as vector:
            yield vector, k.width
    for number in range(full, vectors):
        yield k.const(number), max(channels - number * k.width, 0)


def each_vector(k: Kernel, channels: int) -> Iterator[tuple[Index, Value | None]]:
    """(first channel, mask) of every vector of channels; the last may be partial."""
    full = channels // k.width * k.width
    if full:
        with k.loop(0, full, k.width) as c:
            yield c, None
    if full < channels:
        yield k.const(full), k.mask(channels - full)
