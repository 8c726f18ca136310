"""The processes that train together: who belongs to them, and how many shards a batch has."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, MissingDependencyError
from kernelearn.parallel import ending, meeting
from kernelearn.parallel.exchange import Alone, Exchange, OverMPI
from kernelearn.parallel.meeting_point import END
from kernelearn.parallel.shared_memory import leave_nothing_behind

# Shards of a batch where several processes train and nobody says it: 1, 2, 3, 4, 6 and 12 divide it.
DEFAULT_SHARDS = 12
# Share of the processes' time that is not worth a word.
NOTABLE = 0.1
# Set by the starters of MPI programs; each names the number of processes.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "PALS_SIZE", "MPI_LOCALNRANKS")
# The process that has joined: what it starts inherits the variables above and is no part of the training.
_MEMBER = "KERNELEARN_MPI_MEMBER"

_NOBODY_YET = Alone()
_current: Exchange = _NOBODY_YET


def distribute() -> Exchange:
    """Train with all processes that `mpiexec` has started; alone where there are no others.

    Called once, before `compile`. Where a variable of the environment says that `mpiexec` has started several
    processes it need not be called: the first `compile` does.

    Returns: the exchange: `rank`, the number of this process, and `size`, how many there are.
    Raises: MissingDependencyError without mpi4py or an MPI library; ArgumentError where the processes have
        different versions or processors, or where mpi4py belongs to another MPI than `mpiexec`.

    >>> distribute().size
    1
    """
    global _current
    if isinstance(_current, OverMPI):
        return _current
    communicator = _all_processes()
    if communicator.Get_size() == 1:
        leave_nothing_behind()  # one process alone has such a file, too
    if communicator.Get_size() > 1:
        together = OverMPI(communicator.Dup())
        ending.end_all_with_one(communicator, lambda: together.meet(END))
        meeting.check_agreement(together)
        leave_nothing_behind()
        meeting.share_cpus(together)
        if not together.spans_machines:
            together.make_board()
        os.environ[_MEMBER] = str(os.getpid())
        _current = together
    elif _started() > 1:
        raise ArgumentError(
            f"mpiexec has started {_started()} processes, but each is alone: mpi4py uses another MPI "
            "than mpiexec belongs to. Start with the mpiexec of the MPI that mpi4py loads (python -m mpi4py "
            "--mpi-library names it)."
        )
    return _current


def _all_processes() -> Any:
    try:
        return require("mpi4py.MPI", "training on several processes").COMM_WORLD
    except RuntimeError as error:  # what mpi4py raises where there is no libmpi
        raise MissingDependencyError(
            f"mpi4py found no MPI library ({error}). Install one: pip install mpich, or that of the cluster."
        ) from error


def exchange() -> Exchange:
    """The processes of this training; those of mpiexec where one has started this process.

    Every step of a training asks, so the environment is looked at once.
    """
    global _current
    if _current is _NOBODY_YET:
        _current = distribute() if started_by_mpi() else Alone()
    return _current


def started_by_mpi() -> bool:
    """Whether a starter of MPI programs has started several processes, this one among them."""
    return _started() > 1 and os.environ.get(_MEMBER, str(os.getpid())) == str(os.getpid())


def _started() -> int:
    """Processes that the environment speaks of."""
    texts = (os.environ.get(name, "") for name in _SIZES)
    return max((int(text) for text in texts if text.isdecimal()), default=1)


def is_first() -> bool:
    """Whether this is the process that prints and writes: True where a process trains alone."""
    return exchange().rank == 0


def shards_of(asked: int | None) -> int:
    """Shards of a batch: as asked for, else one, or the usual number where several processes train.

    Raises: ArgumentError for fewer shards than processes.
    """
    size = exchange().size
    if asked is None:
        return 1 if size == 1 else max(DEFAULT_SHARDS, size)
    if asked < size:
        raise ArgumentError(
            f"shards={asked} leaves some of the {size} processes without work: give at least {size}, best a "
            "multiple of it, or start fewer processes."
        )
    return asked


def warn_of_waiting(shards: int) -> None:
    """Say on the first process where shards do not divide among the processes, and some wait for others."""
    size = exchange().size
    most = -(-shards // size)
    idle = 1 - shards / (most * size)
    if idle >= NOTABLE and is_first():
        warnings.warn(
            f"{size} processes share {shards} shards: some compute {most} and others {shards // size}, so "
            f"that {100 * idle:.0f} % of their time is waiting. compile(shards={most * size}), or --shards "
            f"{most * size}, divides evenly; another number gives weights with other bits.",
            UserWarning,
            stacklevel=4,
        )


@contextlib.contextmanager
def apart() -> Iterator[Exchange]:
    """Let each process train alone inside, other models than the others; what it gives still reaches them.

    What is trained inside has the same bits on any process. `is_first` is True on each.
    """
    together = exchange()
    with pretending(Alone()):
        yield together


@contextlib.contextmanager
def pretending(together: Exchange) -> Iterator[None]:
    """Train with these processes inside."""
    global _current
    before, _current = _current, together
    try:
        yield
    finally:
        _current = before
