"""Where the examples of a dataset lie: in memory (or a memory-mapped file), or as pictures read on demand.

A store answers one question, `read(rows)`, with raw arrays; `Dataset` decides which rows and when.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from kernelearn.data.arrays import leaves, map_arrays
from kernelearn.errors import DataError

_DIGEST_ROWS = 256
_NAMED_FILES = 5


class Store(Protocol):
    """What `Dataset` needs from a store."""

    is_lazy: bool
    workers: int

    def __len__(self) -> int: ...

    @property
    def x_shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    def read(self, rows: np.ndarray | slice) -> Any: ...

    def empty(self, count: int) -> np.ndarray: ...

    def read_into(self, out: np.ndarray, rows: np.ndarray) -> None: ...

    def digest(self) -> bytes: ...


class ArrayStore:
    """Arrays in memory or memory-mapped: one array, or a list, tuple or dict of several with equal rows.

    Args:
        x: the arrays.
        identity: what `digest` gives, for arrays decoded from files; None takes it from the values.
    """

    is_lazy = False
    workers = 1

    def __init__(self, x: Any, identity: bytes | None = None) -> None:
        self.x, self.identity = x, identity

    def __len__(self) -> int:
        return len(next(leaves(self.x)))

    @property
    def x_shape(self) -> Any:
        return map_arrays(lambda array: array.shape[1:], self.x)

    @property
    def dtype(self) -> Any:
        return map_arrays(lambda array: array.dtype, self.x)

    def read(self, rows: np.ndarray | slice) -> Any:
        """Raw rows: views for a slice, copies for indices."""
        return map_arrays(lambda array: np.asarray(array[rows]), self.x)

    def empty(self, count: int) -> np.ndarray:
        raise NotImplementedError("arrays in memory are read directly")

    def read_into(self, out: np.ndarray, rows: np.ndarray) -> None:
        raise NotImplementedError("arrays in memory are read directly")

    def digest(self) -> bytes:
        """Digest of type, shape and some evenly spaced rows: cheap, and any real change shows."""
        if self.identity is not None:
            return self.identity
        state = hashlib.blake2b(digest_size=16)
        for array in leaves(self.x):
            rows = np.unique(np.linspace(0, len(array) - 1, _DIGEST_ROWS).astype(np.int64))
            state.update(f"{array.dtype.str}{array.shape}".encode())
            state.update(np.ascontiguousarray(array[rows]).tobytes())
        return state.digest()


class PictureStore:
    """Pictures decoded when they are asked for, each to uint8 (h, w, c).

    Args:
        decode: row -> (h, w, c) uint8; raises DataError that names the picture. Called from threads.
        names: one name per picture, for messages.
        x_shape: (h, w, c) that every picture has after decoding.
        identity: bytes that change when the pictures do, for example names and sizes.
        workers: threads that decode.
    """

    is_lazy = True

    def __init__(
        self,
        decode: Callable[[int], np.ndarray],
        names: Sequence[str],
        x_shape: tuple[int, int, int],
        identity: bytes,
        workers: int,
    ) -> None:
        self.decode, self.names, self.x_shape = decode, names, x_shape
        self.identity, self.workers = identity, workers
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.names)

    def nbytes(self) -> int:
        """Size of all pictures decoded."""
        return len(self) * int(np.prod(self.x_shape))

    def empty(self, count: int) -> np.ndarray:
        """Room for `count` pictures."""
        return np.empty((count, *self.x_shape), dtype=np.uint8)

    def read_into(self, out: np.ndarray, rows: np.ndarray) -> None:
        """Decode `rows` one after another into `out` (len(rows), h, w, c)."""
        for place, row in zip(out, rows):
            place[...] = self.decode(int(row))

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Decode `rows` in this thread."""
        indices = np.arange(len(self))[rows]
        out = self.empty(len(indices))
        self.read_into(out, indices)
        return out

    def digest(self) -> bytes:
        """Digest of the pictures' identity and the shape they are decoded to."""
        state = hashlib.blake2b(digest_size=16)
        state.update(f"{self.x_shape}".encode())
        state.update(self.identity)
        return state.digest()

    def cached(self) -> ArrayStore:
        """Decode everything now.

        Raises: DataError naming the first files that cannot be read and counting the rest.
        """
        out = self.empty(len(self))
        with ThreadPoolExecutor(self.workers) as pool:
            errors = [error for error in pool.map(lambda row: self._try(out, row), range(len(self))) if error]
        if errors:
            raise _all_unreadable(errors, len(self))
        return ArrayStore(out, self.digest())

    def _try(self, out: np.ndarray, row: int) -> DataError | None:
        try:
            out[row] = self.decode(row)
        except DataError as error:
            return error
        return None


def cached_if_small(store: PictureStore, cache_bytes: int) -> Store:
    """Keep the pictures decoded in memory when they fit into `cache_bytes`, else read them on demand."""
    return store.cached() if store.nbytes() <= cache_bytes else store


def _all_unreadable(errors: list[DataError], total: int) -> DataError:
    if len(errors) == 1:
        return errors[0]
    listed = "\n  ".join(str(error) for error in errors[:_NAMED_FILES])
    rest = f"\n  and {len(errors) - _NAMED_FILES} more" if len(errors) > _NAMED_FILES else ""
    return DataError(f"{len(errors)} of {total} pictures cannot be used:\n  {listed}{rest}")
