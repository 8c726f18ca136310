"""Writes what was selected into a run and keeps it under a budget of bytes, and of time if told so."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from kernelearn.engine.variable import Variable
from kernelearn.errors import StorageError
from kernelearn.recording.capture.step_timer import StepTimer
from kernelearn.recording.files.events import event_bytes
from kernelearn.recording.files.layout import Layout
from kernelearn.recording.files.writer import RunWriter
from kernelearn.recording.index import EMPTY_INDEX_BYTES, index_bytes
from kernelearn.recording.schedule import Cost, Schedule, Stream, schedules_of, thinned
from kernelearn.storage import readable_size

# Steps that are planned ahead where their number is not known.
_UNKNOWN_STEPS = 1000
_WITH_INDEX = 256_000
# Bytes of the event that ends an epoch, with some metrics.
_EPOCH_EVENT = 320
# Bytes that are kept for the events at the end, and for the lock.
_ENDING = 512
Arrays = Mapping[str, Any]
# The order in which a step's records are written: a ledger behind the gradients that it needs.
_IN_ORDER = (
    Stream.KERNELS,
    Stream.STATE,
    Stream.FULL,
    Stream.GRADIENTS,
    Stream.LEDGER,
    Stream.MAPS,
)


class Selected(Protocol):
    """What is taken of a training, and how its records are laid out."""

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """Stream -> layout."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What the manifest says of the segment; "metrics" is there."""

    @property
    def is_small(self) -> bool:
        """Whether all weights are recorded on both sides of each ledger."""

    def costs(self, steps_per_epoch: float) -> dict[str, Cost]:
        """Bytes of one time of every schedule."""


TakenT = TypeVar("TakenT", bound=Selected)


