"""Smooth enlarging and resizing, and their gradients: a banded matrix along one spatial axis after another.

    y[o, q, i] = sum over taps of weights[q, tap] * x[o, starts[q] + tap, i]

Gradients are the same with the transposed matrices. Lanes lie along what follows the axis; where that is
only a few channels, they lie along the outputs, and pixels are gathered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Lanes, blocks, lanes
from kernelearn.engine.cpu.language.reduce import fold_rows
from kernelearn.engine.cpu.language.shuffles import gather
from kernelearn.engine.cpu.language.tables import Table
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes
from kernelearn.engine.program import Operation
from kernelearn.engine.reference.images.resizing import sampling_matrix
from kernelearn.engine.reference.shaping import resize_matrix

# Vectors of a row that are summed together.
TILE = 4
# Taps whose weights are held in registers; with more there is a loop.
HELD = 8
# Numbers in the tables of one kernel that gathers.
MOST_NUMBERS = 1 << 15


@dataclass(frozen=True)
class Band:
    """A matrix (outputs, size) whose rows are zero outside of `taps` neighbours.

    Attributes:
        starts: first of these, for every row; weights: (outputs, taps), row by row.
    """

    size: int
    taps: int
    starts: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def outputs(self) -> int:
        return len(self.starts)

    @property
    def identity(self) -> str:
        """Short, and different for different matrices."""
        digest = hashlib.sha256(repr((self.starts, self.weights)).encode()).hexdigest()[:16]
        return f"{self.outputs}x{self.size} taps={self.taps} {digest}"

    @property
    def is_identity(self) -> bool:
        return self.starts == tuple(range(self.size)) and set(self.weights) == {1.0}


def find_band(matrix: np.ndarray) -> Band:
    """The narrowest band that holds a matrix."""
    matrix = matrix.astype("float32")
    size = matrix.shape[1]
    places = [np.flatnonzero(row) for row in matrix]
    taps = max((int(p[-1] - p[0]) + 1 for p in places if p.size), default=1)
    # The band of the last pixels starts earlier than it must, so that it ends within the image.
    starts = tuple(min(int(p[0]) if p.size else 0, size - taps) for p in places)
    weights = tuple(float(w) for row, a in zip(matrix, starts) for w in row[a : a + taps])
    return Band(size, taps, starts, weights)


def lower_resize(plan: Plan, op: Operation) -> bool:
    """To any size."""
    sizes = image_sizes(plan.shape(op.inputs[0]))[:-1]
    return add_resampling(plan, op, [_resizing(op, *pair) for pair in zip(sizes, op.attrs["size"])])


def lower_resize_grad(plan: Plan, op: Operation) -> bool:
    """The transposed matrices."""
    sizes = zip(op.attrs["input_size"], image_sizes(plan.shape(op.inputs[0]))[:-1])
    return add_resampling(plan, op, [_resizing(op, *pair).T for pair in sizes])


def _resizing(op: Operation, size: int, new: int) -> np.ndarray:
    return sampling_matrix(size, new, op.attrs["method"], op.attrs["antialias"])


def lower_smooth_upsample(plan: Plan, op: Operation) -> bool:
    """By whole factors, not just repeating pixels."""
    if op.attrs["method"] == "nearest":
        return False
    sizes = image_sizes(plan.shape(op.inputs[0]))[:-1]
    return add_resampling(plan, op, [_enlarging(op, *pair) for pair in zip(sizes, op.attrs["factors"])])


def lower_smooth_upsample_grad(plan: Plan, op: Operation) -> bool:
    """The transposed matrices."""
    if op.attrs["method"] == "nearest":
        return False
    sizes = image_sizes(plan.shape(op.outputs[0]))[:-1]
    return add_resampling(plan, op, [_enlarging(op, *pair).T for pair in zip(sizes, op.attrs["factors"])])


def _enlarging(op: Operation, size: int, factor: int) -> np.ndarray:
    return resize_matrix(size, factor, op.attrs["method"])


def add_resampling(plan: Plan, op: Operation, matrices: Sequence[np.ndarray]) -> bool:
    """One call for every spatial axis that changes."""
    (source,), (target,) = op.inputs, op.outputs
    if not plan.is_float(source, target) or not has_images(plan.shape(source)):
        return False
    *sizes, channels = image_sizes(plan.shape(source))
    bands = [(axis, find_band(matrix)) for axis, matrix in enumerate(matrices)]
    bands = [(axis, band) for axis, band in bands if not band.is_identity]
    if not bands:
        plan.aliases[target] = source
        return True
    for number, (axis, band) in enumerate(bands, start=1):
        sizes[axis] = band.outputs
        is_last = number == len(bands)
        result = target if is_last else plan.scratch(f"{target}/axes", (None, *sizes, channels))
        outer, inner = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :]) * channels
        _add_axis(plan, op, band, outer, inner, source, result)
        source = result
    return True


def _add_axis(
    plan: Plan, op: Operation, band: Band, outer: int, inner: int, source: str, target: str
) -> None:
    width = plan.target.width
    few = 2 * inner < width and band.outputs * inner * (band.taps + 1) <= MOST_NUMBERS
    kind = ResampledGathered if few else ResampledAlong
    plan.call(
        op,
        kind(band, outer, inner),
        {"x": source},
        {"y": target},
        flops=(2.0 * outer * inner * band.outputs * band.taps, 0.0),
        note=f"{band.size} to {band.outputs} pixels, {band.taps} taps",
    )


@dataclass(frozen=True)
class ResampledAlong:
    """Lanes lie along `inner`."""

    band: Band
    outer: int
    inner: int

    def emit(self, k: Kernel) -> None:
        starts, weights = Table(k, "starts", self.band.starts, "i64"), Table(k, "weights", self.band.weights)
        with k.loop(k.lo * self.outer, k.hi * self.outer) as row, k.loop(0, self.band.outputs) as q:
            x = row * (self.band.size * self.inner) + starts.index(q) * self.inner
            y = (row * self.band.outputs + q) * self.inner
            first_weight = q * self.band.taps
            if self.band.taps <= HELD:
                held = [weights.everywhere(first_weight + tap) for tap in range(self.band.taps)]
                lanes(k, self.inner, _held_sum(k, held, x, y, self.inner))
            else:
                for first, tile in blocks(k, self.inner, TILE):
                    _looped_sum(
                        k, self.band.taps, weights, first_weight, x + first, y + first, self.inner, tile
                    )


def _held_sum(
    k: Kernel, weights: list[Value], x: Index, y: Index, step: int
) -> Callable[[Index | int, Value | None], None]:
    """body(c, mask): one vector of outputs, all weights in registers."""

    def body(c: Index | int, mask: Value | None) -> None:
        total = weights[0] * k.load("x", x + c, mask)
        for tap, weight in enumerate(weights[1:], start=1):
            total = fn.fma(weight, k.load("x", x + tap * step + c, mask), total)
        k.store(total, "y", y + c, mask)

    return body


def _looped_sum(
    k: Kernel,
    taps: int,
    weights: Table,
    first_weight: Index,
    x: Index,
    y: Index,
    step: int,
    tile: list[Lanes],
) -> None:
    """A block of vectors of outputs: a loop over the taps."""

    def one(tap: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
        c, mask = vector
        weight = weights.everywhere(first_weight + tap)
        return [fn.fma(weight, k.load("x", x + tap * step + c, mask), sums[0])]

    totals = fold_rows(k, taps, [k.zero], tile, one)
    for (c, mask), (total,) in zip(tile, totals):
        k.store(total, "y", y + c, mask)


@dataclass(frozen=True)
class ResampledGathered:
    """Lanes lie along the outputs of a row and their few channels."""

    band: Band
    outer: int
    inner: int

    def emit(self, k: Kernel) -> None:
        numbers = self.band.outputs * self.inner
        places = [start * self.inner + c for start in self.band.starts for c in range(self.inner)]
        by_tap = [
            w
            for tap in range(self.band.taps)
            for w in self.band.weights[tap :: self.band.taps]
            for _ in range(self.inner)
        ]
        starts, weights = Table(k, "starts", places, "i32"), Table(k, "weights", by_tap)
        with k.loop(k.lo * self.outer, k.hi * self.outer) as row:
            x, y = row * (self.band.size * self.inner), row * numbers

            def one(at: Index | int, mask: Value | None) -> None:
                place = starts.vector(at, mask)
                total = k.zero
                for tap in range(self.band.taps):
                    pixel = gather(k, x + tap * self.inner, place, mask)
                    weight = weights.vector(tap * numbers + at, mask)
                    total = weight * pixel if tap == 0 else fn.fma(weight, pixel, total)
                k.store(total, "y", y + at, mask)

            lanes(k, numbers, one)
