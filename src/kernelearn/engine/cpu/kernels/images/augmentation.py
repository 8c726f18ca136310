"""Random changes of images by a draw per image: mirroring, cropping, contrast, and their gradients.

They follow `engine.reference.images.augmentation`: what a draw decides is decided in the same precision, so
that both engines mirror and crop alike. Rotations and the like are in `warping`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Lanes, blocks
from kernelearn.engine.cpu.language.reduce import Reduction, each_run, fold_rows, fold_runs
from kernelearn.engine.cpu.language.shuffles import mirrored
from kernelearn.engine.cpu.language.strides import copy_run, dot, nest, strides_of
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.language.views import View
from kernelearn.engine.cpu.plan import Plan, image_sizes
from kernelearn.engine.program import Operation

# Vectors of channels whose means are computed together.
TILE = 4


# --- mirroring


def lower_flip(plan: Plan, op: Operation) -> bool:
    """flip(x, draw): image i mirrored along axes[j] where draw[i, j] <= 0.5; its gradient is another."""
    x, draw = op.inputs
    axes = tuple(axis - 1 for axis in op.attrs["axes"])
    if not plan.are_images(x, draw, *op.outputs) or not axes or min(axes) < 0:
        return False
    sizes, columns = image_sizes(plan.shape(x)), int(plan.shape(draw)[1] or 0)
    plan.call(
        op,
        Flip(sizes, axes, columns),
        {"x": x, "draw": draw},
        {"y": op.outputs[0]},
        note="copy, mirrored",
    )
    return True


@dataclass(frozen=True)
class Flip:
    """Image by image: the copy of one, its last chosen axis in both directions.

    Attributes:
        axes: of the image; columns: draws of an image.
    """

    sizes: tuple[int, ...]
    axes: tuple[int, ...]
    columns: int

    def emit(self, k: Kernel) -> None:
        last = max(self.axes)
        run, strides = math.prod(self.sizes[last + 1 :]), strides_of(self.sizes)
        with k.loop(k.lo, k.hi, checked=False) as image:
            chosen = {axis: _is_chosen(k, image * self.columns + j) for j, axis in enumerate(self.axes)}
            with nest(k, self.sizes[:last]) as places:
                start = image * math.prod(self.sizes)
                sources = [_mirrored(k, chosen.get(a), p, self.sizes[a]) for a, p in enumerate(places)]
                x, y = dot(sources, strides, start), dot(places, strides, start)
                with k.when(chosen[last]):
                    _copy_mirrored(k, x, y, self.sizes[last], run)
                with k.when(~chosen[last]):
                    copy_run(k, ("x", x), y, self.sizes[last] * run)


def _is_chosen(k: Kernel, at: Index) -> Value:
    return k.load_one("draw", at) <= 0.5


def _mirrored(k: Kernel, chosen: Value | None, place: Index, size: int) -> Index:
    """place, or its mirror image on an axis if that is chosen."""
    if chosen is None:
        return place
    other = place * -1 + (size - 1)
    return k.either(chosen, other, place)


def _copy_mirrored(k: Kernel, x: Index, y: Index, size: int, run: int) -> None:
    """Pixels of `run` numbers in reverse order."""
    if run > 1:
        with k.loop(0, size) as place:
            copy_run(k, ("x", x + (place * -1 + (size - 1)) * run), y + place * run, run)
        return
    full = size // k.width * k.width
    with k.loop(0, full, k.width) as place:
        k.store(mirrored(k, k.load("x", x + (place * -1 + (size - k.width))), k.width), "y", y + place)
    if full < size:
        rest = size - full
        mask = k.mask(rest)
        k.store(mirrored(k, k.load("x", x, mask), rest), "y", y + full, mask)


# --- cropping


def lower_crop(plan: Plan, op: Operation) -> bool:
    """crop(x, draw): a window of every image."""
    return _lower_crop(plan, op, image_sizes(plan.shape(op.inputs[0])), Crop)


def lower_crop_grad(plan: Plan, op: Operation) -> bool:
    """crop_grad(grad, draw): zeros around the window."""
    return _lower_crop(plan, op, image_sizes(plan.shape(op.outputs[0])), CropGradient)


def _lower_crop(
    plan: Plan, op: Operation, sizes: tuple[int, ...], kind: type[Crop] | type[CropGradient]
) -> bool:
    if not plan.are_images(*op.inputs, *op.outputs):
        return False
    window = tuple(int(s) for s in op.attrs["size"])
    plan.call(
        op,
        kind(sizes, window),
        {"x": op.inputs[0], "draw": op.inputs[1]},
        {"y": op.outputs[0]},
        note="copy",
    )
    return True


def _window_start(k: Kernel, image: Index, sizes: Sequence[int], window: Sequence[int]) -> Index:
    """Offset of an image's window from the image's first number."""
    start, strides = k.const(0), strides_of(sizes)
    for axis, wanted in enumerate(window):
        room = sizes[axis] - wanted
        if room:
            place = k.load_one("draw", image * len(window) + axis).widened() * (room + 1)
            start = start + _whole(place, room) * strides[axis]
    return start


def _whole(place: Value, largest: int) -> Index:
    """A float64 cut to a whole number from 0 to `largest`, also if it is NaN."""
    for relation, limit in (("olt", largest), ("ogt", 0)):
        place = place.test(relation, limit).choose(place, limit)
    return Index(place.kernel, place.to_int("i64"))


@dataclass(frozen=True)
class Crop:
    """The window of every image."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]

    def emit(self, k: Kernel) -> None:
        channels = self.sizes[-1]
        kept = (*self.window, channels)
        with k.loop(k.lo, k.hi, checked=False) as image:
            start = image * math.prod(self.sizes) + _window_start(k, image, self.sizes, self.window)
            with nest(k, self.window[:-1]) as places:
                x, y = (
                    dot(places, strides_of(self.sizes), start),
                    dot(places, strides_of(kept), image * math.prod(kept)),
                )
                copy_run(k, ("x", x), y, self.window[-1] * channels)


