"""The processes that train together: who belongs to them, and what each has to agree on before the first step."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from kernelearn import __version__
from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.parallel.exchange import Alone, Exchange, OverMPI

# Shards of a batch where several processes train and nobody says it: 1, 2, 3, 4, 6 and 12 divide it.
DEFAULT_SHARDS = 12
# Set by the starters of MPI programs; each names the number of processes.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_SIZE", "PALS_SIZE")

_current: Exchange = Alone()


def distribute() -> Exchange:
    """Train with all processes that `mpiexec` has started; alone if there are no others.

    Called once, before `compile`. Where `mpiexec` is noticed it need not be called: the first `compile` does.

    Returns: the exchange: `rank`, the number of this process, and `size`, how many there are.
    Raises: MissingDependencyError without mpi4py; ArgumentError where versions or processors differ.
    """
    global _current
    if isinstance(_current, OverMPI):
        return _current
    mpi = require("mpi4py.MPI", "training on several processes")
    world = mpi.COMM_WORLD
    if world.Get_size() > 1:
        _current = OverMPI(world)
        _end_all_with_one(world)
        check_agreement(_current)
    return _current


def exchange() -> Exchange:
    """The processes of this training; those of mpiexec where one has started this process."""
    if isinstance(_current, Alone) and started_by_mpi():
        return distribute()
    return _current


def started_by_mpi() -> bool:
    """Whether a starter of MPI programs has started several processes, this one among them."""
    return any(int(os.environ.get(name, "1") or 1) > 1 for name in _SIZES)


def is_first() -> bool:
    """Whether this is the process that prints and writes."""
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
            "multiple of it."
        )
    return asked


def check_agreement(together: Exchange) -> None:
    """Make sure that all processes compute with the same code for the same processor.

    Raises: ArgumentError naming what differs.
    """
    import numpy as np

    from kernelearn.engine.cpu.machine.target import current_target

    own = {"kernelearn": __version__, "numpy": np.__version__, "processor target": str(current_target().name)}
    for name, value in own.items():
        values = together.all_say(value)
        if len(set(values)) > 1:
            raise ArgumentError(
                f"The processes differ in {name}: {sorted(set(values))}. Weights would differ in their bits. "
                "Install the same everywhere; for processors, set KERNELEARN_CPU_TARGET to the smallest of them."
            )


def agree(what: str, value: Any) -> None:
    """Make sure that all processes were given the same.

    Raises: ArgumentError naming what differs, on every process.
    """
    values = exchange().all_say(value)
    if any(other != values[0] for other in values):
        which = next(rank for rank, other in enumerate(values) if other != values[0])
        raise ArgumentError(f"Process {which} was given another {what} than process 0. Run the same script.")


def _end_all_with_one(world: Any) -> None:
    """Let an error of one process end all: the others would wait for it for ever."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        rank = world.Get_rank()
        text = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(f"\nProcess {rank} of {world.Get_size()} ends the training of all:\n{text}\n")
        sys.stderr.flush()
        world.Abort(1)

    sys.excepthook = hook


@contextlib.contextmanager
def pretending(together: Exchange) -> Iterator[None]:
    """Train with these processes inside: for tests."""
    global _current
    before, _current = _current, together
    try:
        yield
    finally:
        _current = before
