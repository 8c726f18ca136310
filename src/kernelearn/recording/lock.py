"""One writer a run folder: a lock that the operating system takes back however its process dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from kernelearn.errors import StorageError

LOCK_NAME = "writer.lock"
_TRIES = 10


class FolderLock:
    """Held from `acquire` to `release` or the end of the process.

    The file says who holds the lock, for messages; that it is there means nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._file = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises: StorageError naming the process that has it.
        """
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock_soon(file):
            os.close(file)
            raise StorageError(
                f"{str(self.path.parent)!r} is being recorded by {_holder(self.path)}. Wait for it, stop it, "
                "or record into another folder."
            )
        self._file = file
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with suppress(OSError):  # what it says is for messages only: a full disk is told elsewhere
            os.ftruncate(file, 0)
            os.write(file, json.dumps(about).encode())

    def release(self) -> None:
        """Give the lock back; twice does no harm."""
        if self._file >= 0:
            # NOTE: the file stays. Were it removed, who has it open could lock a file without a name.
            os.close(self._file)
            self._file = -1


def is_locked(folder: Path) -> bool:
    """Whether some process is recording into a folder now."""
    try:
        file = os.open(folder / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


def _lock_soon(file: int) -> bool:
    """Lock within a fifth of a second: a reader that asks who writes holds the lock for a moment."""
    for _ in range(_TRIES):
        if _try_lock(file):
            return True
        time.sleep(0.02)
    return False


def _try_lock(file: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(path: Path) -> str:
    about: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        about = json.loads(path.read_text())
    return f"process {about.get('pid', 'unknown')} on {about.get('host', 'this machine')}"