@dataclass(frozen=True)
class CropGradient:
    """Zeros, then the window."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]

    def emit(self, k: Kernel) -> None:
        channels = self.sizes[-1]
        kept = (*self.window, channels)
        with k.loop(k.lo, k.hi, checked=False) as image:
            first = image * math.prod(self.sizes)
            copy_run(k, None, first, math.prod(self.sizes))
            start = first + _window_start(k, image, self.sizes, self.window)
            with nest(k, self.window[:-1]) as places:
                x, y = (
                    dot(places, strides_of(kept), image * math.prod(kept)),
                    dot(places, strides_of(self.sizes), start),
                )
                copy_run(k, ("x", x), y, self.window[-1] * channels)


# --- contrast

# (offset, mask, number of the vector) -> a vector.
Pixel = Callable[[Index, Value | None, int], Value]


@dataclass(frozen=True)
class Columns:
    """Some vectors of channels of all pixels of an image, at offset `at`."""

    k: Kernel
    pixels: int
    channels: int
    at: Index
    tile: list[Lanes]

    def _of(self, value: Pixel, row: Index, v: int) -> Value:
        c, mask = self.tile[v]
        return value(self.at + row * self.channels + c, mask, v)

    def means(self, value: Pixel) -> list[Value]:
        k = self.k

        def step(row: Index, v: int, sums: Sequence[Value]) -> list[Value]:
            return [sums[0] + self._of(value, row, v)]

        totals = fold_rows(k, self.pixels, [k.zero], range(len(self.tile)), step)
        return [total / self.pixels for (total,) in totals]

    def write(self, value: Pixel) -> None:
        with self.k.loop(0, self.pixels) as row:
            for v, (c, mask) in enumerate(self.tile):
                self.k.store(self._of(value, row, v), "y", self.at + row * self.channels + c, mask)


@dataclass(frozen=True)
class Run:
    """The pixels of an image of one channel, at offset `at`."""

    k: Kernel
    pixels: int
    at: Index

    @property
    def view(self) -> View:
        return View(1, 1, 1, self.pixels)

    def means(self, value: Pixel) -> list[Value]:
        k = self.k
        lanes = fold_runs(k, self.view, self.at, Reduction("sum"), lambda at, mask: value(at, mask, 0))
        return [k.total(lanes).splat() / self.pixels]

    def write(self, value: Pixel) -> None:
        k = self.k
        each_run(
            k, self.view, self.at, k.const(0), lambda at, mask: k.store(value(at, mask, 0), "y", at, mask)
        )


def _emit_pixels(k: Kernel, pixels: int, channels: int, emit: Callable[[Index, Columns | Run], None]) -> None:
    """emit(image, Columns or Run) for the images of the kernel's tasks."""
    with k.loop(k.lo, k.hi, checked=False) as image:
        start = image * (pixels * channels)
        if channels == 1:
            emit(image, Run(k, pixels, start))
            return
        for first, tile in blocks(k, channels, TILE):
            emit(image, Columns(k, pixels, channels, start + first, tile))


