"""How processes end: together. One that fails ends all, since the others would wait for it for ever.

MPI itself ends all when a process is killed. What is left to us are errors, requests to stop, and that no
process spins while it waits for the last one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from kernelearn.errors import KernelearnError

# Where all processes meet the same error, the first one says it; the others wait for it so many seconds.
_PATIENCE = 1.0
# Seconds until what was said has gone through mpiexec, which drops the rest once it ends the processes.
_ON_ITS_WAY = 0.5

_communicator: Any = None
_stopped_with: int | None = None


def end_all_with_one(communicator: Any, wait: Callable[[], object]) -> None:
    """From now on an error of one process ends all, and a process that is done waits for the others.

    Args:
        wait: until all are done.
    """
    global _communicator
    _communicator = communicator
    sys.excepthook = _say_and_end_all
    atexit.register(_wait_for_all, wait)


def label() -> str:
    """ "process 2 of 4: " on another than the first of several, for messages; else nothing."""
    if _communicator is None or _communicator.Get_rank() == 0:
        return ""
    return f"process {_communicator.Get_rank()} of {_communicator.Get_size()}: "


def let_first_speak() -> None:
    """Wait before saying what went wrong: the first process may be about to say the same, and end all."""
    if _communicator is not None and _communicator.Get_rank() > 0:
        time.sleep(_PATIENCE)


def end_all(code: int) -> None:
    """End all processes with an exit code, if there are others."""
    if _communicator is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_ON_ITS_WAY)
        _say_nothing_more()
        _communicator.Abort(code)
        os._exit(code)  # NOTE: MPI's call may come back before its starter ends this process, too


def _say_nothing_more() -> None:
    """What went wrong has been said: MPI's library would add a line of its own about `Abort`."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextlib.contextmanager
def noting_stop() -> Iterator[None]:
    """Remember that this process was asked to stop inside: when its program ends, so do the others.

    A program that goes on to the next one did not stop.
    """
    global _stopped_with
    _stopped_with = None
    try:
        yield
    except KeyboardInterrupt:
        _stopped_with = 130
        raise
    except SystemExit as end:
        _stopped_with = end.code if isinstance(end.code, int) else 1
        raise


def _say_and_end_all(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    let_first_speak()
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(f"\n{label()}an error ends the training of all.\n{text}\n")
    end_all(130 if issubclass(kind, KeyboardInterrupt) else 1)


def _wait_for_all(wait: Callable[[], object]) -> None:
    if _stopped_with is not None:
        end_all(_stopped_with)
    try:
        wait()
    except KernelearnError as error:  # another process waits for this one, which has ended
        let_first_speak()
        sys.stderr.write(f"\n{label()}{error}\n")
        end_all(1)
