"""One writer a folder: a lock that the operating system takes back however its process dies.

A recorded run and the folder of `kernelearn train` are each held by one; readers need none.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from kernelearn.errors import StorageError
from kernelearn.storage import storage_error

LOCK_NAME = "writer.lock"
_TRIES = 10
# What a system call says where somebody else has the lock; anything else means that there are no locks here.
_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class FolderLock:
    """Held from `acquire` to `release` or the end of the process; a `with` block does both.

    The file says who holds the lock, for messages; that it is there means nothing, so what a killed process
    leaves is no obstacle. On a network file system the lock counts between machines as far as the server
    passes it on (NFS from version 4 on does); a file system without locks gives a warning and is not guarded.

    Args:
        folder: that one process at a time may write; it must be there.
        use: what its holder does with the folder, a participle for the message.
        remedy: what else a second one can do, for the message.
    """

    def __init__(
        self, folder: Path, use: str = "recorded", remedy: str = "record into another folder"
    ) -> None:
        self.path = folder / LOCK_NAME
        self._use, self._remedy = use, remedy
        self._file = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises: StorageError naming the process that has it, or if its file cannot be made.
        """
        file = self._lock_soon()
        if file is None and _HOLDERS and _is_own(self.path):
            for leave in _HOLDERS:
                leave(self.path.parent)
            file = self._lock_soon()
        if file is None:
            raise StorageError(
                f"{str(self.path.parent)!r} is being {self._use} by {_holder(self.path)}. Wait for it, stop "
                f"it, or {self._remedy}."
            )
        self._file = file
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with suppress(OSError):  # what it says is for messages only: a full disk is told elsewhere
            os.ftruncate(file, 0)
            os.write(file, json.dumps(about).encode())

    def release(self) -> None:
        """Give the lock back and remove its file; twice does no harm."""
        if self._file >= 0:
            # Removed while it is held: who opened it before sees in `_is_named` that it is no lock any more.
            with suppress(OSError):  # Windows removes no open file: there it stays
                self.path.unlink()
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _lock_soon(self) -> int | None:
        """The locked file, within a fifth of a second: a reader that asks holds the lock for a moment."""
        for _ in range(_TRIES):
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise storage_error(error, self.path.parent) from error
            if _try_lock(file) and _is_named(file, self.path):
                return file
            os.close(file)
            time.sleep(0.02)
        return None


def when_locked_here(leave: Callable[[Path], None]) -> None:
    """Have a function called with a folder that this process holds and wants to lock once more.

    It may end what holds it, where that is only left over from something that failed.
    """
    _HOLDERS.append(leave)


_HOLDERS: list[Callable[[Path], None]] = []


def is_locked(folder: Path) -> bool:
    """Whether some process is writing a folder now."""
    try:
        file = os.open(folder / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(file, can_warn=False)
    finally:
        os.close(file)


def _is_named(file: int, path: Path) -> bool:
    """Whether an open file is still the one of this name; one that was removed meanwhile guards nothing."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _try_lock(file: int, can_warn: bool = True) -> bool:
    try:
        _lock(file)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if can_warn:
            warnings.warn(
                f"The file system has no locks ({error.strerror or error}): nothing keeps a second process "
                "from writing the same folder. See to it that none does.",
                UserWarning,
                stacklevel=2,
            )
    return True


def _lock(file: int) -> None:
    """Lock an open file or raise at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(path: Path) -> str:
    about = _about_holder(path)
    return f"process {about.get('pid', 'unknown')} on {about.get('host', 'this machine')}"


def _is_own(path: Path) -> bool:
    """Whether this process holds a lock that it cannot take."""
    about = _about_holder(path)
    return (about.get("pid"), about.get("host")) == (os.getpid(), socket.gethostname())


def _about_holder(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        about = json.loads(path.read_text())
    return about
