"""How processes exchange what shards gave: not at all, or by MPI.

Only the order of additions decides the bits, and that is the tree's. Nothing is reduced by MPI itself, whose
order depends on the number of processes and on the size of messages.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from kernelearn.errors import KernelearnError, ProcessError
from kernelearn.parallel import meeting_point
from kernelearn.parallel.meeting_point import MESSAGE
from kernelearn.parallel.sending import Plan, Sending, add_behind, summed
from kernelearn.parallel.shared_memory import Board, board_of
from kernelearn.parallel.tree import Node
from kernelearn.parallel.waiting import Watch

Vector = np.ndarray[Any, Any]

NOTHING: Mapping[Node, Vector] = {}
# Bytes of a message's first piece, and of its length in there.
_HEAD, _LENGTH = 256, 8


class Exchange(Protocol):
    """Some processes that train one model.

    Attributes:
        rank, size: number of this process, and how many there are.
        spans_machines: whether messages go over a network, while processors compute.
        breaks: how often work that all did together was given up by some, so that they may differ now.
    """

    rank: int
    size: int
    spans_machines: bool
    breaks: int

    def meet(self, purpose: str, what: bytes = b"") -> bool:
        """Wait for the others before something that all do together; whether all are here for the same.

        Where some are not, a process that evaluates or predicts does so alone, and one whose purpose needs
        the others waits for the next time.

        Args:
            purpose: one of those of `meeting_point`.
            what: digest of what it is done with.
        Raises: ArgumentError where processes need each other for different things, and for a training that
            begins inside of another.
        """

    def busy(self) -> AbstractContextManager[None]:
        """Inside, all processes do the same and need not meet for each message.

        An error that leaves it is told to the others, who raise ProcessError where they wait for this one.
        """

    def combine(
        self,
        shards: int,
        nodes: Mapping[Node, Vector | None],
        into: Vector,
        has_images: Callable[[Node], bool],
        is_rounded: bool = False,
        stays: bool = True,
        behind: Mapping[Node, Vector] = NOTHING,
    ) -> Vector:
        """The sum over all shards, on every process, from the nodes that this one holds.

        Args:
            nodes: those of `cover` for the shards of this process; None for one without images. They may be
                written.
            into: a vector of the length and type of them; it may be written, and be the result.
            has_images: whether the shards of a node have any, whoever holds it.
            is_rounded: the nodes were rounded to bfloat16, and so are sums: see `rounding`.
            stays: whether the result is still read when others are combined; it may be memory of all
                processes if not, and nobody writes it.
            behind: of some nodes, what is still to be added to the vector above; it may be written.
        """

    def sending(
        self,
        shards: int,
        into: Vector,
        cuts: Sequence[slice],
        has_images: Callable[[Node], bool],
        is_rounded: bool = False,
    ) -> Sending:
        """The same in pieces, each as soon as it is there; arguments as of `combine`. For several processes.

        Args:
            cuts: from where to where each piece lies in the vector.
        """

    def in_order(self, part: Vector, rows: Sequence[int] | None = None) -> Vector:
        """Rows of all processes, one behind the other, on every process.

        Args:
            rows: of each process, where all know that.
        """

    def told(self, value: Any) -> Any:
        """What the first process says, on every process: JSON values and strings."""

    def all_say(self, value: Any) -> list[Any]:
        """What every process says, on every process."""


class Alone:
    """A single process that computes all shards."""

    rank, size, spans_machines, breaks = 0, 1, False, 0

    def meet(self, purpose: str, what: bytes = b"") -> bool:
        """False: nobody shares the work."""
        return False

    def busy(self) -> AbstractContextManager[None]:
        """Nothing to do."""
        return contextlib.nullcontext()

    def combine(
        self,
        shards: int,
        nodes: Mapping[Node, Vector | None],
        into: Vector,
        has_images: Callable[[Node], bool],
        is_rounded: bool = False,
        stays: bool = True,
        behind: Mapping[Node, Vector] = NOTHING,
    ) -> Vector:
        """The sum over all shards."""
        add_behind(nodes, behind, is_rounded)
        return summed(shards, nodes, into, is_rounded)

    def sending(
        self,
        shards: int,
        into: Vector,
        cuts: Sequence[slice],
        has_images: Callable[[Node], bool],
        is_rounded: bool = False,
    ) -> Sending:
        """Refused: there is nobody to send to."""
        raise KernelearnError("A single process sends nothing: call combine.")

    def in_order(self, part: Vector, rows: Sequence[int] | None = None) -> Vector:
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

    Of a vector that is combined twice the numbers travel, whatever the number of shards, where the shares of
    the processes are nodes of the tree: see `sending`.

    Attributes:
        board: where processes of one machine add up what is long; None where there are other machines.
    """

    def __init__(self, communicator: Any) -> None:
        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self.spans_machines = False
        self.breaks = 0
        self._memory: dict[str, Vector] = {}
        self._meetings, self._returning = communicator.Dup(), communicator.Dup()
        self._watch = Watch(communicator.Dup())
        self._on_their_way: list[Sending] = []
        self._is_busy = self._is_broken = False
        self.board: Board | None = None

    def meet(self, purpose: str, what: bytes = b"") -> bool:
        """Whether all are here for the same; True at once while all are busy with what they met for."""
        if self._is_busy:
            meeting_point.check_inside(purpose)
            return purpose == MESSAGE
        own = meeting_point.Said(purpose, meeting_point.digest(what), self._watch.work, self._is_broken)
        while True:
            try:
                said = meeting_point.all_here(self._meetings, self.size, own, self._watch.keep)
            except BaseException as error:
                self._watch.work += 1  # what the others begin, once they are here
                self._give_up(error)
                raise
            if all(one.topic == own.topic for one in said):
                self._begin(said)
                return True
            if purpose in meeting_point.ALONE:
                return False
            meeting_point.check(said)

    def _give_up(self, error: BaseException) -> None:
        """Take no part any more in what all do together."""
        self._is_broken = True
        if not isinstance(error, ProcessError):  # else the others have heard it from where it began
            self._watch.say(error)

    def _begin(self, said: Sequence[meeting_point.Said]) -> None:
        """Begin what all have met for; anew, where some gave up what was before."""
        self._watch.work = 1 + max(one.work for one in said)
        if any(one.is_broken for one in said):
            self._renew()

    def _renew(self) -> None:
        """Messages that some never sent leave the others unanswered: go on with other communicators."""
        self._watch.keep((self.communicator, self._returning, self._memory, self._on_their_way))
        self.communicator, self._returning = self._meetings.Dup(), self._meetings.Dup()
        self._memory, self._on_their_way = {}, []
        self.breaks, self._is_broken = self.breaks + 1, False
        if self.board is not None:
            self.board.free()
            self.make_board(self.board.least)

    def make_board(self, least: int | None = None) -> None:
        """Let processes of one machine add up in memory that all of them see.

        Args:
            least: bytes of a vector from which on they do; None for what is best.
        """
        self.board = board_of(self.communicator, self._watch.wait_for)
        if self.board is not None and least is not None:
            self.board.least = least

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Inside, all processes do the same."""
        before, self._is_busy = self._is_busy, True
        try:
            yield
        except BaseException as error:
            if not before:
                self._give_up(error)
            raise
        finally:
            self._is_busy = before

    def combine(
        self,
        shards: int,
        nodes: Mapping[Node, Vector | None],
        into: Vector,
        has_images: Callable[[Node], bool],
        is_rounded: bool = False,
        stays: bool = True,
        behind: Mapping[Node, Vector] = NOTHING,
    ) -> Vector:
        """The sum over all shards, on every process."""
        self.meet(MESSAGE)
        plan = Plan(shards, self.rank, self.size, has_images, is_rounded)
        if self.board is not None and self.board.fits(plan, into):
            return self.board.combine(plan, nodes, into, stays, behind)
        add_behind(nodes, behind, is_rounded)
        sending = self._sending(plan, into, [slice(0, len(into))])
        sending.post(nodes)
        return sending.finish()

    def sending(
        self,
        shards: int,
        into: Vector,
        cuts: Sequence[slice],
        has_images: Callable[[Node], bool],
        is_rounded: bool = False,
    ) -> Sending:
        """The same in pieces."""
        self.meet(MESSAGE)
        return self._sending(Plan(shards, self.rank, self.size, has_images, is_rounded), into, cuts)

    def _sending(self, plan: Plan, into: Vector, cuts: Sequence[slice]) -> Sending:
        communicators, wait = (self.communicator, self._returning), self._watch.wait_for
        sending = Sending(plan, communicators, self._scratch, wait, into, cuts)
        self._on_their_way = [one for one in self._on_their_way if not one.is_finished] + [sending]
        return sending

    def _scratch(self, purpose: str, kind: np.dtype[Any], length: int) -> Vector:
        """Memory that is there for the next exchange, too: new pages would cost as much as what is sent."""
        size = length * kind.itemsize
        found = self._memory.get(purpose)
        if found is None or len(found) < size:
            found = self._memory[purpose] = np.empty(size, np.uint8)
        return found[:size].view(kind)

    def in_order(self, part: Vector, rows: Sequence[int] | None = None) -> Vector:
        """Rows of all processes, one behind the other, on every process."""
        self.meet(MESSAGE)
        part = np.ascontiguousarray(part)
        rows = self.all_say(len(part)) if rows is None else rows
        result = np.empty((sum(rows), *part.shape[1:]), part.dtype)
        each = int(np.prod(part.shape[1:], dtype=int))
        counts = [count * each for count in rows]
        self._watch.wait_for(self.communicator.Iallgatherv(part, [result, counts]))
        return result

    def told(self, value: Any) -> Any:
        """What the first process says, on every process."""
        self.meet(MESSAGE)
        said = pickle.dumps(value) if self.rank == 0 else b""
        head = _head_of(said)
        self._watch.wait_for(self.communicator.Ibcast(head, root=0))
        length = int(head[:_LENGTH].view(np.int64)[0])
        if length <= len(head) - _LENGTH:
            text = head[_LENGTH : _LENGTH + length]
        else:
            text = np.frombuffer(bytearray(said), np.uint8) if self.rank == 0 else np.empty(length, np.uint8)
            self._watch.wait_for(self.communicator.Ibcast(text, root=0))
        return value if self.rank == 0 else pickle.loads(text.tobytes())

    def all_say(self, value: Any) -> list[Any]:
        """What every process says, on every process."""
        self.meet(MESSAGE)
        said = pickle.dumps(value)
        heads = np.empty((self.size, _HEAD), np.uint8)
        self._watch.wait_for(self.communicator.Iallgather(_head_of(said), heads))
        lengths = heads[:, :_LENGTH].copy().view(np.int64)[:, 0].tolist()
        if max(lengths) <= _HEAD - _LENGTH:
            return [pickle.loads(h[_LENGTH : _LENGTH + n].tobytes()) for h, n in zip(heads, lengths)]
        whole = np.empty(sum(lengths), np.uint8)
        own = np.frombuffer(said, np.uint8)
        self._watch.wait_for(self.communicator.Iallgatherv(own, [whole, lengths]))
        ends = np.cumsum(lengths).tolist()
        return [pickle.loads(whole[end - n : end].tobytes()) for end, n in zip(ends, lengths)]


def _head_of(said: bytes) -> Vector:
    """The length of a message, and all of a short one: most are, and go in one piece."""
    head = np.zeros(_HEAD, np.uint8)
    head[:_LENGTH] = np.frombuffer(np.int64(len(said)).tobytes(), np.uint8)
    if len(said) <= _HEAD - _LENGTH:
        head[_LENGTH : _LENGTH + len(said)] = np.frombuffer(said, np.uint8)
    return head
