"""Normalisation over parts of each image: layer, group and instance normalisation, and their gradients.

A part stays in the cache while its mean, then its variance are summed and the result is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain
from kernelearn.engine.cpu.kernels.normalization.formulas import centred_gradient, inverse_deviation
from kernelearn.engine.cpu.language.functions import fma
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Lanes, blocks, emit_flat
from kernelearn.engine.cpu.language.reduce import Reduction, each_run, fold_rows, fold_runs, only
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.language.views import View, find_view, over_outer
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes, in_pieces
from kernelearn.engine.program import Buffer, Operation

# Code for parts whose lanes are channels; for parts whose lanes lie along the run.
Columns = Callable[[Kernel, View, float, Index, Index, list[Lanes]], None]
Run = Callable[[Kernel, View, float, Index, Index, Index], None]
# Vectors of a row that are summed together.
TILE = 4


def _image_view(plan: Plan, op: Operation, name: str) -> View | None:
    """How an image is seen; None if the images are reduced, too."""
    shape, axes = plan.shape(name), op.attrs["axes"]
    if 0 in axes or not has_images(shape) or not plan.is_float(*op.inputs, *op.outputs):
        return None
    return find_view(image_sizes(shape), [a - 1 for a in axes])


def lower_image_normalize(
    plan: Plan, op: Operation, chain: Chain | None = None, operation: Operation | None = None
) -> bool:
    """y, mean and variance of every part; or what a chain makes of y, and no statistics.

    Args:
        chain: only where `takes_chain`.
        operation: what the call is said to do, if it is more than `op`.
    """
    view, epsilon = _image_view(plan, op, op.inputs[0]), op.attrs["epsilon"]
    if view is None:
        return False
    plan.call(
        operation or op,
        NormalizeParts(view, epsilon, chain),
        {"x": op.inputs[0], **(chain.reads if chain else {})},
        chain.writes if chain else dict(zip(("y", "mean", "variance"), op.outputs)),
        flops=(5.0 * view.size, 0.0),
        note=f"normalise over {view.reduced} numbers",
        split=in_pieces(NormalizeParts(replace(view, outer=1), epsilon, chain), view.size, view.outer),
    )
    return True


def takes_chain(op: Operation, buffers: Mapping[str, Buffer]) -> bool:
    """Whether a `normalize` goes over the last axis of images, so that a chain can follow row by row."""
    x = buffers[op.inputs[0]]
    rank, last = len(x.shape), x.shape[-1]
    # A last axis of one number is none in the view of an image: nothing goes along it.
    is_last = rank > 1 and op.attrs["axes"] == (rank - 1,) and last is not None and last > 1
    return is_last and has_images(x.shape) and x.dtype == "float32"


def lower_image_normalize_grad(plan: Plan, op: Operation) -> bool:
    """inverse * (g - mean(g) - y mean(g y)), part by part."""
    view, epsilon = _image_view(plan, op, op.outputs[0]), op.attrs["epsilon"]
    if view is None:
        return False
    plan.call(
        op,
        PartsGradient(view, epsilon),
        dict(zip(("g", "y", "variance"), op.inputs)),
        {"dx": op.outputs[0]},
        flops=(7.0 * view.size, 0.0),
        note=f"gradient of normalise over {view.reduced} numbers",
    )
    return True


@dataclass(frozen=True)
class NormalizeParts:
    """Mean, variance and the normalised numbers of every part."""

    view: View
    epsilon: float
    chain: Chain | None = None

    def emit(self, k: Kernel) -> None:
        if self.chain is None:
            _emit_image_parts(k, self.view, self.epsilon, _normalize_columns, _normalize_run)
            return
        for x, _ in over_outer(k, self.view):
            _normalize_row(k, self.view, self.epsilon, x, self.chain)


@dataclass(frozen=True)
class PartsGradient:
    """The gradient, part by part."""

    view: View
    epsilon: float

    def emit(self, k: Kernel) -> None:
        _emit_image_parts(k, self.view, self.epsilon, _gradient_columns, _gradient_run)


def _emit_image_parts(k: Kernel, view: View, epsilon: float, columns: Columns, run: Run) -> None:
    """Part after part, which stays in the cache between the passes over it."""
    for x, kept in over_outer(k, view):
        if view.run == 1:
            for first, tile in blocks(k, view.channels, TILE):
                columns(k, view, epsilon, x + first, kept + first, tile)
            continue
        with k.loop(0, view.channels) as channel:
            run(k, view, epsilon, x, kept, channel)


def _normalize_columns(
    k: Kernel, view: View, epsilon: float, x: Index, kept: Index, tile: list[Lanes]
) -> None:
    """Lanes are channels, each with statistics of its own."""

    def value(row: Index, vector: Lanes) -> Value:
        return k.load("x", x + row * view.channels + vector[0], vector[1])

    totals = fold_rows(k, view.rows, [k.zero], tile, lambda r, v, s: [s[0] + value(r, v)])
    means = {c: total / view.reduced for (c, _), (total,) in zip(tile, totals)}

    def step(row: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
        d = value(row, vector) - means[vector[0]]
        return [fma(d, d, sums[0])]

    squares = fold_rows(k, view.rows, [k.zero], tile, step)
    inverses = {}
    for (c, mask), (total,) in zip(tile, squares):
        variance = total / view.reduced
        inverses[c] = inverse_deviation(variance, epsilon)
        k.store(means[c], "mean", kept + c, mask)
        k.store(variance, "variance", kept + c, mask)
    with k.loop(0, view.rows) as row:
        for c, mask in tile:
            y = (value(row, (c, mask)) - means[c]) * inverses[c]
            k.store(y, "y", x + row * view.channels + c, mask)


def _normalize_run(k: Kernel, view: View, epsilon: float, x: Index, kept: Index, channel: Index) -> None:
    """Lanes lie along the numbers that share statistics."""
    mean, variance = _statistics_of_run(k, view, x + channel * view.run)
    inverse = inverse_deviation(variance, epsilon)
    for role, vector in (("mean", mean), ("variance", variance)):
        k.store_one(vector.lane(), role, kept + channel)

    def write(at: Index, mask: Value | None) -> None:
        k.store((k.load("x", at, mask) - mean) * inverse, "y", at, mask)

    each_run(k, view, x, channel, write)


def _normalize_row(k: Kernel, view: View, epsilon: float, x: Index, chain: Chain) -> None:
    """A row of the last axis through a chain."""
    mean, variance = _statistics_of_run(k, view, x)
    inverse = inverse_deviation(variance, epsilon)

    def write(at: Index, mask: Value | None) -> None:
        y = (k.load("x", x + at, mask) - mean) * inverse
        chain.apply(k, (y,), x + at, at, mask)

    emit_flat(k, k.const(0), k.const(view.run), write)


def _statistics_of_run(k: Kernel, view: View, start: Index) -> tuple[Value, Value]:
    """Mean and variance of the numbers from `start` on, in every lane."""
    mean = _mean(k, view, fold_runs(k, view, start, Reduction("sum"), lambda at, mask: k.load("x", at, mask)))

    def square(at: Index, mask: Value | None) -> Value:
        d = k.load("x", at, mask) - mean
        d = only(mask, d, k.zero)
        return d * d

    return mean, _mean(k, view, fold_runs(k, view, start, Reduction("sum"), square))


def _mean(k: Kernel, view: View, total: Value) -> Value:
    """Sum of the lanes by the number of numbers, in every lane."""
    return (k.total(total) / view.reduced).splat()


def _gradient_columns(
    k: Kernel, view: View, epsilon: float, x: Index, kept: Index, tile: list[Lanes]
) -> None:
    def step(row: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
        c, mask = vector
        at = x + row * view.channels + c
        g = k.load("g", at, mask)
        return [sums[0] + g, fma(g, k.load("y", at, mask), sums[1])]

    totals = fold_rows(k, view.rows, [k.zero, k.zero], tile, step)
    known = []
    for (c, mask), (total, along) in zip(tile, totals):
        inverse = inverse_deviation(k.load("variance", kept + c, mask), epsilon)
        known.append((total / view.reduced, along / view.reduced, inverse))
    with k.loop(0, view.rows) as row:
        for (c, mask), values in zip(tile, known):
            at = x + row * view.channels + c
            g, y = k.load("g", at, mask), k.load("y", at, mask)
            k.store(centred_gradient(g, y, *values), "dx", at, mask)


def _gradient_run(k: Kernel, view: View, epsilon: float, x: Index, kept: Index, channel: Index) -> None:
    start, add = x + channel * view.run, Reduction("sum")
    mean = _mean(k, view, fold_runs(k, view, start, add, lambda at, mask: k.load("g", at, mask)))

    def product(at: Index, mask: Value | None) -> Value:
        return k.load("g", at, mask) * k.load("y", at, mask)

    along = _mean(k, view, fold_runs(k, view, start, add, product))
    inverse = inverse_deviation(k.broadcast("variance", kept + channel), epsilon)

    def write(at: Index, mask: Value | None) -> None:
        g, y = k.load("g", at, mask), k.load("y", at, mask)
        k.store(centred_gradient(g, y, mean, along, inverse), "dx", at, mask)

    each_run(k, view, x, channel, write)