@dataclass(frozen=True)
class Contrast:
    """Factors from `low` to `high`, and the range of the results."""

    low: float
    high: float
    least: float
    most: float

    def factor(self, k: Kernel, image: Index) -> Value:
        share = k.load_one("draw", image) * (self.high - self.low)
        return (self.low + share).splat()


def lower_contrast(plan: Plan, op: Operation) -> bool:
    """contrast(x, draw)"""
    return _lower_contrast(plan, op, dict(zip(("x", "draw"), op.inputs)), ContrastPass)


def lower_contrast_grad(plan: Plan, op: Operation) -> bool:
    """contrast_grad(grad, x, draw)"""
    return _lower_contrast(plan, op, dict(zip(("g", "x", "draw"), op.inputs)), ContrastGradient)


def _lower_contrast(
    plan: Plan, op: Operation, reads: dict[str, str], kind: type[ContrastPass] | type[ContrastGradient]
) -> bool:
    if not plan.are_images(*op.inputs, *op.outputs):
        return False
    *sizes, channels = image_sizes(plan.shape(reads["x"]))
    contrast = Contrast(*(float(v) for v in (op.attrs["low"], op.attrs["high"], *op.attrs["value_range"])))
    pixels = math.prod(sizes)
    plan.call(
        op,
        kind(pixels, channels, contrast),
        reads,
        {"y": op.outputs[0]},
        flops=(5.0 * pixels * channels, 0.0),
    )
    return True


def _stretched(x: Value, mean: Value, factor: Value) -> Value:
    return (x - mean) * factor + mean


@dataclass(frozen=True)
class ContrastPass:
    """Means of the channels; (x - mean) * factor + mean, clipped."""

    pixels: int
    channels: int
    contrast: Contrast

    def emit(self, k: Kernel) -> None:
        def emit(image: Index, part: Columns | Run) -> None:
            factor = self.contrast.factor(k, image)
            mean = part.means(lambda at, mask, v: k.load("x", at, mask))

            def value(at: Index, mask: Value | None, v: int) -> Value:
                y = _stretched(k.load("x", at, mask), mean[v], factor)
                return fn.clip(y, self.contrast.least, self.contrast.most)

            part.write(value)

        _emit_pixels(k, self.pixels, self.channels, emit)


@dataclass(frozen=True)
class ContrastGradient:
    """The same of the gradient, which is zero where the result was clipped."""

    pixels: int
    channels: int
    contrast: Contrast

    def emit(self, k: Kernel) -> None:
        def emit(image: Index, part: Columns | Run) -> None:
            factor = self.contrast.factor(k, image)
            mean = part.means(lambda at, mask, v: k.load("x", at, mask))

            def inside(at: Index, mask: Value | None, v: int) -> Value:
                y = _stretched(k.load("x", at, mask), mean[v], factor)
                is_inside = (y > self.contrast.least) & (y < self.contrast.most)
                return is_inside.choose(k.load("g", at, mask), k.zero)

            mean_g = part.means(inside)
            part.write(lambda at, mask, v: _stretched(inside(at, mask, v), mean_g[v], factor))

        _emit_pixels(k, self.pixels, self.channels, emit)
