"""Where the buffers of a run lie.

A `Place` is memory that is the same at every run, whoever owns it: a part of the arena of computed values,
what depends on constant weights only, or a weight where its variable keeps it. An `InputPlace` is wherever
the caller's array is, a `BorrowedPlace` memory of the caller that may be written, too. Addresses of the first
are looked up once, when a run is bound; a run fills in the others.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernelearn.engine.arrays import Array
from kernelearn.engine.variable import Variable

# Bytes of a cache line: where buffers of the engine's own start.
ALIGNMENT = 64


class Place:
    """Memory that stays where it is.

    Args:
        memory: a contiguous array over it, which is kept.
    Attributes:
        address, nbytes: of the memory.
    """

    def __init__(self, memory: Array) -> None:
        self._bytes = memory.reshape(-1).view(np.uint8)
        self.address = int(self._bytes.ctypes.data)
        self.nbytes = int(self._bytes.nbytes)

    @property
    def range(self) -> tuple[int, int] | None:
        """Addresses (start, end) of what is touched."""
        return self.address, self.address + max(self.nbytes, 1)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """The first bytes as an array, in place."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        return self._bytes[:size].view(kind).reshape(shape)


class InputPlace:
    """Memory of an input, another one at every run.

    Attributes:
        slots: where kernels look for its address: an array and a position in it.
    """

    range: tuple[int, int] | None = None  # nobody writes it, so nobody waits for it

    def __init__(self) -> None:
        self.slots: list[tuple[NDArray[np.int64], int]] = []


class BorrowedPlace(InputPlace):
    """Memory of the caller that a run may write: it overlaps with nothing else.

    Args:
        number: of the place among those of its kind.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.range = (-2 * number - 2, -2 * number - 1)  # no address is negative


class Constants:
    """What depends on constant weights only: computed once, and again when one of these was changed.

    Args:
        sizes: root buffer -> bytes.
        sources: the weights that all of it is computed from.
    Attributes:
        places: root buffer -> where it lies.
    """

    def __init__(self, sizes: Mapping[str, int], sources: Iterable[Variable]) -> None:
        self.places = {name: Place(aligned(size)) for name, size in sizes.items()}
        self._sources = list(sources)
        self._made_from: list[int] | None = None

    @property
    def nbytes(self) -> int:
        return sum(place.nbytes for place in self.places.values())

    def renew(self, compute: Callable[[], None]) -> None:
        """Compute them if the weights are not those that they were made from."""
        versions = [variable.version for variable in self._sources]
        if versions != self._made_from:
            compute()
            self._made_from = versions  # only now: an interrupt above leaves them to be made again


class Arena:
    """Memory for computed values, shared by the runs of one program; it grows to the largest of them."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)

    def fits(self, size: int) -> bool:
        """Whether it has so many bytes."""
        return size <= self.memory.size

    def grow(self, size: int) -> None:
        """Replace the memory by so many bytes; whoever holds places in it has to let go of them before."""
        self.memory = np.empty(0, np.uint8)
        give_back_memory()
        self.memory = aligned(size)

    def places(self, offsets: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, Place]:
        """A place for every name."""
        return {n: Place(self.memory[start : start + sizes[n]]) for n, start in offsets.items()}


def aligned(size: int) -> NDArray[np.uint8]:
    """Bytes that start on a cache line."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def address_of(array: Array) -> int:
    """Where the entries of a contiguous array lie."""
    if array.flags.writeable and array.size:
        # NOTE: six times as fast as `array.ctypes.data`, which would be a tenth of a small prediction.
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return int(array.ctypes.data)


def give_back_memory() -> None:
    """Return to the system what was freed while weights and code were made, tens of megabytes."""
    with contextlib.suppress(OSError, AttributeError):  # only the GNU library has it
        ctypes.CDLL(None).malloc_trim(0)
