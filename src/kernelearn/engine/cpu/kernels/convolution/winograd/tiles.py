"""How maps are cut into tiles for minimal filtering, where that is worthwhile, and the shape of the products.

A tile is a few outputs along each axis with the inputs that they read, see `axes`. A unit is what is
transformed without a break: a row of tiles, or a piece of one where rows are long.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.convolution.geometry import Sizes
from kernelearn.engine.cpu.kernels.convolution.winograd.axes import Axis
from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.machine.target import Target

# Fewer channels than this gain nothing: moving numbers into the tiles takes as long as multiplying them.
LEAST_CHANNELS, LEAST_CHANNELS_OF_VOLUMES = 8, 16
# At least so many products tap by tap for each one of the tiles: those of small maps reach far outside.
LEAST_SAVING = 1.3
# Transformed weights beyond this size take longer to load, for a single image, than taps take to multiply.
MAX_WEIGHTS_BYTES = 2**20
# Bytes of the transformed tiles that a kernel keeps on its stack.
MAX_TILES_BYTES = 2**20
# More points than this would not leave the stack room for anything else.
MOST_POINTS = 64
# Longer rows of tiles are cut into pieces.
LONG_ROW = 60


@dataclass(frozen=True)
class Costs:
    """What saved products have to pay for, where windows are of another kind than 3 x 3 by single steps.

    Attributes:
        gain: products of taps that one of a tile takes as long as, and a little more.
        moves: transforming a channel of a tile takes as long as so many products with each of its points.
    """

    gain: float
    moves: float

    def are_paid(self, saving: float, inner: int, outer: int) -> bool:
        return saving >= self.gain * (1 + self.moves * (1 / inner + 1 / outer))


# (along one axis, by steps of two along several). In kernel gradients taps are slower, too.
FORWARD = Costs(1.03, 12), Costs(1.18, 5)
GRADIENT = Costs(1.03, 6), Costs(1.03, 10)


def is_enabled() -> bool:
    """Whether convolutions may use the transform; KERNELEARN_WINOGRAD=0 sums tap by tap instead."""
    return os.environ.get("KERNELEARN_WINOGRAD", "1").strip() != "0" and stack.is_deep()


@dataclass(frozen=True)
class Tiles:
    """How an image is cut.

    Attributes:
        x, y: (depth, height, width, channels).
        axes: of depth, height and width.
        segment: tiles of a row in one unit; the last unit of a row may have fewer.
    """

    x: Sizes
    y: Sizes
    axes: tuple[Axis, Axis, Axis]
    segment: int

    @property
    def points(self) -> int:
        """Products of a tile."""
        return math.prod(axis.filter.points for axis in self.axes)

    @property
    def columns(self) -> int:
        return self.axes[2].tiles

    @property
    def segments(self) -> int:
        """Units of a row."""
        return -(-self.columns // self.segment)

    @property
    def units(self) -> int:
        """Of an image."""
        return self.axes[0].tiles * self.axes[1].tiles * self.segments

    @property
    def is_deep(self) -> bool:
        """Whether tiles have several planes."""
        return self.axes[0].window.taps > 1

    @property
    def is_whole(self) -> bool:
        """Whether tiles are windows of 2 x 2 neighbours, and all of them have their outputs."""
        depth, *plane = self.axes
        are_windows = depth.count == 1 and all(axis.writes == (0, 1) for axis in plane)
        return are_windows and all(all(span.kept) for axis in plane for span in axis.spans)

    @property
    def is_known(self) -> bool:
        """Whether speed and rounding were measured: along one axis, or three taps each and single steps.

        Along two axes steps of two as well, but for input gradients, whose larger tiles save no time.
        """
        filtered = self._filtered
        if len(filtered) == 1:
            return self.axes[0].count == self.axes[1].count == 1
        are_known = all(a.is_dense or (a.steps == 2 and not self.is_deep) for a in filtered)
        return len(filtered) > 1 and are_known and all(a.window.taps == 3 for a in filtered)

    @property
    def _filtered(self) -> list[Axis]:
        return [axis for axis in self.axes if axis.window.taps > 1]

    def gains(self, costs: tuple[Costs, Costs]) -> bool:
        """Whether there are channels enough; costs: along one axis, and by steps of two along several."""
        inner, outer = self.x[3], self.y[3]
        if len(self._filtered) == 1:
            return costs[0].are_paid(self.saving, inner, outer)
        if not all(axis.is_dense for axis in self._filtered):
            return costs[1].are_paid(self.saving, inner, outer)
        return min(inner, outer) >= (LEAST_CHANNELS_OF_VOLUMES if self.is_deep else LEAST_CHANNELS)

    @property
    def taps(self) -> int:
        return math.prod(axis.window.taps for axis in self.axes)

    @property
    def weights_bytes(self) -> int:
        """Size of the transformed weights."""
        return 4 * self.points * self.x[3] * self.y[3]

    @property
    def least_terms(self) -> int:
        """Products in the kernel gradient's sum of an image, for the weight that meets the fewest inputs."""
        return math.prod(min(axis.pairs) for axis in self.axes)

    @property
    def best_saving(self) -> float:
        """Products of a sum over the taps for each one of a tile that lies inside of the image."""
        return math.prod(axis.window.products for axis in self.axes) / self.points

    @property
    def saving(self) -> float:
        """Products of a sum over the taps inside of the image, for each product of the tiles."""
        pairs = math.prod(sum(axis.pairs) for axis in self.axes)
        return pairs / (self.points * math.prod(axis.tiles for axis in self.axes))

    def used(self, k: Kernel, start: Index, end: Index) -> Index:
        """Tiles of the units [start, end): of one where rows are cut; the last of a row may have fewer."""
        if self.columns % self.segment == 0:
            return (end - start) * self.segment
        return k.minimum(k.const(self.columns) - (start % self.segments) * self.segment, self.segment)

    @property
    def size(self) -> str:
        """For people: outputs of a tile, "2x2", or "4" along a single axis."""
        return "x".join(str(len(axis.writes)) for axis in self._filtered)


