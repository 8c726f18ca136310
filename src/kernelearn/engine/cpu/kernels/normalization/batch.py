"""Normalisation over the batch and its gradients; parts of images are done by `images`.

Batch statistics take one pass over memory: every image gives the sums of x - p and of its square, where the
pivot p is the mean of a few of its pixels; the images are then joined in float64, in order, by the formula of
Chan, Golub and LeVeque (1979) for the variance of a union. So nothing cancels, also when means are large, and
results do not depend on who did which image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.normalization.formulas import centred_gradient, inverse_deviation
from kernelearn.engine.cpu.language.functions import fma
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import (
    Lanes,
    block_count,
    blocks,
    each_vector,
    images,
    task_blocks,
    windows,
)
from kernelearn.engine.cpu.language.reduce import Accumulate, fold_rows
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, has_images, image_sizes, per_image
from kernelearn.engine.program import Operation

# Vectors of a row that are summed together; each has two sums.
TILE = 4
# (offset of the first number, first channel, vectors of a tile) -> the step of its sums.
Begin = Callable[[Index, Index, Sequence[Lanes]], Accumulate]
# Pixels whose mean is the pivot of an image.
PIVOT_PIXELS = 4


def _is_batch(plan: Plan, x: str, axes: Sequence[int]) -> bool:
    """Whether statistics are those of channels over all images and positions."""
    shape = plan.shape(x)
    return has_images(shape) and sorted(axes) == list(range(len(shape) - 1))


def _rows(plan: Plan, name: str) -> tuple[int, int]:
    """Pixels of an image, and channels."""
    *sizes, channels = image_sizes(plan.shape(name))
    return per_image(tuple(sizes)), channels


def _channel_tasks(plan: Plan, channels: int) -> Tasks:
    return Tasks(fixed=block_count(plan.target.width, channels, 1))


# --- statistics of the batch


def lower_statistics(plan: Plan, op: Operation) -> bool:
    """Mean and variance of every channel."""
    (x,), (mean, variance) = op.inputs, op.outputs
    if not plan.is_float(x, mean, variance) or not _is_batch(plan, x, op.attrs["axes"]):
        return False
    _add_statistics(plan, op, x, mean, variance)
    return True


def _add_statistics(plan: Plan, op: Operation, x: str, mean: str, variance: str) -> None:
    rows, channels = _rows(plan, x)
    sums = plan.scratch(f"{mean}/images", (None, 3 * channels))
    plan.call(
        op,
        ImageStatistics(rows, channels),
        {"x": x},
        {"sums": sums},
        flops=(3.0 * rows * channels, 0.0),
        note="statistics of images",
    )
    plan.call(
        op,
        BatchStatistics(rows, channels),
        {"sums": sums, "n": "#n"},
        {"mean": mean, "variance": variance},
        _channel_tasks(plan, channels),
        note="statistics of the batch",
    )


@dataclass(frozen=True)
class ImageStatistics:
    """Pivot, sum of x - pivot, sum of its square, each a row of channels."""

    rows: int
    channels: int

    def emit(self, k: Kernel) -> None:
        with images(k, self.rows * self.channels) as (image, x):
            target = image * (3 * self.channels)
            for c, mask in each_vector(k, self.channels):
                k.store(_pivot(k, x + c, self.rows, self.channels, mask), "sums", target + c, mask)
            sums = _RowSums(k, self.rows, self.channels, target + self.channels)

            def begin(x: Index, first: Index, tile: Sequence[Lanes]) -> Accumulate:
                pivots = {c: k.load("sums", target + first + c, mask) for c, mask in tile}

                def step(row: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
                    c, mask = vector
                    d = k.load("x", x + row * self.channels + c, mask) - pivots[c]
                    return [sums[0] + d, fma(d, d, sums[1])]

                return step

            sums.emit(x, begin)


@dataclass(frozen=True)
class _RowSums:
    """Two sums over the rows of an image for every channel, written into "sums" from `target` on.

    A row of more than a few vectors is summed window by window: memory is read in order, as caches expect it,
    and short sums that are added up round less than long ones.
    """

    k: Kernel
    rows: int
    channels: int
    target: Index

    def emit(self, x: Index, begin: Begin) -> None:
        """begin(first number, first channel, tile) loads what belongs to a tile, and gives its step."""
        k = self.k
        if self.channels <= TILE * k.width:
            self._window(x, self.rows, begin, adds=False)
            return
        for c, mask in each_vector(k, self.channels):
            for part in range(2):
                k.store(k.zero, "sums", self.target + part * self.channels + c, mask)
        for start, rows in windows(k, self.rows, self.channels):
            self._window(x + start * self.channels, rows, begin, adds=True)

    def _window(self, x: Index, rows: int, begin: Begin, adds: bool) -> None:
        k = self.k
        for first, tile in blocks(k, self.channels, TILE):
            totals = fold_rows(k, rows, [k.zero, k.zero], tile, begin(x + first, first, tile))
            for (c, mask), parts in zip(tile, totals):
                for part, value in enumerate(parts):
                    at = self.target + part * self.channels + first + c
                    k.store(k.load("sums", at, mask) + value if adds else value, "sums", at, mask)


def _pivot(k: Kernel, x: Index, rows: int, channels: int, mask: Value | None) -> Value:
    """Mean of a few pixels spread over the image: near the mean also if single pixels are far from it."""
    count = min(PIVOT_PIXELS, rows)
    pixels = [i * rows // count for i in range(count)]
    total = k.load("x", x + pixels[0] * channels, mask)
    for pixel in pixels[1:]:
        total = total + k.load("x", x + pixel * channels, mask)
    return total if count == 1 else total * (1 / count)


@dataclass(frozen=True)
class BatchStatistics:
    """Mean of the images' means; variance from their squares and from how their means differ."""

    rows: int
    channels: int

    def emit(self, k: Kernel) -> None:
        count = k.scalar("n")
        for first, tile in task_blocks(k, self.channels, 1):
            ((c, mask),) = tile
            place = first + c

            def part(number: int, image: Index, place: Index = place, mask: Value | None = mask) -> Value:
                offset = image * (3 * self.channels) + number * self.channels + place
                return k.load("sums", offset, mask).widened()

            def image_mean(image: Index, part: Part = part) -> Value:
                return part(0, image) + part(1, image) * (1 / self.rows)

            def add_mean(
                image: Index, _: Lanes, sums: Sequence[Value], image_mean: Mean = image_mean
            ) -> list[Value]:
                return [sums[0] + image_mean(image)]

            number = count.to_float("double").splat()
            ((total,),) = _fold_wide(k, count, tile, add_mean)
            mean = total / number

            def add_squares(
                image: Index,
                _: Lanes,
                sums: Sequence[Value],
                mean: Value = mean,
                part: Part = part,
                image_mean: Mean = image_mean,
            ) -> list[Value]:
                shift = part(1, image)
                within = part(2, image) - shift * shift * (1 / self.rows)
                between = image_mean(image) - mean
                return [sums[0] + (within + between * between * self.rows)]

            ((squares,),) = _fold_wide(k, count, tile, add_squares)
            variance = (squares / (number * self.rows)).narrowed()
            # Rounding must not make it negative; a NaN stays.
            variance = (variance < k.zero).choose(k.zero, variance)
            k.store(mean.narrowed(), "mean", place, mask)
            k.store(variance, "variance", place, mask)


