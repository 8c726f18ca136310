"""Compiled kernels on disk: one file each, private to the user, written atomically, checked when read.

A damaged, foreign or unreadable file counts as absent; a folder that cannot be written to costs time only.
The folder is KERNELEARN_CACHE_DIR, else the user's cache folder; "off" switches the disk cache off.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path

MAGIC = b"kernelearn object 1\n"
SUFFIX = ".klo"
MAX_BYTES = 256 * 2**20


def folder() -> Path | None:
    """Where entries lie; None if there is no disk cache."""
    given = os.environ.get("KERNELEARN_CACHE_DIR")
    if given == "off":
        return None
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "kernelearn" / "cpu"


def has(digest: str) -> bool:
    """Whether there is an entry (which may still prove damaged)."""
    root = folder()
    return root is not None and (root / (digest + SUFFIX)).is_file()


def read(digest: str) -> bytes | None:
    """The object of an entry, or None if there is none that can be trusted."""
    root = folder()
    if root is None:
        return None
    path = root / (digest + SUFFIX)
    try:
        if not _is_ours(root) or not _is_ours(path):
            return None
        content = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + 64
    blob = content[start:]
    expected = MAGIC + _seal(digest, blob)
    if content[:start] != expected:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the oldest entries go first
    return blob


def write(digest: str, blob: bytes) -> None:
    """Keep an object; does nothing where that is impossible."""
    root = folder()
    if root is None:
        return
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_ours(root):
            return
        handle, temporary = tempfile.mkstemp(dir=root, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + _seal(digest, blob) + blob)
            os.replace(temporary, root / (digest + SUFFIX))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError:
        return


def shrink(limit: int = MAX_BYTES) -> None:
    """Delete the entries that were not used for longest until the rest fits; also what a crash left behind."""
    root = folder()
    if root is None or not root.is_dir():
        return
    entries = []
    with contextlib.suppress(OSError):
        for path in root.iterdir():
            status = path.stat()
            if path.suffix in (SUFFIX, ".part"):
                entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size


def _seal(digest: str, blob: bytes) -> bytes:
    """Binds the content to its name: an entry under another name does not count."""
    return hashlib.sha256(digest.encode() + blob).hexdigest().encode()


def _is_ours(path: Path) -> bool:
    """Nobody else owns it or can write to it. Loading an object means running it."""
    if sys.platform == "win32":
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
