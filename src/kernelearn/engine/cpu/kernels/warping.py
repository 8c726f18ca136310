"""Affine maps of images (rotations, translations, zooms drawn per image), and reading images at their places.

Places are worked out in float64, as `engine.reference.augmentation` does it; pixels are read and weighed in
float32. The gradient puts every number back to where it was read, pixel after pixel of one image, in order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.emit import Index, Kernel, float_text
from kernelearn.engine.cpu.kernels.augmentation import is_plain
from kernelearn.engine.cpu.kernels.scalars import add, multiply, narrow, number, one_minus, subtract, widen
from kernelearn.engine.cpu.kernels.shaping import copy_run
from kernelearn.engine.cpu.kernels.views import image_sizes, lanes
from kernelearn.engine.cpu.lowering import Plan, has_images, rule
from kernelearn.engine.program import Operation

# Numbers of a map: two rows of (row, column, offset).
NUMBERS = 6
# Places are kept within this many pixels, so that they are whole numbers of an integer.
FARTHEST = 2.0**30


# --- the maps


@rule("affine_map")
def lower_affine_map(plan: Plan, op: Operation) -> bool:
    """affine_map(x, draw): (n, 2, 3) float64; of x only the shape counts."""
    x, draw = op.inputs
    (maps,) = op.outputs
    kind, ranges = op.attrs["kind"], op.attrs["ranges"]
    if kind not in MAPS or not is_plain(plan, draw) or plan.dtype(maps) != "float64":
        return False
    height, width = (int(s or 0) for s in plan.shape(x)[1:-1])
    pairs = tuple((float(low), float(high)) for low, high in ranges)
    plan.call(
        op,
        f"affine_map {kind} {height} {width} {pairs}",
        lambda k: _emit_maps(k, kind, pairs, height, width),
        {"draw": draw},
        {"maps": maps},
        note=kind,
    )
    return True


def _emit_maps(k: Kernel, kind: str, ranges: Sequence[tuple[float, float]], height: int, width: int) -> None:
    with k.loop(k.lo, k.hi) as image:
        drawn = []
        for column, (low, high) in enumerate(ranges):
            draw = widen(k, k.load_one("draw", image * len(ranges) + column))
            drawn.append(add(k, number(low), multiply(k, draw, number(high - low))))
        for place, value in enumerate(MAPS[kind](k, drawn, height, width)):
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
    whole = _nearest(k, quarters)
    rest = subtract(k, quarters, k.op(f"sitofp i64 {whole} to double"))
    angle = multiply(k, rest, number(math.pi / 2))
    square = multiply(k, angle, angle)
    sine = multiply(k, angle, _series(k, square, range(1, 18, 2)))
    cosine = _series(k, square, range(0, 18, 2))
    is_odd = k.op(f"trunc i64 {whole} to i1")
    first = k.op(f"select i1 {is_odd}, double {cosine}, double {sine}")
    second = k.op(f"select i1 {is_odd}, double {sine}, double {cosine}")
    # Quarters 2 and 3 turn the sine's sign, quarters 1 and 2 the cosine's.
    return _signed(k, first, whole), _signed(k, second, whole + 1)


def _series(k: Kernel, square: str, powers: range) -> str:
    """Sum of (-square)^i / powers[i]!, by Horner's rule."""
    coefficients = [(-1) ** i / math.factorial(power) for i, power in enumerate(powers)]
    value = number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = add(k, multiply(k, value, square), number(coefficient))
    return value


def _signed(k: Kernel, value: str, quarter: Index) -> str:
    """value, or -value where bit 1 of a number is set."""
    bit = k.op(f"and i64 {quarter}, 2")
    is_set = k.op(f"icmp ne i64 {bit}, 0")
    return k.op(f"select i1 {is_set}, double {k.op(f'fneg double {value}')}, double {value}")


# --- where pixels are read


@dataclass(frozen=True)
class Warp:
    """Images of these sizes, and how they are read.

    is_wide: whether the maps are float64.
    """

    height: int
    width: int
    channels: int
    fill_mode: str
    fill_value: float
    interpolation: str
    is_wide: bool

    @property
    def size(self) -> int:
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Read:
    """A pixel that is read: offset of its first channel, weight (float32), whether it exists (an i1)."""

    at: Index
    weight: str
    is_real: str


