"""The grid of pixels on which x and g meet in a kernel gradient by matrix tiles.

It is as wide as x with the zeros around it, so that a tap is one shift of the whole grid, whatever the row.
With steps of several pixels there is a grid for each phase of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from kernelearn.engine.cpu.kernels.convolution.geometry import Three, three
from kernelearn.engine.cpu.kernels.convolution.gradient import Gradient
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import Steps
from kernelearn.engine.cpu.language.matrix_tiles import LANES

# Pixels of a pair; of a square that is turned at once.
PAIR, SQUARE = 2, 2 * LANES
# Bytes of a channel's pixels, a multiple of which falls into few places of the first-level cache.
COLLIDING = 1024


@dataclass(frozen=True)
class Grid:
    """The pixels on which x and g meet.

    Attributes:
        x, g: pixels of an image of them; stride: of the window.
        shifts: along each axis, of each tap: place on the grid from the first pixel of g on, and phase.
        before: pixels of the grid in front of the first pixel of g; sizes: pixels of the grid.
    """

    x: Three
    g: Three
    stride: Three
    shifts: tuple[tuple[tuple[int, int], ...], ...]
    before: Three
    sizes: Three

    @property
    def phases(self) -> int:
        return math.prod(self.stride)

    @property
    def is_flat(self) -> bool:
        """Whether x has a pixel everywhere, but behind the last one."""
        return self.x[:2] == (1, 1) and self.phases == 1 and self.before[2] == 0

    def place(self, z: int, y: int, x: int) -> int:
        """Number of a pixel of the grid."""
        return (z * self.sizes[1] + y) * self.sizes[2] + x

    @property
    def steps(self) -> Steps:
        """The rows of the grid from the first to the last one of g, as pairs of pixels."""
        pairs = self.place(self.g[0] - 1, self.g[1], 0) // PAIR
        count = -(-pairs // LANES)
        return Steps(count, -(-pairs // count))

    @property
    def summed(self) -> int:
        """Pixels of all steps."""
        return PAIR * self.steps.count * self.steps.depth

    @cached_property
    def taps(self) -> tuple[tuple[int, int], ...]:
        """Phase, and first pixel of the grid, of each tap of the window."""
        found = []
        for (z, pz), (y, py), (x, px) in (
            (a, b, c) for a in self.shifts[0] for b in self.shifts[1] for c in self.shifts[2]
        ):
            at = self.place(*(n + low for n, low in zip((z, y, x), self.before)))
            found.append(((pz * self.stride[1] + py) * self.stride[2] + px, at))
        return tuple(found)

    @property
    def pixels(self) -> int:
        """Of a channel of a phase of the copy of x, all that any tap reads; an even number."""
        most = max(max(first for _, first in self.taps) + self.summed, math.prod(self.sizes) + 1)
        most += most % PAIR
        return most + SQUARE if 2 * most % COLLIDING == 0 else most


def find_grid(g: Gradient) -> Grid:
    """Of a kernel gradient."""
    x, out = g.x[:3], g.g[:3]
    if g.kernel == (1, 1, 1) and g.stride == (1, 1, 1) and not any(g.before) and x == out:
        flat = (1, 1, math.prod(x))
        even = (1, 1, flat[2] + flat[2] % PAIR)
        return Grid(flat, flat, (1, 1, 1), (((0, 0),),) * 3, (0, 0, 0), even)
    shifts, before, sizes = [], [], []
    for a in range(3):
        found = [divmod(g.shift(a, tap), g.stride[a]) for tap in range(g.kernel[a])]
        low, high = max(0, -min(s for s, _ in found)), max(0, *(s for s, _ in found))
        shifts.append(tuple(found))
        before.append(low)
        sizes.append(low + out[a] + high)
    # NOTE: pairs of pixels of g do not go over the end of a row.
    sizes[2] += sizes[2] % PAIR
    return Grid(x, out, g.stride, tuple(shifts), three(before, 0), three(sizes, 1))
