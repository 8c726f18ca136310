"""Sums, means and maxima over axes.

Sums over images come in two steps, so that they do not depend on who does which image: every image's own sums
in float32, several chains at a time, then the images in order in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Lanes, block_count, blocks, task_blocks
from kernelearn.engine.cpu.language.reduce import Reduction, fold_rows, fold_runs
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.language.views import View, find_view, over_outer
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images, image_sizes
from kernelearn.engine.program import Operation

# Vectors of a row that are summed together.
TILE = 4
# Vectors per task where images are joined.
JOINED = 2
# Images of at most this many rows are joined without sums of their own.
FEW_ROWS = 4
# (row, vector of it) -> values.
Load = Callable[[Index, Lanes], Value]

KINDS = {"bias_grad": "sum", "sum_to": "sum", "reduce_mean": "mean", "reduce_max": "max"}


def lower_reduction(plan: Plan, op: Operation) -> bool:
    """Over axes of the images, over the images, or both."""
    (source,), (target,) = op.inputs, op.outputs
    shape = plan.shape(source)
    if not plan.is_float(source, target):
        return False
    axes = tuple(range(len(shape) - 1)) if op.operator == "bias_grad" else op.attrs["axes"]
    return add_reduction(plan, op, Reduction(KINDS[op.operator]), axes)


def add_reduction(plan: Plan, op: Operation, reduction: Reduction, axes: tuple[int, ...]) -> bool:
    """Calls that reduce the operation's input over `axes`."""
    (source,), (target,) = op.inputs, op.outputs
    shape = plan.shape(source)
    axes = tuple(a % len(shape) for a in axes)
    in_images = has_images(shape)
    over_images = in_images and 0 in axes
    if not over_images:
        inner = [a - 1 for a in axes] if in_images else axes
        view = find_view(image_sizes(shape), inner)
        if view is None:
            return False
        divisor = view.reduced if reduction.kind == "mean" else 1
        _call_inside(plan, op, view, reduction, divisor, source, target, in_images)
        return True
    view = find_view(image_sizes(shape), [a - 1 for a in axes if a])
    if view is None:
        return False
    rows = view.rows
    if view.run > 1 or view.outer > 1 or view.rows > FEW_ROWS:
        partial = plan.scratch(f"{target}/images", (None, view.kept))
        inside = Reduction("max" if reduction.kind == "max" else "sum")
        _call_inside(plan, op, view, inside, 1, source, partial, True)
        source, rows = partial, 1
    divisor = view.reduced if reduction.kind == "mean" else 0
    _call_joined(plan, op, view.kept, rows, reduction, divisor, source, target)
    return True


def _call_inside(
    plan: Plan,
    op: Operation,
    view: View,
    reduction: Reduction,
    divisor: int,
    source: str,
    target: str,
    in_images: bool,
) -> None:
    plan.call(
        op,
        InsideImages(view, reduction, divisor),
        {"x": source},
        {"y": target},
        IMAGES if in_images else Tasks(fixed=1),
        flops=(float(view.size), 0.0) if in_images else (0.0, float(view.size)),
        note=f"{reduction.kind} over {view.reduced} numbers",
    )


@dataclass(frozen=True)
class InsideImages:
    """One image after another."""

    view: View
    reduction: Reduction
    divisor: int

    def emit(self, k: Kernel) -> None:
        emit = _emit_columns if self.view.run == 1 else _emit_runs
        for x, y in over_outer(k, self.view):
            emit(k, self.view, self.reduction, self.divisor, x, y)


def _emit_columns(k: Kernel, view: View, reduction: Reduction, divisor: int, x: Index, y: Index) -> None:
    """Lanes are channels."""
    for first, tile in blocks(k, view.channels, TILE):

        def step(row: Index, vector: Lanes, sums: Sequence[Value], first: Index = first) -> list[Value]:
            channel, mask = vector
            value = k.load("x", x + row * view.channels + first + channel, mask)
            return [reduction.join(sums[0], value)]

        totals = fold_rows(k, view.rows, [reduction.start(k)], tile, step, reduction.join)
        for (channel, mask), (total,) in zip(tile, totals):
            value = total / divisor if divisor > 1 else total
            k.store(value, "y", y + first + channel, mask)


def _emit_runs(k: Kernel, view: View, reduction: Reduction, divisor: int, x: Index, y: Index) -> None:
    """Lanes lie along the run: one number per channel."""
    with k.loop(0, view.channels) as channel:
        start = x + channel * view.run

        def value(at: Index, mask: Value | None) -> Value:
            return reduction.masked(k, k.load("x", at, mask), mask)

        total = fold_runs(k, view, start, reduction, value)
        scalar = k.largest(total) if reduction.kind == "max" else k.total(total)
        if divisor > 1:
            scalar = scalar / divisor
        k.store_one(scalar, "y", y + channel)


def _call_joined(
    plan: Plan,
    op: Operation,
    channels: int,
    rows: int,
    reduction: Reduction,
    divisor: int,
    source: str,
    target: str,
) -> None:
    plan.call(
        op,
        OverImages(channels, rows, reduction, divisor),
        {"x": source, "n": "#n"},
        {"y": target},
        Tasks(fixed=block_count(plan.target.width, channels, JOINED)),
        flops=(float(channels * rows), 0.0),
        note=f"{reduction.kind} over images",
    )


@dataclass(frozen=True)
class OverImages:
    """Rows of all images in order: a task has a block of channels."""

    channels: int
    rows: int
    reduction: Reduction
    divisor: int

    def emit(self, k: Kernel) -> None:
        count = k.scalar("n")
        join = _joined_maxima if self.reduction.kind == "max" else _joined_sums
        for first, tile in task_blocks(k, self.channels, JOINED):

            def load(row: Index, vector: Lanes, first: Index = first) -> Value:
                channel, mask = vector
                return k.load("x", row * self.channels + first + channel, mask)

            results = join(k, count * self.rows, tile, load, count * self.divisor)
            for (channel, mask), result in zip(tile, results):
                k.store(result, "y", first + channel, mask)


def _joined_maxima(k: Kernel, rows: Index, tile: list[Lanes], load: Load, divisor: Index) -> list[Value]:
    reduction = Reduction("max")

    def step(row: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
        return [reduction.join(sums[0], load(row, vector))]

    return [total for (total,) in fold_rows(k, rows, [reduction.start(k)], tile, step, reduction.join)]


def _joined_sums(k: Kernel, rows: Index, tile: list[Lanes], load: Load, divisor: Index) -> list[Value]:
    """In float64; a divisor of zero stands for none."""

    def step(row: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
        return [sums[0] + load(row, vector).widened()]

    zero = k.zero_of(k.vector.of("double"))
    totals = fold_rows(k, rows, [zero], tile, step, unroll=2)
    if divisor.register is None:
        return [total.narrowed() for (total,) in totals]
    count = divisor.to_float("double").splat()
    return [(total / count).narrowed() for (total,) in totals]
