"""Heaps of HDF5, where texts lie: looked at before the library reads them.

NOTE: the HDF5 library (2.0 and before) steps through a heap by the sizes that its objects claim, and never
comes to an end where one claims none. Nothing in Python can stop it then.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\x01\0\0\0"
_HEADER = struct.Struct("<HHIQ")  # number of the object, references, reserved, bytes
_PIECE = 1 << 24
_LARGEST = 1 << 28  # bytes of one heap


def damaged_heap(file: BinaryIO) -> str:
    """What is wrong with the sizes in the heaps of a file; "" if nothing is."""
    lengths = _bytes_of_lengths(file)
    if lengths not in (0, 8):
        return f"it has sizes of {lengths} bytes, where 8 are usual"
    end = 0
    for place in _heaps(file):
        file.seek(place + len(_HEAP))
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        file.seek(place)
        if place < end or not 16 <= size <= _LARGEST or not _is_whole(file.read(size)):
            return f"a heap of texts at byte {place} is damaged"
        end = place + size
    return ""


def _is_whole(heap: bytes) -> bool:
    """Whether one can step from object to object."""
    place = 16
    while place + _HEADER.size <= len(heap):
        number, _, _, size = _HEADER.unpack_from(heap, place)
        step = size if number == 0 else _HEADER.size + -(-size // 8) * 8
        if step < _HEADER.size:
            return False
        place += step
    return True


def _heaps(file: BinaryIO) -> Iterator[int]:
    """Where heaps begin."""
    start, kept = 0, b""
    file.seek(0)
    while piece := file.read(_PIECE):
        content = kept + piece
        found = content.find(_HEAP)
        while found >= 0:
            yield start + found
            found = content.find(_HEAP, found + 1)
        kept = content[-(len(_HEAP) - 1) :]
        start += len(content) - len(kept)
        file.seek(start + len(kept))


def _bytes_of_lengths(file: BinaryIO) -> int:
    """As the superblock says; 0 if there is none."""
    size, place = file.seek(0, 2), 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        if head.startswith(_SIGNATURE) and len(head) == 16:
            return head[14] if head[8] < 2 else head[10]
        place = 2 * place or 512
    return 0
