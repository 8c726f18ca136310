"""Compiled kernels on disk: one file each, private to the user, written atomically, checked when read.

A damaged, foreign or unreadable file counts as absent; a folder that cannot be written to costs time only.
The folder is KERNELEARN_CACHE_DIR, else the user's cache folder; "off" switches the disk cache off. What was
not used for longest is deleted when all is larger than KERNELEARN_CACHE_MB (256).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from kernelearn.errors import ArgumentError

MAGIC = b"kernelearn object 1\n"
SUFFIX, PART = ".klo", ".part"
MAX_BYTES = 256 * 2**20
# A file that is being written is not touched for so long.
PART_SECONDS = 3600
# An entry that was used within so long is not marked as used again.
FRESH_SECONDS = 600
# Looking at the whole folder takes long. A process does when it writes its first entry, unless one has within
# so many seconds, and again when it has written this share of what still had place, or of the limit if that
# is more: others may write, too.
LOOK_SECONDS, SHARE_OF_FREE, SHARE_OF_LIMIT = 3600, 4, 64
# An empty file, written anew when the folder was looked at.
STAMP = "looked"

# Bytes that this process may write before it looks; None: it has written nothing yet.
_allowance: int | None = None


def folder() -> Path | None:
    """Where entries lie; None if there is no disk cache.

    A folder that the user names gets a subfolder of its own, private whatever the rights of the outer one.
    """
    given = os.environ.get("KERNELEARN_CACHE_DIR")
    if given == "off":
        return None
    try:
        return (Path(given).expanduser() if given else _user_folder()) / "cpu"
    except RuntimeError:  # this user has no home
        return None


def _user_folder() -> Path:
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "kernelearn"


def has(digest: str) -> bool:
    """Whether there is an entry (which may still prove damaged)."""
    root = folder()
    return root is not None and os.path.isfile(root / (digest + SUFFIX))


def read(digest: str) -> bytes | None:
    """The object of an entry, or None if there is none that can be trusted."""
    return read_all([digest]).get(digest)


def read_all(digests: Iterable[str]) -> dict[str, bytes]:
    """The objects of the entries that there are, and that can be trusted."""
    root = folder()
    found: dict[str, bytes] = {}
    with contextlib.suppress(OSError):
        if root is None or not _is_ours(root.stat()):
            return found
        for digest in digests:
            blob = _read(os.path.join(root, digest + SUFFIX), digest)
            if blob is not None:
                found[digest] = blob
    return found


def _read(path: str, digest: str) -> bytes | None:
    try:
        status = os.stat(path)
        # NOTE: opening a pipe would wait for somebody who writes into it.
        if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
            return None
        with open(path, "rb", buffering=0) as file:
            content = file.read()
    except OSError:
        return None
    start = len(MAGIC) + 64
    blob = content[start:]
    if content[:start] != MAGIC + _seal(digest, blob):
        return None
    if time.time() - status.st_mtime > FRESH_SECONDS:
        with contextlib.suppress(OSError):
            os.utime(path)  # the oldest entries go first
    return blob


def write(digest: str, blob: bytes) -> None:
    """Keep an object; does nothing where that is impossible."""
    global _allowance
    root = folder()
    if root is None:
        return
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_ours(root.stat()):
            _replace(root, digest + SUFFIX, MAGIC + _seal(digest, blob) + blob)
    except OSError:
        return
    if _allowance is None:
        _allowance = max_bytes() // SHARE_OF_LIMIT if _was_looked_at(root) else 0
    _allowance -= len(blob)
    if _allowance < 0:
        shrink()


def _was_looked_at(root: Path) -> bool:
    """Whether some process has seen lately that the folder is small."""
    try:
        return 0 <= time.time() - (root / STAMP).stat().st_mtime < LOOK_SECONDS
    except OSError:
        return False


def _replace(root: Path, name: str, content: bytes) -> None:
    """Write a file so that readers see all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=root, suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, root / name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def shrink(limit: int | None = None) -> None:
    """Delete the entries that were not used for longest until the rest fits into `limit` bytes.

    Also deletes what a crash left half written, once it is too old to be another process's work.
    """
    global _allowance
    root, limit = folder(), max_bytes() if limit is None else limit
    total, now = 0, time.time()
    for modified, size, path in sorted(_files(), reverse=True):
        if path.endswith(PART):
            is_kept = now - modified < PART_SECONDS
        else:
            total += size
            is_kept = total <= limit
        if not is_kept:
            with contextlib.suppress(OSError):
                os.unlink(path)
    with contextlib.suppress(OSError):
        if root is not None:
            _replace(root, STAMP, b"")
    _allowance = max((limit - total) // SHARE_OF_FREE, limit // SHARE_OF_LIMIT)


def size() -> tuple[int, int]:
    """Number of entries and their bytes."""
    sizes = [size for _, size, path in _files() if path.endswith(SUFFIX)]
    return len(sizes), sum(sizes)


def state() -> str:
    """ "ok", or why kernels are not kept on disk, and what to do: for `kernelearn doctor`."""
    root = folder()
    if root is None:
        return "off (KERNELEARN_CACHE_DIR=off, or this user has no home folder)"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_ours(root.stat()):
            return (
                "ignored: others may write to it; run chmod 700 on it, or name another KERNELEARN_CACHE_DIR"
            )
        handle, temporary = tempfile.mkstemp(dir=root, suffix=PART)
        os.close(handle)
        os.unlink(temporary)
    except OSError as error:
        return f"not writable ({error.strerror}); name another folder in KERNELEARN_CACHE_DIR"
    return "ok"


def max_bytes() -> int:
    """The size limit: KERNELEARN_CACHE_MB mebibytes, else 256."""
    given = os.environ.get("KERNELEARN_CACHE_MB", "").strip()
    if given and not (given.isascii() and given.isdigit()):
        raise ArgumentError(f"KERNELEARN_CACHE_MB must be a whole number of mebibytes, got {given!r}.")
    return int(given) * 2**20 if given else MAX_BYTES


def _files() -> list[tuple[float, int, str]]:
    """(time of last use, bytes, path) of all our files; other processes may delete some meanwhile."""
    root = folder()
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(root) if root is not None else ():
            with contextlib.suppress(OSError):
                if entry.name.endswith((SUFFIX, PART)):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, entry.path))
    return found


def _seal(digest: str, blob: bytes) -> bytes:
    """Binds the content to its name: an entry under another name does not count."""
    return hashlib.sha256(digest.encode() + blob).hexdigest().encode()


def _is_ours(status: os.stat_result) -> bool:
    """Nobody else owns it or can write to it. Loading an object means running it."""
    if sys.platform == "win32":
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