# (number of the part, image) -> that sum of an image; image -> the image's mean.
Part = Callable[[int, Index], Value]
Mean = Callable[[Index], Value]


def _fold_wide(
    k: Kernel, rows: Index, tile: Sequence[Lanes], step: Accumulate, sums: int = 1
) -> list[list[Value]]:
    """`fold_rows` in float64."""
    return fold_rows(k, rows, [k.zero_of(k.vector.of("double"))] * sums, tile, step, unroll=2)


# --- normalize with batch statistics, and its gradient


def lower_normalize(plan: Plan, op: Operation) -> bool:
    """By batch statistics."""
    (x,), (y, mean, variance) = op.inputs, op.outputs
    epsilon = op.attrs["epsilon"]
    if not plan.is_float(x, y, mean, variance) or not _is_batch(plan, x, op.attrs["axes"]):
        return False
    _add_statistics(plan, op, x, mean, variance)
    rows, channels = _rows(plan, x)
    plan.call(
        op,
        Normalize(rows, channels, epsilon),
        {"x": x, "mean": mean, "variance": variance},
        {"y": y},
        flops=(2.0 * rows * channels, 0.0),
        note="normalise",
    )
    return True


@dataclass(frozen=True)
class Normalize:
    """A pass over the pixels, means and deviations in registers."""

    rows: int
    channels: int
    epsilon: float

    def emit(self, k: Kernel) -> None:
        with images(k, self.rows * self.channels) as (_, x):
            for first, tile in blocks(k, self.channels, TILE):
                means = [k.load("mean", first + c, mask) for c, mask in tile]
                inverses = [
                    inverse_deviation(k.load("variance", first + c, mask), self.epsilon) for c, mask in tile
                ]
                with k.loop(0, self.rows) as row:
                    for (c, mask), mean, inverse in zip(tile, means, inverses):
                        at = x + row * self.channels + first + c
                        k.store((k.load("x", at, mask) - mean) * inverse, "y", at, mask)


