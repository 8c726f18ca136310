"""Waiting for other processes, one of which may have given up what all do together.

An error that leaves shared work on one process alone is told to the others at once. Whoever waits for that
process inside of the same work then ends with an error that names it, instead of waiting for ever.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kernelearn.errors import ProcessError

# Looks at once before a process falls asleep between them, and seconds of that sleep where all are at work:
# MPI itself would spin.
_AT_ONCE, _ASLEEP = 2000, 0.0001
# Seconds that a process that gave up has to end all with its own message, and what it sent has to arrive.
PATIENCE = 3.0
# Bytes of a notice, and letters of an error's name and text in there: one takes up to twelve bytes.
_LENGTH, _NAME, _TEXT = 4096, 60, 240


class Notice(NamedTuple):
    """That a process gave up: the number of the work, its rank, what it met, an exit code it asked for."""

    work: int
    rank: int
    error: str
    text: str
    code: int | None = None

    @classmethod
    def of(cls, work: int, rank: int, error: BaseException) -> Notice:
        """What an error says."""
        code = error.code if isinstance(error, SystemExit) else None
        return cls(work, rank, type(error).__name__[:_NAME], _text_of(error)[:_TEXT], _exit_code(code))

    def packed(self) -> np.ndarray:
        """As bytes of a fixed number."""
        said = json.dumps(self).encode()
        return np.frombuffer(said.ljust(_LENGTH), np.uint8).copy()

    @classmethod
    def unpacked(cls, said: np.ndarray) -> Notice:
        """From such bytes."""
        return cls(*json.loads(said.tobytes()))

    def raised(self) -> BaseException:
        """What ends the same work here: the same request to stop, else an error that names the process."""
        if self.error == "KeyboardInterrupt":
            return KeyboardInterrupt(f"process {self.rank} was interrupted")
        if self.error == "SystemExit":
            return SystemExit(self.code)
        what = f"{self.error}: {self.text.rstrip('.')}" if self.text else self.error
        return ProcessError(
            f"Process {self.rank} gave up what all processes do together, with {what}. Let such an error end "
            "the script; or catch it, and ProcessError with it, on all processes alike, and go on with the "
            "same fit, evaluate, predict or train_on_batch."
        )


def _text_of(error: BaseException) -> str:
    """What an error says. One whose own code fails at that is told to the others all the same: they
    would wait for ever."""
    try:
        return str(error)
    except Exception:
        return "its text cannot be read"


def _exit_code(code: object) -> int | None:
    """The code of a SystemExit as a number, as the interpreter takes it."""
    return code if code is None or isinstance(code, int) else 1


def looks_at(request: Any, asleep: float) -> Iterator[None]:
    """Until a request of MPI is answered, once behind each sleep of so many seconds between two looks."""
    looks = 0
    while not request.Test():
        looks += 1
        if looks > _AT_ONCE:
            time.sleep(asleep)
            yield


class Watch:
    """What this process hears from others that gave up.

    Args:
        communicator: for notices alone.
    Attributes:
        work: number of what all do together now; the same on all processes.
    """

    def __init__(self, communicator: Any) -> None:
        self._communicator = communicator
        self._heard: list[Notice] = []
        self._sent: list[Any] = []
        self._unanswered: list[Any] = []  # what nobody answers any more, and memory that MPI may still write
        self.work = 0

    def say(self, error: BaseException) -> None:
        """Tell all others that this process gave up."""
        rank, size = self._communicator.Get_rank(), self._communicator.Get_size()
        said = Notice.of(self.work, rank, error).packed()
        self._sent += [self._communicator.Isend(said, other) for other in range(size) if other != rank]

    def wait_for(self, request: Any) -> None:
        """Wait until a request is answered, asleep after a while.

        Raises: what `Notice.raised` gives, once another process has given up and some time has gone by.
        """
        since = 0.0
        try:
            for _ in looks_at(request, _ASLEEP):
                since = since or time.monotonic()
                if (notice := self._notice()) is not None and time.monotonic() - since > PATIENCE:
                    raise notice.raised()
        except BaseException:
            self.keep(request)
            raise

    def keep(self, unanswered: Any) -> None:
        """Keep a request, or what holds one, for ever."""
        self._unanswered.append(unanswered)

    def _notice(self) -> Notice | None:
        """The first one about the work of now."""
        while self._communicator.Iprobe():
            said = np.empty(_LENGTH, np.uint8)
            self._communicator.Recv(said)
            self._heard.append(Notice.unpacked(said))
        self._heard = [notice for notice in self._heard if notice.work >= self.work]
        return next((notice for notice in self._heard if notice.work == self.work), None)