@rule("warp")
def lower_warp(plan: Plan, op: Operation) -> bool:
    """warp(x, maps)"""
    return _lower_warp(plan, op, "x", _emit_warp)


@rule("warp_grad")
def lower_warp_grad(plan: Plan, op: Operation) -> bool:
    """warp_grad(grad, maps)"""
    return _lower_warp(plan, op, "g", _emit_warp_grad)


def _lower_warp(plan: Plan, op: Operation, role: str, emit: Callable[[Kernel, Warp], None]) -> bool:
    source, maps = op.inputs
    is_known = op.attrs["fill_mode"] in INDEX_RULES and op.attrs["interpolation"] in NEIGHBOURS
    if not is_known or not is_plain(plan, source, *op.outputs) or not has_images(plan.shape(maps)):
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
    plan.call(
        op,
        f"{op.operator} {warp}",
        lambda k: emit(k, warp),
        {role: source, "maps": maps},
        {"y": op.outputs[0]},
        flops=(8.0 * warp.size, 0.0),
        note=f"{warp.interpolation}, {warp.fill_mode}",
    )
    return True


def _pixels(k: Kernel, warp: Warp, image: Index) -> Iterator[tuple[Index, list[Read]]]:
    """Every pixel of the result: offset of its first channel, and what is read for it."""
    matrix = [_map_number(k, warp, image * NUMBERS + i) for i in range(NUMBERS)]
    start = image * warp.size
    with k.loop(0, warp.height) as row:
        by_row = [multiply(k, matrix[i], _to_double(k, row)) for i in (0, 3)]
        with k.loop(0, warp.width) as column:
            q = _to_double(k, column)
            # In the order in which the reference engine adds, so that both find the same pixels.
            v, u = (
                add(k, add(k, part, multiply(k, matrix[i + 1], q)), matrix[i + 2])
                for i, part in zip((0, 3), by_row)
            )
            at = start + (row * warp.width + column) * warp.channels
            yield at, _reads(k, warp, start, v, u)


def _map_number(k: Kernel, warp: Warp, at: Index) -> str:
    return k.load_one("maps", at, "double") if warp.is_wide else widen(k, k.load_one("maps", at))


def _to_double(k: Kernel, index: Index) -> str:
    return k.op(f"sitofp i64 {index} to double")


def _reads(k: Kernel, warp: Warp, start: Index, v: str, u: str) -> list[Read]:
    """What is read at the place (v, u)."""
    neighbours, find = NEIGHBOURS[warp.interpolation], INDEX_RULES[warp.fill_mode]
    rows, columns = (
        [
            (find(k, i, size), weight, _is_inside(k, i, size))
            for i, weight in neighbours(k, _bounded(k, place))
        ]
        for place, size in ((v, warp.height), (u, warp.width))
    )
    reads = []
    for (row, by_row, row_is_real), (column, by_column, column_is_real) in itertools.product(rows, columns):
        at = start + (row * warp.width + column) * warp.channels
        weight = narrow(k, multiply(k, by_row, by_column))
        reads.append(Read(at, weight, k.op(f"and i1 {row_is_real}, {column_is_real}")))
    return reads


def _bounded(k: Kernel, place: str) -> str:
    """A place as it is, unless it is very far away or no number."""
    for relation, limit in (("olt", FARTHEST), ("ogt", -FARTHEST)):
        is_near = k.op(f"fcmp {relation} double {place}, {number(limit)}")
        place = k.op(f"select i1 {is_near}, double {place}, double {number(limit)}")
    return place


def _is_inside(k: Kernel, index: Index, size: int) -> str:
    return k.op(f"icmp ult i64 {index}, {size}")


# Whole pixel numbers near a place on one axis, and their weights (float64).
Neighbours = list[tuple[Index, str]]


