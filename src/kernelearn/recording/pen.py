"""Writes the records of a plan into a run and keeps them under a budget of bytes, and of time if told so."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from kernelearn.engine.variable import Variable
from kernelearn.errors import StorageError
from kernelearn.recording.budget import (
    GRADIENTS,
    KERNELS,
    LEDGER,
    MAPS,
    SNAPSHOTS,
    STATE,
    is_ledger_due,
    thinned,
)
from kernelearn.recording.pace import Pace
from kernelearn.recording.plan import STEPS, Plan
from kernelearn.recording.writer import RunWriter
from kernelearn.storage import readable_size

# Steps that are planned ahead where their number is not known.
_UNKNOWN_STEPS = 1000
# Stream -> schedules that fill it.
_SCHEDULES = {
    KERNELS: (KERNELS,),
    STATE: (LEDGER, GRADIENTS),
    GRADIENTS: (LEDGER, GRADIENTS),
    LEDGER: (LEDGER,),
    MAPS: (MAPS,),
    SNAPSHOTS: (SNAPSHOTS,),
}


class Pen:
    """A run's writer with a plan of what to write and a limit of bytes.

    Args:
        automatic: schedules that may come less often to save time.
    Attributes:
        writer: where.
        pace: how long what took.
        every: schedule -> stride of now.
        used: bytes of records so far.
    """

    def __init__(
        self, writer: RunWriter, max_bytes: int, every: Mapping[str, int], automatic: Iterable[str] = ()
    ) -> None:
        self.writer, self.max_bytes, self.every = writer, max_bytes, dict(every)
        self._wished = dict(every)  # as far as there is room
        self.pace = Pace({name: every[name] for name in automatic if every[name]})
        self._plan: Plan | None = None
        self._bytes: dict[str, int] = {}  # stream -> bytes of a record
        self.used = writer.used_bytes()
        self._planned_until = 0.0
        self._horizon = 0.0  # last step that is planned for

    @property
    def plan(self) -> Plan:
        """What to write."""
        assert self._plan is not None
        return self._plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        self._plan = plan
        self._bytes = {name: layout.record_bytes for name, layout in plan.layouts.items()}

    def size(self, *streams: str) -> int:
        """Bytes of a record of each of these streams."""
        return sum(self._bytes[stream] for stream in streams)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more stay under the limit."""
        return self.used + size <= self.max_bytes

    def put(self, stream: str, step: int, arrays: Mapping[str, Any], rows: int = 0) -> None:
        """Append a record of arrays or Variables."""
        put = self.writer.streams[stream].put
        for name, array in arrays.items():
            put(name, array.value if isinstance(array, Variable) else array, rows)
        self._append(stream, step, rows)

    def put_step(self, step: int, scalars: Iterable[Any], arrays: Mapping[str, Any], rows: int) -> None:
        """Append the numbers of a step: scalars in the order of the layout, and arrays by image."""
        file = self.writer.streams[STEPS]
        file.put_scalars(scalars)
        file.fill(arrays, rows)
        self._append(STEPS, step, rows)

    def _append(self, stream: str, step: int, rows: int) -> None:
        self.writer.append(stream, step, rows)
        self.used += self._bytes[stream]

    def put_if_room(
        self, stream: str, step: int, arrays: Mapping[str, Any] | Callable[[], Mapping], rows: int = 0
    ) -> bool:
        """Append a record unless it would break the budget; then say so, and come less often from now on.

        Args:
            arrays: or a function that makes them, called only if there is room.
        Returns: whether it was written.
        """
        reserve = self._bytes[STEPS] * max(self._horizon - step + 1, 1)
        if self.used + self._bytes[stream] + reserve <= self.max_bytes:
            began = self.pace.now()
            self.put(stream, step, arrays() if callable(arrays) else arrays, rows)
            self.pace.wrote(stream, began)
            return True
        self.change({name: 2 * self.every[name] for name in _SCHEDULES[stream]}, step)
        return False

    def check_room(self) -> None:
        """Raise StorageError if not even the numbers of a step have room."""
        if self.used + self._bytes[STEPS] > self.max_bytes:
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
        room = self.max_bytes - self.used
        ahead = max(_UNKNOWN_STEPS, step) if steps is None else steps
        self._horizon = step + ahead
        self._planned_until = self._horizon if steps is None else np.inf
        room = room // 2 if steps is None else room
        costs = self.plan.costs(per_epoch or ahead)
        self.change(thinned(self.every, costs, ahead, room, self.size(STEPS)), step)

    def save_time(self, step: int, per_epoch: int | None) -> None:
        """Choose how often to record by the time it takes; an event says what changes."""
        ahead, before = self._horizon - step, self.every
        chosen = self.pace.strides(self._wished, ahead, per_epoch or max(ahead, 1))
        if is_ledger_due(step + 1, chosen[LEDGER]) and not is_ledger_due(step + 1, before[LEDGER]):
            chosen[LEDGER] = before[LEDGER]  # the weights and the state before it were not written
        self.every = chosen
        if chosen != before:
            about = {"step_seconds": self.pace.step_seconds, "share": self.pace.share}
            self.writer.event("paced", step, every=chosen, before=before, **about)

    def change(self, every: Mapping[str, int], step: int) -> None:
        """Take other strides from a step on, with an event and a warning if they differ."""
        before, self.every = self.every, {**self.every, **every}
        changed = {name: stride for name, stride in self.every.items() if stride != before[name]}
        if not changed:
            return
        self._wished.update(changed)
        self.writer.event("thinned", step, every=self.every, before=before, max_bytes=self.max_bytes)
        said = ", ".join(
            f"{name} every {stride} instead of {before[name]}" if stride else f"no {name}"
            for name, stride in changed.items()
        )
        unit = " (snapshots count epochs, the others steps)" if SNAPSHOTS in changed else ""
        warnings.warn(
            f"Recorder: to stay under max_bytes ({readable_size(self.max_bytes)}) it records {said}{unit} "
            f"from step {step} on. Raise max_bytes, or record fewer layers, to keep more.",
            UserWarning,
            stacklevel=2,
        )