def lower_normalize_grad(plan: Plan, op: Operation) -> bool:
    """inverse * (g - mean(g) - y mean(g y)), the means over the batch."""
    (grad, y, variance), (dx,) = op.inputs, op.outputs
    if not plan.is_float(grad, y, variance, dx) or not _is_batch(plan, y, op.attrs["axes"]):
        return False
    rows, channels = _rows(plan, y)
    epsilon = op.attrs["epsilon"]
    means = [plan.scratch(f"{dx}/{part}", (channels,)) for part in ("mean", "along")]
    _add_products(plan, op, {"g": grad, "y": y}, means, divisor=rows)
    plan.call(
        op,
        NormalizeGradient(rows, channels, epsilon),
        {"g": grad, "y": y, "variance": variance, "mean": means[0], "along": means[1]},
        {"dx": dx},
        flops=(5.0 * rows * channels, 0.0),
        note="gradient of normalise",
    )
    return True


@dataclass(frozen=True)
class NormalizeGradient:
    """A pass over the pixels, what belongs to a channel in registers."""

    rows: int
    channels: int
    epsilon: float

    def emit(self, k: Kernel) -> None:
        with images(k, self.rows * self.channels) as (_, x):
            for first, tile in blocks(k, self.channels, 2):
                rows_of = ("mean", "along", "variance")
                known = [[k.load(role, first + c, mask) for role in rows_of] for c, mask in tile]
                inverses = [inverse_deviation(variance, self.epsilon) for _, _, variance in known]
                with k.loop(0, self.rows) as row:
                    for (c, mask), (mean, along, _), inverse in zip(tile, known, inverses):
                        at = x + row * self.channels + first + c
                        g, y = k.load("g", at, mask), k.load("y", at, mask)
                        k.store(centred_gradient(g, y, mean, along, inverse), "dx", at, mask)


# --- sums of a gradient, and of its product with the normalised values


def lower_sums(plan: Plan, op: Operation) -> bool:
    """Gradients of beta and gamma: sum of d, and of d (x - mean) / deviation."""
    grad, x, mean, variance = op.inputs
    if not plan.is_float(*op.inputs, *op.outputs) or not has_images(plan.shape(x)):
        return False
    reads = {"g": grad, "y": x, "mean": mean}
    _add_products(plan, op, reads, op.outputs, variance=variance, epsilon=op.attrs["epsilon"])
    return True


def _add_products(
    plan: Plan,
    op: Operation,
    reads: dict[str, str],
    targets: Sequence[str],
    divisor: int = 0,
    variance: str | None = None,
    epsilon: float = 0.0,
) -> None:
    """Sums of g and of g * y (or g * (y - mean)): per image, then of all of them.

    Args:
        divisor: pixels of an image if means are wanted.
        variance: buffer; the second sum is divided by the root of it plus epsilon.
    """
    rows, channels = _rows(plan, reads["y"])
    sums = plan.scratch(f"{targets[0]}/images", (None, 2 * channels))
    plan.call(
        op,
        ImageProducts(rows, channels, "mean" in reads),
        reads,
        {"sums": sums},
        flops=(3.0 * rows * channels, 0.0),
        note="gradient sums of images",
    )
    scaled = {} if variance is None else {"variance": variance}
    plan.call(
        op,
        BatchProducts(channels, divisor, epsilon if scaled else None),
        {"sums": sums, "n": "#n", **scaled},
        dict(zip(("total", "along"), targets)),
        _channel_tasks(plan, channels),
        note="gradient sums of the batch",
    )


