"""The rows of a window as minimal filterings F(2, r), and what is computed of an image at a time.

    y[row, 2t + o, k] = sum over i  A[o] [sum over c  (B d[row * stride + i, t, c]) * (G g[i, c, k])]

Only the width is filtered; rows of taps and channels are plain sums between both transforms, so a tile of two
outputs costs r + 1 products for 2r, and its transforms serve all rows of the window. With steps of s along
the width, s neighbouring pixels are one of s times as many channels, and s times fewer taps meet it: 11 taps
with steps of 4 are three taps of 12 channels. Lanes have fewer taps where that does not divide; their
filterings use some of the points. With only two outputs at a time none takes part in products of inputs
outside of its window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import groupby, pairwise

from kernelearn.engine.cpu.kernels.convolution.geometry import Sizes, TapAxis
from kernelearn.engine.cpu.kernels.convolution.winograd.filters import Filter, Linear
from kernelearn.engine.cpu.language.kernel import Index, Kernel

# Where the polynomials of taps and inputs are multiplied, besides at infinity. Of all pairs of small numbers
# the last two round least: halves and doubles balance.
POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 2))
# Outputs of a tile.
PAIR = 2
# Bytes of an array of a band: transformed rows, products of a block, transformed gradients.
MOST_BYTES = 2**19
# Places of a piece, at most, and of those that shall round less; places of a window.
LONGEST, SHORT, MOST = len(POINTS), 3, 12


@dataclass(frozen=True)
class Lanes:
    """Neighbouring channels that meet the same taps.

    Attributes:
        first, count: channels.
        start: of the window's places, the first that has a tap; taps: their number.
        pieces: places of the longest window, whose points are shared, in pieces that are filtered apart.
    """

    first: int
    count: int
    start: int
    taps: int
    pieces: tuple[int, ...]

    @property
    def filter(self) -> Filter:
        return _filter(self.start, self.taps, self.pieces)


@cache
def _filter(start: int, taps: int, pieces: tuple[int, ...]) -> Filter:
    """F(2, taps) (Toom-Cook) over all inputs of a tile. Fewer taps use some of the points only."""
    inputs: list[list[tuple[int, float]]] = []
    weights: list[list[tuple[int, float]]] = []
    first = 0
    for most in pieces:
        low, high = max(start, first), min(start + taps, first + most)
        points = POINTS[: max(high - low, 0)]
        for point in points:
            others = [other for other in points if other != point]
            scale = math.prod((point - other for other in others), start=Fraction(1))
            inputs.append(_row(_polynomial(others), low))
            weights.append(_row([point**tap / scale for tap in range(len(points))], low - start))
        absent: list[list[tuple[int, float]]] = [[] for _ in range(most - len(points))]
        inputs += [*absent, _row(_polynomial(points), low) if points else []]
        weights += [*absent, [(high - 1 - start, 1.0)] if points else []]
        first += most
    return Filter(_linear(first + 1, inputs), _linear(taps, weights), outputs(pieces))


@cache
def outputs(pieces: tuple[int, ...]) -> Linear:
    """Both outputs of a tile from its points."""
    first, second, count = [], [], 0
    for most in pieces:
        first += [(count + i, 1.0) for i in range(most)]
        second += [(count + i, float(point)) for i, point in enumerate(POINTS[:most]) if point]
        second.append((count + most, 1.0))
        count += most + 1
    return _linear(count, [first, second])


def rounded_up(rows: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-rows // step) * step


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), the constant first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)])]
    return found


def _row(factors: Sequence[Fraction], start: int = 0) -> list[tuple[int, float]]:
    return [(i + start, float(factor)) for i, factor in enumerate(factors) if factor]


def _linear(size: int, rows: Sequence[Sequence[tuple[int, float]]]) -> Linear:
    return Linear(size, (tuple(map(tuple, rows)),))


@dataclass(frozen=True)
class Alike:
    """Neighbouring tiles that share their code.

    Attributes:
        first, last: numbers of the tiles, both included.
        there: channels of each of their inputs that the image has: all, or the first of them.
    """

    first: int
    last: int
    there: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """A convolution over (height, width, channels), with the steps along the width as channels.

    Attributes:
        x, y: (depth, height, width, channels) of an image; depth is 1.
        stride, dilation, above: of the rows: row i of the window meets row y * stride + i * dilation - above.
        rows, columns: of the kernel; is_turned: whether its taps are met last to first.
        step: along the width; before: places of pixels before the first.
        missing: taps that the first place of the window lacks.
        is_split: whether windows are filtered in short pieces: at more points, which round less.
    """

    x: Sizes
    y: Sizes
    stride: int
    dilation: int
    above: int
    rows: int
    columns: int
    is_turned: bool
    step: int
    before: int
    missing: int
    is_split: bool = False

    @property
    def inner(self) -> int:
        """Channels of a place."""
        return self.step * self.x[3]

    @property
    def outer(self) -> int:
        return self.y[3]

    @property
    def most(self) -> int:
        """Places of a window."""
        return -(-(self.columns + self.missing) // self.step)

    @property
    def pieces(self) -> tuple[int, ...]:
        """Places of the window that are filtered together: nearly equal pieces, the longer ones first."""
        count = -(-self.most // (SHORT if self.is_split else LONGEST))
        return tuple((self.most + i) // count for i in reversed(range(count)))

    @property
    def points(self) -> int:
        return self.most + len(self.pieces)

    @property
    def reach(self) -> int:
        """Places of a tile's inputs."""
        return self.most + PAIR - 1

    @property
    def tiles(self) -> int:
        """Of a row."""
        return -(-self.y[2] // PAIR)

    @property
    def whole_and_rest(self) -> tuple[tuple[int, int, int], ...]:
        """(first, end, outputs of each) of a row's tiles: whole ones, and the last if it has one output."""
        whole = self.y[2] // PAIR
        kinds = ((0, whole, PAIR), (whole, self.tiles, 1))
        return tuple((first, end, count) for first, end, count in kinds if first < end)

    @property
    def lanes(self) -> tuple[Lanes, ...]:
        found, first = [], 0
        for (start, end), same in groupby(map(self._met, range(self.step))):
            count = len(list(same)) * self.x[3]
            found.append(Lanes(first, count, start, end - start, self.pieces))
            first += count
        return tuple(found)

    def _met(self, pixel: int) -> tuple[int, int]:
        """The places of a window, [first, end), where a tap meets so manieth pixel."""
        return int(pixel < self.missing), (self.columns - 1 + self.missing - pixel) // self.step + 1

    @property
    def alike(self) -> tuple[Alike, ...]:
        found: list[Alike] = []
        numbers = self.x[2] * self.x[3]
        for tile in range(self.tiles):
            places = [tile * PAIR - self.before + i for i in range(self.reach)]
            there = tuple(min(max(numbers - p * self.inner, 0), self.inner) if p >= 0 else 0 for p in places)
            if found and found[-1].there == there:
                found[-1] = Alike(found[-1].first, tile, there)
            else:
                found.append(Alike(tile, tile, there))
        return tuple(found)

    @property
    def row_pairs(self) -> tuple[int, ...]:
        """For every row of taps, how many rows of outputs it meets a row of the image for."""
        shifts = (row * self.dilation - self.above for row in range(self.rows))
        return tuple(_inside(self.y[1], self.stride, shift, self.x[1]) for shift in shifts)

    @property
    def column_pairs(self) -> tuple[int, ...]:
        """For every tap of a row, how many outputs of a row it meets a pixel for."""
        first = self.before * self.step + self.missing
        return tuple(_inside(self.y[2], self.step, tap - first, self.x[2]) for tap in range(self.columns))

    @property
    def least_terms(self) -> int:
        """Products in the kernel gradient's sum of an image, for the weight that meets the fewest inputs."""
        return min(self.row_pairs) * min(self.column_pairs)

    @property
    def saving(self) -> float:
        """Products of a sum over the taps inside of the image, for each product of the tiles."""
        return sum(self.column_pairs) / (self.points * self.tiles * self.step)

    @property
    def best_saving(self) -> float:
        """The same of a tile inside."""
        return PAIR * self.columns / (self.points * self.step)

    @property
    def weights_bytes(self) -> int:
        """Size of the transformed weights."""
        return 4 * self.rows * self.points * self.inner * self.outer

    def weight(self, row: Index, place: int, channel: Index) -> Index:
        """The line of filters that a place and channel of a row of taps has in the kernel."""
        return (row * self.columns + (place * self.step - self.missing)) * self.x[3] + channel

    def local_rows(self, band: int) -> int:
        """Rows of x that so many rows of y meet, at most."""
        return min(self.x[1], (band - 1) * self.stride + (self.rows - 1) * self.dilation + 1)

    def band(self, numbers: Callable[[int], int], step: int = 1) -> int | None:
        """Rows of y that are made at a time: the most that stay in the cache.

        Args:
            numbers: of a tile and point that so many rows keep there; step: rows are a multiple of it.
        Returns: None where they are fewer than those of a window: each row of x would be transformed often.
        """
        for count in range(1, self.y[1] + 1):
            rows = rounded_up(-(-self.y[1] // count), step)
            if 4 * self.points * self.tiles * numbers(rows) <= MOST_BYTES:
                return rows if rows >= min(self.rows, self.y[1]) else None
        return None

    def met_rows(self, k: Kernel, row: Index) -> tuple[Index, Index]:
        """The rows of taps [first, end) that meet the image, of a row of y."""
        at = row * self.stride - self.above
        first, end = k.const(0), k.const(self.rows)
        if self.above > 0:
            first = k.maximum(k.const(self.dilation - 1) - at, 0) // self.dilation
        if (self.y[1] - 1) * self.stride + (self.rows - 1) * self.dilation - self.above >= self.x[1]:
            rest = k.maximum(k.const(self.x[1] + self.dilation - 1) - at, 0) // self.dilation
            end = k.minimum(end, rest)
        return first, end

    def meeting_rows(self, k: Kernel, tap: Index, low: Index, high: Index) -> tuple[Index, Index]:
        """Those of the rows [low, high) of y whose row of taps of this number meets the image."""
        above = tap * -self.dilation + self.above
        if self.above > 0:
            low = k.maximum(low, k.maximum(above + (self.stride - 1), 0) // self.stride)
        if (self.y[1] - 1) * self.stride + (self.rows - 1) * self.dilation - self.above >= self.x[1]:
            rest = k.maximum(above + (self.x[1] - 1 + self.stride), 0) // self.stride
            high = k.minimum(high, rest)
        return low, high

    def read_rows(self, k: Kernel, low: Index, high: Index) -> tuple[Index, Index]:
        """The rows of x [first, end) that the rows of y [low, high) meet."""
        reach = (self.rows - 1) * self.dilation + 1
        first = k.maximum(low * self.stride - self.above, 0)
        return first, k.minimum((high - 1) * self.stride + (reach - self.above), self.x[1])


def _inside(count: int, step: int, shift: int, size: int) -> int:
    """How many of the first places lie on an axis of so many pixels; place i is at i * step + shift."""
    return sum(0 <= i * step + shift < size for i in range(count))


def find_windows(
    x: Sizes, y: Sizes, axes: tuple[TapAxis, TapAxis, TapAxis], kernel: tuple[int, int, int]
) -> Windows | None:
    """The windows of a convolution; None where they are of another kind."""
    depth, height, width = axes
    rows, columns = (_shifts(axis) for axis in (height, width))
    # NOTE: with steps, the only tap of a plane may see nothing but zeros in front of it.
    is_plane = depth.size == depth.count == kernel[0] == 1 and depth.taps == ((0, 0),)
    if not is_plane or rows is None or columns is None:
        return None
    (above, dilation, is_turned), (left, gap, is_mirrored) = rows, columns
    step = width.in_step
    if gap > 1 or is_turned != is_mirrored or (is_turned and step > 1) or height.out_step > 1:
        return None
    before = -(-left // step)
    missing = before * step - left
    if width.out_step > 1 or step > kernel[2]:
        return None
    found = Windows(
        x, y, height.in_step, dilation, above, kernel[1], kernel[2], is_turned, step, before, missing
    )
    return found if found.most <= MOST else None


def _shifts(axis: TapAxis) -> tuple[int, int, bool] | None:
    """(pixels before the first, from one tap to the next, whether the last tap comes first) of an axis."""
    taps = sorted(axis.taps)
    if not taps:
        return None
    gaps = {b[0] - a[0] for a, b in pairwise(taps)}
    if len(gaps) > 1:
        return None
    return -taps[0][0], min(gaps, default=1), len(taps) > 1 and taps[0][1] > taps[1][1]
