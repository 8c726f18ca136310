"""How processes exchange what shards gave: not at all, or by MPI.

Only the order of additions decides the bits, and that is the tree's. Nothing is reduced by MPI itself, whose
order depends on the number of processes and on the size of messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from kernelearn.parallel.tree import Node, cover, joined, share_of

Vector = np.ndarray[Any, Any]


class Exchange(Protocol):
    """Some processes that train one model.

    Attributes:
        rank, size: number of this process, and how many there are.
    """

    rank: int
    size: int

    def combine(self, shards: int, nodes: Mapping[Node, Vector | None], like: Vector) -> Vector:
        """The sum over all shards, on every process, from the nodes that this one holds.

        Args:
            nodes: those of `cover` for the shards of this process; None for one without images.
            like: a vector of the length and type of them.
        """

    def in_order(self, part: Vector) -> Vector:
        """Rows of all processes, one behind the other, on every process."""

    def told(self, value: Any) -> Any:
        """What the first process says, on every process: JSON values and strings."""

    def all_say(self, value: Any) -> list[Any]:
        """What every process says, on every process."""


class Alone:
    """A single process that computes all shards."""

    rank, size = 0, 1

    def combine(self, shards: int, nodes: Mapping[Node, Vector | None], like: Vector) -> Vector:
        """The sum over all shards."""
        return _sum(shards, nodes, like)

    def in_order(self, part: Vector) -> Vector:
        """The rows as they are."""
        return part

    def told(self, value: Any) -> Any:
        """The value."""
        return value

    def all_say(self, value: Any) -> list[Any]:
        """The value."""
        return [value]


class OverMPI:
    """The processes of a communicator of mpi4py.

    Each process adds up one slice of the vectors for all: it gets that slice of every node, adds them in the
    order of the tree, and gives the sum back. Twice the numbers of a vector travel, whatever the number of
    shards, where the shares of the processes are nodes of the tree.
    """

    def __init__(self, communicator: Any) -> None:
        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()

    def combine(self, shards: int, nodes: Mapping[Node, Vector | None], like: Vector) -> Vector:
        """The sum over all shards, on every process."""
        root = (0, shards)
        held = [list(cover(root, share_of(rank, self.size, shards))) for rank in range(self.size)]
        is_there = [node for part in self.communicator.allgather(_filled(nodes)) for node in part]
        bounds = [rank * len(like) // self.size for rank in range(self.size + 1)]
        own = slice(bounds[self.rank], bounds[self.rank + 1])
        found = self._slices(held, set(is_there), nodes, bounds, like)
        total = _sum(shards, found, like[own])
        result = np.empty_like(like)
        self.communicator.Allgatherv(total, [result, np.diff(bounds)])
        return result

    def _slices(
        self,
        held: Sequence[Sequence[Node]],
        is_there: set[Node],
        nodes: Mapping[Node, Vector | None],
        bounds: Sequence[int],
        like: Vector,
    ) -> dict[Node, Vector | None]:
        """This process's slice of the nodes of all processes."""
        mine = [vector for node in held[self.rank] if (vector := nodes[node]) is not None]
        sizes = np.diff(bounds)
        given = [vector[a:b] for a, b in pairwise(bounds) for vector in mine]
        outgoing = np.concatenate(given) if given else like[:0]
        theirs = [[node for node in part if node in is_there] for part in held]
        width = int(sizes[self.rank])
        incoming = np.empty(width * sum(map(len, theirs)), like.dtype)
        counts = [width * len(part) for part in theirs]
        self.communicator.Alltoallv([outgoing, sizes * len(mine)], [incoming, counts])
        found: dict[Node, Vector | None] = {node: None for part in held for node in part}
        pieces = incoming.reshape(-1, width) if width else [incoming] * sum(map(len, theirs))
        found.update(zip((node for part in theirs for node in part), pieces))
        return found

    def in_order(self, part: Vector) -> Vector:
        """Rows of all processes, one behind the other, on every process."""
        part = np.ascontiguousarray(part)
        rows = self.communicator.allgather(len(part))
        result = np.empty((sum(rows), *part.shape[1:]), part.dtype)
        each = int(np.prod(part.shape[1:], dtype=int))
        self.communicator.Allgatherv(part, [result, [count * each for count in rows]])
        return result

    def told(self, value: Any) -> Any:
        """What the first process says, on every process."""
        return self.communicator.bcast(value, root=0)

    def all_say(self, value: Any) -> list[Any]:
        """What every process says, on every process."""
        return list(self.communicator.allgather(value))


def _filled(nodes: Mapping[Node, Vector | None]) -> list[Node]:
    return [node for node, vector in nodes.items() if vector is not None]


def _sum(shards: int, nodes: Mapping[Node, Vector | None], like: Vector) -> Vector:
    total = joined((0, shards), nodes, np.add)
    return np.zeros_like(like) if total is None else total
