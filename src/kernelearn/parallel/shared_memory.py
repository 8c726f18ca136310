"""The sum over all shards on one machine: each process adds up a slice where the others' sums lie.

Messages between processes of one machine are copied twice, into memory that both see and out of it. Here each
process puts its nodes of the tree there, but for the slice that it adds up itself, and takes the other slices
out: the additions are those of messages (`sending`), in the same order.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.parallel import rounding
from kernelearn.parallel.sending import Plan, Wait, summed
from kernelearn.parallel.tree import Node

Vector = np.ndarray[Any, Any]

# Bytes of a vector from which on it pays: below, messages are as quick.
LEAST = 1 << 16
# Numbers that are added up at once: those of all nodes stay in the cache.
CHUNK = 1 << 14
# Where Linux keeps such memory, and how many times what is wanted has to be free there.
_FOLDER, _RESERVE = "/dev/shm", 1.25
# What MPICH calls its files there, and where the system lists what a process has opened.
_FILES, _OPENED = f"{_FOLDER}/mpich_shm_", Path("/proc/self/maps")


def leave_nothing_behind() -> None:
    """Take the names off the files in which MPICH keeps messages, once all processes have opened them.

    The memory stays until the last process ends. MPICH removes them at its own end, which a process that is
    killed, or that ends all, does not come to: each such job would leave a megabyte a process for ever.
    """
    with contextlib.suppress(OSError):
        lines = _OPENED.read_text().splitlines()
        for path in {line[line.index(_FILES) :] for line in lines if _FILES in line}:
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                os.unlink(path)


class Windows:
    """Memory that all processes of a communicator see, by MPI's own windows.

    Args:
        wait_for: waits for a request of MPI.
    """

    def __init__(self, communicator: Any, wait_for: Wait) -> None:
        self._communicator, self._wait_for = communicator, wait_for
        self._kinds = require("mpi4py.MPI", "training on several processes").Win
        self._window: Any = None

    def has_room(self, size: int) -> bool:
        """Whether every process may have so many bytes; the same answer on all."""
        try:
            there = os.statvfs(_FOLDER)
            free = there.f_bavail * there.f_frsize
        except (AttributeError, OSError):  # no such folder: the system has no limit of its own
            free = 1 << 62
        count = self._communicator.Get_size()
        own, all_of_them = np.array([_RESERVE * size * count <= free]), np.empty(count, bool)
        self._wait_for(self._communicator.Iallgather(own, all_of_them))
        return bool(all_of_them.all())

    def take(self, size: int) -> list[Vector]:
        """So many bytes of each process, in place of those before."""
        self.free()
        self._window = self._kinds.Allocate_shared(size, 1, comm=self._communicator)
        self._window.Lock_all()
        ranks = range(self._communicator.Get_size())
        return [np.frombuffer(self._window.Shared_query(rank)[0], np.uint8) for rank in ranks]

    def free(self) -> None:
        """Give the memory back, on all processes."""
        if self._window is not None:
            self._window.Unlock_all()
            self._window.Free()
            self._window = None

    def wait(self) -> None:
        """Until all are here, and what they wrote is seen."""
        self._window.Sync()
        self._wait_for(self._communicator.Ibarrier())
        self._window.Sync()


class Board:
    """Where the processes of one machine put what they have.

    Args:
        windows: memory that all of them see.
    Attributes:
        least: bytes of a vector that is put there.
    """

    def __init__(self, windows: Windows, least: int = LEAST) -> None:
        self._windows, self.least = windows, least
        self._memory: list[Vector] = []
        self._is_full = False
        self._read = 0  # bytes of the last sum, which others may still be reading

    def fits(self, plan: Plan, into: Vector) -> bool:
        """Whether such vectors can be added up here; the same answer on all processes."""
        if self._is_full or into.nbytes < self.least:
            return False
        size = into.nbytes * (1 + max(map(len, plan.held())))  # the last one is the sum's
        if self._memory and len(self._memory[0]) >= size:
            return True
        self._is_full = not self._windows.has_room(size)
        if not self._is_full:
            self._memory, self._read = [], 0
            self._memory = self._windows.take(size)
        return not self._is_full

    def free(self) -> None:
        """Give the memory back, on all processes."""
        self._memory, self._read = [], 0
        self._windows.free()

    def combine(
        self,
        plan: Plan,
        nodes: Mapping[Node, Vector | None],
        into: Vector,
        stays: bool,
        behind: Mapping[Node, Vector],
    ) -> Vector:
        """The sum over all shards, on every process; see `Exchange.combine`."""
        held, length = plan.held(), len(into)
        self._leave_alone_what_is_read(into.nbytes * max(map(len, held)))
        places = {
            node: self._vector(rank, number, into)
            for rank, part in enumerate(held)
            for number, node in enumerate(part)
            if plan.has_images(node)
        }
        first, end = (rank * length // plan.size for rank in (plan.rank, plan.rank + 1))
        of_others = slice(0, first), slice(end, length)
        mine = {node: vector for node, vector in nodes.items() if vector is not None}
        for node, vector in mine.items():
            for part in of_others:
                _put(plan, vector[part], behind[node][part] if node in behind else None, places[node][part])
        total = self._sum(into)
        self._windows.wait()
        # What this process adds up it has itself, of its own nodes.
        every = {node: mine.get(node, places.get(node)) for one in held for node in one}
        for start in range(first, end, CHUNK):
            part = slice(start, min(start + CHUNK, end))
            _sum_into(plan, every, behind, part, total[part])
            if stays:
                np.copyto(into[part], total[part])
        self._windows.wait()
        if not stays:  # others write there when all have come to the next sum
            return total
        for part in of_others:
            np.copyto(into[part], total[part])
        return into

    def _leave_alone_what_is_read(self, size: int) -> None:
        """Wait where nodes of so many bytes would lie where the last sum does, which is at the end."""
        if self._memory and size > len(self._memory[0]) - self._read:
            self._windows.wait()

    def _sum(self, like: Vector) -> Vector:
        """Where the sum goes: to the end, so that it can be read while the next nodes are written."""
        self._read = like.nbytes
        return self._memory[0][len(self._memory[0]) - like.nbytes :].view(like.dtype)

    def _vector(self, rank: int, number: int, like: Vector) -> Vector:
        """A vector of a process."""
        start = number * like.nbytes
        return self._memory[rank][start : start + like.nbytes].view(like.dtype)


def _sum_into(
    plan: Plan, nodes: Mapping[Node, Vector | None], behind: Mapping[Node, Vector], part: slice, into: Vector
) -> None:
    """A part of the sum: of what it reads it writes nothing that would have to go to memory."""
    there = [node for node, vector in nodes.items() if vector is not None]
    found: dict[Node, Vector | None] = dict.fromkeys(nodes)
    for number, node in enumerate(there):
        vector, second = nodes[node], behind.get(node)
        assert vector is not None
        if number == 0 or second is not None:  # all others are added to the first
            target = into if number == 0 else np.empty_like(into)
            _put(plan, vector[part], None if second is None else second[part], target)
            found[node] = target
        else:
            found[node] = vector[part]
    total = summed(plan.shards, found, into, plan.is_rounded)
    if not there:
        np.copyto(into, total)


def _put(plan: Plan, first: Vector, second: Vector | None, into: Vector) -> None:
    """Write a sum, or its only part, to where others see it."""
    if second is None:
        np.copyto(into, first)
    elif plan.is_rounded:
        np.copyto(into, rounding.add(first, second))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            np.add(first, second, out=into)


def board_of(communicator: Any, wait_for: Wait) -> Board | None:
    """A board for all processes of a communicator; None where some see other memory than others.

    Args:
        wait_for: waits for a request of MPI.
    """
    kind = require("mpi4py.MPI", "training on several processes").COMM_TYPE_SHARED
    here = communicator.Split_type(kind)
    are_all = all(communicator.allgather(here.Get_size() == communicator.Get_size()))
    return Board(Windows(here, wait_for)) if are_all else None
