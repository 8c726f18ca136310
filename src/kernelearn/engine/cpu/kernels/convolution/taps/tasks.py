"""The kernels: how images, rows and blocks of output channels are divided into tasks.

A task is an image where there are many; bands of its rows, or blocks of its channels, where there are few.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.convolution.taps.part import OutputBlock, Part, TapKernel
from kernelearn.engine.cpu.kernels.convolution.taps.rows import emit_rows
from kernelearn.engine.cpu.kernels.packing import one_block
from kernelearn.engine.cpu.language.kernel import Index, Kernel


@dataclass(frozen=True)
class Taps(TapKernel):
    """The kernel for many images: tasks are images.

    Attributes:
        blocks_outside: whether all images are done for a block of filters before the next block.
        bands: of rows of an image, each of which is done for all blocks before the next band.
    """

    blocks_outside: bool
    bands: int = 1

    def emit(self, k: Kernel) -> None:
        groups, kinds = self.g.groups, self.blocks(k).kinds()
        for first, count, vectors, channels in kinds if self.blocks_outside else ():
            with k.loop(0, groups) as group, k.loop(0, count) as block, k.loop(k.lo, k.hi) as n:
                _emit_parts(k, self, n, OutputBlock(group, first, block, vectors, channels))
        if not self.blocks_outside:
            with k.loop(k.lo, k.hi) as n, k.loop(0, self.bands) as band, k.loop(0, groups) as group:
                for first, count, vectors, channels in kinds:
                    with k.loop(0, count) as block:
                        found = OutputBlock(group, first, block, vectors, channels)
                        _emit_parts(k, self, n, found, band, self.bands)


@dataclass(frozen=True)
class TapBands(TapKernel):
    """The kernel for few images: tasks are bands of rows of an image."""

    bands: int

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as task, k.loop(0, self.g.groups) as group:
            n, band = task // self.bands, task % self.bands
            for first, count, vectors, channels in self.blocks(k).kinds():
                with k.loop(0, count) as block:
                    found = OutputBlock(group, first, block, vectors, channels)
                    _emit_parts(k, self, n, found, band, self.bands)


@dataclass(frozen=True)
class TapBlocks(TapKernel):
    """The kernel for few images with few rows: tasks are blocks of channels of an image."""

    def emit(self, k: Kernel) -> None:
        blocks, groups = self.blocks(k), self.g.groups
        with k.loop(k.lo, k.hi) as task:
            n, unit = task // (blocks.count * groups), task % (blocks.count * groups)

            def body(
                group: Index, first: int, block: Index, vectors: int, channels: int, n: Index = n
            ) -> None:
                _emit_parts(k, self, n, OutputBlock(group, first, block, vectors, channels))

            one_block(k, blocks, groups, unit, body)


def _emit_parts(
    k: Kernel, code: TapKernel, n: Index, block: OutputBlock, band: Index | int = 0, bands: int = 1
) -> None:
    """All residue classes of an image; of their rows one of so many bands, whose rows are whole tiles."""
    for axes in code.g.parts:
        rows, turns = code.tile.rows, axes[1].count // code.tile.rows
        low: Index | int = 0
        high: Index | int = turns * rows
        if bands > 1:
            low, high = ((band * turns) // bands) * rows, (((band + 1) * turns) // bands) * rows
        emit_rows(Part(k, code, axes, n, block, low, bands), low, high)
