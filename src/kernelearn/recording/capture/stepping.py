"""What a recording does at each step and epoch: it copies what is due, as far as it has room."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelearn.recording.capture.budgeted_writer import BudgetedWriter
from kernelearn.recording.capture.joining import Place
from kernelearn.recording.capture.opening import Opening
from kernelearn.recording.capture.selection import Selection
from kernelearn.recording.files.writer import INDEX
from kernelearn.recording.index import update_index
from kernelearn.recording.schedule import Stream
from kernelearn.storage import readable_size
from kernelearn.training.steps.step import StepReport

# What the step before a ledger has to hold.
FOR_A_LEDGER = frozenset({Stream.KERNELS, Stream.STATE})


class Stepping(Opening):
    """What a `Recorder` does at every step; see there."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0  # images of a stream so far
        self._due: frozenset[Stream] = frozenset()

    def _buffers(self, selection: Selection) -> dict[str, str]:
        """The buffers that a step has to give back, for what is due, but for those of a ledger."""
        if Stream.GRADIENTS in self._due:
            return selection.gradient_buffers
        return selection.full_buffers if Stream.FULL in self._due else {}

    def _record_step(self, book: BudgetedWriter[Selection], batch: int, logs: Mapping[str, Any]) -> None:
        report, step = self.model.last_step, self.model.optimizer.iterations + self._place.offset
        if step == self._place.step:
            book.event("not finite", step, loss=report.loss)
            return
        book.check_room()
        rows = report.batch.rows
        if rows > book.writer.streams[Stream.STEPS].layout.capacity:
            # Larger batches need larger records; the state before this step is in the segment before.
            self._open_segment(book, max(rows, 2 * book.writer.streams[Stream.STEPS].layout.capacity), False)
        self._look_ahead(book)
        self._record_due(book, step, report.buffers, rows)
        self._record_numbers(book, step, batch, report, rows, logs)  # makes the step count: the last
        book.writer.commit()
        self._place = Place(step, self._place.offset)

    def _record_due(
        self, book: BudgetedWriter[Selection], step: int, buffers: Mapping[str, Any], rows: int
    ) -> None:
        """Everything that is due at the step, as far as it has room; a ledger only with its gradients."""
        due, taken = self._due_here(book, step, buffers), book.selection
        records: dict[Stream, Any] = {
            Stream.KERNELS: taken.weights,
            Stream.STATE: taken.state,
            Stream.FULL: lambda: taken.full_record(buffers),
            Stream.GRADIENTS: lambda: {name: buffers[name] for name in taken.gradient_buffers},
            Stream.LEDGER: lambda: {name: buffers[name] for name in taken.ledger_buffers},
            **({} if self._probes is None else {Stream.MAPS: self._probes.maps}),
        }
        book.put_due(step, due, records, rows)
        is_beside_ledger = self._owes_ledger or Stream.LEDGER in due or book.schedule.is_beside_ledger(step)
        if taken.is_small and is_beside_ledger:
            self._record_all(book, step)

    def _record_all(self, book: BudgetedWriter[Selection], step: int) -> None:
        """All weights of the model: once at a step, whatever they are wanted for."""
        if self._whole_at != step and book.put_if_room(Stream.SNAPSHOTS, step, book.selection.snapshot):
            self._whole_at = step

    def _due_here(
        self, book: BudgetedWriter[Selection], step: int, buffers: Mapping[str, Any]
    ) -> frozenset[Stream]:
        """What is due, without a ledger of images of other sizes: the next batch of its own has one."""
        if Stream.LEDGER not in self._due:
            return self._due
        self._owes_ledger = not all(name in buffers for name in book.selection.ledger_buffers)
        if not self._owes_ledger:
            return self._due
        return (book.schedule.due(step) | FOR_A_LEDGER) - {Stream.LEDGER}

    def _record_numbers(
        self,
        book: BudgetedWriter[Selection],
        step: int,
        batch: int,
        report: StepReport,
        rows: int,
        logs: Mapping[str, Any],
    ) -> None:
        """What is recorded of every step, in the order of `selection.STEP_FIELDS`."""
        metrics = [_number(logs.get(name)) for name in book.selection.about["metrics"]]
        labels = self._labels(report)
        counts = self.model.fit_state.epoch, batch, self.model.optimizer.iterations, labels is not None
        images = self._next_images(rows) if report.rows is None else report.rows
        arrays = {"images": images, "labels": -1 if labels is None else labels}
        book.put_step(step, (report.loss, report.learning_rate, *metrics, *counts), arrays, rows)

    def _labels(self, report: StepReport) -> np.ndarray | None:
        data = self.model.fit_data
        if report.rows is not None and data.has_classes:
            return np.asarray(data.labels[report.rows])
        return report.batch.class_numbers()

    def _next_images(self, rows: int) -> np.ndarray:
        """Numbers for images that have none: in the order in which they come."""
        self._seen += rows
        return np.arange(self._seen - rows, self._seen)

    def _record_epoch(self, book: BudgetedWriter[Selection], epoch: int, logs: Mapping[str, Any]) -> None:
        step = self._place.step
        if book.schedule.ends_epoch(epoch) or epoch + 1 == self.params.get("epochs"):
            self._record_all(book, step)
            book.writer.commit()
        book.event("epoch", step, epoch=epoch, logs={k: v for k, v in logs.items() if np.ndim(v) == 0})

    # --- ending

    def _end(self, book: BudgetedWriter[Selection], kind: str) -> None:
        """Finish the run."""
        book.writer.take_back()
        book.event(kind, self._place.step)
        if kind == "finished":
            self._make_index(book)

    def _make_index(self, book: BudgetedWriter[Selection]) -> None:
        """Bring the index up to date; it is left out where it breaks the budget after all."""
        if not book.has_index:
            return
        update_index(self.folder)
        if book.writer.used_bytes() <= self.max_bytes:
            return
        (self.folder / INDEX).unlink(missing_ok=True)
        warnings.warn(
            f"Recorder: {INDEX} does not fit into max_bytes ({readable_size(self.max_bytes)}) and is left "
            "out; everything that it would hold is in the records.",
            UserWarning,
            stacklevel=3,
        )


def _number(value: Any) -> float:
    """A metric as a number; NaN for one that has a value for each class."""
    if isinstance(value, float):
        return value
    return float(value) if value is not None and np.ndim(value) == 0 else float("nan")
