"""What kernels that reduce or copy have in common: tensors seen as few axes, and loops over rows and lanes.

A reduction over some axes of an image is seen as (outer, rows, channels, run): `outer` and `channels` are
kept, `rows` and `run` are summed. Either `run` is 1 and lanes are channels, or lanes lie along the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.emit import Index, Kernel, float_text

# Vectors of sums that are held in registers at once.
ACCUMULATORS = 8
# A vector of a row: its first channel within a block, and the mask of its lanes.
Lanes = tuple[int, str | None]
Accumulate = Callable[[Index, Any, Sequence[str]], Sequence[str]]


@dataclass(frozen=True)
class View:
    """Axes of one image, merged: kept, reduced, kept, reduced.

    Attributes:
        outer, channels: kept numbers; rows, run: reduced ones. The order in memory is (outer, rows,
            channels, run).
    """

    outer: int
    rows: int
    channels: int
    run: int

    @property
    def kept(self) -> int:
        return self.outer * self.channels

    @property
    def reduced(self) -> int:
        return self.rows * self.run

    @property
    def size(self) -> int:
        return self.kept * self.reduced


def find_view(sizes: Sequence[int], axes: Sequence[int]) -> View | None:
    """The view of an image of these sizes when `axes` are reduced; None if it alternates more often."""
    merged: list[list] = []
    for axis, size in enumerate(sizes):
        is_reduced = axis in axes
        if size == 1:
            continue
        if merged and merged[-1][0] == is_reduced:
            merged[-1][1] *= size
        else:
            merged.append([is_reduced, size])
    pattern = [is_reduced for is_reduced, _ in merged]
    counts = [size for _, size in merged]
    places = _PLACES.get(tuple(pattern))
    if places is None:
        return None
    found = dict(zip(places, counts))
    return View(*(found.get(name, 1) for name in ("outer", "rows", "channels", "run")))


# Which of the merged axes are reduced -> what they are called.
_PLACES: dict[tuple[bool, ...], tuple[str, ...]] = {
    (): (),
    (False,): ("channels",),
    (True,): ("run",),
    (False, True): ("outer", "run"),
    (True, False): ("rows", "channels"),
    (False, True, False): ("outer", "rows", "channels"),
    (True, False, True): ("rows", "channels", "run"),
    (False, True, False, True): ("outer", "rows", "channels", "run"),
}


def image_sizes(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Sizes of one image of a shape (None, ...)."""
    return tuple(s for s in shape if s is not None)


@contextmanager
def images(k: Kernel, per_image: int) -> Iterator[tuple[Index, Index]]:
    """The images of a kernel's tasks: (image, offset of its first number)."""
    with k.loop(k.lo, k.hi, checked=False) as image:
        yield image, image * per_image


def over_outer(k: Kernel, view: View) -> Iterator[tuple[Index, Index]]:
    """Offsets in the images and in what is kept of them, for every outer index of every image."""
    inner = view.rows * view.channels * view.run
    with images(k, view.size) as (image, start), k.loop(0, view.outer) as outer:
        yield start + outer * inner, image * view.kept + outer * view.channels


def lanes(k: Kernel, channels: int, body: Callable[[Index | int, str | None], None]) -> None:
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


def block_count(width: int, channels: int, most: int) -> int:
    """How many blocks of `most` vectors a row of channels has, the last one perhaps shorter."""
    return -(-channels // (width * most))


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


def fold_rows(
    k: Kernel,
    rows: Index | int,
    starts: Sequence[str],
    tile: Sequence[Any],
    step: Accumulate,
    merge: Callable[[Kernel, str, str], str] | None = None,
    unroll: int | None = None,
    kind: str | None = None,
) -> list[list[str]]:
    """Sums over rows in registers, several chains of additions at a time.

        for row in rows: for vector in tile: sums[vector] = step(row, vector, sums[vector])

    Args:
        rows: how many, known here or only when the kernel runs.
        starts: first values of the sums of one vector.
        tile: what distinguishes the vectors of a row; passed on to `step`.
        merge: joins two chains, addition by default.
        unroll: chains per sum; as many as fit into the registers by default.
        kind: type of the sums, vectors of float32 by default.
    Returns: the sums of each vector.
    """
    merge = merge or Kernel.add
    turns = unroll or max(ACCUMULATORS // (len(tile) * len(starts)), 1)
    if isinstance(rows, int):
        turns = min(turns, max(rows, 1))
    chains = [[[k.register(kind, s) for s in starts] for _ in tile] for _ in range(turns)]
    whole = (rows // turns) * turns
    with k.loop(0, whole, turns) as row:
        for turn, chain in enumerate(chains):
            _step(k, row + turn, tile, chain, step)
    if isinstance(rows, int):
        for left in range(whole if isinstance(whole, int) else 0, rows):
            _step(k, k.const(left), tile, chains[left % turns], step)
    else:
        with k.loop(whole, rows) as row:
            _step(k, row, tile, chains[0], step)
    return [
        [_joined(k, merge, [c[v][s] for c in chains]) for s in range(len(starts))] for v in range(len(tile))
    ]


def _step(k: Kernel, row: Index, tile: Sequence[Any], chain: list[list], step: Accumulate) -> None:
    for vector, registers in zip(tile, chain):
        results = step(row, vector, [k.get(r) for r in registers])
        for register, result in zip(registers, results):
            k.set(register, result)


def _joined(k: Kernel, merge: Callable[[Kernel, str, str], str], registers: list) -> str:
    """Pairwise."""
    values = [k.get(r) for r in registers]
    while len(values) > 1:
        pairs = [merge(k, a, b) for a, b in zip(values[::2], values[1::2])]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def larger_or_nan(k: Kernel, a: str, b: str) -> str:
    """max(a, b), NaN if either is."""
    wins = k.op(f"or <{k.width} x i1> {k.test('ogt', b, a)}, {k.test('uno', b, b)}")
    return k.select(wins, b, a)


class Wide:
    """Arithmetic on vectors of float64 as long as those of float32."""

    def __init__(self, k: Kernel) -> None:
        self.k, self.type = k, f"<{k.width} x double>"

    def widen(self, x: str) -> str:
        return self.k.op(f"fpext {self.k.vector} {x} to {self.type}")

    def narrow(self, x: str) -> str:
        return self.k.op(f"fptrunc {self.type} {x} to {self.k.vector}")

    def add(self, a: str, b: str) -> str:
        return self.k.op(f"fadd {self.type} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.k.op(f"fsub {self.type} {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return self.k.op(f"fmul {self.type} {a}, {b}")

    def div(self, a: str, b: str) -> str:
        return self.k.op(f"fdiv {self.type} {a}, {b}")

    def constant(self, value: float) -> str:
        return "<" + ", ".join([f"double {float_text(value)}"] * self.k.width) + ">"

    def number(self, value: Index) -> str:
        """An integer in every lane."""
        return self.k.splat(self.k.op(f"sitofp i64 {value} to double"), "double")
