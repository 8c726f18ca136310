"""Files that are whole or absent: atomic writing, leftovers of killed processes, checks before a long run.

All that the package saves goes through `atomic_write`; training calls `check_writable` before its first step.
"""

import errno
import itertools
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from kernelearn.errors import StorageError

PathLike = str | os.PathLike[str]

# What can go wrong with the disk while bytes are written; other errors inside the block are the caller's own.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DAY = 24 * 3600.0

# `.NAME.HOST-PID-COUNT.tmp`: a later process can tell that the one that made it is gone.
_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-\d+\.kernelearn-tmp")
_counter = itertools.count()
_lock = threading.Lock()
_active: set[Path] = set()
_cleaned: set[Path] = set()


@contextmanager
def atomic_write(path: PathLike) -> Iterator[BinaryIO]:
    """Write a file so that, whatever happens, either the old content or the new one is there, whole.

    The block writes into a temporary file in the same folder. When it ends, the file is flushed to the disk
    and renamed over `path`. When it fails, also by Ctrl-C, the temporary file is removed and `path` stays as
    it was. Missing folders are made; a symbolic link stays and the file behind it is replaced; permissions
    are kept.

    Yields: a binary file open for writing and reading.
    Raises: StorageError if the folder cannot be written or the disk is full.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"1 2 3")
    >>> path.read_bytes()
    b'1 2 3'
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise StorageError(
            f"Cannot write the file {str(path)!r}: a folder of that name exists. Choose another name."
        )
    with gone_if_unused(target.parent), _written(target) as file:
        yield file


@contextmanager
def gone_if_unused(folder: PathLike) -> Iterator[Path]:
    """Make a folder and its parents for what the block writes; when it fails, the empty ones go again.

    Yields: the folder.
    Raises: StorageError as `make_folder`.
    """
    folder = Path(folder)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield make_folder(folder)
    except BaseException:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        raise


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    _clean_once(target.parent)
    temporary = _temporary_path(target)
    file = _open_new(temporary, target)
    try:
        yield file
        _to_disk(file)
        file.close()
        _copy_permissions(target, temporary)
        os.replace(temporary, target)
        _folder_to_disk(target.parent)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise storage_error(error, target) from error
        raise
    finally:
        _discard(file, temporary)


def absolute(path: PathLike) -> Path:
    """Where a path leads, links followed, from the root; a circle of links leads to its own place.

    `Path.resolve` raises RuntimeError for such a circle, where those who open the path give a reason.
    """
    return Path(os.path.realpath(path))


def make_folder(folder: PathLike) -> Path:
    """Make a folder and its parents unless it is there.

    Raises: StorageError if a file stands in the way or it cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError(
            f"{str(folder)!r} should be a folder, but a file is in the way. Choose another place."
        ) from error
    except OSError as error:
        raise storage_error(error, folder) from error
    return folder


def check_writable(folder: PathLike, needed_bytes: int = 0) -> None:
    """Make sure, before a long run, that what it will save can be saved; makes the folder if it is missing.

    Args:
        folder: where files will be written.
        needed_bytes: how much will be written, in bytes.
    Raises: StorageError if it is not a folder, cannot be written, or has less free space than needed.
    """
    folder = make_folder(folder)
    clean_temporaries(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(_cannot_write(folder, "permission denied"))
    _probe(folder)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StorageError(
            f"Saving into {str(folder)!r} needs {readable_size(needed_bytes)}, but only "
            f"{readable_size(free)} are free. Free some space or choose another folder."
        )


def clean_temporaries(folder: PathLike) -> list[Path]:
    """Remove what killed processes left half-written in a folder; gives back what was removed."""
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and _is_abandoned(Path(entry.path), match):
                with suppress(OSError):
                    os.unlink(entry.path)
                    removed.append(Path(entry.path))
    return removed


def storage_error(error: OSError, path: PathLike) -> StorageError:
    """The StorageError that says what an OSError means for the file or folder at `path`."""
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    if error.errno in _FULL_ERRORS:
        message = (
            f"Could not write {os.fspath(path)!r}: {_space_left(folder)} What was there before is untouched."
        )
    else:
        message = _cannot_write(path, error.strerror or str(error))
    wrapped = StorageError(message)
    wrapped.errno = error.errno
    return wrapped


def readable_size(count: float) -> str:
    """A number of bytes for people.

    >>> readable_size(12_300_000)
    '12.3 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _cannot_write(path: PathLike, reason: str) -> str:
    return (
        f"Cannot write to {os.fspath(path)!r}: {reason[0].lower()}{reason[1:]}. "
        "Choose a folder that you may write to, or change its permissions."
    )


def _space_left(folder: PathLike) -> str:
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        return f"the disk is full or a size limit is reached ({readable_size(free)} free). Free some space."
    return "the disk is full. Free some space."


def _probe(folder: Path) -> None:
    # A read-only mount shows only when something is written: permission bits do not stop an administrator.
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
            file.flush()
    except OSError as error:
        raise storage_error(error, folder) from error


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _temporary_path(target: Path) -> Path:
    stem = target.name[:80]  # the whole name must stay under the 255 bytes that file systems allow
    temporary = target.with_name(f".{stem}.{_host()}-{os.getpid()}-{next(_counter)}.kernelearn-tmp")
    _active.add(temporary)
    return temporary


def _open_new(temporary: Path, target: Path) -> BinaryIO:
    try:
        return open(temporary, "x+b")
    except OSError as error:
        _active.discard(temporary)
        raise storage_error(error, target) from error


def _discard(file: BinaryIO, temporary: Path) -> None:
    """Close and remove a temporary file; after a successful renaming there is nothing left to do."""
    with suppress(OSError):
        file.close()
    with suppress(OSError):
        temporary.unlink()
    _active.discard(temporary)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    # Without this a power cut can forget the renaming. Windows cannot open folders and needs no such call.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_permissions(source: Path, target: Path) -> None:
    with suppress(OSError):
        shutil.copymode(source, target)


def _clean_once(folder: Path) -> None:
    with _lock:
        if folder in _cleaned:
            return
        _cleaned.add(folder)
    clean_temporaries(folder)


def _is_abandoned(path: Path, match: re.Match[str]) -> bool:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _DAY:
            return True
    if match["host"] != _host() or path in _active:
        return False
    pid = int(match["pid"])
    # In a container every run can have the same id: what this process does not know is left by an old one.
    return pid == os.getpid() or not _is_running(pid)


def _is_running(pid: int) -> bool:
    if os.name == "nt":
        return True  # NOTE: os.kill ends a process on Windows; there only the age of a file tells.
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
