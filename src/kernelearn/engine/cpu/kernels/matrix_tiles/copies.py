"""Copies of tensors in bfloat16 for products of matrix tiles.

left operand    x[image][depth][row][column][pair of channels], zeros around the image: `PaddedPairs`
right operand   w[tile of filters][tap][pair of channels][filter]: `TileWeights`, `TileWeightsTransposed`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.geometry import Three
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import TileSums
from kernelearn.engine.cpu.kernels.packing import packed_once
from kernelearn.engine.cpu.kernels.precision import channel_pairs, copied
from kernelearn.engine.cpu.language.bfloat16 import neighbours, pair_of
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_zeros, tiles
from kernelearn.engine.cpu.language.matrix_tiles import LANES
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.tables import Table
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks
from kernelearn.engine.program import Buffer, Operation


def left_operand(plan: Plan, op: Operation, name: str, sums: TileSums) -> str:
    """The buffer with pairs of channels of a tensor."""
    if sums.copied == sums.x and 2 * sums.pairs == sums.channels and plan.target.rounds_to_bfloat16:
        return channel_pairs(plan, op, name, sums.channels)
    shape = (None, *sums.copied, sums.pairs)
    code = PaddedPairs(sums.x, sums.channels, sums.before, sums.copied, sums.pairs)
    return copied(plan, op, name, code, shape, "uint32", IMAGES)


@dataclass(frozen=True)
class PaddedPairs:
    """Pairs of channels of images with zeros around. Tasks: images.

    Attributes:
        x, channels: sizes of an image; before, copied: zeros in front, and sizes of its copy.
        pairs: of a pixel of the copy.
    """

    x: Three
    channels: int
    before: Three
    copied: Three
    pairs: int

    def emit(self, k: Kernel) -> None:
        (depth, height, width), (before_z, before_y, before_x) = self.x, self.before
        line, before, behind = (n * self.pairs for n in (self.copied[2], before_x, before_x + width))
        with k.loop(k.lo, k.hi) as image:
            start = image * (self.copied[0] * self.copied[1] * line)
            self._clear_planes(k, start)
            with k.loop(0, depth) as z, k.loop(0, height) as y:
                source = ((image * depth + z) * height + y) * (width * self.channels)
                place = start + ((z + before_z) * self.copied[1] + y + before_y) * line
                emit_zeros(k, "y", place, before)
                self._row(k, source, place + before)
                emit_zeros(k, "y", place + behind, line - behind)

    def _clear_planes(self, k: Kernel, start: Index) -> None:
        """Zeros in rows in which there are no pixels of x."""
        (depth, height, _), line = self.x, self.copied[2] * self.pairs
        plane = self.copied[1] * line
        emit_zeros(k, "y", start, self.before[0] * plane)
        behind = self.before[0] + depth
        emit_zeros(k, "y", start + behind * plane, (self.copied[0] - behind) * plane)
        below = self.before[1] + height
        if self.copied[1] > height:
            with k.loop(0, depth) as z:
                first = start + (z + self.before[0]) * plane
                emit_zeros(k, "y", first, self.before[1] * line)
                emit_zeros(k, "y", first + below * line, (self.copied[1] - below) * line)

    def _row(self, k: Kernel, source: Index, place: Index) -> None:
        """The pixels of a row: at once where their pairs follow each other."""
        if 2 * self.pairs == self.channels:
            _copy_pairs(k, source, place, self.x[2] * self.channels, self.x[2] * self.pairs)
            return
        with k.loop(0, self.x[2]) as pixel:
            _copy_pairs(
                k, source + pixel * self.channels, place + pixel * self.pairs, self.channels, self.pairs
            )


def _copy_pairs(k: Kernel, source: Index, place: Index, numbers: int, pairs: int) -> None:
    """Numbers that follow each other as pairs, zeros behind them."""

    def one(at: Index | int, numbers: int, pairs: int) -> None:
        first = k.load("x", source + at * 2, k.mask(numbers)) if numbers > 0 else k.zero
        second = k.zero
        if numbers > k.width:
            second = k.load("x", source + at * 2 + k.width, k.mask(numbers - k.width))
        k.store(neighbours(k, first, second), "y", place + at, k.mask(pairs))

    full = numbers // (2 * k.width) * k.width
    if full:
        with k.loop(0, full, k.width) as at:
            one(at, 2 * k.width, k.width)
    for start in range(full, pairs, k.width):
        one(start, numbers - 2 * start, pairs - start)


# --- weights

# Place -> number of its tap.
_Order = Callable[[Index], Index]


def _tap_order(k: Kernel, taps: tuple[int, ...]) -> _Order:
    if taps == tuple(range(len(taps))):
        return lambda place: place
    return Table(k, "taps", taps, "i64").index


def _filter_mask(k: Kernel, outer: int, tile: Index) -> Value | None:
    """The filters of a tile that there are."""
    return k.mask_below(k.const(outer) - tile * LANES) if outer % LANES else None


def right_operand(plan: Plan, op: Operation, name: str, sums: TileSums, transposed: bool) -> str:
    """The buffer with packed weights; transposed: whether the channels of x are those of filters."""
    kind = TileWeightsTransposed if transposed else TileWeights
    code = kind(sums.channels, sums.pairs, sums.outer, sums.taps)
    packed = Buffer("tiles", (sums.filter_tiles * sums.lines * LANES,), "uint32")
    note = "pack weights in bfloat16"
    return packed_once(plan, op, name, code, packed, Tasks(fixed=sums.filter_tiles), note)


@dataclass(frozen=True)
class TileWeights:
    """Weights (tap, inner, outer). Tasks: tiles of filters.

    Attributes:
        pairs: of inner channels, with zeros behind them.
        taps: numbers of taps in the order of their places.
    """

    inner: int
    pairs: int
    outer: int
    taps: tuple[int, ...]

    def emit(self, k: Kernel) -> None:
        order = _tap_order(k, self.taps)
        with k.loop(k.lo, k.hi) as tile:
            start = tile * (len(self.taps) * self.pairs * LANES)
            mask = _filter_mask(k, self.outer, tile)
            with k.loop(0, len(self.taps)) as place:
                tap, target = order(place), start + place * (self.pairs * LANES)
                self._tap(k, tap * (self.inner * self.outer) + tile * LANES, target, mask)

    def _tap(self, k: Kernel, source: Index, target: Index, mask: Value | None) -> None:
        with k.loop(0, self.inner // 2) as c:
            first, second = (k.load("w", source + (c * 2 + i) * self.outer, mask) for i in range(2))
            k.store(pair_of(k, first, second), "packed", target + c * LANES)
        for rest in range(self.inner // 2, self.pairs):
            last = k.load("w", source + 2 * rest * self.outer, mask) if 2 * rest < self.inner else k.zero
            k.store(pair_of(k, last, k.zero), "packed", target + rest * LANES)


@dataclass(frozen=True)
class TileWeightsTransposed:
    """Weights (tap, outer, inner), turned in registers; attributes and tasks as of `TileWeights`."""

    inner: int
    pairs: int
    outer: int
    taps: tuple[int, ...]

    def emit(self, k: Kernel) -> None:
        order = _tap_order(k, self.taps)
        full, left = self.outer // LANES, self.outer % LANES
        with k.loop(k.lo, k.minimum(k.hi, full)) as tile:
            self._tile(k, order, tile, LANES)
        if left:
            with k.when(k.compare("sgt", k.hi, full)):
                self._tile(k, order, k.const(full), left)

    def _tile(self, k: Kernel, order: _Order, tile: Index, filters: int) -> None:
        start = tile * (len(self.taps) * self.pairs * LANES)
        with k.loop(0, len(self.taps)) as place:
            source = order(place) * (self.inner * self.outer) + tile * (LANES * self.inner)
            target = start + place * (self.pairs * LANES)
            for c, count in tiles(k, self.inner):
                self._square(k, source + c, target + (c // 2) * LANES, count, filters)
            for rest in range(-(-self.inner // 2), self.pairs):
                k.store(k.zero, "packed", target + rest * LANES)

    def _square(self, k: Kernel, source: Index, target: Index, count: int, filters: int) -> None:
        rows = [
            k.load("w", source + f * self.inner, k.mask(count)) if f < filters else k.zero
            for f in range(LANES)
        ]
        columns = [*transpose(k, rows)[:count], k.zero]
        for i in range(0, count, 2):
            k.store(pair_of(k, columns[i], columns[i + 1]), "packed", target + (i // 2) * LANES)
