"""`Dataset`: examples that can be reached by number, and the batches of an epoch.

It is a view, rows of a store plus targets and weights, so that splits and subsets copy no images. Examples
may be of several sizes: a batch then holds those of one size, or is padded.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kernelearn.data.arrays import as_float, as_target, leaves, map_arrays, map_weights
from kernelearn.data.by_size import BySize, is_shape
from kernelearn.data.fingerprint import Digest, fingerprint, hash_array
from kernelearn.data.order import (
    batch_count,
    batch_slices,
    batches_by_group,
    check_batch_size,
    check_seed,
    check_start,
    epoch_order,
    split_indices,
)
from kernelearn.data.padding import Padding, padded_batch
from kernelearn.data.part import Choice, Part, chosen
from kernelearn.data.prefetch import prefetch
from kernelearn.data.ragged import Ragged, each
from kernelearn.data.stores import Store
from kernelearn.errors import ArgumentError, DataError

Batch = tuple[Any, Any, Any]
_READ_AT_ONCE = 256


class Dataset(BySize):
    """Labelled examples with random access.

    Made by `load` or `as_dataset`, not by hand.

    Args:
        store: where the examples lie.
        labels: (n,) int64 class indices, other targets with n rows, several of those, or None.
        sample_weight: (n,) weights, (n, ...) weights of positions, a list or dict of such for several
            outputs, or None.
        class_names: name of each class, or None.
        rows: (n,) row of the store behind each example; None for all rows in order.
        padding: how batches of several sizes are brought to one; None for batches of one size each.
    """

    def __init__(
        self,
        store: Store,
        labels: Any = None,
        sample_weight: Any = None,
        class_names: Sequence[str] | None = None,
        rows: np.ndarray | None = None,
        padding: Padding | None = None,
    ) -> None:
        super().__init__()
        self._store, self._rows, self._padding = store, rows, padding
        self.labels, self.sample_weight = labels, sample_weight
        self.class_names = None if class_names is None else list(class_names)

    def __len__(self) -> int:
        return len(self._store) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        where = "read on demand" if self.is_lazy else "in memory"
        return f"<Dataset of {len(self)} examples {self.x_shape}, {self.dtype}, {where}>"

    @property
    def size(self) -> int:
        """Number of examples; the same property of a `StreamDataset` may be None."""
        return len(self)

    @property
    def dtype(self) -> Any:
        """Type the examples are stored in; batches are `config.floatx()`."""
        return self._store.dtype

    @property
    def is_lazy(self) -> bool:
        """Whether examples are decoded anew each time they are asked for."""
        return self._store.is_lazy

    @property
    def has_classes(self) -> bool:
        """Whether the targets are class indices, one int64 per example."""
        return isinstance(self.labels, np.ndarray) and self.labels.dtype == np.int64 and self.labels.ndim == 1

    @property
    def fingerprint(self) -> str:
        """Digest of every byte of examples, targets and weights, in their order; any change moves it.

        For pictures it is the content of their files, whatever these are called. Nothing is kept, so that
        arrays may change in between: asking costs one pass over the data (about a second for a gigabyte).
        """
        return fingerprint(self._hash_into)

    def _hash_into(self, state: Digest) -> None:
        self._store.hash_into(state, self._rows)
        if self._padding is not None:
            state.update(f"{self._padding};".encode())
        for title, targets in (("labels", self.labels), ("weights", self.sample_weight)):
            state.update(f"{title} {list(targets) if isinstance(targets, dict) else ''};".encode())
            for array in leaves(targets):
                if array is None:  # an output whose weights are all ones
                    state.update(b"none;")
                else:
                    hash_array(state, array)

    def steps(self, batch_size: int, drop_remainder: bool = False) -> int:
        """Number of batches in one epoch."""
        groups = self.groups
        counts = [len(self)] if groups is None else np.bincount(groups).tolist()
        return sum(batch_count(n, check_batch_size(batch_size), drop_remainder) for n in counts)

    def padded(self, multiple_of: int | None = 1, by_size: bool = False) -> "Dataset":
        """The same examples in batches that are padded to one size: zeros below and to the right of images.

        Without it, images of several sizes are batched by their size. Targets that are maps with the sizes of
        their images (masks, images) are padded too, with zeros that have the weight 0 in the loss. NOTE: the
        mean over a batch still counts all its positions; a classifier sees the zeros as part of the image.

        Args:
            multiple_of: sizes are rounded up to multiples of this, as networks that halve them want it, and
                so that there are fewer of them: a network has a program for each. None: no padding again.
            by_size: batch together the images that are padded to one size; False batches any images, padded
                to the largest among them.
        Raises: ArgumentError for several inputs, or a multiple below 1.

        >>> from kernelearn.data import as_dataset
        >>> images = [np.zeros((5, 7, 1)), np.zeros((6, 4, 1))]
        >>> [x.shape for x, _, _ in as_dataset(images).padded(multiple_of=4).batches(2)]
        [(2, 8, 8, 1)]
        """
        if multiple_of is None:
            return Dataset(self._store, self.labels, self.sample_weight, self.class_names, self._rows)
        if not is_shape(self._store.x_shape):
            raise ArgumentError("padded() takes data with one input; pad several inputs before.")
        rule = Padding(multiple_of, by_size)
        return Dataset(self._store, self.labels, self.sample_weight, self.class_names, self._rows, rule)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_remainder: bool = False,
        read: Choice | None = None,
    ) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            batch_size: examples per batch; the last batch may be smaller.
            shuffle: visit the examples in an order that depends on `seed` and `epoch` alone.
            seed: integer >= 0.
            epoch: number of the epoch, from 0.
            start: number of batches to leave out at the beginning, without reading them: a run that was
                interrupted after `start` batches goes on with exactly the batches it would have had.
            drop_remainder: leave out a last batch that is not full.
            read: which rows of a batch to read, from its number and size; x is then a `Part`. None for all.
        Returns: iterator of (x, y, sample_weight). x: (n, h, w, c) float32 (`config.floatx()`), uint8
            scaled to [0, 1]; y: (n,) int64 or the targets given, None without; sample_weight: (n,) or None.
        Raises: ArgumentError for an argument out of range; DataError, while iterating, naming a picture
            that cannot be decoded.

        >>> from kernelearn.data import as_dataset
        >>> data = as_dataset(np.zeros((10, 4, 4, 1)), np.arange(10))
        >>> [y.tolist() for _, y, _ in data.batches(4, start=1)]
        [[4, 5, 6, 7], [8, 9]]
        """
        check_seed(seed)
        parts = self._parts(batch_size, shuffle, seed, epoch, drop_remainder)
        first = check_start(start)
        if read is None:
            return self._iterate(parts[first:])
        return self._iterate_parts(list(enumerate(parts))[first:], read)

    def order(self, shuffle: bool, seed: int = 0, epoch: int = 0) -> np.ndarray:
        """(n,) int64 numbers of the examples in the order in which `batches` visits them, if they are of one
        size: batch b of an epoch has `order(...)[b * batch_size : (b + 1) * batch_size]`. See `batch_rows`.
        """
        return epoch_order(len(self), seed, epoch) if shuffle else np.arange(len(self))

    def batch_rows(
        self, batch_size: int, shuffle: bool = False, seed: int = 0, epoch: int = 0
    ) -> list[np.ndarray]:
        """The numbers of the examples in each batch of an epoch, (k,) int64 each."""
        everything = np.arange(len(self))
        return [everything[part] for part in self._parts(batch_size, shuffle, seed, epoch)]

    def _parts(
        self, batch_size: int, shuffle: bool, seed: int, epoch: int, drop_remainder: bool = False
    ) -> list[Any]:
        """What `batch_rows` gives, as slices where the examples come as they stand."""
        groups = self.groups
        if groups is not None:
            key = check_seed(seed) if shuffle else None
            return list(batches_by_group(groups, check_batch_size(batch_size), key, epoch, drop_remainder))
        slices = batch_slices(len(self), check_batch_size(batch_size), 0, drop_remainder)
        order = epoch_order(len(self), seed, epoch) if shuffle else None
        return [part if order is None else order[part] for part in slices]

    def subset(self, indices: Any) -> "Dataset":
        """The examples at `indices` (integers, a slice or a bool mask), in that order; copies no images."""
        chosen = np.arange(len(self))[indices]
        rows = chosen if self._rows is None else self._rows[chosen]
        labels = None if self.labels is None else map_arrays(lambda array: array[chosen], self.labels)
        weight = map_weights(lambda array: array[chosen], self.sample_weight)
        return Dataset(self._store, labels, weight, self.class_names, rows, self._padding)

    def split(
        self,
        fraction: float,
        seed: int = 0,
        stratify: bool = True,
        shuffle: bool = True,
        what: str = "fraction",
    ) -> tuple["Dataset", "Dataset"]:
        """Divide into (rest, part), where the part has `fraction` of the examples.

        Args:
            fraction: in (0, 1), or a count.
            seed: the same seed gives the same split.
            stratify: keep the proportions of the classes; without classes the split is plainly random.
            shuffle: False takes the last examples as they stand.
            what: name of the size in error messages.
        Raises: ArgumentError, DataError: see `order.split_indices`.
        """
        labels = self.labels if stratify and self.has_classes else None
        rest, part = split_indices(len(self), fraction, seed, labels, shuffle, what)
        return self.subset(rest), self.subset(part)

    def arrays(self) -> tuple[Any, Any]:
        """(x, y) of all examples as one batch would give them; lists of arrays for several sizes."""
        if self.has_several_sizes:
            pairs = [self.example(index) for index in range(len(self))]
            xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
            has_maps = isinstance(self.labels, Ragged)
            return xs, ys if has_maps or self.labels is None else self._targets(slice(None))
        if not self.is_lazy:
            return self._batch(slice(None))[:2]
        parts = [x for x, _, _ in self.batches(_READ_AT_ONCE)]
        return np.concatenate(parts), self._targets(slice(None))

    def example(self, index: int) -> tuple[Any, Any]:
        """(x, y) of one example: x without the batch axis, y a scalar for class indices."""
        if not -len(self) <= index < len(self):
            raise ArgumentError(f"index must lie in {-len(self)}..{len(self) - 1}, got {index}.")
        x, y, _ = self._batch(np.array([index % len(self)]))
        first = map_arrays(lambda array: array[0], x)
        return first, None if y is None else map_arrays(lambda array: array[0], y)

    def raw(self, indices: Any = slice(None)) -> Any:
        """Examples in their stored type, unscaled (uint8 images as uint8)."""
        return self._store.read(self._store_rows(np.arange(len(self))[indices]))

    def _iterate(self, parts: list[Any]) -> Iterator[Batch]:
        if not self.is_lazy:
            yield from (self._batch(part) for part in parts)
            return
        for part, raw in self._decoded([(part, slice(None)) for part in parts]):
            yield self._with_targets(as_float(raw), part)

    def _iterate_parts(self, parts: list[tuple[int, Any]], read: Choice) -> Iterator[Batch]:
        """Batches by their numbers, each with a `Part` of its examples."""
        counts = [len(self._store_rows(part)) for _, part in parts]
        wanted = [(part, read(number, count)) for (number, part), count in zip(parts, counts)]
        raws = self._decoded(wanted) if self.is_lazy else self._taken(wanted)
        for (part, rows), count, (_, raw) in zip(wanted, counts, raws):
            x, y, weights = self._with_targets(map_arrays(as_float, raw), part)
            yield Part(x, rows.start, count), y, weights

    def _decoded(self, wanted: list[tuple[Any, slice]]) -> Iterator[tuple[Any, Any]]:
        """(batch, raw examples) of those rows of batches that are wanted, decoded ahead."""
        rows = ((self._store_rows(part), own) for part, own in wanted)
        raws = prefetch(self._store, rows, self._padding)
        try:
            for (part, _), raw in zip(wanted, raws):
                yield part, raw
        finally:
            raws.close()  # type: ignore[attr-defined]  # a generator: ends its threads at once

    def _taken(self, wanted: list[tuple[Any, slice]]) -> Iterator[tuple[Any, Any]]:
        """The same from arrays in memory."""
        is_plain = self._padding is None and not self.has_several_sizes
        for part, own in wanted:
            asked = chosen(part, own) if is_plain else part
            raw = self._store.read(asked if self._rows is None else self._rows[asked], self._padding)
            yield part, raw if is_plain else map_arrays(lambda array: array[own], raw)  # noqa: B023

    def _batch(self, part: np.ndarray | slice) -> Batch:
        rows = part if self._rows is None else self._rows[part]
        return self._with_targets(map_arrays(as_float, self._store.read(rows, self._padding)), part)

    def _with_targets(self, x: Any, part: np.ndarray | slice) -> Batch:
        """The batch of these images, whose targets and weights are padded as they are."""
        y, weights = self._targets(part), self._weights(part)
        return (x, y, weights) if self._padding is None else padded_batch(x, y, weights, self.shapes[part])

    def _store_rows(self, part: np.ndarray | slice) -> np.ndarray:
        return np.arange(len(self))[part] if self._rows is None else self._rows[part]

    def _targets(self, part: np.ndarray | slice) -> Any:
        if self.labels is None:
            return None
        return map_arrays(lambda array: each(as_target, array[part]), self.labels)

    def _weights(self, part: np.ndarray | slice) -> Any:
        return map_weights(lambda array: each(as_float, array[part]), self.sample_weight)


def relabel(dataset: Dataset, class_names: Sequence[str]) -> Dataset:
    """The same examples with labels counted along `class_names`, a superset of the dataset's own names.

    Raises: DataError naming classes that `class_names` does not have.
    """
    own = dataset.class_names or []
    unknown = [name for name in own if name not in class_names]
    if unknown:
        raise DataError(
            f"Classes {unknown[:10]} are not among the known classes {list(class_names)[:20]}. Every part "
            "must use the class names of the training part."
        )
    position = np.array([list(class_names).index(name) for name in own], dtype=np.int64)
    labels = position[dataset.labels]
    return Dataset(
        dataset._store, labels, dataset.sample_weight, class_names, dataset._rows, dataset._padding
    )
