"""The one door for bytes from unknown hands: what may be opened, how much is read, what an error becomes.

Every reader of files (data sets, pictures, models, checkpoints, recordings) opens them here. Whatever a
decoder raises comes out as one `DataError` or `FormatError` that names the file; memory follows the bytes
that are really there, never a number that a file claims; nothing but plain files is opened.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from kernelearn.errors import DataError, KernelearnError
from kernelearn.storage import PathLike

_PIECE = 1 << 20  # bytes asked for at once where the size is only claimed
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
Refusal = type[KernelearnError]


class Reader(Protocol):
    """Anything with `read(size)`: a file, a member of an archive, a decompressor."""

    def read(self, size: int, /) -> bytes: ...


@contextmanager
def refused(
    what: str,
    error: Refusal = DataError,
    remedy: str = "Fetch it again.",
    passing: tuple[Refusal, ...] = (KernelearnError,),
) -> Iterator[None]:
    """Turn whatever is raised while bytes are taken apart into one error that names them.

    Decoders were written for good files: for bad ones they raise nearly anything, an IndexError, a
    RecursionError, a MemoryError for a size that was made up. All of them mean the same here.

    Args:
        what: the file, and the member in it.
        error: the type to raise.
        remedy: the sentence that says what to do.
        passing: errors of kernelearn that pass as they are.
    """
    try:
        yield
    except passing:
        raise
    except Exception as cause:
        raise error(f"{what} is damaged or truncated: {reason(cause)}. {remedy}") from cause


def open_plain(path: PathLike, error: Refusal = DataError) -> BinaryIO:
    """Open a file for reading that is a file: no folder, pipe, socket or device, nor a link to one.

    A pipe would keep the reader waiting for ever, a device would give bytes without an end.

    Raises: `error` for those; FileNotFoundError if there is none; `error` if it may not be read.
    """
    # NOTE: opening a pipe waits for its writer unless told not to; the kind is asked of what was opened, so
    # that nothing can be put in its place in between.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise
    except OSError as cause:
        raise _unreadable(path, cause, error) from cause
    kind = kind_of(os.fstat(descriptor).st_mode)
    if kind is not None:
        os.close(descriptor)
        raise error(f"{printable(path)} is {kind}, not a file. Give a file, or move it away.")
    return open(descriptor, "rb")


def read_plain(path: PathLike, error: Refusal = DataError) -> bytes:
    """The whole content of a plain file; errors as of `open_plain`."""
    with open_plain(path, error) as file:
        try:
            return file.read()
        except OSError as cause:
            raise _unreadable(path, cause, error) from cause


def parse_json(
    content: bytes, what: str, error: Refusal = DataError, remedy: str = "Fetch it again."
) -> object:
    """What JSON bytes say. Raises: `error` if they are no JSON, or nest deeper than anybody means."""
    with refused(what, error, remedy):
        return json.loads(content)


def kind_of(mode: int) -> str | None:
    """What a mode of `os.stat` is of, in words; None for a plain file."""
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _KINDS if test(mode)), "of an unknown kind")


def read_claimed(file: Reader, size: int) -> bytes:
    """Up to `size` bytes, where `size` is only claimed: memory grows with what comes, piece by piece."""
    pieces: list[bytes] = []
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def is_utf8(name: str) -> bool:
    """Whether a name can be written down: Linux allows bytes in file names that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: PathLike) -> str:
    r"""A name for a message, with bytes that are no text as escapes.

    >>> printable("caf\udce9.png")
    'caf\\udce9.png'
    """
    return os.fspath(name).encode(errors="backslashreplace").decode()


def reason(cause: BaseException) -> str:
    """What an error says, in one line without its full stop."""
    text = " ".join(str(cause).split()).rstrip(".")
    return printable(text) if text else type(cause).__name__


def _unreadable(path: PathLike, cause: OSError, error: Refusal) -> KernelearnError:
    return error(f"{printable(path)} cannot be read: {cause.strerror or cause}. Is it yours to read?")
