"""Affine maps of images (rotations, translations, zooms drawn per image), and reading images at their places.

Maps and places are float64, pixels are read and weighed in float32. The gradient puts every number back to
where it was read, pixel after pixel of one image, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.images.places import (
    INDEX_RULES,
    NEIGHBOURS,
    NUMBERS,
    Map,
    Numbers,
    Read,
    Warp,
)
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes
from kernelearn.engine.cpu.language.shuffles import gather, interleaved
from kernelearn.engine.cpu.language.strides import copy_run
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes
from kernelearn.engine.program import Operation

# Images of at most so many channels are read by gathering.
FEW_CHANNELS = 4
# Numbers of an image are counted in 32 bits.
LARGEST = 1 << 31


# --- the maps


def lower_affine_map(plan: Plan, op: Operation) -> bool:
    """affine_map(x, draw): (n, 2, 3) float64; of x only the shape counts."""
    x, draw = op.inputs
    (maps,) = op.outputs
    kind, ranges = op.attrs["kind"], op.attrs["ranges"]
    if kind not in MAPS or not plan.are_images(draw) or plan.dtype(maps) != "float64":
        return False
    height, width = (int(s or 0) for s in plan.shape(x)[1:-1])
    pairs = tuple((float(low), float(high)) for low, high in ranges)
    plan.call(
        op,
        AffineMaps(kind, pairs, height, width),
        {"draw": draw},
        {"maps": maps},
        note=kind,
    )
    return True


@dataclass(frozen=True)
class AffineMaps:
    """The six numbers of every image's map."""

    kind: str
    ranges: Sequence[tuple[float, float]]
    height: int
    width: int

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as image:
            drawn = []
            for column, (low, high) in enumerate(self.ranges):
                draw = k.load_one("draw", image * len(self.ranges) + column).widened()
                drawn.append(low + draw * (high - low))
            for place, value in enumerate(MAPS[self.kind](drawn, self.height, self.width)):
                k.store_one(value, "maps", image * NUMBERS + place, "double")


def _about_centre(rows: list[list[Value]], height: int, width: int) -> list[Value]:
    """Six numbers of a map that leaves the middle of the image where it is."""
    centre = (height - 1) / 2, (width - 1) / 2
    result = []
    for (a, b), middle in zip(rows, centre):
        moved = a * centre[0] + b * centre[1]
        result += [a, b, middle - moved]
    return result


def _rotation(drawn: list[Value], height: int, width: int) -> list[Value]:
    sine, cosine = fn.sine_and_cosine(drawn[0])
    return _about_centre([[cosine, sine], [-sine, cosine]], height, width)


def _translation(drawn: list[Value], height: int, width: int) -> list[Value]:
    one, zero = (drawn[0].kernel.constant(number, fn.DOUBLE) for number in (1.0, 0.0))
    shares = [-share for share in (drawn[0], drawn[-1])]
    down, right = (share * size for share, size in zip(shares, (height, width)))
    return [one, zero, down, zero, one, right]


def _zoom(drawn: list[Value], height: int, width: int) -> list[Value]:
    zero = drawn[0].kernel.constant(0.0, fn.DOUBLE)
    return _about_centre([[drawn[0], zero], [zero, drawn[-1]]], height, width)


# Kind -> the six numbers of a map, from what was drawn, height and width of the image.
MAPS: dict[str, Callable[[list[Value], int, int], list[Value]]] = {
    "rotation": _rotation,
    "translation": _translation,
    "zoom": _zoom,
}


# --- reading, and its gradient


def lower_warp(plan: Plan, op: Operation) -> bool:
    """warp(x, maps)"""
    return _lower_warp(plan, op, "x", WarpPass)


def lower_warp_grad(plan: Plan, op: Operation) -> bool:
    """warp_grad(grad, maps)"""
    return _lower_warp(plan, op, "g", WarpGradient)


def _lower_warp(plan: Plan, op: Operation, role: str, kind: type[WarpPass] | type[WarpGradient]) -> bool:
    source, maps = op.inputs
    is_known = op.attrs["fill_mode"] in INDEX_RULES and op.attrs["interpolation"] in NEIGHBOURS
    if not is_known or not plan.are_images(source, *op.outputs) or not has_images(plan.shape(maps)):
        return False
    height, width, channels = image_sizes(plan.shape(source))
    warp = Warp(
        height,
        width,
        channels,
        op.attrs["fill_mode"],
        float(op.attrs["fill_value"]),
        op.attrs["interpolation"],
        plan.dtype(maps) == "float64",
    )
    if warp.size >= LARGEST:
        return False
    plan.call(
        op,
        kind(warp),
        {role: source, "maps": maps},
        {"y": op.outputs[0]},
        flops=(8.0 * warp.size, 0.0),
        note=f"{warp.interpolation}, {warp.fill_mode}",
    )
    return True


