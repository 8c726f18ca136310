"""What a kind of file is for `tests.fuzz`: a good one, how it is read, and what may be done to it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data.arrays import leaves

# Stands in files that a damaged file may point to and that must not be read.
SECRET = 123456.5


@dataclass
class Kind:
    """A kind of file.

    Attributes:
        name: for the table.
        path: where the good file lies, and each damaged one after it.
        read: reads it from there and gives a digest of the numbers.
        has_checksum: damage that leaves checksums wrong must not give other numbers.
        damage: title -> function (bytes, random) of damage; "raw" leaves checksums wrong.
    """

    name: str
    path: Path
    read: Callable[[], bytes]
    has_checksum: bool
    damage: dict[str, Callable[..., bytes]]
    good: bytes = b""


def digest(values: Any) -> bytes:
    """A digest of all numbers, types and shapes."""
    state = hashlib.blake2b(digest_size=16)
    for array in leaves(values):
        array = np.asarray(array)
        if array.dtype.kind == "f" and np.any(array == SECRET):
            raise AssertionError("numbers of a file outside of the folder were read")
        state.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return state.digest()


def file_of(folder: Path, name: str, content: bytes) -> Path:
    """A file with this content below the folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
