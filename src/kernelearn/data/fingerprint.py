"""The fingerprint of data: a digest that any change of any byte moves, taken in pieces of a few megabytes.

`Dataset.fingerprint` and `Data.fingerprint` are made here, and compared here when a
training goes on.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from kernelearn.data.ragged import Ragged

VERSION = "2"  # stands before the digest; digests without it looked at a part of the data only
STREAM = "stream"  # in place of a digest: what comes is known only while it comes
_PIECE = 1 << 23  # bytes hashed at once
_DIGEST_BYTES = 16


class Digest(Protocol):
    """The part of hashlib's objects that is used."""

    def update(self, data: Any, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


def new_digest(content: bytes = b"") -> Digest:
    """A running digest that has taken in `content`."""
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES)


def content_digest(content: bytes | np.ndarray) -> np.ndarray:
    """(16,) uint8 digest of the bytes of a file, or of the values of an array."""
    state = new_digest()
    if isinstance(content, bytes):
        state.update(content)
    else:
        hash_array(state, content)
    return np.frombuffer(state.digest(), np.uint8)


def hash_array(state: Digest, array: np.ndarray | Ragged, rows: np.ndarray | None = None) -> None:
    """Take in type, shape and every value of an array or `Ragged`, or of some of its rows in their order.

    The array is read in pieces, so that one that is mapped from a file is never in memory as a whole.
    """
    if isinstance(array, Ragged):
        for row in range(len(array)) if rows is None else rows:
            hash_array(state, array.items[row][None])
        return
    count = len(array) if rows is None else len(rows)
    state.update(f"{array.dtype.str}{(count, *array.shape[1:])};".encode())
    step = max(1, _PIECE // max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))))
    for start in range(0, count, step):
        piece = array[start : start + step] if rows is None else array[rows[start : start + step]]
        state.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8))


def fingerprint(fill: Callable[[Digest], None]) -> str:
    """The text of a fingerprint, after `fill` has put in everything that counts."""
    state = new_digest()
    fill(state)
    return f"{VERSION}-{state.hexdigest()}"


def joined(parts: Iterable[tuple[str, str]], names: Iterable[str]) -> str:
    """The fingerprint of several parts with their roles, and of the names of the classes.

    A stream among them makes the whole a stream: nobody can say whether it is the same.
    """
    listed = list(parts)
    if any(text == STREAM for _, text in listed):
        return STREAM
    lines = [f"{role} {text}" for role, text in listed]
    # Names can be any bytes that a file system allows; repr keeps line breaks in them apart from ours.
    lines += [repr(name) for name in names]
    return fingerprint(lambda state: state.update("\n".join(lines).encode(errors="surrogateescape")))


def is_same_data(saved: str, now: str) -> bool | None:
    """Whether two fingerprints are of the same data; None where nobody can tell.

    That is so for streams, and for fingerprints that an older or a newer version wrote by another rule.

    >>> is_same_data("2-aa", "2-aa"), is_same_data("2-aa", "2-bb"), is_same_data("aa", "2-bb")
    (True, False, None)
    """
    rules = {text.partition("-")[0] for text in (saved, now)}
    if rules != {VERSION}:
        return None
    return saved == now


def why_not_comparable(saved: str) -> str:
    """Why `is_same_data` cannot tell, as the second half of a sentence that begins with "because"."""
    if saved == STREAM:
        return "a stream has no fingerprint: what it gives is known only while it gives it"
    if not saved.startswith(f"{VERSION}-"):
        return "it was written by another version of kernelearn, which took fingerprints by another rule"
    return "the data is a stream now, which has no fingerprint"
