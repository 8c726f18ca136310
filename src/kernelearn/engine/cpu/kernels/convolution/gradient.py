"""The kernel gradient of a convolution: for every weight the sum over all images and positions.

    dw[tap, c, f] = sum over n, p of x[n, p * stride + tap * dilation - padding, c] * g[n, p, f]

A register tile holds taps of one row x input channels x vectors of filters; its inner loop runs over the
pixels of a row, several at a time where what taps of one see is what others see at the next. The batch is cut
into a fixed number of shards with sums of their own, added in a fixed order at the end, so that the result
does not depend on the number of threads. Large kernels need no shards: there the blocks of filters are tasks
enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from kernelearn.engine.cpu.kernels.convolution.geometry import Sizes, Three, are_joined, image_shape, three
from kernelearn.engine.cpu.kernels.convolution.gradient_row import GradientRow, Read, Tap
from kernelearn.engine.cpu.kernels.narrow import fitting, on_vectors
from kernelearn.engine.cpu.kernels.packing import Blocks, one_block
from kernelearn.engine.cpu.kernels.precision import (
    PAIRS_SAVING,
    half_of,
    has_rounded_operands,
    image_pairs,
    multiplies_pairs,
    products,
    rounded_operands,
)
from kernelearn.engine.cpu.kernels.shards import Parts, divided, sum_of_parts
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.shuffles import numbers, permuted
from kernelearn.engine.cpu.language.values import PAIR, Value
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Code, Plan, Tasks
from kernelearn.engine.program import Operation

# Tasks that a kernel gradient is divided into at least, if the sums of the shards stay small.
WANTED_TASKS = 8
MAX_PARTIAL_BYTES = 4 * 2**20
# Numbers of x and g that a block of rows may hold, to stay in the first-level cache over all tiles.
BLOCK_NUMBERS = 8192
# Positions that a tile runs over, at least, between loading and storing its sums: rows, or small images.
BLOCK_POSITIONS = 256


@dataclass(frozen=True)
class Gradient:
    """Geometry: shapes of an image of x and g with three axes and channels, and the window.

    `is_paired`: an image of x and g is a pair of images in bfloat16, see `kernels.precision`. `few`: filters
    of a group, where a vector holds several groups, see `geometry.are_joined`; else 0.
    """

    x: Sizes
    g: Sizes
    kernel: Three
    stride: Three
    before: Three
    dilation: Three
    groups: int
    is_paired: bool = False
    few: int = 0

    @property
    def element(self) -> str:
        """What is multiplied."""
        return PAIR if self.is_paired else "float"

    @property
    def is_depthwise(self) -> bool:
        """Every filter reads the input channel of its own number: lanes are channels of both."""
        return 1 < self.groups == self.x[3] == self.g[3]

    @property
    def units(self) -> int:
        """Groups that are worked on one after another."""
        return 1 if self.is_depthwise or self.few else self.groups

    @property
    def inner(self) -> int:
        return self.x[3] // self.groups

    @property
    def outer(self) -> int:
        return self.g[3] // self.units

    def joined(self, target: Target) -> Gradient:
        """The same with several groups a vector, where they fit and half a vector is too large for one.

        Every product needs lanes in an order of its own here: two groups a vector gain nothing.
        """
        filters = self.g[3] // self.groups
        if self.is_depthwise or 4 * filters > target.width:
            return self
        if not are_joined(self.inner, filters, self.groups, target):
            return self
        return replace(self, few=filters)

    def shift(self, axis: int, tap: int) -> int:
        """Pixel of x that a tap reads at output position 0."""
        return tap * self.dilation[axis] - self.before[axis]

    def bounds(self, axis: int, tap: int) -> tuple[int, int]:
        """Output positions whose tap falls inside of the image: [first, end)."""
        shift, stride, size = self.shift(axis, tap), self.stride[axis], self.x[axis]
        first = max(0, -(shift // stride) if shift < 0 else 0)
        end = min(self.g[axis], (size - 1 - shift) // stride + 1) if size - 1 >= shift else 0
        return first, max(end, first)

    @property
    def flops(self) -> float:
        return 2.0 * math.prod(self.kernel) * math.prod(self.g[:3]) * self.inner * self.g[3]


@dataclass(frozen=True)
class Shape:
    """Tile: taps of a row at once, input channels, vectors; rows and images a block; shards of the batch."""

    taps: int
    channels: int
    vectors: int
    rows: int
    shards: int
    whole: bool  # all taps of all rows at once
    images: int = 1


def choose_shape(g: Gradient, target: Target) -> Shape:
    """The tile: about 24 accumulators (12 where there are 16 registers)."""
    limit = 24 if target.registers == 32 else 10
    full = -(-g.outer // target.width)
    vectors = 4 if full % 4 == 0 and target.registers == 32 else min(full, 2)
    if target.registers == 32 and full % 4 and full % 3 == 0 and not (g.is_depthwise or g.few):
        limit, vectors = 27, 3  # with these and a number of x 31 registers
    vectors = 1 if g.few else vectors
    area = g.kernel[1] * g.kernel[2]
    unpadded = all(g.before[a] == 0 for a in range(3)) and all(
        (g.g[a] - 1) * g.stride[a] + (g.kernel[a] - 1) * g.dilation[a] < g.x[a] for a in range(3)
    )
    whole = g.inner == 1 and unpadded and area * vectors <= limit and g.kernel[1] > 1
    taps = area if whole else min(g.kernel[2], 3)
    channels = max(1, min(g.inner, limit // (taps * vectors)))
    if g.inner >= 4 and channels > 4 and channels % 4:
        channels = channels // 4 * 4
    row = g.x[2] * g.x[3] * g.stride[1] + g.g[2] * vectors * target.width
    rows = max(1, min(g.g[1], BLOCK_NUMBERS // max(row, 1)))
    if rows * g.g[2] < 64:
        rows = min(g.g[1], -(-64 // g.g[2]))
    blocks = Blocks(g.outer, target.width, vectors).count * g.units
    size = 4 * math.prod(g.kernel) * g.inner * g.g[3]
    shards = max(1, min(-(-WANTED_TASKS // blocks), MAX_PARTIAL_BYTES // size))
    images = max(1, -(-BLOCK_POSITIONS // (g.g[1] * g.g[2]))) if rows >= g.g[1] else 1
    return Shape(taps, channels, vectors, rows, shards, whole, images)


@dataclass(frozen=True)
class KernelGradient:
    """Parts of the batch; units: groups and blocks of filters."""

    g: Gradient
    s: Shape
    parts: Parts

    def emit(self, k: Kernel) -> None:
        blocks = Blocks(self.g.outer, k.width, self.s.vectors)
        images = half_of(k.scalar("n")) if self.g.is_paired else k.scalar("n")
        size = math.prod(self.g.kernel) * self.g.inner * self.g.g[3]
        with self.parts.each(k, images) as (part, start, end, unit):

            def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
                column = group * self.g.outer + (block + first) * blocks.lanes
                tile = _Unit(k, self.g, self.s, part * size + column, group, column, vectors, channels)
                tile.emit(start, end)

            one_block(k, blocks, self.g.units, unit, body)


# (row and column of a tap, channel, vector) -> the sum, and its weight (tap, channel, vector).
Sums = dict[tuple[int, int, int, int], tuple[Register, tuple[int, int, int, int, int]]]


class _Unit:
    """One block of filters over a range of images."""

    def __init__(
        self,
        k: Kernel,
        g: Gradient,
        s: Shape,
        target: Index,
        group: Index,
        column: Index,
        vectors: int,
        channels: int,
    ) -> None:
        self.k, self.g, self.s = k, g, s
        self.target, self.group, self.column, self.vectors = target, group, column, vectors
        self.channels = channels
        self.masks = [k.mask(channels - v * k.width) for v in range(vectors)]
        # The row of the window that rows of taps are counted from.
        self.line = k.const(0)

    def emit(self, first: Index, last: Index) -> None:
        k, g = self.k, self.g
        with k.loop(0, math.prod(g.kernel) * g.inner) as row:
            for v in range(self.vectors):
                k.store(k.zero, "dw", self.target + row * g.g[3] + v * k.width, self.masks[v])
        with k.loop(first, last, self.s.images) as n, k.loop(0, g.g[0]) as z:
            self.z, step = z, self.s.images
            self.images = (n, k.minimum(n + step, last) if step > 1 else n + 1)
            with k.loop(0, g.g[1], self.s.rows) as y:
                end = k.minimum(y + self.s.rows, g.g[1]) if self.s.rows < g.g[1] else k.const(g.g[1])
                for tz in range(g.kernel[0]):
                    self._plane(z, tz, y, end)

    def _plane(self, z: Index, tz: int, y: Index, end: Index) -> None:
        k, g = self.k, self.g
        low, high = g.bounds(0, tz)
        if low >= high:
            return
        conditions = []
        if low > 0:
            conditions.append(k.compare("sge", z, low))
        if high < g.g[0]:
            conditions.append(k.compare("slt", z, high))
        with k.all_of(conditions):
            self._taps(z, tz, y, end)

    def _taps(self, z: Index, tz: int, y: Index, end: Index) -> None:
        g = self.g
        plane = (z * g.stride[0] + g.shift(0, tz)) * math.prod(g.x[1:])
        if self.s.whole:
            taps = [(ty, tx) for ty in range(g.kernel[1]) for tx in range(g.kernel[2])]
            self._channels(plane, tz, taps, y, end)
            return
        with self.k.loop(0, g.kernel[1]) as self.line:
            first, last = self._rows(y, end)
            for start in range(0, g.kernel[2], self.s.taps):
                taps = [(0, tx) for tx in range(start, min(start + self.s.taps, g.kernel[2]))]
                self._channels(plane, tz, taps, first, last)

    def _rows(self, y: Index, end: Index) -> tuple[Index, Index]:
        """Those of [y, end) whose row of taps, `line`, falls inside of the image."""
        k, g, stride = self.k, self.g, self.g.stride[1]
        found = [g.bounds(1, ty) for ty in range(g.kernel[1])]
        shift = self.line * g.dilation[1] - g.before[1]
        if any(low for low, _ in found):
            y = k.maximum(y, k.maximum(k.const(stride - 1) - shift, 0) // stride)
        if any(high < g.g[1] for _, high in found):
            end = k.minimum(end, k.maximum(k.const(g.x[1] - 1 + stride) - shift, 0) // stride)
        return y, end

    def _channels(self, plane: Index, tz: int, taps: Sequence[Tap], first: Index, last: Index) -> None:
        k, inner = self.k, self.g.inner
        step = self.s.channels
        full = inner // step * step
        with k.loop(0, full, step) as c:
            self._tile(plane, tz, taps, first, last, c, step)
        if full < inner:
            self._tile(plane, tz, taps, first, last, k.const(full), inner - full)

    def _tile(
        self,
        plane: Index,
        tz: int,
        taps: Sequence[Tap],
        first: Index,
        last: Index,
        c: Index,
        channels: int,
    ) -> None:
        """Sums of some taps and channels in registers, over the rows [first, last), added to those before.

        They begin at zero: sums of a few hundred products that are added up round less than one long sum.
        """
        k, g = self.k, self.g
        sums: Sums = {}
        for (ty, tx), i, v in ((t, i, v) for t in taps for i in range(channels) for v in range(self.vectors)):
            sums[ty, tx, i, v] = k.register(start=k.zero), (tz, ty, tx, i, v)
        inputs = self._inputs_of(c, channels)
        channel = self._first_input(c)
        with k.loop(*self.images, checked=False) as n, k.loop(first, last) as y:
            start = n * math.prod(g.x) + channel + plane
            row = {
                ty: start + (y * g.stride[1] + self.line * g.dilation[1] + g.shift(1, ty)) * (g.x[2] * g.x[3])
                for ty in sorted({ty for ty, _ in taps})
            }
            grad = ((n * g.g[0] + self.z) * g.g[1] + y) * (g.g[2] * g.g[3]) + self.column
            registers = {place: register for place, (register, _) in sums.items()}
            GradientRow(k, g, self.masks, registers, row, grad, inputs).emit(taps)
        for register, (a, ty, tx, i, v) in sums.values():
            place, mask = self._weight(a, ty, tx, c + i, v), self.masks[v]
            k.store(k.load("dw", place, mask) + k.get(register), "dw", place, mask)

    def _first_input(self, c: Index) -> Index:
        """The first channel that the tile reads of a pixel."""
        g = self.g
        if g.few:
            return (self.column // g.few) * g.inner
        return (self.column if g.is_depthwise else self.group * g.inner) + c

    def _inputs_of(self, c: Index, channels: int) -> list[Read]:
        """For each channel from c on: what gradients are multiplied with, of the pixel at an offset.

        That is one input in all lanes; or a channel in each; or the channel of each lane's own group.
        """
        k, g = self.k, self.g
        if g.is_depthwise:
            return [self._each_channel]
        if not g.few:
            return [partial(self._one_channel, i) for i in range(channels)]
        first = numbers(k, (i // g.few * g.inner for i in range(k.width)))
        return [partial(self._of_groups, first + (c + i).to_int().splat()) for i in range(channels)]

    def _each_channel(self, at: Index) -> list[Value]:
        k, element = self.k, self.g.element
        return [k.load("x", at + v * k.width, mask, element) for v, mask in enumerate(self.masks)]

    def _one_channel(self, i: int, at: Index) -> list[Value]:
        return [self.k.broadcast("x", at + i, self.g.element)] * self.vectors

    def _of_groups(self, order: Value, at: Index) -> list[Value]:
        k, g = self.k, self.g
        lanes = min(k.width // g.few, -(-self.channels // g.few)) * g.inner
        return [permuted(k, k.load("x", at, k.mask(lanes)), order)]

    def _weight(self, tz: int, ty: int, tx: int, c: Index, v: int) -> Index:
        g = self.g
        tap = (self.line + (tz * g.kernel[1] + ty)) * g.kernel[2] + tx
        return self.target + (c + tap * g.inner) * g.g[3] + v * self.k.width


def lower_gradient(plan: Plan, op: Operation) -> bool:
    """The kernel gradient, and the sum of its shards."""
    if not plan.is_float(*op.inputs, *op.outputs):
        return False
    pairs = multiplies_pairs(plan, op)
    if has_rounded_operands(op) and not pairs:
        op = rounded_operands(plan, op)
    g = find_gradient(plan, op, pairs)
    g = g if pairs else g.joined(plan.target)
    target = plan.target if pairs or g.few else fitting(plan.target, g.outer)
    s = choose_shape(g, target)
    blocks = Blocks(g.outer, target.width, s.vectors)
    size = math.prod(g.kernel) * g.inner * g.g[3]
    x, grad = (image_pairs(plan, op, name) for name in op.inputs) if pairs else op.inputs
    units = blocks.count * g.units
    parts = Parts(s.shards, units) if pairs else divided(plan, op, s.shards, units, size)
    s = s if parts.shards else replace(s, images=1)

    def code(parts: Parts) -> tuple[Code, Tasks]:
        return on_vectors(KernelGradient(g, s, parts), target.width, plan.target), parts.tasks

    with sum_of_parts(plan, op, parts, size) as sums:
        plan.call(
            op,
            code(parts)[0],
            {"x": x, "g": grad, "n": "#n"},
            {"dw": sums},
            parts.tasks,
            flops=(g.flops, 0.0),
            saving=PAIRS_SAVING if pairs else 1.0,
            note=f"tile {s.taps}x{s.channels}x{s.vectors}, {parts.note}{products(op, pairs)}",
            split=None if parts.shards else code(parts.finer),
        )
    return True


def find_gradient(plan: Plan, op: Operation, pairs: bool = False) -> Gradient:
    """The geometry of a `conv_grad_kernel`."""
    a = op.attrs
    return Gradient(
        image_shape(plan.shape(op.inputs[0])),
        image_shape(plan.shape(op.inputs[1])),
        three(a["kernel_size"], 1),
        three(a["stride"], 1),
        three(tuple(p[0] for p in a["padding"]), 0),
        three(a["dilation"], 1),
        a["groups"],
        pairs,
    )
