"""`Ragged`: examples of several sizes, reached by number like the rows of an array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kernelearn.errors import DataError, ShapeError

Shape = tuple[int | None, ...]


class Ragged:
    """Arrays of one type and rank whose sizes differ: what an array (n, h, w, c) is for images of one size.

    Args:
        items: the arrays, at least one; they are not copied unless their types differ.
        what: how to call them in messages.
    Attributes:
        shape: (n, ...) with None along the axes on which sizes differ.
    Raises: ShapeError for arrays of different ranks; DataError for types that stand for different scales.

    >>> images = Ragged([np.zeros((4, 6, 3)), np.zeros((5, 6, 3))])
    >>> images.shape, images[[1]].shape
    ((2, None, 6, 3), (1, 5, 6, 3))
    """

    def __init__(self, items: Sequence[np.ndarray], what: str = "x") -> None:
        ranks = sorted({item.ndim for item in items})
        if len(ranks) != 1 or not ranks[0]:
            raise ShapeError(
                f"{what} must be arrays of one rank, such as (h, w, c) each; got arrays of {ranks} axes."
            )
        kinds = {item.dtype for item in items}
        if np.dtype(np.uint8) in kinds and any(kind.kind == "f" for kind in kinds):
            raise DataError(
                f"{what} mixes uint8, which is scaled to [0, 1], with floats, which are not: convert one."
            )
        self.dtype = np.result_type(*kinds)
        self.items = [item.astype(self.dtype, copy=False) for item in items]
        self.ndim = 1 + ranks[0]

    @property
    def shape(self) -> Shape:
        return (len(self), *agreed([item.shape for item in self.items]))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.items)

    def __getitem__(self, index: Any) -> Any:
        """One array for a number; for several an array, or a `Ragged` where their sizes differ."""
        if isinstance(index, int | np.integer):
            return self.items[index]
        return joined([self.items[i] for i in np.arange(len(self))[index]])

    def __repr__(self) -> str:
        return f"<Ragged of shape {self.shape}, {self.dtype}>"


def each(function: Callable[[np.ndarray], np.ndarray], array: Any) -> Any:
    """`function` of an array, or of every array of a `Ragged`."""
    return Ragged([function(item) for item in array]) if isinstance(array, Ragged) else function(array)


def joined(items: Sequence[np.ndarray], what: str = "x") -> Any:
    """One array of equal arrays, or a `Ragged` of such that differ in size."""
    return np.stack(items) if len({item.shape for item in items}) == 1 else Ragged(items, what)


def agreed(shapes: Sequence[Sequence[int]]) -> Shape:
    """The sizes that all shapes of one rank share, None where they differ.

    >>> agreed([(4, 6, 3), (5, 6, 3)])
    (None, 6, 3)
    """
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))


def shapes_of(array: Any) -> np.ndarray:
    """(n, axes) sizes of every example of an array or `Ragged`."""
    if isinstance(array, Ragged):
        return np.array([item.shape for item in array], np.int64)
    return np.tile(np.array(array.shape[1:], np.int64), (len(array), 1))


def is_examples(x: Any, y: Any = None) -> bool:
    """Whether a list, tuple or array of objects can only be one example each, not one input each."""
    if isinstance(x, np.ndarray):
        return x.dtype == object and x.ndim == 1 and all(isinstance(item, np.ndarray) for item in x)
    if not _is_list_of_arrays(x):
        return False
    rows = {len(item) for item in x}
    count = len(y) if y is not None and hasattr(y, "__len__") and not isinstance(y, dict) else None
    return len(rows) > 1 if count is None else count == len(x) and rows != {count}


def as_examples(x: Any, what: str) -> Any:
    """A list of arrays, one example each, as an array or a `Ragged`."""
    if isinstance(x, Ragged):
        return x
    return joined([np.asarray(item) for item in x], what)


def inputs_of_examples(x: Sequence[Any]) -> Any:
    """Several inputs of which some are lists of arrays, one for each example; anything else as it is."""
    if not all(isinstance(part, np.ndarray) or _is_list_of_arrays(part) for part in x):
        return x
    return [
        part if isinstance(part, np.ndarray) else as_examples(part, f"x[{i}]") for i, part in enumerate(x)
    ]


def maps_as_examples(value: Any, rows: int, what: str) -> Any:
    """Targets or weights in which lists of `rows` arrays of several sizes are one for each example.

    Args:
        value: of one output, or a list, tuple or dict of those of several.
    """
    if isinstance(value, dict):
        return {key: maps_as_examples(part, rows, f"{what}[{key!r}]") for key, part in value.items()}
    if is_examples(value) or (
        _is_list_of_arrays(value) and len(value) == rows and not _has_rows(value, rows)
    ):
        return as_examples(value, what)
    if isinstance(value, list | tuple) and any(_is_list_of_arrays(part) for part in value):
        return [maps_as_examples(part, rows, f"{what}[{i}]") for i, part in enumerate(value)]
    return value


def _is_list_of_arrays(value: Any) -> bool:
    is_listed = isinstance(value, list | tuple) and len(value) > 0
    return is_listed and all(isinstance(item, np.ndarray) and item.ndim for item in value)


def _has_rows(arrays: Sequence[np.ndarray], rows: int) -> bool:
    return all(len(array) == rows for array in arrays)