@dataclass(frozen=True)
class ImageProducts:
    """Sums of g and of g * y (or g * (y - mean)) of every image."""

    rows: int
    channels: int
    is_centred: bool

    def emit(self, k: Kernel) -> None:
        with images(k, self.rows * self.channels) as (image, x):
            sums = _RowSums(k, self.rows, self.channels, image * (2 * self.channels))

            def begin(x: Index, first: Index, tile: Sequence[Lanes]) -> Accumulate:
                means = {c: k.load("mean", first + c, mask) for c, mask in tile} if self.is_centred else {}

                def step(row: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
                    c, mask = vector
                    at = x + row * self.channels + c
                    g, y = k.load("g", at, mask), k.load("y", at, mask)
                    if means:
                        y = y - means[c]
                    return [sums[0] + g, fma(g, y, sums[1])]

                return step

            sums.emit(x, begin)


@dataclass(frozen=True)
class BatchProducts:
    """The sums of all images, in float64: by their number, or times the inverse deviation.

    Attributes:
        divisor: pixels of an image if means are wanted; epsilon: None if nothing is scaled.
    """

    channels: int
    divisor: int
    epsilon: float | None

    def emit(self, k: Kernel) -> None:
        count = k.scalar("n")
        for first, tile in task_blocks(k, self.channels, 1):

            def step(image: Index, vector: Lanes, sums: Sequence[Value], first: Index = first) -> list[Value]:
                c, mask = vector
                at = image * (2 * self.channels) + first + c
                parts = [k.load("sums", at + part * self.channels, mask) for part in range(2)]
                return [s + p.widened() for s, p in zip(sums, parts)]

            ((total, along),) = _fold_wide(k, count, tile, step, sums=2)
            if self.divisor:
                number = (count * self.divisor).to_float("double").splat()
                total, along = total / number, along / number
            ((c, mask),) = tile
            product = along.narrowed()
            if self.epsilon is not None:
                product = product * inverse_deviation(k.load("variance", first + c, mask), self.epsilon)
            k.store(total.narrowed(), "total", first + c, mask)
            k.store(product, "along", first + c, mask)


def lower_grad_coefficients(plan: Plan, op: Operation) -> bool:
    """What `batch_norm_grad_input` multiplies d and x - mean with, and adds: per channel."""
    x, variance, total, along, *gamma = op.inputs
    if not plan.is_float(*op.inputs, *op.outputs) or not has_images(plan.shape(x)):
        return False
    rows, channels = _rows(plan, x)
    epsilon = op.attrs["epsilon"]
    scaled = {"gamma": gamma[0]} if gamma else {}
    plan.call(
        op,
        GradientCoefficients(rows, channels, epsilon, bool(scaled)),
        {"variance": variance, "total": total, "along": along, "n": "#n", **scaled},
        dict(zip(("factor", "slope", "offset"), op.outputs)),
        _channel_tasks(plan, channels),
        note="coefficients of a gradient",
    )
    return True


@dataclass(frozen=True)
class GradientCoefficients:
    """Factor, slope and offset of every channel."""

    rows: int
    channels: int
    epsilon: float
    has_gamma: bool

    def emit(self, k: Kernel) -> None:
        count = k.scalar("n")
        number = (count * self.rows).to_float().splat()
        for first, tile in task_blocks(k, self.channels, 1):
            ((c, mask),) = tile
            at = first + c
            inverse = inverse_deviation(k.load("variance", at, mask), self.epsilon)
            factor = k.load("gamma", at, mask) * inverse if self.has_gamma else inverse
            share = (k.zero - factor) / number
            k.store(factor, "factor", at, mask)
            k.store(share * inverse * k.load("along", at, mask), "slope", at, mask)
            k.store(share * k.load("total", at, mask), "offset", at, mask)
