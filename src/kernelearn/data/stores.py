"""Where the examples of a dataset lie: in memory (or a memory-mapped file), or as pictures read on demand.

A store answers one question, `read(rows)`, with raw arrays; `Dataset` decides which rows and when.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from kernelearn import config
from kernelearn.data.arrays import as_float, leaves, map_arrays
from kernelearn.data.fingerprint import Digest, content_digest, hash_array
from kernelearn.data.padding import Padding, stacked
from kernelearn.data.ragged import Ragged, joined, shapes_of
from kernelearn.errors import DataError

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

    @property
    def shapes(self) -> np.ndarray | None: ...

    def read(self, rows: np.ndarray | slice, padding: Padding | None = None) -> Any: ...

    def empty(
        self, rows: np.ndarray, padding: Padding | None = None, count: int | None = None
    ) -> np.ndarray: ...

    def read_into(self, out: np.ndarray, rows: np.ndarray) -> None: ...

    def hash_into(self, state: Digest, rows: np.ndarray | None) -> None: ...


class ArrayStore:
    """Arrays in memory or memory-mapped: one array, or a list, tuple or dict of several with equal rows.

    Args:
        x: the arrays; a `Ragged` for examples of several sizes.
        digests: (n, 16) digest of the file that each row was decoded from; None for other arrays.
    """

    is_lazy = False
    workers = 1

    def __init__(self, x: Any, digests: np.ndarray | None = None) -> None:
        self.x, self.digests = x, digests

    def __len__(self) -> int:
        return len(next(leaves(self.x)))

    @property
    def x_shape(self) -> Any:
        return map_arrays(lambda array: array.shape[1:], self.x)

    @property
    def dtype(self) -> Any:
        return map_arrays(lambda array: array.dtype, self.x)

    @property
    def shapes(self) -> np.ndarray | None:
        """(n, axes) shape of every example, of all inputs one after another; None where all are equal."""
        arrays = list(leaves(self.x))
        if not any(isinstance(array, Ragged) for array in arrays):
            return None
        return np.concatenate([shapes_of(array) for array in arrays], axis=1)

    def read(self, rows: np.ndarray | slice, padding: Padding | None = None) -> Any:
        """Raw rows: views for a slice, copies for indices; a `Ragged` for several sizes, unless padded."""
        if padding is not None:
            return map_arrays(lambda array: _padded(array[rows], padding), self.x)
        return map_arrays(lambda array: _plain(array[rows]), self.x)

    def empty(self, rows: np.ndarray, padding: Padding | None = None, count: int | None = None) -> np.ndarray:
        raise NotImplementedError("arrays in memory are read directly")

    def read_into(self, out: np.ndarray, rows: np.ndarray) -> None:
        raise NotImplementedError("arrays in memory are read directly")

    def hash_into(self, state: Digest, rows: np.ndarray | None) -> None:
        """Take in every value of `rows` (None: of all): of the files they come from, where they do."""
        if self.digests is not None:
            _hash_pictures(state, self, self.digests if rows is None else self.digests[rows])
            return
        state.update(repr(list(self.x)).encode() if isinstance(self.x, dict) else b"")
        for array in leaves(self.x):
            hash_array(state, array, rows)


class PictureStore:
    """Pictures decoded when they are asked for, each to uint8 (h, w, c), or all to floats.

    Args:
        fetch: row -> the bytes of a picture's file, or an open picture. Called from threads.
        decode: (what `fetch` gave, row) -> (h, w, c) uint8 or floats in [0, 1]; raises DataError that names
            the picture. Called from threads.
        count: number of pictures.
        x_shape: (h, w, c) that every picture has after decoding; None where they differ.
        workers: threads that decode.
        is_deep: keep floats (`config.floatx()`), because some picture has more than 8 bits per value.
        shapes: (n, 3) shape of every picture after decoding; None where all are equal.
    """

    is_lazy = True

    def __init__(
        self,
        fetch: Callable[[int], Any],
        decode: Callable[[Any, int], np.ndarray],
        count: int,
        x_shape: tuple[int | None, ...],
        workers: int,
        is_deep: bool = False,
        shapes: np.ndarray | None = None,
    ) -> None:
        self.fetch, self.decode, self.count = fetch, decode, count
        self.x_shape, self.workers, self.shapes = x_shape, workers, shapes
        self.dtype = np.dtype(config.floatx() if is_deep else np.uint8)

    def __len__(self) -> int:
        return self.count

    def nbytes(self) -> int:
        """Size of all pictures decoded."""
        return int(self._shapes(np.arange(len(self))).prod(axis=1).sum()) * self.dtype.itemsize

    def empty(self, rows: np.ndarray, padding: Padding | None = None, count: int | None = None) -> np.ndarray:
        """Room for so many of these pictures, which have one size or are padded to one, with zeros."""
        shapes = self._shapes(rows)
        count = len(rows) if count is None else count
        if padding is None:
            return np.empty((count, *shapes[0]), dtype=self.dtype)
        return np.zeros((count, *padding.of(shapes)), dtype=self.dtype)

    def read_into(self, out: np.ndarray, rows: np.ndarray) -> None:
        """Decode `rows` one after another into the corners of `out` (len(rows), h, w, c)."""
        for place, row in zip(out, rows):
            pixels = self._checked(self._decoded(self.fetch(int(row)), int(row)), int(row))
            place[: pixels.shape[0], : pixels.shape[1]] = pixels

    def read(self, rows: np.ndarray | slice, padding: Padding | None = None) -> Any:
        """Decode `rows` in this thread; a `Ragged` for several sizes, unless padded."""
        indices = np.arange(len(self))[rows]
        if padding is None and len(np.unique(self._shapes(indices), axis=0)) > 1:
            return joined([self._decoded(self.fetch(int(row)), int(row)) for row in indices])
        out = self.empty(indices, padding)
        self.read_into(out, indices)
        return out

    def _shapes(self, rows: np.ndarray) -> np.ndarray:
        """(k, 3) shapes of these pictures."""
        if self.shapes is None:
            return np.tile(np.array(self.x_shape, np.int64), (len(rows), 1))
        found: np.ndarray = self.shapes[rows]
        return found

    def _checked(self, pixels: np.ndarray, row: int) -> np.ndarray:
        """The pixels of a picture whose size is still what its header said. Raises: DataError."""
        wanted = tuple(self._shapes(np.array([row]))[0].tolist())
        if pixels.shape != wanted:
            raise DataError(
                f"Picture number {row} was {wanted} (height, width, channels) and is {pixels.shape} now: the "
                "file has changed since it was loaded. Load the data again."
            )
        return pixels

    def hash_into(self, state: Digest, rows: np.ndarray | None) -> None:
        """Take in the content of the files of `rows` (None: of all), reading each of them."""
        with ThreadPoolExecutor(self.workers) as pool:
            digests = list(pool.map(self._digest, range(len(self)) if rows is None else rows.tolist()))
        _hash_pictures(state, self, np.array(digests, dtype=np.uint8))

    def cached(self) -> ArrayStore:
        """Decode everything now.

        Raises: DataError naming the first files that cannot be read and counting the rest.
        """
        digests = np.zeros((len(self), 16), dtype=np.uint8)
        shapes = self._shapes(np.arange(len(self)))
        out: Any = self.empty(np.arange(len(self))) if self.shapes is None else None
        if out is None:
            out = Ragged([np.empty(shape, self.dtype) for shape in shapes])
        with ThreadPoolExecutor(self.workers) as pool:
            results = pool.map(lambda row: self._try(out, digests, row), range(len(self)))
            errors = [error for error in results if error]
        if errors:
            raise _all_unreadable(errors, len(self))
        return ArrayStore(out, digests)

    def _try(self, out: Any, digests: np.ndarray, row: int) -> DataError | None:
        try:
            fetched = self.fetch(row)
            out[row][...] = self._checked(self._decoded(fetched, row), row)
            digests[row] = content_digest(fetched if isinstance(fetched, bytes) else out[row])
        except DataError as error:
            return error
        return None

    def _decoded(self, fetched: Any, row: int) -> np.ndarray:
        pixels = self.decode(fetched, row)
        return pixels if self.dtype == np.uint8 else as_float(pixels)

    def _digest(self, row: int) -> np.ndarray:
        """Digest of a file's bytes; of the pixels where there is no file but an open picture."""
        fetched = self.fetch(row)
        return content_digest(fetched if isinstance(fetched, bytes) else self._decoded(fetched, row))


def _plain(rows: Any) -> Any:
    return rows if isinstance(rows, Ragged) else np.asarray(rows)


def _padded(rows: Any, padding: Padding) -> np.ndarray:
    return stacked(rows, padding.of(shapes_of(rows)))


def _hash_pictures(state: Digest, store: Store, digests: np.ndarray) -> None:
    """The same for a set that is kept decoded and for one that is decoded batch by batch."""
    state.update(f"pictures {store.x_shape} {store.dtype};".encode())
    hash_array(state, digests)


def cached_if_small(store: PictureStore, cache_bytes: int) -> Store:
    """Keep the pictures decoded in memory when they fit into `cache_bytes`, else read them on demand."""
    return store.cached() if store.nbytes() <= cache_bytes else store


def _all_unreadable(errors: list[DataError], total: int) -> DataError:
    if len(errors) == 1:
        return errors[0]
    listed = "\n  ".join(str(error) for error in errors[:_NAMED_FILES])
    rest = f"\n  and {len(errors) - _NAMED_FILES} more" if len(errors) > _NAMED_FILES else ""
    return DataError(f"{len(errors)} of {total} pictures cannot be used:\n  {listed}{rest}")