class BudgetedWriter(Generic[TakenT]):
    """A run's writer with a selection of what to write and a limit of bytes.

    Args:
        automatic: streams that may come less often to save time.
    Attributes:
        writer: where.
        timer: how long what took.
        schedule: how often what is recorded now.
        used: bytes of the run's folder so far, with those that the index will have.
        has_index: whether an index is made in the end: not for a run of at most 256 kB.
    """

    def __init__(
        self, writer: RunWriter, max_bytes: int, every: Mapping[str, int], automatic: Iterable[str] = ()
    ) -> None:
        self.writer, self.max_bytes, self.schedule = writer, max_bytes, Schedule(every)
        self._wished = dict(every)  # as far as there is room
        self.timer = StepTimer({name: every[name] for name in automatic if every[name]})
        self._selection: TakenT | None = None
        self._bytes: dict[str, int] = {}  # stream -> bytes of a record
        # What a small run has room for is its records: all that an index holds is in them.
        self.has_index = max_bytes >= _WITH_INDEX
        self.used = writer.used_bytes() + (EMPTY_INDEX_BYTES if self.has_index else 0)
        self._planned_until = 0.0
        self._horizon = 0.0  # last step that is planned for
        self._always = 0.0  # bytes of a step that are never left out

    @property
    def every(self) -> Mapping[str, int]:
        """Stream -> stride of now."""
        return self.schedule.every

    @property
    def selection(self) -> TakenT:
        """What to write."""
        assert self._selection is not None
        return self._selection

    def begin_segment(self, selection: TakenT, step: int, about: Mapping[str, Any]) -> None:
        """Go on with another selection, in records of its layouts."""
        self.go_on_with(selection)
        before = self.writer.used_bytes()
        self.writer.begin_segment(step, selection.layouts.values(), **about)
        self.used += self.writer.used_bytes() - before

    def go_on_with(self, selection: TakenT) -> None:
        """Write what is selected into the segment there is."""
        self._selection = selection
        self.timer.is_small = selection.is_small
        self._bytes = {name: layout.record_bytes for name, layout in selection.layouts.items()}
        if self.has_index:
            images, metrics = selection.layouts[Stream.STEPS].capacity, selection.about["metrics"]
            self._bytes[Stream.STEPS] += index_bytes(images, metrics)

    def size(self, *streams: str) -> int:
        """Bytes of a record of each of these streams."""
        return sum(self._bytes[stream] for stream in streams)

    def has_room(self, size: float) -> bool:
        """Whether so many bytes more stay under the limit."""
        return self.used + size <= self.max_bytes - _ENDING

    def event(self, kind: str, step: int, **about: Any) -> None:
        """Append an event."""
        copies = 2 if self.has_index else 1
        self.used += copies * event_bytes(self.writer.event(kind, step, **about))

    def put(self, stream: str, step: int, arrays: Arrays, rows: int = 0) -> None:
        """Append a record of arrays or Variables."""
        put = self.writer.streams[stream].put
        for name, array in arrays.items():
            put(name, array.value if isinstance(array, Variable) else array, rows)
        self._append(stream, step, rows)

    def put_step(self, step: int, scalars: Iterable[Any], arrays: Arrays, rows: int) -> None:
        """Append the numbers of a step: scalars in the order of the layout, and arrays by image."""
        file = self.writer.streams[Stream.STEPS]
        file.put_scalars(scalars)
        file.fill(arrays, rows)
        self._append(Stream.STEPS, step, rows)

    def _append(self, stream: str, step: int, rows: int) -> None:
        self.writer.append(stream, step, rows)
        self.used += self._bytes[stream]

    def put_if_room(
        self, stream: Stream, step: int, arrays: Arrays | Callable[[], Arrays], rows: int = 0
    ) -> bool:
        """Append a record unless it would break the budget; then say so, and come less often from now on.

        Args:
            arrays: or a function that makes them, called only if there is room.
        Returns: whether it was written.
        """
        reserve = self._always * max(self._horizon - step + 1, 1)
        if self.has_room(self._bytes[stream] + reserve):
            began = self.timer.now()
            self.put(stream, step, arrays() if callable(arrays) else arrays, rows)
            self.timer.wrote(stream, began)
            return True
        self.change({name: 2 * self.every[name] for name in schedules_of(stream)}, step)
        return False

    def put_due(
        self,
        step: int,
        due: Container[Stream],
        records: Mapping[Stream, Arrays | Callable[[], Arrays]],
        rows: int,
    ) -> None:
        """Append everything that is due at a step, as far as it has room; a ledger only with its gradients.

        Args:
            records: stream -> what a record of it holds, or a function that makes it, of what there is.
            rows: images in the batch, of a ledger.
        """
        written: set[Stream] = set()
        for stream in _IN_ORDER:
            if stream not in due or stream not in records:
                continue
            if stream == Stream.LEDGER and Stream.GRADIENTS not in written:
                continue
            if self.put_if_room(stream, step, records[stream], rows if stream == Stream.LEDGER else 0):
                written.add(stream)

    def check_room(self) -> None:
        """Raise StorageError if not even the numbers of a step have room."""
        if not self.has_room(self._bytes[Stream.STEPS]):
            raise StorageError(
                f"max_bytes ({readable_size(self.max_bytes)}) is reached: not even the numbers of a step "
                "have room. Raise max_bytes to record more."
            )

    def is_planned(self, step: int) -> bool:
        """Whether `look_ahead` has nothing to do yet."""
        return step < self._planned_until

    def look_ahead(self, step: int, steps: int | None, per_epoch: int | None) -> None:
        """Choose how often to record, so that what is still to come has room; say what became rarer.

        Args:
            step: number of updates done.
            steps: to come, None if unknown: then half of the room is planned for at a time.
            per_epoch: steps of an epoch, None if unknown.
        """
        room = self.max_bytes - _ENDING - self.used
        ahead = max(_UNKNOWN_STEPS, step) if steps is None else steps
        self._horizon = step + ahead
        self._planned_until = self._horizon if steps is None else np.inf
        room = room // 2 if steps is None else room
        costs = self.selection.costs(per_epoch or ahead)
        events = _EPOCH_EVENT * (2 if self.has_index else 1) / (per_epoch or ahead)
        self._always = self.size(Stream.STEPS) + events
        self.change(thinned(self.every, costs, ahead, room, self._always), step)

    def save_time(self, step: int, per_epoch: int | None) -> None:
        """Choose how often to record by the time it takes; an event says what changes."""
        ahead, before = self._horizon - step, self.every
        chosen = self.timer.strides(self._wished, ahead, per_epoch or max(ahead, 1))
        self.schedule = self.schedule.changed(chosen, step)
        if self.every != before:
            about = {"step_seconds": self.timer.step_seconds, "share": self.timer.share}
            self.event("paced", step, every=self.every, before=before, **about)

    def change(self, every: Mapping[str, int], step: int) -> None:
        """Take other strides from a step on, with an event and a warning if they differ."""
        before, self.schedule = self.every, Schedule({**self.every, **every})
        changed = {name: stride for name, stride in self.every.items() if stride != before[name]}
        if not changed:
            return
        self._wished.update(changed)
        self.event("thinned", step, every=self.every, before=before, max_bytes=self.max_bytes)
        said = ", ".join(
            f"{name} every {stride} instead of {before[name]}" if stride else f"no {name}"
            for name, stride in changed.items()
        )
        unit = " (snapshots count epochs, the others steps)" if Stream.SNAPSHOTS in changed else ""
        warnings.warn(
            f"Recorder: to stay under max_bytes ({readable_size(self.max_bytes)}) it records {said}{unit} "
            f"from step {step} on. Raise max_bytes, or record fewer layers, to keep more.",
            UserWarning,
            stacklevel=2,
        )
