"""Where an affine map reads an image: whole pixel numbers, weights, and what stands outside of the image.

One code for one place (scalars) and for the places of neighbouring pixels (vectors). Places are float64, in
the order of operations of `engine.reference.augmentation`, so that both engines find the same pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernelearn.engine.cpu.language import scalars
from kernelearn.engine.cpu.language.kernel import Index, Kernel

# Numbers of a map: two rows of (row, column, offset).
NUMBERS = 6
# Places are kept within this many pixels, so that they are whole numbers of an integer.
FARTHEST = 2.0**30


@dataclass(frozen=True)
class Numbers:
    """Arithmetic on `lanes` places at once; 0 lanes: on scalars."""

    k: Kernel
    lanes: int

    def _type(self, name: str) -> str:
        return f"<{self.lanes} x {name}>" if self.lanes else name

    @property
    def real(self) -> str:
        return self._type("double")

    @property
    def whole(self) -> str:
        return self._type("i32")

    def constant(self, value: float | int) -> str:
        """The same number everywhere: a float64, or an integer if it is an int."""
        text = str(value) if isinstance(value, int) else scalars.number(value)
        name = "i32" if isinstance(value, int) else "double"
        return "<" + ", ".join([f"{name} {text}"] * self.lanes) + ">" if self.lanes else text

    def spread(self, scalar: str) -> str:
        """A float64 known when the kernel runs, everywhere."""
        return self.k.splat(scalar, "double") if self.lanes else scalar

    def from_column(self, column: Index | int) -> str:
        """The numbers of the columns from `column` on, as float64."""
        first = self.spread(self.k.op(f"sitofp i64 {column} to double"))
        if not self.lanes:
            return first
        following = ", ".join(f"double {scalars.number(lane)}" for lane in range(self.lanes))
        return self.reals("fadd", first, f"<{following}>")

    def reals(self, instruction: str, a: str, b: str) -> str:
        return self.k.op(f"{instruction} {self.real} {a}, {b}")

    def wholes(self, instruction: str, a: str, b: str) -> str:
        return self.k.op(f"{instruction} {self.whole} {a}, {b}")

    def select(self, condition: str, a: str, b: str, type_: str) -> str:
        return self.k.op(f"select {self._type('i1')} {condition}, {type_} {a}, {type_} {b}")

    def both(self, a: str, b: str) -> str:
        return self.k.op(f"and {self._type('i1')} {a}, {b}")

    def to_whole(self, real: str) -> str:
        """Without what is behind the point."""
        return self.k.op(f"fptosi {self.real} {real} to {self.whole}")

    def to_real(self, whole: str) -> str:
        return self.k.op(f"sitofp {self.whole} {whole} to {self.real}")

    def to_float(self, real: str) -> str:
        return self.k.op(f"fptrunc {self.real} {real} to {self._type('float')}")

    def bounded(self, place: str) -> str:
        """A place as it is, unless it is very far away or no number."""
        for relation, limit in (("olt", FARTHEST), ("ogt", -FARTHEST)):
            is_near = self.reals(f"fcmp {relation}", place, self.constant(limit))
            place = self.select(is_near, place, self.constant(limit), self.real)
        return place

    def nearest(self, place: str) -> str:
        """The nearest whole number; halves go away from zero."""
        is_negative = self.reals("fcmp olt", place, self.constant(0.0))
        half = self.select(is_negative, self.constant(-0.5), self.constant(0.5), self.real)
        return self.to_whole(self.reals("fadd", place, half))

    def below(self, place: str) -> str:
        """The largest whole number that is not above a place."""
        whole = self.to_whole(place)
        is_above = self.reals("fcmp ogt", self.to_real(whole), place)
        return self.select(is_above, self.wholes("sub", whole, self.constant(1)), whole, self.whole)

    def is_inside(self, number: str, size: int) -> str:
        return self.wholes("icmp ult", number, self.constant(size))

    def smaller(self, a: str, b: str) -> str:
        return self.select(self.wholes("icmp slt", a, b), a, b, self.whole)

    def larger(self, a: str, b: str) -> str:
        return self.select(self.wholes("icmp sgt", a, b), a, b, self.whole)


# --- the pixels near a place on one axis: whole numbers and their weights (float64)


def _nearest_neighbour(n: Numbers, place: str) -> list[tuple[str, str]]:
    return [(n.nearest(place), n.constant(1.0))]


def _linear_neighbours(n: Numbers, place: str) -> list[tuple[str, str]]:
    below = n.below(place)
    share = n.reals("fsub", place, n.to_real(below))
    rest = n.reals("fsub", n.constant(1.0), share)
    return [(below, rest), (n.wholes("add", below, n.constant(1)), share)]


NEIGHBOURS: dict[str, Callable[[Numbers, str], list[tuple[str, str]]]] = {
    "nearest": _nearest_neighbour,
    "bilinear": _linear_neighbours,
}


# --- what stands at a pixel number outside of an axis of this size


def _clipped(n: Numbers, number: str, size: int) -> str:
    return n.smaller(n.larger(number, n.constant(0)), n.constant(size - 1))


def _wrapped(n: Numbers, number: str, size: int) -> str:
    """The remainder that is not negative."""
    rest = n.wholes("srem", number, n.constant(size))
    is_negative = n.wholes("icmp slt", rest, n.constant(0))
    return n.select(is_negative, n.wholes("add", rest, n.constant(size)), rest, n.whole)


def _reflected(n: Numbers, number: str, size: int) -> str:
    """... c b a | a b c | c b a ..."""
    folded = _wrapped(n, number, 2 * size)
    return n.smaller(folded, n.wholes("sub", n.constant(2 * size - 1), folded))


INDEX_RULES: dict[str, Callable[[Numbers, str, int], str]] = {
    "constant": _clipped,
    "nearest": _clipped,
    "wrap": _wrapped,
    "reflect": _reflected,
}


# --- all of it


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
    """A pixel that is read, of one place or of several.

    at: numbers from the start of the image (i32); weight: float32; is_real: whether it exists (i1).
    """

    at: str
    weight: str
    is_real: str


class Map:
    """The map of an image, in role "maps"."""

    def __init__(self, k: Kernel, warp: Warp, image: Index) -> None:
        self.k, self.warp = k, warp
        self.numbers = [self._number(image * NUMBERS + i) for i in range(NUMBERS)]

    def _number(self, at: Index) -> str:
        k = self.k
        return (
            k.load_one("maps", at, "double")
            if self.warp.is_wide
            else scalars.widen(k, k.load_one("maps", at))
        )

    def rows(self) -> Iterator[tuple[Index, list[str]]]:
        """Every row of the result, and what its number contributes to the places of its pixels."""
        k = self.k
        with k.loop(0, self.warp.height) as row:
            number = k.op(f"sitofp i64 {row} to double")
            yield row, [scalars.multiply(k, self.numbers[i], number) for i in (0, 3)]

    def reads(self, n: Numbers, by_row: list[str], column: Index | int) -> list[Read]:
        """What is read for the pixels from `column` on."""
        q = n.from_column(column)
        axes = []
        for first, part, size in zip((0, 3), by_row, (self.warp.height, self.warp.width)):
            factor, offset = (n.spread(self.numbers[first + i]) for i in (1, 2))
            along = n.reals("fadd", n.spread(part), n.reals("fmul", factor, q))
            axes.append(self._axis(n, n.reals("fadd", along, offset), size))
        return [self._read(n, row, column) for row, column in itertools.product(*axes)]

    def _axis(self, n: Numbers, place: str, size: int) -> list[tuple[str, str, str]]:
        """(pixel, weight, whether it exists) of the neighbours of a place."""
        find = INDEX_RULES[self.warp.fill_mode]
        near = NEIGHBOURS[self.warp.interpolation](n, n.bounded(place))
        return [(find(n, number, size), weight, n.is_inside(number, size)) for number, weight in near]

    def _read(self, n: Numbers, row: tuple[str, str, str], column: tuple[str, str, str]) -> Read:
        above = n.wholes("mul", row[0], n.constant(self.warp.width))
        pixel = n.wholes("add", above, column[0])
        at = n.wholes("mul", pixel, n.constant(self.warp.channels))
        weight = n.to_float(n.reals("fmul", row[1], column[1]))
        return Read(at, weight, n.both(row[2], column[2]))
