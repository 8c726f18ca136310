"""What a call of `fit` is to do, once its arguments are read: `Trainer.fit` makes it, its loop follows it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from kernelearn.data import Dataset, StreamDataset
from kernelearn.data.part import Choice
from kernelearn.errors import DataError
from kernelearn.training import feeds
from kernelearn.training.state import FitState

Data = Dataset | StreamDataset
DataBatch = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Pass:
    """One pass over data, without shuffling.

    Attributes:
        data: a dataset or stream.
        batch_size: samples at a time; None for a stream that keeps its own.
        asked: use only so many batches; None for all.
    """

    data: Any
    batch_size: int | None
    asked: int | None

    @property
    def there(self) -> int | None:
        """Batches that the data has; None if unknown."""
        count: int | None = self.data.steps(self.batch_size)
        return count

    @property
    def steps(self) -> int | None:
        """Batches that are used; None if unknown."""
        return at_most(self.asked, self.there)

    def has_ended(self) -> bool:
        """Whether the data is a generator that has given its last batch."""
        return getattr(self.data, "is_one_pass", False) and not self.data.has_more()

    def batches(self, read: Choice | None = None) -> Iterator[DataBatch]:
        """(x, y, sample weight) of each batch that is used; a warning if the data ends before.

        Args:
            read: which rows of each batch this process reads; None for all.
        Raises: DataError if there is none.
        """
        if self.has_ended():
            raise DataError("The data is a generator that has ended: give the function that makes it.")
        done = 0
        options = {} if read is None else {"read": read}
        for batch in islice(self.data.batches(self.batch_size, **options), self.steps):
            yield batch
            done += 1
        if self.there is None and self.asked is not None and done < self.asked:
            warn_of_end("a pass", done, self.asked)


@dataclass(frozen=True)
class Validation:
    """What an epoch ends with.

    Attributes:
        data: a pass over the validation data.
        every: epochs from one validation to the next.
    """

    data: Pass
    every: int


@dataclass(frozen=True)
class FitPlan:
    """How the epochs of a `fit` go.

    Attributes:
        data: a dataset or stream to train on.
        batch_size: samples per update; None for a stream that keeps its own.
        steps_per_epoch: updates of an epoch, as it was asked for; None for a whole pass over the data.
        epochs: index after the last epoch.
        initial_epoch: index of the first one.
        shuffle: whether every pass has an order of its own.
        class_weight: class number -> factor of its samples' loss, or a dict of such by output name.
        validation: None for none.
        seed: as it was given; None for one that is drawn.
        stops_at_non_finite: raise NonFiniteError where the loss is not finite.
    """

    data: Any
    batch_size: int | None
    steps_per_epoch: int | None
    epochs: int
    initial_epoch: int
    shuffle: bool
    class_weight: Mapping[Any, Any] | None
    validation: Validation | None
    seed: int | None
    stops_at_non_finite: bool

    @property
    def pass_steps(self) -> int | None:
        """Batches in a whole pass over the data; None if unknown."""
        count: int | None = self.data.steps(self.batch_size)
        return count

    @property
    def steps(self) -> int | None:
        """Updates of an epoch; None if unknown."""
        return at_most(self.steps_per_epoch, self.pass_steps)

    def rows(self, state: FitState) -> feeds.BatchRows:
        """Which rows of the data the batches of a pass consist of."""
        return feeds.BatchRows(self.data, self.batch_size, self.shuffle, state.seed)


def at_most(asked: int | None, there: int | None) -> int | None:
    """The smaller one of two numbers of steps, where None is unknown or no limit."""
    known = [count for count in (asked, there) if count is not None]
    return min(known, default=None)


class Feed:
    """The batches of a `fit`, epoch after epoch.

    An epoch of `steps_per_epoch` batches goes on where the one before stopped, as in Keras; when the data
    runs out the epoch ends, with a warning, and the next one begins a new pass.

    Args:
        read: which rows of each batch this process reads; None for all.
    """

    def __init__(self, plan: FitPlan, state: FitState, read: Choice | None = None) -> None:
        self.plan, self.state, self._read = plan, state, read
        self._running: Iterator[DataBatch] | None = None

    def is_exhausted(self) -> bool:
        """Whether the data has no batch left for another epoch and cannot start again."""
        if not getattr(self.plan.data, "is_one_pass", False):
            return False
        self._running = self._running or self._open()
        first = next(self._running, None)
        if first is not None:
            self._running = chain([first], self._running)
        return first is None

    def epoch(self) -> Iterator[DataBatch]:
        """The batches that the running epoch still has."""
        limit = self.plan.steps_per_epoch
        wanted = None if limit is None else max(limit - self.state.batch, 0)
        for batch in islice(self._batches(), wanted):
            yield batch
            # The loop has counted the batch by now.
            if self.state.pass_batch == self.plan.pass_steps:
                break

    def _batches(self) -> Iterator[DataBatch]:
        """The rest of the running pass; a new pass if that turns out to be over."""
        self._running = self._running or self._open()
        if self.plan.pass_steps is None and self.state.pass_batch and not self.state.batch:
            first = next(self._running, None)
            if first is None:
                self._end_pass()
                self._running = self._running or self._open()
            else:
                self._running = chain([first], self._running)
        return self._running

    def end_epoch(self) -> None:
        """Tell what is to be told about an epoch that ended, and begin a new pass if this one is over."""
        plan, state = self.plan, self.state
        wanted, there = plan.steps_per_epoch, plan.pass_steps
        is_short = wanted is not None and state.batch < wanted
        if wanted is None or is_short or state.pass_batch == there:
            self._end_pass()
        # More steps than a pass has are told before the first step.
        if is_short and at_most(wanted, there) == wanted:
            warn_of_end(f"epoch {state.epoch + 1}", state.batch, wanted)

    def close(self) -> None:
        """End the threads that read ahead."""
        close = getattr(self._running, "close", None)
        if close:
            close()
        self._running = None

    def _end_pass(self) -> None:
        if getattr(self.plan.data, "is_one_pass", False):
            return
        self.close()
        self.state.end_pass()

    def _open(self) -> Iterator[DataBatch]:
        plan, state = self.plan, self.state
        batches: Iterator[DataBatch] = plan.data.batches(
            plan.batch_size,
            shuffle=plan.shuffle,
            seed=state.seed,
            epoch=state.data_pass,
            start=state.pass_batch,
            **({} if self._read is None else {"read": self._read}),
        )
        return batches


def warn_of_end(what: str, done: int, wanted: int | None, unit: str = "steps") -> None:
    """Say that the data ran out before everything that was asked for was done."""
    warnings.warn(
        f"The data ran out in {what}: {done} of {wanted} {unit} were done. Give fewer steps, or data with "
        "more batches (a function or an iterable that starts again, instead of a generator that ends).",
        UserWarning,
        stacklevel=3,
    )