def worthwhile(
    x: Sizes, y: Sizes, axes: Sequence[Axis | None], costs: tuple[Costs, Costs] = FORWARD
) -> Tiles | None:
    """The tiles of a convolution; None if taps are as good.

    Args: as of `Tiles`, None for an axis that cannot be cut; costs: see `Tiles.gains`.
    """
    depth, height, width = axes
    if depth is None or height is None or width is None or not is_enabled():
        return None
    tiles = Tiles(x, y, (depth, height, width), width.tiles)
    if (
        tiles.points > MOST_POINTS
        or not tiles.is_known
        or tiles.saving < LEAST_SAVING
        or not tiles.gains(costs)
    ):
        return None
    return tiles


def padded(channels: int, width: int) -> int:
    """Channels with the empty lanes of the last vector."""
    return -(-channels // width) * width


def point_stride(tiles: int, channels: int) -> int:
    """Numbers from one point to the next in an array [point][tile][channel].

    A cache line more than needed: multiples of 4 KiB would all fall into the same few places of the cache.
    """
    return tiles * channels + 16


def in_units(t: Tiles, wanted: int, tile_bytes: int) -> tuple[Tiles, int] | None:
    """The tiles with rows cut so that units are not long, and how many units to transform at once.

    None if a single one is too large for the cache.

    Args:
        wanted: tiles at once, at least; tile_bytes: of the transformed numbers of one.
    """
    longest = min(LONG_ROW, MAX_TILES_BYTES // tile_bytes)
    if longest < min(t.columns, 8):
        return None
    t = replace(t, segment=-(-t.columns // -(-t.columns // longest)))
    if t.segments > 1:
        return t, 1
    return t, max(1, min(-(-wanted // t.columns), MAX_TILES_BYTES // (tile_bytes * t.columns)))


@dataclass(frozen=True)
class Product:
    """Shape of the matrix products of a kernel.

    Attributes:
        units: units that are transformed at once.
        tiles: tiles of a register tile.
        blocks: the output channels, cut into blocks.
    """

    units: int
    tiles: int
    blocks: Blocks

    def cut(self, units: int, t: Tiles) -> Product:
        """The same with at most so many units at once, in register tiles that divide them well."""
        units = min(units, self.units)
        count = units * t.segment
        return Product(units, -(-count // -(-count // self.tiles)), self.blocks)


def choose_product(t: Tiles, target: Target) -> tuple[Tiles, Product] | None:
    """The tiles in units, and the shape; None if the tiles of one unit are too many for the cache."""
    full = -(-t.y[3] // target.width)
    vectors = full if full == 1 or (full == 3 and target.registers == 32) else 2
    limit = (24 if target.registers == 32 else 12) // vectors
    # NOTE: the larger the weights, the more tiles have to share what is loaded of them.
    wanted = 16 if t.weights_bytes < 2**18 else 32
    tile_bytes = 4 * t.points * padded(t.x[3], target.width)
    found = in_units(t, wanted, tile_bytes)
    if found is None:
        return None
    t, units = found
    whole = -(-units // t.units) * t.units
    if units > t.units and tile_bytes * whole * t.segment <= MAX_TILES_BYTES:
        units = whole  # of images: what is left of a task's would not fill a register tile
    return t, Product(units, limit, Blocks(t.y[3], target.width, vectors)).cut(units, t)
