"""The sum over all shards of a vector, sent in pieces: each once it is there, while others are computed.

Every process adds up a slice of each piece for all: it gets that slice of every node of the tree, adds them
in the tree's order, and gives the sum back. So the order of additions does not depend on the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kernelearn.parallel import rounding
from kernelearn.parallel.rounding import packed, unpacked
from kernelearn.parallel.tree import Node, cover, joined, share_of

Vector = np.ndarray[Any, Any]
# (purpose, type, length) -> memory that is there for the next exchange, too.
Scratch = Callable[[str, "np.dtype[Any]", int], Vector]
# Waits for a request of MPI.
Wait = Callable[[Any], None]


@dataclass(frozen=True)
class Plan:
    """Who has what.

    Attributes:
        shards, rank, size: of a batch; of this process and how many there are.
        has_images: whether the shards of a node have any.
        is_rounded: nodes were rounded to bfloat16, and so are sums.
    """

    shards: int
    rank: int
    size: int
    has_images: Callable[[Node], bool]
    is_rounded: bool

    def held(self) -> list[list[Node]]:
        """The nodes that each process has."""
        root = (0, self.shards)
        return [list(cover(root, share_of(rank, self.size, self.shards))) for rank in range(self.size)]


class Sending:
    """The pieces of one vector on their way.

    Args:
        first, second: communicators for parts and for results. Each piece uses them in its turn, on every
            process alike, whenever it is there.
        into: where the sums go; cuts: from where to where each piece lies in it.
    Attributes:
        is_finished: whether nothing is on its way any more.
    """

    def __init__(
        self,
        plan: Plan,
        communicators: tuple[Any, Any],
        scratch: Scratch,
        wait: Wait,
        into: Vector,
        cuts: Sequence[slice],
    ) -> None:
        self._plan, self._scratch, self._into, self._cuts = plan, scratch, into, cuts
        self._wait, self.is_finished = wait, False
        self._out, self._back = communicators
        self._held = plan.held()
        self._pieces: list[_Piece] = []
        self._returning = 0  # pieces whose sums are being given back

    def post(self, nodes: Mapping[Node, Vector | None]) -> None:
        """Send the next piece.

        Args:
            nodes: those of this process, as long as the piece; None for one without images.
        """
        number = len(self._pieces)
        piece = _Piece(self, number, self._into[self._cuts[number]])
        self._pieces.append(piece)
        piece.send([vector for node in self._held[self._plan.rank] if (vector := nodes[node]) is not None])
        self.progress()

    def progress(self, waits: bool = False) -> None:
        """Add up the pieces that have come, in order, and give their sums back.

        Args:
            waits: for those that have not.
        """
        while self._returning < len(self._pieces):
            piece = self._pieces[self._returning]
            if not waits and not piece.request.Test():
                return
            self._wait(piece.request)
            piece.give_back()
            self._returning += 1

    def finish(self) -> Vector:
        """The sums, once all pieces are back."""
        self.progress(waits=True)
        for piece in self._pieces:
            self._wait(piece.request)
            piece.finish()
        self.is_finished = True
        return self._into


class _Piece:
    """One piece: a part of the vector."""

    def __init__(self, sending: Sending, number: int, into: Vector) -> None:
        self.sending, self.number, self.into = sending, number, into
        size, rank = sending._plan.size, sending._plan.rank
        self.bounds = [one * len(into) // size for one in range(size + 1)]
        self.width = self.bounds[rank + 1] - self.bounds[rank]
        self.halved = sending._plan.is_rounded
        self.kind = np.dtype(np.uint16) if self.halved else into.dtype
        has_images = sending._plan.has_images
        self.theirs = [[node for node in part if has_images(node)] for part in sending._held]
        self.incoming = self.scratch("incoming", self.kind, self.width * sum(map(len, self.theirs)))
        self.kept: list[Vector] = []  # memory that a message still reads
        self.request: Any = None

    def scratch(self, purpose: str, kind: np.dtype[Any], length: int) -> Vector:
        """Memory of this piece."""
        return self.sending._scratch(f"{purpose} {self.number}", kind, length)

    def send(self, mine: Sequence[Vector]) -> None:
        """Send each process its slice of the nodes that this one has."""
        sizes = np.diff(self.bounds)
        outgoing = self._outgoing(mine)
        counts = [self.width * len(part) for part in self.theirs]
        self.kept = [outgoing]
        self.request = self.sending._out.Ialltoallv([outgoing, sizes * len(mine)], [self.incoming, counts])

    def _outgoing(self, mine: Sequence[Vector]) -> Vector:
        """The slices of all nodes that this process has, by whom they are for."""
        if len(mine) == 1 and not self.halved:
            return mine[0]  # it lies there in this order
        outgoing, start = self.scratch("outgoing", self.kind, len(mine) * len(self.into)), 0
        for first, behind in pairwise(self.bounds):
            for vector in mine:
                target, start = outgoing[start : start + behind - first], start + behind - first
                if self.halved:
                    packed(vector[first:behind], target)
                else:
                    target[:] = vector[first:behind]
        return outgoing

    def give_back(self) -> None:
        """Add up this process's slice of all nodes, and give it to all."""
        total = self._total()
        if self.halved:
            total = packed(total, self.scratch("sum", self.kind, len(total)))
            target = self.scratch("whole", self.kind, len(self.into))
        else:
            target = self.into
        self.kept = [total, target]
        self.request = self.sending._back.Iallgatherv(total, [target, np.diff(self.bounds)])

    def _total(self) -> Vector:
        """This process's slice of the sum."""
        incoming = self.incoming
        if self.halved:
            incoming = unpacked(incoming, self.scratch("unpacked", self.into.dtype, len(incoming)))
        found: dict[Node, Vector | None] = {node: None for part in self.sending._held for node in part}
        filled = [node for part in self.theirs for node in part]
        found.update((node, incoming[i * self.width : (i + 1) * self.width]) for i, node in enumerate(filled))
        own = self.into[: self.width]
        return summed(self.sending._plan.shards, found, own, self.sending._plan.is_rounded)

    def finish(self) -> None:
        """Put the sum where it belongs."""
        if self.halved:
            unpacked(self.kept[1], self.into)
        self.kept = []


def summed(shards: int, nodes: Mapping[Node, Vector | None], like: Vector, is_rounded: bool) -> Vector:
    """The sum over all shards, from nodes that cover them; they may be written."""
    total = joined((0, shards), nodes, rounding.add if is_rounded else _add)
    return np.zeros_like(like) if total is None else total


def add_behind(nodes: Mapping[Node, Vector | None], behind: Mapping[Node, Vector], is_rounded: bool) -> None:
    """Add to nodes what is still to be added to them."""
    for node, vector in behind.items():
        first = nodes[node]
        assert first is not None
        (rounding.add if is_rounded else _add)(first, vector)


def _add(first: Vector, second: Vector) -> Vector:
    with np.errstate(over="ignore", invalid="ignore"):
        first += second
    return first
