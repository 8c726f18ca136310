"""Numbers that travel as bfloat16: rounded wherever they are summed, so that no message changes them.

The part of a shard is rounded, and so is every sum of the tree, by whichever process makes it. A message
therefore carries the upper halves of float32 numbers whose lower halves are zero, and the result is the same
for any number of processes, and for one that sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernelearn.engine.reference.precision import round_to_bfloat16

Vector = np.ndarray[Any, Any]

BFLOAT16 = "bfloat16"
TRANSPORTS = ("float32", BFLOAT16)
# Numbers at a time, so that what is computed on the way stays in the cache.
CHUNK = 16384


def chunks(length: int) -> Iterator[slice]:
    """Slices that make up so many numbers."""
    return (slice(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK))


def round_in_place(vector: Vector) -> None:
    """Round float32 numbers to the nearest bfloat16."""
    for part in chunks(len(vector)):
        vector[part] = round_to_bfloat16(vector[part])


def add(first: Vector, second: Vector) -> Vector:
    """Add the second to the first, and round the sums."""
    with np.errstate(over="ignore", invalid="ignore"):
        for part in chunks(len(first)):
            first[part] = round_to_bfloat16(first[part] + second[part])
    return first


def packed(vector: Vector, into: Vector) -> Vector:
    """The upper halves of numbers that were rounded, in an array of uint16.

    >>> packed(np.array([1, -2.5], np.float32), np.empty(2, np.uint16)).tolist()
    [16256, 49184]
    """
    np.right_shift(vector.view(np.uint32), 16, out=into, casting="unsafe")
    return into


def unpacked(halves: Vector, into: Vector) -> Vector:
    """The numbers of which these are the upper halves.

    >>> unpacked(np.array([16256, 49184], np.uint16), np.empty(2, np.float32)).tolist()
    [1.0, -2.5]
    """
    np.left_shift(halves, 16, out=into.view(np.uint32), dtype=np.uint32)
    return into
