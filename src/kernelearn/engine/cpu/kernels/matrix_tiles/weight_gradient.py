"""Kernel gradients of dense layers by matrix tiles, and the step of an optimiser on the way.

    dw[c, f] = sum over rows m of x[m, c] * g[m, f]

x is copied channel by channel, pairs of rows side by side; g as pairs of rows. A task has a few channels c:

    for two tiles of filters:
        for step of the rows:    2 tiles of x, 2 of g, 4 products
        the sums to the stack, and row by row to dw, or through the update to the weights
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.matrix_tiles.row_copies import (
    COPIED,
    ColumnPairs,
    RowPairs,
    RowSteps,
    row_steps,
)
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import NOTE
from kernelearn.engine.cpu.kernels.precision import TILES_SAVING, multiplies_tiles
from kernelearn.engine.cpu.kernels.products.dense_sizes import dense_sizes
from kernelearn.engine.cpu.kernels.updates import Step
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.matrix_tiles import LANES, LEFT, RIGHT, ROWS, MatrixTiles
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation

# Numbers of a dense layer's weights from which on it is worth it, and rows of an image up to which these are
# copied for all images at once.
LEAST_WEIGHTS, FEW_ROWS = 2**12, 15
# Copies may be so much larger than what they hold, because the steps of a sum are equal.
SPARE = 1 / LANES


def lower_tile_weights(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a dense layer."""
    return fits(plan, op) and lower(plan, op, op, {}, {"dw": op.outputs[0]}, None)


def tile_size(channels: int, most: int) -> int:
    """The largest equal share of channels that a tile holds."""
    return next(size for size in range(min(channels, most), 0, -1) if channels % size == 0)


def fits(plan: Plan, op: Operation) -> bool:
    """Whether a kernel gradient is made here."""
    sizes = dense_sizes(plan, op)
    if not multiplies_tiles(plan, op) or sizes is None:
        return False
    fills = 2 * tile_size(sizes.inner, ROWS) >= ROWS and 2 * tile_size(sizes.outer, LANES) >= LANES
    return fills and sizes.inner * sizes.outer >= LEAST_WEIGHTS and sizes.rows <= FEW_ROWS


def lower(
    plan: Plan,
    op: Operation,
    gradient: Operation,
    reads: dict[str, str],
    writes: dict[str, str],
    step: Step | None,
) -> bool:
    """Add the calls of `op`: the gradient, or with a step the update of the weights, too."""
    sizes = dense_sizes(plan, gradient)
    assert sizes is not None
    rows, inner, outer = sizes.rows, sizes.inner, sizes.outer
    # With an update copies are made only if the loss is finite, as that is.
    made = replace(gradient, phase=op.phase)
    x = _copy(plan, made, gradient.inputs[0], ColumnPairs(inner, rows))
    g = _copy(plan, made, gradient.inputs[1], RowPairs(outer, rows))
    code = TileWeightGradient(inner, outer, rows, step)
    plan.call(
        op,
        code,
        {"x": x, "g": g, "n": "#n", **reads},
        writes,
        Tasks(fixed=-(-code.left_tiles // 2)),
        flops=(2.0 * inner * outer * rows, 0.0 if step is None else 10.0 * inner * outer),
        saving=TILES_SAVING,
        note=NOTE + ("" if step is None else ", with the update"),
    )
    return True


def _copy(plan: Plan, op: Operation, name: str, code: ColumnPairs | RowPairs) -> str:
    """The buffer of a copy, made by a call that is added to the plan."""
    size = code.rows * code.channels
    made = plan.scratch(f"{name}/bfloat16", (None, size + math.ceil(size * SPARE)), "uint32")
    plan.halved.add(made)
    tasks = Tasks(fixed=-(-code.channels // COPIED))
    plan.call(op, code, {"x": name, "n": "#n"}, {"y": made}, tasks, note="round to bfloat16")
    return made


@dataclass(frozen=True)
class TileWeightGradient:
    """dw = x' g. Tasks: two tiles of inputs, with all filters.

    Attributes:
        inner, outer: channels of x and of g; rows: of an image.
        step: what is done with the gradient; None: it is stored.
    """

    inner: int
    outer: int
    rows: int
    step: Step | None

    @property
    def left_tiles(self) -> int:
        return self.inner // tile_size(self.inner, ROWS)

    def emit(self, k: Kernel) -> None:
        tiles, steps = MatrixTiles(k), row_steps(k, self.rows)
        k.local("sums", 4 * ROWS * LANES)
        move = None if self.step is None else self.step.mover(k)
        unit = _Unit(self, k, tiles, steps, move)
        tiles.configure(unit.rows, steps.depth, unit.lanes)
        full = self.left_tiles // 2
        with k.loop(k.lo, k.minimum(k.hi, full)) as task:
            unit.emit(task * 2, 2)
        if self.left_tiles % 2:
            with k.when(k.compare("sgt", k.hi, full)):
                unit.emit(k.const(2 * full), 1)
        tiles.release()


@dataclass(frozen=True)
class _Unit:
    """Some inputs and all filters; `move` takes the sums."""

    code: TileWeightGradient
    k: Kernel
    tiles: MatrixTiles
    steps: RowSteps
    move: Callable[[Value, Index, Value | None], None] | None

    @property
    def rows(self) -> int:
        """Inputs of a tile."""
        return tile_size(self.code.inner, ROWS)

    @property
    def lanes(self) -> int:
        """Filters of a tile."""
        return tile_size(self.code.outer, LANES)

    def emit(self, first: Index, count: int) -> None:
        """So many tiles of inputs from a first one on."""
        across = self.code.outer // self.lanes
        with self.k.loop(0, across // 2) as pair:
            self._products(first, count, pair * 2, 2)
        if across % 2:
            self._products(first, count, self.k.const(across - 1), 1)

    def _products(self, first: Index, count: int, column: Index, vectors: int) -> None:
        """The sums of so many tiles of inputs and of filters."""
        k, tiles, steps, outer = self.k, self.tiles, self.steps, self.code.outer
        places = [(i, v) for i in range(count) for v in range(vectors)]
        for i, v in places:
            tiles.zero(2 * i + v)
        with k.loop(0, steps.count) as step:
            for i in range(count):
                at = (first + i) * self.rows * steps.pairs + step * steps.depth
                tiles.load(LEFT[i], "x", at, steps.pairs)
            for v in range(vectors):
                at = step * steps.depth * outer + (column + v) * self.lanes
                tiles.load(RIGHT[v], "g", at, outer)
            for i, v in places:
                tiles.multiply(2 * i + v, LEFT[i], RIGHT[v])
        for i, v in places:
            tiles.store(2 * i + v, "sums", (2 * i * ROWS + v) * LANES, 2 * LANES)
        for i in range(count):
            start = (first + i) * (self.rows * outer) + column * self.lanes
            with k.loop(0, self.rows) as row:
                self._row(start + row * outer, (i * ROWS + row) * (2 * LANES), vectors)

    def _row(self, at: Index, place: Index, vectors: int) -> None:
        """The sums of an input; what the next filters need is asked for."""
        k, mask = self.k, self.k.mask(self.lanes)
        step = self.code.step
        for v in range(vectors):
            for name in ("dw",) if step is None else step.arrays:
                k.prefetch(name, at + (vectors + v) * self.lanes, is_written=True)
        for v in range(vectors):
            value = k.load("sums", place + v * LANES)
            if self.move is None:
                k.store(value, "dw", at + v * self.lanes, mask)
            else:
                self.move(value, at + v * self.lanes, mask)
