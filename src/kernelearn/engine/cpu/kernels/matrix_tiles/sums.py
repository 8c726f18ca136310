"""How a convolution is cut into products of matrix tiles: which numbers a sum runs over, and in what order.

The channels of x lie as pairs of bfloat16, `pairs` of them a pixel, zeros behind the last channel and around
the image. A *run* is a row of taps that read neighbouring pixels: their channels follow each other in memory,
so a run is one long sum. It is cut into steps of equal depth, at most 16 pairs: what a tile holds.

    y[pixel, f] = sum over runs, steps:   x[pixel + run][step] (pixels x depth) . w[run][step] (depth x f)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kernelearn.engine.cpu.kernels.convolution.geometry import TapAxis, TapConv, Three
from kernelearn.engine.cpu.language.matrix_tiles import LANES, ROWS

# What calls say of themselves.
NOTE = "matrix tiles of bfloat16"
# Cycles of a step of two by two tiles: so many, and for each row of a tile. They make the 120 measured
# with 16 rows (Emerald Rapids; all in the first-level cache). Products in float32 a cycle, about.
STEP_CYCLES, ROW_CYCLES, PRODUCTS = 56, 4, 24
# Pairs a pixel that are tried beyond those of the channels, so that fewer steps fill their tiles.
TRIED = 8


@dataclass(frozen=True)
class Steps:
    """A sum in pieces: `count` of `depth` pairs."""

    count: int
    depth: int


def equal_steps(pairs: int) -> Steps:
    """The fewest equal steps that so many pairs fall into."""
    count = next(n for n in range(-(-pairs // LANES), pairs + 1) if pairs % n == 0)
    return Steps(count, pairs // count)


@dataclass(frozen=True)
class Segments:
    """A row of `size` pixels in `count` segments of `rows` pixels; the last ones may overlap."""

    size: int
    count: int
    rows: int


def segments_of(size: int) -> Segments:
    """The fewest segments of at most a tile's rows."""
    count = -(-size // ROWS)
    return Segments(size, count, -(-size // count))


@dataclass(frozen=True)
class PartSums:
    """One residue class of a convolution.

    Attributes:
        counts: output positions; starts, moves: the first of them in y, and from one to the next.
        x_moves: pixels of the copy of x from position to position.
        runs: pixel of the copy of x where each run begins, for the first position.
        steps: of a run.
        line: number of the first line of its packed weights.
    """

    counts: Three
    starts: Three
    moves: Three
    x_moves: Three
    runs: tuple[int, ...]
    steps: Steps
    line: int

    @property
    def segments(self) -> Segments:
        return segments_of(self.counts[2])

    @property
    def lines(self) -> int:
        """Lines of packed weights: a pair of numbers for each filter."""
        return len(self.runs) * self.steps.count * self.steps.depth


@dataclass(frozen=True)
class TileSums:
    """A convolution.

    Attributes:
        x: pixels of an image of x, and channels; before, copied: zeros in front, and all pixels of its copy.
        pairs: of a pixel of the copy.
        y: pixels of an image of y.
        outer: channels of y.
        taps: numbers of the taps in the kernel, in the order of their packed weights.
    """

    x: Three
    channels: int
    before: Three
    copied: Three
    pairs: int
    y: Three
    outer: int
    parts: tuple[PartSums, ...]
    taps: tuple[int, ...]

    @property
    def lines(self) -> int:
        """Lines of packed weights of a tile's filters."""
        return sum(part.lines for part in self.parts)

    @property
    def weight_bytes(self) -> int:
        """Of the packed weights that there are, without those that fill up the last tile."""
        return 4 * self.lines * self.outer

    @property
    def filter_tiles(self) -> int:
        return -(-self.outer // LANES)


def rows_sums(inner: int, outer: int, rows: int) -> TileSums:
    """A dense layer on images of so many rows: a convolution with one tap."""
    pairs = _best_pairs(inner, [(1, 1)])
    part = PartSums((1, 1, rows), (0, 0, 0), (1, 1, 1), (1, 1, 1), (0,), equal_steps(pairs), 0)
    size = (1, 1, rows)
    return TileSums(size, inner, (0, 0, 0), size, pairs, size, outer, (part,), (0,))


def find_sums(g: TapConv) -> TileSums:
    """Of a convolution with one group."""
    if _is_pointwise(g):
        return rows_sums(g.inner, g.outer, g.x[0] * g.x[1] * g.x[2])
    before, copied = _margins(g)
    runs_of = [_runs(part[2].taps) for part in g.parts]
    lengths = [
        (len(runs[0]) if runs else 0, len(part[0].taps) * len(part[1].taps) * len(runs))
        for part, runs in zip(g.parts, runs_of)
    ]
    pairs = _best_pairs(g.inner, lengths)
    parts, taps, line = list[PartSums](), list[int](), 0
    for axes, runs, (length, _) in zip(g.parts, runs_of, lengths):
        starts = list[int]()
        for (dz, tz), (dy, ty) in ((z, y) for z in axes[0].taps for y in axes[1].taps):
            for run in runs:
                place = (dz + before[0]) * copied[1] + dy + before[1]
                starts.append(place * copied[2] + run[0][0] + before[2])
                taps += [(tz * g.kernel[1] + ty) * g.kernel[2] + tx for _, tx in run]
        steps = equal_steps(length * pairs) if starts else Steps(0, 1)
        counts, first, moves, x_moves = (
            _along(axes, name) for name in ("count", "out_start", "out_step", "in_step")
        )
        part = PartSums(counts, first, moves, x_moves, tuple(starts), steps, line)
        parts.append(part)
        line += part.lines
    return TileSums(g.x[:3], g.inner, before, copied, pairs, g.y[:3], g.outer, tuple(parts), tuple(taps))


def _along(axes: Sequence[TapAxis], name: str) -> Three:
    """A number of each axis."""
    depth, height, width = (getattr(axis, name) for axis in axes)
    return depth, height, width


def _is_pointwise(g: TapConv) -> bool:
    """Whether every pixel of y is a product of the pixel of x at its place."""
    axes = [axis for part in g.parts for axis in part]
    plain = all((a.in_step, a.out_step, a.taps) == (1, 1, ((0, 0),)) for a in axes)
    return plain and g.x[:3] == g.y[:3]


def _margins(g: TapConv) -> tuple[Three, Three]:
    """Zeros in front of x, and pixels of its copy."""
    before, sizes = [], []
    for a in range(3):
        axes = [part[a] for part in g.parts if part[a].taps]
        low = min((d for axis in axes for d, _ in axis.taps), default=0)
        high = max((d + (axis.count - 1) * axis.in_step for axis in axes for d, _ in axis.taps), default=0)
        before.append(max(-low, 0))
        sizes.append(max(-low, 0) + max(g.x[a], high + 1))
    return (before[0], before[1], before[2]), (sizes[0], sizes[1], sizes[2])


def _runs(taps: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Taps that read neighbouring pixels, by place: all of them, or each apart."""
    ordered = sorted(taps)
    if all(b[0] == a[0] + 1 for a, b in pairwise(ordered)):
        return [ordered] if ordered else []
    return [[tap] for tap in ordered]


def _best_pairs(channels: int, runs: Sequence[tuple[int, int]]) -> int:
    """Pairs of a pixel, for the fewest steps; runs: (taps, number) of the runs of each part."""
    least = -(-channels // 2)

    def steps(pairs: int) -> int:
        return sum(equal_steps(length * pairs).count * number for length, number in runs if length)

    return min(range(least, least + TRIED + 1), key=lambda pairs: (steps(pairs), pairs))
