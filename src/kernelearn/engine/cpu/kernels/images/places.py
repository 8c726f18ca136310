"""Where an affine map reads an image: whole pixel numbers, weights, and what stands outside of the image.

One code for one place (single numbers) and for the places of neighbouring pixels (vectors). Places are
float64, in the order of operations of `engine.reference.images.augmentation`, so that both engines find the
same pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import Value, float_text

# Numbers of a map: two rows of (row, column, offset).
NUMBERS = 6
# Places are kept within this many pixels, so that they are whole numbers of an integer.
FARTHEST = 2.0**30


@dataclass(frozen=True)
class Numbers:
    """Makes numbers for `lanes` places at once; 0 lanes: for a single one."""

    k: Kernel
    lanes: int

    def spread(self, number: Value) -> Value:
        """A number known when the kernel runs, everywhere."""
        return number.splat() if self.lanes else number

    def from_column(self, column: Index | int) -> Value:
        """The numbers of the columns from `column` on, as float64."""
        number = self.k.const(column) if isinstance(column, int) else column
        first = self.spread(number.to_float("double"))
        if not self.lanes:
            return first
        following = ", ".join(f"double {float_text(lane, 'double')}" for lane in range(self.lanes))
        return first + self.k.named(f"<{following}>", first.type)


# --- places (float64) and whole numbers (i32)


def _bounded(place: Value) -> Value:
    """A place as it is, unless it is very far away or no number."""
    place = (place < FARTHEST).choose(place, FARTHEST)
    return (place > -FARTHEST).choose(place, -FARTHEST)


def _nearest(place: Value) -> Value:
    """The nearest whole number; halves go away from zero."""
    half = (place < 0.0).choose(place.kernel.constant(-0.5, place.type), 0.5)
    return (place + half).to_int()


def _below(place: Value) -> Value:
    """The largest whole number that is not above a place."""
    whole = place.to_int()
    return (whole.to_float("double") > place).choose(whole - 1, whole)


# --- the pixels near a place on one axis: whole numbers and their weights (float64)


def _nearest_neighbour(place: Value) -> list[tuple[Value, Value]]:
    return [(_nearest(place), place.kernel.constant(1.0, place.type))]


def _linear_neighbours(place: Value) -> list[tuple[Value, Value]]:
    below = _below(place)
    share = place - below.to_float("double")
    rest = 1.0 - share
    return [(below, rest), (below + 1, share)]


NEIGHBOURS: dict[str, Callable[[Value], list[tuple[Value, Value]]]] = {
    "nearest": _nearest_neighbour,
    "bilinear": _linear_neighbours,
}


# --- what stands at a pixel number outside of an axis of this size


def _clipped(number: Value, size: int) -> Value:
    from_zero = (number > 0).choose(number, 0)
    return (from_zero < size - 1).choose(from_zero, size - 1)


def _wrapped(number: Value, size: int) -> Value:
    """The remainder that is not negative."""
    rest = number.instruction("srem", number, number.kernel.constant(size, number.type))
    return (rest < 0).choose(rest + size, rest)


def _reflected(number: Value, size: int) -> Value:
    """... c b a | a b c | c b a ..."""
    folded = _wrapped(number, 2 * size)
    mirrored = 2 * size - 1 - folded
    return (folded < mirrored).choose(folded, mirrored)


INDEX_RULES: dict[str, Callable[[Value, int], Value]] = {
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

    at: Value
    weight: Value
    is_real: Value


# A pixel on one axis: its number, its weight, whether it exists.
Neighbour = tuple[Value, Value, Value]


class Map:
    """The map of an image, in role "maps"."""

    def __init__(self, k: Kernel, warp: Warp, image: Index) -> None:
        self.k, self.warp = k, warp
        self.numbers = [self._number(image * NUMBERS + i) for i in range(NUMBERS)]

    def _number(self, at: Index) -> Value:
        if self.warp.is_wide:
            return self.k.load_one("maps", at, "double")
        return self.k.load_one("maps", at).widened()

    def rows(self) -> Iterator[tuple[Index, list[Value]]]:
        """Every row of the result, and what its number contributes to the places of its pixels."""
        with self.k.loop(0, self.warp.height) as row:
            number = row.to_float("double")
            yield row, [self.numbers[i] * number for i in (0, 3)]

    def reads(self, n: Numbers, by_row: list[Value], column: Index | int) -> list[Read]:
        """What is read for the pixels from `column` on."""
        q = n.from_column(column)
        axes = []
        for first, part, size in zip((0, 3), by_row, (self.warp.height, self.warp.width)):
            factor, offset = (n.spread(self.numbers[first + i]) for i in (1, 2))
            axes.append(self._axis(n.spread(part) + factor * q + offset, size))
        return [self._read(row, column) for row, column in itertools.product(*axes)]

    def _axis(self, place: Value, size: int) -> list[Neighbour]:
        """The neighbours of a place."""
        find = INDEX_RULES[self.warp.fill_mode]
        near = NEIGHBOURS[self.warp.interpolation](_bounded(place))
        return [(find(number, size), weight, number.test("ult", size)) for number, weight in near]

    def _read(self, row: Neighbour, column: Neighbour) -> Read:
        at = (row[0] * self.warp.width + column[0]) * self.warp.channels
        weight = (row[1] * column[1]).narrowed()
        return Read(at, weight, row[2] & column[2])