def _nearest(k: Kernel, place: str) -> Index:
    """The nearest whole number; halves go away from zero."""
    is_negative = k.op(f"fcmp olt double {place}, {number(0.0)}")
    half = k.op(f"select i1 {is_negative}, double {number(-0.5)}, double {number(0.5)}")
    return Index(k, k.op(f"fptosi double {add(k, place, half)} to i64"))


def _below(k: Kernel, place: str) -> Index:
    """The largest whole number that is not above a place."""
    whole = k.op(f"fptosi double {place} to i64")
    back = k.op(f"sitofp i64 {whole} to double")
    is_above = k.op(f"fcmp ogt double {back}, {place}")
    return Index(k, k.op(f"sub i64 {whole}, {k.op(f'zext i1 {is_above} to i64')}"))


def _nearest_neighbour(k: Kernel, place: str) -> Neighbours:
    return [(_nearest(k, place), number(1.0))]


def _linear_neighbours(k: Kernel, place: str) -> Neighbours:
    below = _below(k, place)
    share = subtract(k, place, _to_double(k, below))
    return [(below, one_minus(k, share)), (below + 1, share)]


NEIGHBOURS: dict[str, Callable[[Kernel, str], Neighbours]] = {
    "nearest": _nearest_neighbour,
    "bilinear": _linear_neighbours,
}


def _clipped(k: Kernel, index: Index, size: int) -> Index:
    return k.minimum(k.maximum(index, 0), size - 1)


def _wrapped(k: Kernel, index: Index, size: int) -> Index:
    """The remainder that is not negative."""
    rest = Index(k, k.op(f"srem i64 {index}, {size}"))
    is_negative = k.compare("slt", rest, 0)
    return Index(k, k.op(f"select i1 {is_negative}, i64 {rest + size}, i64 {rest}"))


def _reflected(k: Kernel, index: Index, size: int) -> Index:
    """... c b a | a b c | c b a ..."""
    folded = _wrapped(k, index, 2 * size)
    return k.minimum(folded, folded * -1 + (2 * size - 1))


# What stands at a pixel number outside of an axis of this size.
INDEX_RULES: dict[str, Callable[[Kernel, Index, int], Index]] = {
    "constant": _clipped,
    "nearest": _clipped,
    "wrap": _wrapped,
    "reflect": _reflected,
}


# --- reading, and its gradient


def _emit_warp(k: Kernel, warp: Warp) -> None:
    fill = k.constant(warp.fill_value)

    def value(read: Read, c: Index | int, mask: str | None) -> str:
        x = k.load("x", read.at + c, mask)
        if warp.fill_mode != "constant":
            return x
        return k.op(f"select i1 {read.is_real}, {k.vector} {x}, {k.vector} {fill}")

    with k.loop(k.lo, k.hi, checked=False) as image:
        for at, reads in _pixels(k, warp, image):
            weights = [k.splat(read.weight) for read in reads]

            def body(c, mask, at=at, reads=reads, weights=weights) -> None:
                total = k.mul(value(reads[0], c, mask), weights[0])
                for read, weight in zip(reads[1:], weights[1:]):
                    total = k.fma(value(read, c, mask), weight, total)
                k.store(total, "y", at + c, mask)

            lanes(k, warp.channels, body)


def _emit_warp_grad(k: Kernel, warp: Warp) -> None:
    """Zeros, to which the gradients are added one by one."""
    with k.loop(k.lo, k.hi, checked=False) as image:
        copy_run(k, None, image * warp.size, warp.size)
        for at, reads in _pixels(k, warp, image):
            weights = [k.splat(_real_weight(k, warp, read)) for read in reads]

            def body(c, mask, at=at, reads=reads, weights=weights) -> None:
                grad = k.load("g", at + c, mask)
                for read, weight in zip(reads, weights):
                    total = k.fma(grad, weight, k.load("y", read.at + c, mask))
                    k.store(total, "y", read.at + c, mask)

            lanes(k, warp.channels, body)


def _real_weight(k: Kernel, warp: Warp, read: Read) -> str:
    """Nothing goes back to pixels that do not exist."""
    if warp.fill_mode != "constant":
        return read.weight
    return k.op(f"select i1 {read.is_real}, float {read.weight}, float {float_text(0.0)}")
