"""Geometry of convolutions: which taps meet which pixels, and the register tile that runs over them.

The forward pass is one sum over taps. The input gradient with stride s is s (in 2D: s * s) of them, one for
every residue of the pixel's position, because only every s-th tap reaches a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

from kernelearn.engine.cpu.language.values import PAIR
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Plan, image_sizes
from kernelearn.engine.program import Operation

Item = TypeVar("Item")
# One of depth, height and width each.
Three = tuple[int, int, int]
# (depth, height, width, channels)
Sizes = tuple[int, int, int, int]
# Zeros before and after.
Zeros = tuple[int, int]
Padding = tuple[Zeros, Zeros, Zeros]
# Streams of weights that a cache of eight ways holds beside the input.
FEW_STREAMS = 3


@dataclass(frozen=True)
class TapAxis:
    """The taps along one axis.

    Attributes:
        count: output positions; position i is written at out_start + i * out_step ...
        in_step: ... and reads at i * in_step + d for every (d, number of the tap in the kernel) of `taps`.
        size: pixels of the input.
    """

    count: int
    out_start: int
    out_step: int
    in_step: int
    taps: tuple[tuple[int, int], ...]
    size: int


@dataclass(frozen=True)
class TapConv:
    """A convolution as sums over taps.

    Attributes:
        x, y: (depth, height, width, channels) of an image.
        inner, outer: input and output channels of a group.
        kernel: taps per axis; parts: one triple of axes for every residue class.
        is_depthwise: every output channel reads the input channel of the same number, and no other.
        is_paired: the inner channels are pairs of bfloat16, see `kernels.precision`.
        few: output channels of a group, where a vector holds several groups, and `groups` is 1; else 0.
    """

    x: Sizes
    y: Sizes
    inner: int
    outer: int
    groups: int
    kernel: Three
    parts: tuple[tuple[TapAxis, TapAxis, TapAxis], ...]
    is_depthwise: bool = False
    is_paired: bool = False
    few: int = 0

    @property
    def element(self) -> str:
        """What is multiplied."""
        return PAIR if self.is_paired else "float"

    @property
    def tap_count(self) -> int:
        return math.prod(self.kernel)

    @property
    def taps_together(self) -> int:
        """Taps of a row whose weights lie side by side for each channel: all of them, or each apart.

        More than a few streams of weights at once collide in the first-level cache; a few are read faster.
        """
        return self.kernel[2] if self.kernel[2] > FEW_STREAMS else 1

    @property
    def flops(self) -> float:
        """Multiplications and additions per image, those at the border included."""
        sums = sum(math.prod(a.count * len(a.taps) for a in part) for part in self.parts)
        return 2.0 * sums * self.inner * self.outer * self.groups

    def joined(self, target: Target) -> TapConv:
        """The same convolution with several groups a vector, where they fit; see `are_joined`."""
        if self.is_depthwise or not are_joined(self.inner, self.outer, self.groups, target):
            return self
        return replace(self, outer=self.outer * self.groups, groups=1, few=self.outer)

    def in_pairs(self) -> TapConv:
        """The same convolution over pairs of input channels; an odd channel has a pair of its own."""
        half = -(-self.inner // 2)
        return replace(self, x=(*self.x[:3], half * self.groups), inner=half, is_paired=True)


def are_joined(inner: int, outer: int, groups: int, target: Target) -> bool:
    """Whether a vector holds the outputs of several groups, and another one all of their inputs."""
    fits = 1 < outer < target.width and target.width % outer == 0 and inner <= outer
    return fits and groups > 1 and target.permutes


@dataclass(frozen=True)
class Tile:
    """Register tile: rows x pixels x vectors; `unroll` input channels a turn."""

    rows: int
    pixels: int
    vectors: int
    unroll: int


def forward_geometry(
    x: Sizes, y: Sizes, kernel: Three, stride: Three, padding: Padding, dilation: Three, groups: int
) -> TapConv:
    """Taps of the forward pass; sequences have three axes, x and y also the channels."""

    def axis(a: int) -> TapAxis:
        taps = tuple((t * dilation[a] - padding[a][0], t) for t in range(kernel[a]))
        return TapAxis(y[a], 0, 1, stride[a], taps, x[a])

    return TapConv(x, y, x[3] // groups, y[3] // groups, groups, kernel, ((axis(0), axis(1), axis(2)),))


def gradient_geometry(
    x: Sizes, y: Sizes, kernel: Three, stride: Three, padding: Padding, dilation: Three, groups: int
) -> TapConv:
    """Taps of the input gradient: x is the gradient of the convolution's output, y that of its input."""

    def classes_of(a: int) -> list[TapAxis]:
        s, before = stride[a], padding[a][0]
        classes = []
        for r in range(min(s, y[a])):
            shifts = [(r + before - t * dilation[a], t) for t in range(kernel[a])]
            taps = tuple((shift // s, t) for shift, t in shifts if shift % s == 0)
            classes.append(TapAxis(-(-(y[a] - r) // s), r, s, 1, taps, x[a]))
        return classes

    parts = tuple(product(classes_of(0), classes_of(1), classes_of(2)))
    return TapConv(x, y, x[3] // groups, y[3] // groups, groups, kernel, parts)


def choose_tile(
    outer: int, height: int, width: int, inner: int, target: Target, has_windows: bool = False
) -> Tile:
    """The tile: as many accumulators as registers allow, few idle lanes, equal segments of a row.

    Args:
        has_windows: rows and pixels have to be whole windows of 2 x 2.
    """
    full = -(-outer // target.width)
    accumulators = 24 if target.registers == 32 else 12
    if has_windows:
        small = choose_tile(outer, height // 2, width // 2, inner, target)
        pixels = max(1, min(small.pixels, accumulators // small.vectors // 4))
        return Tile(2, 2 * pixels, small.vectors, small.unroll)
    if full == 1:
        vectors = 1
    elif full % 2 == 0 or full > 5:
        vectors = 2
    else:
        vectors = 3 if full == 3 else 2
    limit = max(1, accumulators // vectors)
    if vectors == 2 and target.registers == 32 and width % 8 == 0:
        limit = 8
    segments = -(-width // limit)
    pixels = -(-width // segments)
    rows = max(1, min(height, limit // pixels))
    rows = -(-height // -(-height // rows))  # the same number of tiles, of nearly equal height
    return Tile(rows, pixels, vectors, 2 if inner > 4 else max(inner, 1))


def choose_joined_tile(height: int, width: int, inner: int, target: Target, has_windows: bool) -> Tile:
    """The tile of groups that share vectors: two rows, so that lanes put in order serve more products."""
    if has_windows:
        return choose_tile(target.width, height, width, inner, target, True)
    limit = 24 if target.registers == 32 else 10
    pixels = -(-width // -(-width // (limit // 2)))
    return Tile(min(height, max(1, limit // pixels), 2), pixels, 1, 2 if inner > 1 else 1)


def segments(count: int, pixels: int) -> list[tuple[int, int]]:
    """A row of `count` pixels in pieces (start, length) of nearly equal length, at most `pixels`."""
    number = -(-count // pixels)
    short, longer = divmod(count, number)
    pieces, start = [], 0
    for i in range(number):
        length = short + (i < longer)
        pieces.append((start, length))
        start += length
    return pieces


def three(values: Sequence[Item], fill: Item) -> tuple[Item, Item, Item]:
    """Spatial attributes of a 1D, 2D or 3D operator, filled up to three axes in front."""
    depth, height, width = [fill] * (3 - len(values)) + list(values)
    return depth, height, width


def image_shape(shape: Sequence[int | None]) -> Sizes:
    """(n, *spatial, c) as (depth, height, width, c)."""
    *spatial, channels = image_sizes(shape[1:])
    assert len(spatial) == len(shape) - 2, f"sizes of {shape} are not known"
    return (*three(spatial, 1), channels)


def geometry(plan: Plan, op: Operation) -> tuple[TapConv, bool]:
    """The taps of a conv, conv_grad_input or conv_transpose; whether weights are read transposed."""
    a = op.attrs
    x, y = image_shape(plan.shape(op.inputs[0])), image_shape(plan.shape(op.outputs[0]))
    kernel = three(image_sizes(plan.shape(op.inputs[1])[:-2]), 1)
    rest = (three(a["stride"], 1), three(a["padding"], (0, 0)), three(a["dilation"], 1), a["groups"])
    make = forward_geometry if op.operator == "conv" else gradient_geometry
    g = make(x, y, kernel, *rest)
    if 1 < a["groups"] == x[3] == y[3]:
        return replace(g, inner=1, outer=x[3], groups=1, is_depthwise=True), False
    return g, op.operator != "conv"
