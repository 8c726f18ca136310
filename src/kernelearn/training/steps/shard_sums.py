"""What shards give, added up in memory that stays: arrays one behind the other, in one vector for each kind.

A vector of gradients is as long as the weights of the model, and its memory is written once for each shard.
New memory for every one would cost more than the additions, so vectors are lent and used again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kernelearn.engine.program import Buffer
from kernelearn.parallel import rounding
from kernelearn.parallel.rounding import BFLOAT16, TRANSPORTS
from kernelearn.training.steps.step import Arrays

# Name of a type, or "bfloat16" for float32 numbers that are rounded -> numbers of that kind.
Vectors = dict[str, np.ndarray]

# Bytes of a vector from which on it is sent in pieces, and how many: below, they cost more than they save.
LEAST, PIECES = 1 << 20, 4


class Place(NamedTuple):
    """Where an array lies in its vector; `is_added`: by the program that makes it."""

    label: str
    shape: tuple[int, ...]
    start: int
    end: int
    is_added: bool = False


@dataclass(frozen=True)
class Piece:
    """Arrays that follow each other in a vector.

    Attributes:
        kind: of the vector.
        places: of the arrays.
    """

    kind: str
    places: tuple[Place, ...]

    @property
    def labels(self) -> list[str]:
        """Of the arrays."""
        return [place.label for place in self.places]

    @property
    def given(self) -> list[Place]:
        """Of the arrays that a program gives, to be added up here."""
        return [place for place in self.places if not place.is_added]

    @property
    def cut(self) -> slice:
        """Where it lies in the vector."""
        return slice(self.places[0].start, self.places[-1].end)

    def store(self, found: Mapping[str, np.ndarray], share: float, into: Vectors) -> None:
        """Write its arrays, times the share that their shard has of the images."""
        vector = into[self.kind]
        times = vector.dtype.type(share)
        for label, _, start, end, _ in self.given:
            np.multiply(found[label].reshape(-1), times, out=vector[start:end])
        if self.kind == BFLOAT16:
            rounding.round_in_place(vector[self.cut])

    def add(self, found: Mapping[str, np.ndarray], share: float, to: Vectors) -> None:
        """Add what `store` would write."""
        vector = to[self.kind]
        times, product = vector.dtype.type(share), np.empty(rounding.CHUNK, vector.dtype)
        for label, _, start, end, _ in self.given:
            array, sums = found[label].reshape(-1), vector[start:end]
            for part in rounding.chunks(end - start):
                own = np.multiply(array[part], times, out=product[: part.stop - part.start])
                if self.kind == BFLOAT16:
                    rounding.round_in_place(own)
                    rounding.add(sums[part], own)
                else:
                    sums[part] += own

    def join(self, first: Vectors, second: Vectors) -> None:
        """Add the second sum to the first."""
        one, other = first[self.kind][self.cut], second[self.kind][self.cut]
        if self.kind == BFLOAT16:
            rounding.add(one, other)
        else:
            one += other


@dataclass(frozen=True)
class Layout:
    """Arrays one behind the other, in a vector for each kind: those that are computed first stand first.

    Attributes:
        places: kind -> place of each array, in order.
    """

    places: Mapping[str, Sequence[Place]]

    @classmethod
    def of(
        cls, buffers: Mapping[str, Buffer], rounded: Collection[str] = (), added: Collection[str] = ()
    ) -> Layout:
        """For buffers by their labels.

        Args:
            rounded: names of buffers of float32 that are rounded to bfloat16 wherever they are summed.
            added: labels of those that the program adds up which makes them.
        """
        places: dict[str, list[Place]] = {}
        for label, buffer in buffers.items():
            shape = tuple(int(size or 0) for size in buffer.shape)
            of_kind = places.setdefault(BFLOAT16 if buffer.name in rounded else buffer.dtype, [])
            start = of_kind[-1].end if of_kind else 0
            end = start + int(np.prod(shape, dtype=int))
            of_kind.append(Place(label, shape, start, end, label in added))
        return cls(places)

    def vector(self, kind: str) -> np.ndarray:
        """A new vector."""
        return np.empty(self.places[kind][-1].end, "float32" if kind == BFLOAT16 else kind)

    def cut(self, kind: str, pieces: int) -> list[Piece]:
        """A vector in at most so many pieces of whole arrays, about as long as each other."""
        places = self.places[kind]
        length, found, start = places[-1].end, [], 0
        for number in range(pieces):
            end = next((i for i, p in enumerate(places) if p.end * pieces >= length * (number + 1)), -1) + 1
            if end > start:
                found.append(Piece(kind, tuple(places[start:end])))
                start = end
        return found

    def to_send(self) -> list[Piece]:
        """The pieces in which processes of several machines send the longest vector; none for a short one."""
        lengths = {kind: of_kind[-1].end for kind, of_kind in self.places.items() if kind in TRANSPORTS}
        longest = max(lengths, key=lambda kind: lengths[kind], default=None)
        if longest is None or 4 * lengths[longest] < LEAST:
            return []
        return self.cut(longest, PIECES)

    def whole(self) -> list[Piece]:
        """Each vector in one piece."""
        return [Piece(kind, tuple(places)) for kind, places in self.places.items()]

    def arrays(self, combined: Callable[[str], np.ndarray]) -> Arrays:
        """Label -> array, in the vector of each kind.

        Args:
            combined: kind -> the vector; asked for the longest last.
        """
        return {
            label: vector[start:end].reshape(shape)
            for kind in self.by_length()
            for vector in (combined(kind),)
            for label, shape, start, end, _ in self.places[kind]
        }

    def by_length(self) -> list[str]:
        """The kinds, that of the longest vector last."""
        return sorted(self.places, key=lambda kind: self.places[kind][-1].end)


class Lender:
    """Vectors that are free."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, str], list[np.ndarray]] = {}

    def take(self, layout: Layout, kind: str) -> np.ndarray:
        """A vector, with anything in it."""
        free = self._free.setdefault((id(layout), kind), [])
        return free.pop() if free else layout.vector(kind)

    def give_back(self, layout: Layout, kind: str, vector: np.ndarray) -> None:
        """Nobody looks at it any more."""
        self._free.setdefault((id(layout), kind), []).append(vector)
