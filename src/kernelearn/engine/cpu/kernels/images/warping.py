"""Affine maps of images (rotations, translations, zooms drawn per image), and reading images at their places.

Maps and places are float64, pixels are read and weighed in float32. The gradient puts every number back to
where it was read, pixel after pixel of one image, in order.
"""

from __future__ import annotations

import math
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
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes
from kernelearn.engine.cpu.language.scalars import add, multiply, number, subtract, widen
from kernelearn.engine.cpu.language.shuffles import gather, interleaved
from kernelearn.engine.cpu.language.strides import copy_run
from kernelearn.engine.cpu.language.values import Value, float_text
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
                draw = widen(k, k.load_one("draw", image * len(self.ranges) + column))
                drawn.append(add(k, number(low), multiply(k, draw, number(high - low))))
            for place, value in enumerate(MAPS[self.kind](k, drawn, self.height, self.width)):
                k.store_one(value, "maps", image * NUMBERS + place, "double")


def _about_centre(k: Kernel, rows: list[list[str]], height: int, width: int) -> list[str]:
    """Six numbers of a map that leaves the middle of the image where it is."""
    centre = number((height - 1) / 2), number((width - 1) / 2)
    result = []
    for (a, b), middle in zip(rows, centre):
        moved = add(k, multiply(k, a, centre[0]), multiply(k, b, centre[1]))
        result += [a, b, subtract(k, middle, moved)]
    return result


def _rotation(k: Kernel, drawn: list[str], height: int, width: int) -> list[str]:
    sine, cosine = sine_and_cosine(k, drawn[0])
    minus = k.op(f"fneg double {sine}")
    return _about_centre(k, [[cosine, sine], [minus, cosine]], height, width)


def _translation(k: Kernel, drawn: list[str], height: int, width: int) -> list[str]:
    one, zero = number(1.0), number(0.0)
    shares = [k.op(f"fneg double {d}") for d in (drawn[0], drawn[-1])]
    down, right = (multiply(k, s, number(size)) for s, size in zip(shares, (height, width)))
    return [one, zero, down, zero, one, right]


def _zoom(k: Kernel, drawn: list[str], height: int, width: int) -> list[str]:
    zero = number(0.0)
    return _about_centre(k, [[drawn[0], zero], [zero, drawn[-1]]], height, width)


MAPS: dict[str, Callable[..., list[str]]] = {
    "rotation": _rotation,
    "translation": _translation,
    "zoom": _zoom,
}


def sine_and_cosine(k: Kernel, turns: str) -> tuple[str, str]:
    """sin(2 pi t) and cos(2 pi t) in float64: quarters of a turn taken off exactly, then a series."""
    quarters = multiply(k, turns, number(4.0))
    one = Numbers(k, 0)
    whole = one.nearest(quarters)
    rest = subtract(k, quarters, one.to_real(whole))
    angle = multiply(k, rest, number(math.pi / 2))
    square = multiply(k, angle, angle)
    sine = multiply(k, angle, _series(k, square, range(1, 18, 2)))
    cosine = _series(k, square, range(0, 18, 2))
    is_odd = k.op(f"trunc i32 {whole} to i1")
    first = k.op(f"select i1 {is_odd}, double {cosine}, double {sine}")
    second = k.op(f"select i1 {is_odd}, double {sine}, double {cosine}")
    # Quarters 2 and 3 turn the sine's sign, quarters 1 and 2 the cosine's.
    return _signed(k, first, whole), _signed(k, second, one.wholes("add", whole, "1"))


def _series(k: Kernel, square: str, powers: range) -> str:
    """Sum of (-square)^i / powers[i]!, by Horner's rule."""
    coefficients = [(-1) ** i / math.factorial(power) for i, power in enumerate(powers)]
    value = number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = add(k, multiply(k, value, square), number(coefficient))
    return value


def _signed(k: Kernel, value: str, quarter: str) -> str:
    """value, or -value where bit 1 of a number is set."""
    bit = k.op(f"and i32 {quarter}, 2")
    is_set = k.op(f"icmp ne i32 {bit}, 0")
    return k.op(f"select i1 {is_set}, double {k.op(f'fneg double {value}')}, double {value}")


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


def _emit_gathered_row(k: Kernel, found: Map, by_row: list[str], x: Index, y: Index) -> None:
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
                    value = k.select(read.is_real, value, fill)
                total = k.mul(value, read.weight) if total == k.zero else k.fma(value, read.weight, total)
            totals.append(total)
        left = k.width if mask is None else warp.width % k.width
        at = y + column * warp.channels
        for first, vector in interleaved(k, totals):
            if first < left * warp.channels:
                k.store(vector, "y", at + first, k.mask(left * warp.channels - first))

    lanes(k, warp.width, body)


def _emit_row(k: Kernel, found: Map, by_row: list[str], x: Index, y: Index) -> None:
    """Pixel after pixel, lanes along the channels."""
    warp, fill = found.warp, k.constant(found.warp.fill_value)

    def value(read: Read, at: Index, c: Index | int, mask: Value | None) -> str:
        loaded = k.load("x", at + c, mask)
        if warp.fill_mode != "constant":
            return loaded
        return k.op(f"select i1 {read.is_real}, {k.vector} {loaded}, {k.vector} {fill}")

    with k.loop(0, warp.width) as column:
        reads = found.reads(Numbers(k, 0), by_row, column)
        places = [x + _index(k, read.at) for read in reads]
        weights = [k.splat(read.weight) for read in reads]

        def body(c: Index | int, mask: Value | None) -> None:
            total = k.zero
            for read, at, weight in zip(reads, places, weights):
                one = value(read, at, c, mask)
                total = k.mul(one, weight) if total == k.zero else k.fma(one, weight, total)
            k.store(total, "y", y + column * warp.channels + c, mask)

        lanes(k, warp.channels, body)


def _index(k: Kernel, number: str) -> Index:
    """An i32 that is not negative."""
    return Index(k, k.op(f"zext i32 {number} to i64"))


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
    places = [start + _index(k, read.at) for read in reads]
    weights = [k.splat(_real_weight(k, warp, read)) for read in reads]

    def body(c: Index | int, mask: Value | None) -> None:
        grad = k.load("g", g + c, mask)
        for at, weight in zip(places, weights):
            k.store(k.fma(grad, weight, k.load("y", at + c, mask)), "y", at + c, mask)

    lanes(k, warp.channels, body)


def _real_weight(k: Kernel, warp: Warp, read: Read) -> str:
    """Nothing goes back to pixels that do not exist."""
    if warp.fill_mode != "constant":
        return read.weight
    return k.op(f"select i1 {read.is_real}, float {read.weight}, float {float_text(0.0)}")
