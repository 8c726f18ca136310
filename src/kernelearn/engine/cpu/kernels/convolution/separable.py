"""A depthwise convolution and the pointwise one that follows it, a few rows at a time: for predictions.

    s[n, p, c] = first(sum over taps of x[n, p * step + d(tap), c] * v[tap, c])
    y[n, p, f] = second(sum over c of s[n, p, c] * w[c, f])

for panel of rows:                    a task, where there are few images
    for block of channels:            the depthwise sums of the panel's rows, through `first`, into the panel
    for block of outputs:             the panel's pixels times w, through `second`, to memory

A panel lies on the task's stack and in the thread's own cache: what the depthwise convolution makes is never
written to memory, nor fetched from another processor that made it. The panel's pixels follow each other, so
that the second convolution is a product over all of them, with whole register tiles even on narrow maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.convolution.geometry import (
    TapConv,
    choose_tile,
    forward_geometry,
    geometry,
)
from kernelearn.engine.cpu.kernels.convolution.taps.part import OutputBlock, Part, TapKernel
from kernelearn.engine.cpu.kernels.convolution.taps.rows import emit_rows
from kernelearn.engine.cpu.kernels.entrywise.chain import Chain, make_chain
from kernelearn.engine.cpu.kernels.packing import Blocks, Order, packed_weights
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.plan import BANDS, IMAGES, Plan, Tasks
from kernelearn.engine.program import Operation

# Numbers of a panel at most: it stays in the caches of a core beside a block of weights.
PANEL = 2**14
# Pixels of a panel at least, which are a register tile; weights of the second convolution at most: they are
# read again for each panel, from the second-level cache.
LEAST_PIXELS, MOST_WEIGHTS = 7, 2**17
# Channels and filters at least: fewer are done on narrower vectors, each convolution on its own.
LEAST_CHANNELS = 9


def panel_rows(height: int, width: int, channels: int, most: int) -> int:
    """Rows of a panel: the most that divide the height, at most so many; 0 where one is too long."""
    fitting = min(most, PANEL // (width * channels))
    return next((rows for rows in range(fitting, 0, -1) if height % rows == 0), 0)


def rows_for_few(height: int, width: int, channels: int) -> int:
    """Rows of a panel where the panels of one image are to keep several threads busy."""
    return panel_rows(height, width, channels, max(height // BANDS, 1))


def pays(height: int, width: int, channels: int, filters: int) -> bool:
    """Whether both convolutions are done panel by panel.

    Args:
        height, width, channels: of what the depthwise one makes; filters: of the pointwise one.
    """
    if min(channels, filters) < LEAST_CHANNELS or channels * filters > MOST_WEIGHTS:
        return False
    return rows_for_few(height, width, channels) * width >= LEAST_PIXELS


@dataclass(frozen=True)
class Separable:
    """Both convolutions. Tasks: images, or (`by_panel`) panels of them.

    Attributes:
        first: the depthwise convolution, whose chain writes "panel"; second: the pointwise one over a panel.
        rows: of a panel.
    """

    first: TapKernel
    second: TapKernel
    rows: int
    by_panel: bool = False

    @property
    def panels(self) -> int:
        """Of an image."""
        return self.first.g.y[1] // self.rows

    def emit(self, k: Kernel) -> None:
        k.local("panel", self.rows * math.prod(self.first.g.y[2:]))
        if self.by_panel:
            with k.loop(k.lo, k.hi) as task:
                self._emit_panel(k, task // self.panels, (task % self.panels) * self.rows)
        else:
            with k.loop(k.lo, k.hi) as n, k.loop(0, self.panels) as panel:
                self._emit_panel(k, n, panel * self.rows)

    def _emit_panel(self, k: Kernel, n: Index, low: Index) -> None:
        """The rows of image n from row `low` on."""
        _, height, width, channels = self.first.g.y
        filters = self.second.g.outer
        with k.renamed(w="v"):
            for block in _blocks(k, self.first):
                part = Part(k, self.first, self.first.g.parts[0], n, block)
                part.y = part.channel - low * (width * channels)
                emit_rows(part, low, low + self.rows)
        with k.renamed(x="panel"):
            for block in _blocks(k, self.second):
                part = Part(k, self.second, self.second.g.parts[0], k.const(0), block)
                part.y = part.channel + (n * height + low) * (width * filters)
                emit_rows(part, 0, 1)


def _blocks(k: Kernel, code: TapKernel) -> Iterator[OutputBlock]:
    """The blocks of output channels; those that are full by a loop."""
    for first, count, vectors, channels in code.blocks(k).kinds():
        with k.loop(0, count) as block:
            yield OutputBlock(k.const(0), first, block, vectors, channels)


def lower_separable(plan: Plan, op: Operation, body: Sequence[Operation]) -> bool:
    """Add the call of a fused operation of a depthwise convolution, a chain, a pointwise one, and a chain."""
    place = next(i for i, part in enumerate(body) if i and part.operator == "conv")
    depthwise, pointwise = body[0], body[place]
    made = pointwise.inputs[0]
    before = make_chain(plan, body[1:place], depthwise.outputs, plan.shape(made), [made])
    behind = make_chain(
        plan, body[place + 1 :], pointwise.outputs, plan.shape(pointwise.outputs[0]), op.outputs
    )
    if before is None or behind is None or not plan.is_float(*op.outputs, *depthwise.inputs, made):
        return False
    before = _into_panel(before)
    g, _ = geometry(plan, depthwise)
    filters = plan.shape(pointwise.outputs[0])[-1]
    assert filters is not None
    few, many = rows_for_few(*g.y[1:]), panel_rows(*g.y[1:], most=g.y[1])
    code = _code(plan, g, before, filters, behind, many)
    finer = replace(_code(plan, g, before, filters, behind, few), by_panel=True)
    reads = {
        "x": depthwise.inputs[0],
        "v": _packed(plan, depthwise, code.first),
        "w": _packed(plan, pointwise, code.second),
    }
    plan.call(
        op,
        code,
        {**reads, **before.reads, **behind.reads},
        behind.writes,
        IMAGES,
        flops=(g.flops + 2.0 * math.prod(g.y) * filters, 0.0),
        note=f"depthwise and 1x1, panels of {many}x{g.y[2]} pixels",
        split=(finer, Tasks(per_image=finer.panels)),
    )
    return True


def _into_panel(chain: Chain) -> Chain:
    """The chain of the first convolution, under names of its own, into the panel."""
    externals = tuple(replace(e, role=f"v{e.role}") for e in chain.externals)
    return replace(chain, externals=externals, stores=(("panel", chain.stores[0][1]),))


def _code(plan: Plan, g: TapConv, before: Chain, filters: int, behind: Chain, rows: int) -> Separable:
    """The kernel with so many rows a panel.

    The blocks of both convolutions are the same for any number of rows, and so are the packed weights.
    """
    _, _, width, channels = g.y
    tile = choose_tile(channels, rows, width, 1, plan.target)
    tile = tile if rows % tile.rows == 0 else replace(tile, rows=1)
    pixels = rows * width
    x, y = (1, 1, pixels, channels), (1, 1, pixels, filters)
    once, nothing = (1, 1, 1), ((0, 0), (0, 0), (0, 0))
    product = forward_geometry(x, y, once, once, nothing, once, 1)
    second = TapKernel(product, choose_tile(filters, 1, pixels, channels, plan.target), behind)
    return Separable(TapKernel(g, tile, before), second, rows)


def _packed(plan: Plan, op: Operation, code: TapKernel) -> str:
    """The packed weights of one of the convolutions."""
    g, together = code.g, code.g.taps_together
    blocks = Blocks(g.outer, plan.target.width, code.tile.vectors)
    order = Order(blocks, g.tap_count // together, together, g.inner, 1)
    return packed_weights(plan, op, op.inputs[1], order, False)
