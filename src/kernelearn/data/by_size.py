"""Which examples of a dataset can be in one batch: the part of `Dataset` that knows their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.data.arrays import leaves
from kernelearn.data.padding import Padding
from kernelearn.data.ragged import Ragged, agreed, shapes_of
from kernelearn.data.stores import Store


class BySize:
    """Examples that may differ in size: a batch holds those of one size, or is padded to one.

    `Dataset` gives the attributes: its store, rows, targets, weights and padding.
    """

    labels: Any
    sample_weight: Any
    _store: Store
    _rows: np.ndarray | None
    _padding: Padding | None

    def __init__(self) -> None:
        self._shapes: np.ndarray | None = None
        self._found: tuple[np.ndarray | None] | None = None  # the groups, once they are known

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define its length.")

    def subset(self, indices: Any) -> Any:
        """The examples at `indices`."""
        raise NotImplementedError(f"{type(self).__name__} must define subset(indices).")

    @property
    def x_shape(self) -> Any:
        """Shape of one example, without the batch axis; a structure of shapes for several inputs.

        None stands for sizes that differ among the examples.
        """
        whole = self._store.x_shape
        if not is_shape(whole) or (self._padding is None and self._store.shapes is None):
            return whole
        shapes = self.shapes if self._padding is None else self._padding.rounded(self.shapes)
        return agreed(np.unique(shapes, axis=0).tolist())

    @property
    def shapes(self) -> np.ndarray:
        """(n, axes) shape of every example, before any padding; of several inputs one after another."""
        if self._shapes is None:
            found = self._store.shapes
            if found is None:
                one = [np.array(shape, np.int64) for shape in leaves(_listed(self._store.x_shape))]
                self._shapes = np.tile(np.concatenate(one), (len(self), 1))
            else:
                self._shapes = found if self._rows is None else found[self._rows]
        return self._shapes

    @property
    def is_padded(self) -> bool:
        """Whether images are padded to the size of their batch; see `padded`."""
        return self._padding is not None

    @property
    def has_several_sizes(self) -> bool:
        """Whether not all examples can be in one batch as they are."""
        return self.groups is not None

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) number of the group of examples that can be in one batch; None where all can."""
        if self._found is None:
            self._found = (self._grouped(),)
        return self._found[0]

    def _grouped(self) -> np.ndarray | None:
        if self._padding is not None:
            columns = [self._padding.rounded(self.shapes)] if self._padding.by_size else []
        else:
            ragged = [a for a in (*leaves(self.labels), *leaves(self.sample_weight)) if isinstance(a, Ragged)]
            columns = [shapes_of(array) for array in ragged]
            columns += [] if self._store.shapes is None else [self.shapes]
        if not columns:
            return None
        every = np.concatenate(columns, axis=1)
        found: np.ndarray = np.unique(every, axis=0, return_inverse=True)[1].reshape(-1)
        return found if found.any() else None

    def of_most_common_size(self) -> Any:
        """The examples of the size that most have, for what takes images of one size; all if there is one."""
        return self.subset(self.rows_of_most_common_size()) if self.has_several_sizes else self

    def rows_of_most_common_size(self) -> np.ndarray:
        """(k,) numbers of the examples of the size that most have; of all where any can be in one batch."""
        groups = self.groups
        return (
            np.arange(len(self)) if groups is None else np.flatnonzero(groups == np.bincount(groups).argmax())
        )

    def first_of_each_size(self) -> np.ndarray:
        """(k,) numbers of the first example of each size, in order; [0] where batches hold any sizes."""
        groups = self.groups
        return np.array([0]) if groups is None else np.sort(np.unique(groups, return_index=True)[1])


def is_shape(shape: Any) -> bool:
    """Whether this is the shape of one input, not a structure of several."""
    return isinstance(shape, tuple) and all(size is None or isinstance(size, int) for size in shape)


def _listed(shapes: Any) -> Any:
    """The shape of one input as the only one of a list."""
    return [shapes] if is_shape(shapes) else shapes
