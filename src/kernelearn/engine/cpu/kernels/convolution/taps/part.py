"""What a piece of the code computes: one image, one block of output channels and one residue class.

And where all of these begin in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.geometry import TapAxis, TapConv, Tile
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled
from kernelearn.engine.cpu.kernels.packing import Blocks, block_offset
from kernelearn.engine.cpu.language.kernel import Index, Kernel


@dataclass(frozen=True)
class TapKernel:
    """What a kernel is made from, however its work is divided into tasks.

    Attributes:
        chain: what results go through; None: they are stored.
    """

    g: TapConv
    tile: Tile
    chain: Chain | Pooled | None

    def blocks(self, k: Kernel) -> Blocks:
        """The output channels of a group in blocks of the tile's vectors."""
        return Blocks(self.g.outer, k.width, self.tile.vectors)


@dataclass(frozen=True)
class OutputBlock:
    """A block of output channels of a group: number `block` of those from block `first` on."""

    group: Index
    first: int
    block: Index
    vectors: int
    channels: int


class Part:
    """All positions of one image or band of its rows, one block of output channels and one residue class.

    Args:
        low: the first row; bands: that the rows of an image fall into.

    Attributes:
        n: the image; channel: the first of the block.
        x, y: where the image begins, at the first channel that is read or written.
        weights: where those of the block begin.
        tile_rows: rows of tiles, in bands that differ by one of those that have the fewest.
    """

    def __init__(
        self,
        k: Kernel,
        code: TapKernel,
        axes: tuple[TapAxis, TapAxis, TapAxis],
        n: Index,
        block: OutputBlock,
        low: Index | int = 0,
        bands: int = 1,
    ) -> None:
        g, blocks, group = code.g, code.blocks(k), block.group
        self.k, self.g, self.tile, self.chain, self.n = k, g, code.tile, code.chain, n
        self.depth, self.height, self.width = axes
        self.low, self.tile_rows = low, max(1, -(-self.height.count // self.tile.rows) // bands)
        self.vectors, self.channels = block.vectors, block.channels
        self.lanes = block.vectors * k.width
        self.channel = group * g.outer + block.block * self.lanes + block.first * blocks.lanes
        first_input = self.channel if g.is_depthwise else group * g.inner
        if g.few:
            first_input = (self.channel // g.few) * g.inner
        self.x = n * math.prod(g.x) + first_input
        self.y = n * math.prod(g.y) + self.channel
        self.weights = block_offset(blocks, g.tap_count, g.inner, group, block.first, block.block)

    def y_offset(self, z: Index, y: Index, x: Index | int, p: int) -> Index:
        """Where the result of position (z, y, x + p) is written."""
        _, height, width, channels = self.g.y
        plane = z * self.depth.out_step + self.depth.out_start
        row = y * self.height.out_step + self.height.out_start
        offset = self.y + (plane * height + row) * (width * channels)
        column = (x + p) * self.width.out_step + self.width.out_start
        return offset + column * channels
