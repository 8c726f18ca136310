"""What a call of `fit` is to do, once its arguments are read: `Trainer.fit` makes it, its loop follows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.training import feeds
from kernelearn.training.state import FitState


@dataclass(frozen=True)
class Validation:
    """What an epoch ends with.

    Attributes:
        data: a dataset or stream.
        batch_size: samples at a time; None for a stream that keeps its own.
        steps: use only so many batches; None for all.
        every: epochs from one validation to the next.
    """

    data: Any
    batch_size: int | None
    steps: int | None
    every: int


@dataclass(frozen=True)
class FitPlan:
    """How the epochs of a `fit` go.

    Attributes:
        data: a dataset or stream to train on.
        batch_size: samples per update; None for a stream that keeps its own.
        steps: updates of an epoch; None if unknown.
        epochs: index after the last epoch.
        shuffle: whether every epoch has an order of its own.
        class_weight: class number -> factor of its samples' loss.
        validation: None for none.
        stops_at_non_finite: raise NonFiniteError where the loss is not finite.
    """

    data: Any
    batch_size: int | None
    steps: int | None
    epochs: int
    shuffle: bool
    class_weight: Mapping[int, float] | None
    validation: Validation | None
    stops_at_non_finite: bool

    def batches(self, state: FitState) -> Iterator[tuple[Any, Any, Any]]:
        """(x, y, sample weight) of each batch that the data still has in this epoch."""
        return self.data.batches(
            self.batch_size, shuffle=self.shuffle, seed=state.seed, epoch=state.epoch, start=state.batch
        )

    def steps_left(self, state: FitState) -> int | None:
        """Updates that are left of the epoch; None if unknown."""
        return None if self.steps is None else max(self.steps - state.batch, 0)

    def rows(self, state: FitState) -> feeds.BatchRows:
        """Which rows of the data the batches of the epoch consist of."""
        return feeds.BatchRows(self.data, self.batch_size, self.shuffle, state.seed)