@dataclass(frozen=True)
class WarpPass:
    """Row by row of the result, gathered where there are few channels."""

    warp: Warp

    def emit(self, k: Kernel) -> None:
        emit_row = _emit_gathered_row if self.warp.channels <= FEW_CHANNELS else _emit_row
        with k.loop(k.lo, k.hi, checked=False) as image:
            found, start = Map(k, self.warp, image), image * self.warp.size
            for row, by_row in found.rows():
                emit_row(k, found, by_row, start, start + row * (self.warp.width * self.warp.channels))


def _emit_gathered_row(k: Kernel, found: Map, by_row: list[Value], x: Index, y: Index) -> None:
    """Lanes lie along the columns; every channel of their pixels is gathered.

    Lanes behind the last column read some pixel of the image, too: they are not stored.
    """
    warp, numbers = found.warp, Numbers(k, k.width)
    fill = k.constant(warp.fill_value)

    def body(column: Index | int, mask: Value | None) -> None:
        reads = found.reads(numbers, by_row, column)
        totals: list[Value] = []
        for channel in range(warp.channels):
            total = k.zero
            for read in reads:
                value = gather(k, x + channel, read.at, None)
                if warp.fill_mode == "constant":
                    value = read.is_real.choose(value, fill)
                total = value * read.weight if total == k.zero else fn.fma(value, read.weight, total)
            totals.append(total)
        left = k.width if mask is None else warp.width % k.width
        at = y + column * warp.channels
        for first, vector in interleaved(k, totals):
            if first < left * warp.channels:
                k.store(vector, "y", at + first, k.mask(left * warp.channels - first))

    lanes(k, warp.width, body)


def _emit_row(k: Kernel, found: Map, by_row: list[Value], x: Index, y: Index) -> None:
    """Pixel after pixel, lanes along the channels."""
    warp, fill = found.warp, k.constant(found.warp.fill_value)

    def value(read: Read, at: Index, c: Index | int, mask: Value | None) -> Value:
        loaded = k.load("x", at + c, mask)
        if warp.fill_mode != "constant":
            return loaded
        return read.is_real.choose(loaded, fill)

    with k.loop(0, warp.width) as column:
        reads = found.reads(Numbers(k, 0), by_row, column)
        places = [x + _index(read.at) for read in reads]
        weights = [read.weight.splat() for read in reads]

        def body(c: Index | int, mask: Value | None) -> None:
            total = k.zero
            for read, at, weight in zip(reads, places, weights):
                one = value(read, at, c, mask)
                total = one * weight if total == k.zero else fn.fma(one, weight, total)
            k.store(total, "y", y + column * warp.channels + c, mask)

        lanes(k, warp.channels, body)


def _index(number: Value) -> Index:
    """An i32 that is not negative."""
    return Index(number.kernel, number.converted("zext", "i64"))


@dataclass(frozen=True)
class WarpGradient:
    """Zeros, to which the gradients are added pixel after pixel."""

    warp: Warp

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi, checked=False) as image:
            found, start = Map(k, self.warp, image), image * self.warp.size
            copy_run(k, None, start, self.warp.size)
            for row, by_row in found.rows():
                with k.loop(0, self.warp.width) as column:
                    g = start + (row * self.warp.width + column) * self.warp.channels
                    _send_back(k, self.warp, found.reads(Numbers(k, 0), by_row, column), g, start)


def _send_back(k: Kernel, warp: Warp, reads: list[Read], g: Index, start: Index) -> None:
    """The gradient of one pixel to the pixels that were read for it."""
    places = [start + _index(read.at) for read in reads]
    weights = [_real_weight(warp, read).splat() for read in reads]

    def body(c: Index | int, mask: Value | None) -> None:
        grad = k.load("g", g + c, mask)
        for at, weight in zip(places, weights):
            k.store(fn.fma(grad, weight, k.load("y", at + c, mask)), "y", at + c, mask)

    lanes(k, warp.channels, body)


def _real_weight(warp: Warp, read: Read) -> Value:
    """Nothing goes back to pixels that do not exist."""
    if warp.fill_mode != "constant":
        return read.weight
    return read.is_real.choose(read.weight, 0.0)
