"""`StreamDataset`: batches from a source that can only be read forwards.

Generators, generator functions, iterables such as a torch DataLoader. No random access, so no shuffling
and no splitting here: the source decides what comes when.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kernelearn.data.arrays import (
    as_float,
    as_target,
    check_features,
    check_range,
    check_rows,
    clean_targets,
    is_structure,
    is_torch,
    leaves,
    map_arrays,
    map_weights,
    to_numpy,
)
from kernelearn.data.dataset import Batch
from kernelearn.data.fingerprint import STREAM
from kernelearn.data.layout import refuse_channels_first, to_channels_last
from kernelearn.data.order import batch_count, check_batch_size, check_start
from kernelearn.errors import DataError, ShapeError

_SINGLE_EXAMPLES_PER_BATCH = 32


class StreamDataset:
    """Examples that come one batch after another.

    Args:
        source: what to iterate. It yields x, (x, y) or (x, y, sample_weight), each a batch or, where y is
            a single number, one example. One of
            - a function without arguments that starts a new pass, for example a generator function;
            - a function of two numbers that starts a pass over every step-th item from a first one,
              `items(first, step)`: several processes then read it together, each its items;
            - an object that can be iterated again and again, for example a torch DataLoader;
            - an iterator or generator, good for one pass (or for ever, if it never ends).
        size: examples in one pass, where known; a torch DataLoader tells it.
        class_names: name of each class; labels are then checked against their number.
        channels_first: the images are (n, c, h, w), as PyTorch has them, and are to be converted to
            (n, h, w, c). False refuses torch tensors that look like it.
        name: how to call the stream in messages.
    Attributes:
        is_one_pass: whether the source cannot start again.
    """

    is_lazy = True

    def __init__(
        self,
        source: Any,
        size: int | None = None,
        class_names: Sequence[str] | None = None,
        channels_first: bool = False,
        name: str = "the stream",
    ) -> None:
        if not callable(source) and not hasattr(source, "__iter__"):
            raise DataError(
                "A stream must be a generator, a function that starts one, or an iterable of (x, y) "
                f"batches; got {type(source).__name__}. Wrap a map-style torch dataset in a DataLoader."
            )
        self._source, self._name, self._channels_first = source, name, channels_first
        self.is_one_pass = hasattr(source, "__next__")
        self._running: tuple[int | None, Iterator[Batch]] | None = None  # of a one-pass source
        self._has_ended = False
        self.size = _loader_size(source) if size is None else size
        self.class_names = list(class_names) if class_names is not None else _torch_classes(source)
        self.labels = None
        self.sample_weight = None

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError(f"The length of {self._name} is unknown; give size=, or use steps_per_epoch.")
        return self.size

    def __repr__(self) -> str:
        return f"<StreamDataset of {'unknown length' if self.size is None else f'{self.size} examples'}>"

    @property
    def has_classes(self) -> bool:
        """Whether the stream is known to give class indices."""
        return self.class_names is not None

    @property
    def x_shape(self) -> Any:
        """Shape of one example. Reads the first batch; a one-pass source keeps it for the first epoch."""
        if not self.is_one_pass:
            return _example_shape(next(self._fresh(None)))
        batch_size, running = self._running or (None, self._fresh(None))
        first = next(running)
        self._running = (batch_size, itertools.chain([first], running))
        return _example_shape(first)

    def has_more(self) -> bool:
        """Whether a pass would give a batch. Reads the next one of a one-pass source, and keeps it."""
        if not self.is_one_pass:
            return True
        if self._has_ended:
            return False
        batch_size, running = self._running or (None, self._fresh(None))
        first = next(running, None)
        self._has_ended = first is None
        self._running = (batch_size, running if first is None else itertools.chain([first], running))
        return not self._has_ended

    @property
    def fingerprint(self) -> str:
        """A stream has no digest of its contents: the same text, "stream", for every stream."""
        return STREAM

    def steps(self, batch_size: int | None, drop_remainder: bool = False) -> int | None:
        """Batches in one pass, None if unknown; for `batch_size=None` the length of the source itself."""
        if batch_size is None:
            return _length(self._source)
        return None if self.size is None else batch_count(self.size, batch_size, drop_remainder)

    def batches(
        self,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        drop_remainder: bool = False,
    ) -> Iterator[Batch]:
        """One pass over the source.

        Args:
            batch_size: regroup to batches of this size; None takes them as they come. Where examples of
                another shape come, a batch ends before them, unless the number of batches is known from the
                size of the stream.
            shuffle, seed: not used: the order is the source's.
            epoch: not used. A one-pass source goes on where it stopped.
            start: read and drop this many batches first. A resumed run repeats an uninterrupted one only
                if the source gives the same batches again.
            drop_remainder: leave out a last batch that is not full (with a `batch_size`).
        Returns: iterator of (x, y, sample_weight) as from `Dataset.batches`.
        Raises: DataError naming the batch that is not usable, or if the source is exhausted.
        """
        size = None if batch_size is None else check_batch_size(batch_size)
        batches: Iterator[Batch] = itertools.islice(self._pass(size), check_start(start), None)
        if drop_remainder and size is not None:
            batches = (batch for batch in batches if _rows(batch) == size)
        return self._iterate(batches)

    def _iterate(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        # NOTE: a plain loop, not `yield from`: closing this iterator early must not close a one-pass source.
        for batch in batches:  # noqa: UP028
            yield batch
        self._has_ended = True

    def _pass(self, batch_size: int | None) -> Iterator[Batch]:
        if not self.is_one_pass:
            return self._fresh(batch_size)
        if self._has_ended:
            raise DataError(
                f"{self._name} is a generator that has ended; it cannot start again for another epoch. Give "
                "the function that makes it (without calling it), or an iterable."
            )
        if self._running is None:
            self._running = (batch_size, self._fresh(batch_size))
        elif self._running[0] != batch_size:
            self._running = (batch_size, self._regrouped(self._running[1], batch_size))
        return self._running[1]

    def _fresh(self, batch_size: int | None) -> Iterator[Batch]:
        return self._regrouped(self._checked(self.items()), batch_size)

    @property
    def is_by_number(self) -> bool:
        """Whether items can be read by their numbers, some here and some elsewhere."""
        return _is_function(self._source) and _takes_numbers(self._source)

    def items(self, first: int = 0, step: int = 1) -> Any:
        """A pass over what the source yields, as it yields it.

        Args:
            first, step: the number of the first item, and how far it is from each to the next; others than
                0 and 1 where `is_by_number`.
        """
        if not _is_function(self._source):
            return self._source
        found = self._source(first, step) if self.is_by_number else self._source()
        if not _is_iterable(found):
            raise DataError(
                f"{self._name} is a function that returned {type(found).__name__}, not an iterator."
            )
        return found

    def read_as(self, source: Any) -> "StreamDataset":
        """The same stream, with its items from another source."""
        return StreamDataset(source, self.size, self.class_names, self._channels_first, self._name)

    @property
    def length(self) -> int | None:
        """Items in a pass, where the source tells."""
        return _length(self._source)

    def _regrouped(self, batches: Iterator[Batch], batch_size: int | None) -> Iterator[Batch]:
        return _regroup(batches, batch_size, may_end_early=batch_size is None or self.size is None)

    def _checked(self, source: Any) -> Iterator[Batch]:
        count = 0
        for item in source:
            yield self._clean(item, f"batch {count} of {self._name}")
            count += 1
        if count == 0:
            raise DataError(f"{self._name} gave no batch. Check that its source is not empty.")

    def _clean(self, item: Any, where: str) -> Batch:
        x, y, weight = _parts(item, where)
        single = y is not None and not is_structure(y) and np.ndim(y) == 0
        x = _each(lambda value: self._features(value, where, single), x)
        y = None if y is None else _each(lambda value: _targets(value, where, single), y)
        rows = len(next(leaves(x)))
        for array in [*leaves(x), *leaves(y)]:
            check_rows(rows, array, f"Every array in {where}")
        self._check_labels(y, where)
        weights = map_weights(lambda value: _weights(value, rows, where, single), weight)
        return map_arrays(as_float, x), y, weights

    def _features(self, value: Any, where: str, single: bool) -> np.ndarray:
        x = to_numpy(value, f"x in {where}")
        x = check_features(x[None] if single else x, f"x in {where}")
        if self._channels_first:
            return to_channels_last(x)
        if is_torch(value):
            refuse_channels_first(x, f"x in {where}", is_torch_tensor=True)
        return x

    def _check_labels(self, y: Any, where: str) -> None:
        if self.class_names is not None and isinstance(y, np.ndarray) and y.dtype == np.int64 and y.ndim == 1:
            check_range(y, len(self.class_names), where)


def _regroup(batches: Iterator[Batch], batch_size: int | None, may_end_early: bool) -> Iterator[Batch]:
    """Join and cut batches to `batch_size` rows; None passes them on, joining only single examples.

    Args:
        may_end_early: give what there is before examples of another shape; else they are refused.
    """
    if batch_size is None:
        first = next(batches, None)
        if first is None:
            return
        batches = itertools.chain([first], batches)
        if _rows(first) > 1:
            yield from batches
            return
        batch_size = _SINGLE_EXAMPLES_PER_BATCH
    waiting: list[Batch] = []
    for batch in batches:
        if waiting and may_end_early and _is_other_size(batch, waiting[0]):
            yield _join(waiting)
            waiting = []
        waiting.append(batch)
        while sum(map(_rows, waiting)) >= batch_size:
            joined = _join(waiting)
            yield _cut(joined, slice(0, batch_size))
            waiting = [_cut(joined, slice(batch_size, None))] if _rows(joined) > batch_size else []
    if waiting:
        yield _join(waiting)


def _is_other_size(batch: Batch, before: Batch) -> bool:
    """Whether the images or maps of a batch differ in size from those before, and in nothing else."""
    pairs = [(a.shape[1:], b.shape[1:]) for a, b in zip(leaves(batch[0]), leaves(before[0]))]
    if any(len(a) != len(b) or (len(a) > 1 and a[-1] != b[-1]) for a, b in pairs):
        return False
    if batch[1] is not None and before[1] is not None:
        pairs += [(a.shape[1:], b.shape[1:]) for a, b in zip(leaves(batch[1]), leaves(before[1]))]
    return any(a != b for a, b in pairs)


def _join(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    xs, ys, weights = zip(*batches)
    return _concatenate(xs), _concatenate(ys), _concatenate(weights)


def _concatenate(parts: tuple[Any, ...]) -> Any:
    first = parts[0]
    if any((part is None) != (first is None) for part in parts):
        raise DataError("Some batches of the stream have targets or weights and some have none.")
    if first is None:
        return None
    if isinstance(first, dict):
        return {key: _concatenate(tuple(part[key] for part in parts)) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_concatenate(group) for group in zip(*parts))
    if len({part.shape[1:] for part in parts}) > 1:
        raise ShapeError(
            f"Batches of the stream differ in shape: {sorted({p.shape[1:] for p in parts})}. Give batches "
            "that are taken as they come (batch_size=None), or no size: it tells how many batches there "
            "will be."
        )
    return np.concatenate(parts)


def _cut(batch: Batch, rows: slice) -> Batch:
    x, y, weight = (map_weights(lambda a: a[rows], part) for part in batch)
    return x, y, weight


def _parts(item: Any, where: str) -> tuple[Any, Any, Any]:
    """x, y and weight from what the source gave."""
    if isinstance(item, dict):
        raise DataError(f"{where} is a dict with the keys {list(item)[:8]}; give tuples (x, y), or x alone.")
    if not isinstance(item, list | tuple):
        return item, None, None
    if not 1 <= len(item) <= 3:
        raise DataError(f"{where} must be x, (x, y) or (x, y, sample_weight), got {len(item)} parts.")
    x, y, weight = (*item, None, None)[:3]
    return x, y, weight


def _each(function: Callable[[Any], np.ndarray], value: Any) -> Any:
    """`function` of each of several arrays, or of the one array (or list of numbers) that `value` is."""
    return map_arrays(function, value) if is_structure(value) else function(value)


def _targets(value: Any, where: str, single: bool) -> np.ndarray:
    y = to_numpy(value, f"y in {where}")
    return as_target(clean_targets(y[None] if single else y, f"y in {where}"))


def _weights(value: Any, rows: int, where: str, single: bool) -> np.ndarray:
    weight = to_numpy(value, f"sample_weight in {where}")
    weight = clean_targets(weight[None] if single and weight.ndim == 0 else weight, "sample_weight")
    check_rows(rows, weight, f"sample_weight in {where}")
    return weight.astype(as_float(np.zeros(1)).dtype)


def _rows(batch: Batch) -> int:
    return len(next(leaves(batch[0])))


def _example_shape(batch: Batch) -> Any:
    return map_arrays(lambda array: array.shape[1:], batch[0])


def _is_iterable(source: Any) -> bool:
    return hasattr(source, "__iter__")


def _is_function(source: Any) -> bool:
    """Whether a source is called for each pass."""
    return callable(source) and not _is_iterable(source)


def _takes_numbers(function: Any) -> bool:
    """Whether a function has to be called with two numbers."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function that says nothing about itself
        return False
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is p.empty and p.kind in by_place for p in parameters) == 2


def _loader_size(source: Any) -> int | None:
    """Examples in one pass of a torch DataLoader: what its sampler draws, less a dropped remainder."""
    if getattr(source, "drop_last", False) and getattr(source, "batch_size", None):
        batches = _length(source)
        return None if batches is None else batches * source.batch_size
    return _length(getattr(source, "sampler", None))


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except TypeError:  # no length, or one that is not known
        return None


def _torch_classes(source: Any) -> list[str] | None:
    """Class names where a torch DataLoader's dataset tells them, as torchvision's do."""
    classes = getattr(getattr(source, "dataset", None), "classes", None)
    return [str(name) for name in classes] if isinstance(classes, list | tuple) else None
