"""Writes a watched training into a run folder: what is due, in segments of equal layout, under a budget.

It knows no program: `seen` is all that it is told. The rules of what is recorded with what, how much room and
how much time it may take are those of the Recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, StorageError
from kernelearn.locks import FolderLock
from kernelearn.recording.capture.budgeted_writer import BudgetedWriter
from kernelearn.recording.capture.selection import is_same
from kernelearn.recording.files.layout import Field
from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.recording.files.writer import RunWriter, remove_run
from kernelearn.recording.index import update_index
from kernelearn.recording.interventions import SET_ELSEWHERE
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike, check_writable
from kernelearn.watching.dues import Dues
from kernelearn.watching.seen import Array, SeenModel, SeenStep
from kernelearn.watching.selection import WatchSelection, factor_arrays, select
from kernelearn.watching.thrift import Room, Thrift

_MARGIN_BYTES = 1_000_000
# Segments that are begun where other code sets weights: if it does so at every step, events alone tell it.
_MOST_FOR_CHANGES = 32
# Steps that pass at most without a look at the time, and seconds of steps that wait to be told.
_LONGEST_SLEEP, _LONGEST_UNTOLD = 64, 0.5


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise ArgumentError where a run would be written over that nobody gave up."""
    if (folder / MANIFEST).exists() and not overwrite:
        raise ArgumentError(
            f"There is a recorded run in {str(folder)!r} already; choose another folder with run=, or pass "
            "overwrite=True."
        )


class WatchBook:
    """A run that is being written.

    Args:
        folder: of the run; a run that is there is refused unless `overwrite`.
        about: what the manifest says of the whole run.
        every: stream -> stride.
        automatic: streams that may come less often to save time.
        layers: to record; see `recording.capture.selection.chosen_layers`.
        max_bytes: size of all files, at most.
    Attributes:
        step: number of the last step.
        due: streams with a record of the next step.
        is_ledger_due: whether a ledger is one of them.
        has_begun: whether the state before the first step is written.
    Raises: ArgumentError if there is a run; StorageError if the folder cannot be written.
    """

    def __init__(
        self,
        folder: PathLike,
        about: Mapping[str, Any],
        every: Mapping[str, int],
        automatic: Sequence[str],
        layers: Any,
        max_bytes: int,
        overwrite: bool,
    ) -> None:
        self.folder, self.layers = Path(folder), layers
        check_writable(self.folder, _MARGIN_BYTES)
        if (self.folder / MANIFEST).exists():
            check_free(self.folder, overwrite)
            with FolderLock(self.folder):
                remove_run(self.folder)
        self._writer = BudgetedWriter[WatchSelection](
            RunWriter.create(self.folder, about), max_bytes, every, automatic
        )
        self.step = 0
        self._thrift, self._dues = Thrift(), Dues(frozenset(automatic))
        self._automatic, self._used_before = tuple(automatic), 0
        self._waits = False  # whether the next steps have no room for what may wait
        self.due: frozenset[Stream] = self._dues.of(1, self._writer.schedule, Room.ALL)
        self.is_ledger_due, self.has_begun = Stream.LEDGER in self.due, False
        self._whole_at = self._weights_at = -1
        self._probes: Mapping[str, Array] = {}
        self._maps: Callable[[], Mapping[str, Array]] | None = None
        self._map_fields: list[Field] = []
        self._seen = 0
        self._how: dict[str, Any] = {}

    def watch_probes(self, images: Mapping[str, Array], maps: Callable[[], Mapping[str, Array]]) -> None:
        """Record feature maps of probe images; said before the first step."""
        self._probes, self._maps = images, maps

    def hold(
        self,
        config: Mapping[str, Any],
        weights: Mapping[str, Sequence[int]],
        compiled: Mapping[str, Any] | None,
    ) -> None:
        """Say what the model is; before the first step.

        Args:
            config: of the model.
            weights: path -> shape, as the model has them.
            compiled: what it was told of losses and precision; None where that is not known, or where its
                steps draw random numbers that are not this library's.
        """
        about = self._writer.writer.content["about"]
        about.update(model=dict(config), weights={path: list(shape) for path, shape in weights.items()})
        self._how = {} if compiled is None else {"seed": 0, "compiled": dict(compiled)}

    def event(self, kind: str, **about: Any) -> None:
        """Note what happened besides steps."""
        self._writer.event(kind, self.step, **about)

    def now(self) -> float:
        """Seconds of the clock, for `aside`."""
        return self._thrift.now()

    def aside(self, since: float) -> None:
        """What began at `since`, while a step is done, was done for the recording."""
        self._thrift.aside(since)

    def set_apart(self, since: float) -> None:
        """What began at `since` is done once, before the training, and is no part of what recording takes."""
        self._thrift.set_apart(since)

    def arrive(self) -> None:
        """A step has been trained: what happens until the next one is recording."""
        self._thrift.arrive(self.is_ledger_due)
        self._used_before = self._writer.used
        self._writer.timer.arrive(self.is_ledger_due)

    def pause(self) -> None:
        """What happens until the next step is none of training."""
        self._thrift.pause()
        self._writer.timer.pause()

    # --- segments

    def prepare(self, model: SeenModel, step: SeenStep) -> None:
        """Called before an update of which a ledger is due: begin a segment where its layout is new."""
        selection = self._select(model, step)
        if not self.has_begun:
            self._writer.event("begun", self.step, every=dict(self._writer.every), **self._how)
        changed = self._changed_meanwhile(selection)
        if changed:
            self.event(SET_ELSEWHERE, paths=changed)
        is_new = bool(changed) and len(self._writer.writer.content["segments"]) < _MOST_FOR_CHANGES
        if self.has_begun and not is_new and self._is_laid_out_for(selection):
            self._writer.go_on_with(selection)
            return
        self._writer.begin_segment(selection, self.step, selection.about)
        self._expect(selection)
        self._write_start(selection, step)

    def _expect(self, selection: WatchSelection) -> None:
        """Tell the account how much there is to write of what may wait."""
        sizes = selection.costs(1)
        waiting = {stream: sizes[stream].amount for stream in self._automatic}
        last = self._writer.size(Stream.SNAPSHOTS)
        self._thrift.expect(waiting.get(Stream.KERNELS, 0.0), sum(waiting.values()), last)

    def _is_laid_out_for(self, selection: WatchSelection) -> bool:
        return is_same(self._writer.writer.segment, selection.layouts, selection.about)

    def _changed_meanwhile(self, selection: WatchSelection) -> list[str]:
        """Trained weights that are not what they were behind the last step: something else has set them."""
        if not self.has_begun or self._weights_at != self.step:
            return []
        recorded = self._writer.writer.streams[Stream.KERNELS].arrays
        return [
            path
            for path in selection.about["updates"]
            if path in recorded and not _is_equal(recorded[path], selection.weights[path]())
        ]

    def _select(self, model: SeenModel, step: SeenStep) -> WatchSelection:
        capacity = step.rows
        if self.has_begun:
            kept = self._writer.writer.streams[Stream.STEPS].layout.capacity
            capacity = kept if step.rows <= kept else max(step.rows, 2 * kept)
        probes = [Field(name, _kind(array), array.shape) for name, array in self._probes.items()]
        if self._maps is not None and not self._map_fields:
            self._map_fields = [Field(n, "<f4", a.shape) for n, a in self._maps().items()]
        return select(model, step, self.layers, capacity, probes, self._map_fields)

    def _write_start(self, selection: WatchSelection, step: SeenStep) -> None:
        """The state before the first step of a segment."""
        book = self._writer
        needed = book.size(Stream.SNAPSHOTS, Stream.STATE, Stream.KERNELS, Stream.STEPS)
        if not book.has_room(needed):
            raise StorageError(
                f"The first state of the model takes {needed:,} bytes, and max_bytes has no room for it. "
                "Raise max_bytes."
            )
        if self._maps is not None:
            book.put(Stream.PROBES, self.step, self._probes)
            book.put(Stream.MAPS, self.step, self._maps())
        book.put(Stream.SNAPSHOTS, self.step, _now(selection.snapshot))
        self._whole_at = self.step
        book.put(Stream.STATE, self.step, _now(selection.state))
        book.put(Stream.KERNELS, self.step, _now(selection.weights))
        self._weights_at = self.step
        self._put_numbers(self.step, SeenStep(0, step.learning_rate), 0)
        book.writer.commit()
        self.has_begun = True
        book.look_ahead(self.step, None, None)

    # --- steps

    def record(self, seen: SeenStep) -> None:
        """Write what is due of a step that has been trained, and say what is due of the next."""
        if not (self.due or np.isfinite(seen.loss) or seen.images is not None):
            self.skip(seen.rows)
            return
        book = self._writer
        book.check_room()
        self._record_due(self.step + 1, seen)
        self._put_numbers(self.step + 1, seen, seen.rows)
        book.writer.commit()
        self._go_on()

    def skip(self, rows: int = 0) -> None:
        """A step of which nothing is recorded.

        Args:
            rows: images in its batch; they are counted.
        """
        self._seen += rows
        self._go_on()

    @property
    def free_steps(self) -> int:
        """Steps that come of which nothing is due: they are told together, by `slept`."""
        if self.due or not self.has_begun:
            return 0
        free = min(self._dues.free_behind(self.step), _LONGEST_SLEEP)
        return max(min(free, self._thrift.steps_without_room) if self._waits else free, 0)

    @property
    def free_steps_to_tell(self) -> int:
        """The same, for who tells the numbers of each of them: not so many that it would be late."""
        most = _LONGEST_UNTOLD / max(self._thrift.step_seconds, 1e-9)
        return min(self.free_steps, int(most))

    def slept(self, steps: int, rows: int) -> None:
        """So many steps were done since the last one that was told.

        Args:
            rows: images in their batches, together.
        """
        self._seen += rows
        self.step += steps
        self._wake(steps)
        self._see_what_is_due()

    def slept_through(self, told: Sequence[SeenStep]) -> None:
        """The same, of steps whose numbers are known."""
        self._wake(len(told))
        began = self.now()
        for seen in told:
            self._writer.check_room()
            self._put_numbers(self.step + 1, seen, seen.rows)
            self.step += 1
        self._writer.writer.commit()
        if not self._writer.is_planned(self.step + 1):
            self._writer.look_ahead(self.step, None, None)
        self.aside(began)
        self._see_what_is_due()

    def _wake(self, steps: int) -> None:
        """Look at the time, that many steps later."""
        self._writer.timer.slept(steps)
        self._thrift.slept(steps)

    def _go_on(self) -> None:
        """To the next step: what is due of it."""
        book = self._writer
        self.step += 1
        has_to_choose = book.timer.leave()
        if self.has_begun:
            if has_to_choose:
                book.save_time(self.step, None)
            if not book.is_planned(self.step + 1):
                book.look_ahead(self.step, None, None)
        size = book.used - self._used_before if self.due else 0
        self._thrift.leave(size, not self.is_ledger_due)
        self._see_what_is_due()

    def _see_what_is_due(self) -> None:
        """Of the next step, and whether there is room behind it."""
        book = self._writer
        room = self._thrift.room if self.has_begun else Room.ALL
        self._waits = room == Room.NOTHING
        self.due = self._dues.of(self.step + 1, book.schedule, room)
        self.is_ledger_due = bool(self.due) and Stream.LEDGER in self.due

    def _record_due(self, step: int, seen: SeenStep) -> None:
        book, taken = self._writer, self._writer.selection
        records: dict[Stream, Any] = {
            Stream.KERNELS: lambda: _now(taken.weights),
            Stream.STATE: lambda: _now(taken.state),
            **({} if self._maps is None else {Stream.MAPS: self._maps}),
        }
        gradients = [field.name for field in taken.layouts[Stream.GRADIENTS].fields]
        if all(name in seen.gradients for name in gradients):
            records[Stream.GRADIENTS] = {name: seen.gradients[name] for name in gradients}
        if seen.uses:
            records[Stream.LEDGER] = lambda: factor_arrays(seen.uses, list(taken.about["uses"]))
        book.put_due(step, self.due, records, seen.rows)
        if Stream.KERNELS in self.due:
            self._weights_at = step
        if taken.is_small and self._dues.is_beside_ledger(step):
            self._record_all(step)

    def _record_all(self, step: int) -> None:
        taken = self._writer.selection
        if self._whole_at != step and self._writer.put_if_room(
            Stream.SNAPSHOTS, step, lambda: _now(taken.snapshot)
        ):
            self._whole_at = step

    def _put_numbers(self, step: int, seen: SeenStep, rows: int) -> None:
        images = seen.images
        if images is None:
            images = np.arange(self._seen, self._seen + rows)
            self._seen += rows
        capacity = self._writer.writer.streams[Stream.STEPS].layout.capacity
        rows = min(rows, capacity)
        counts = seen.epoch, 0, step, seen.labels is not None
        labels = -1 if seen.labels is None else seen.labels[:rows]
        arrays = {"images": images[:rows], "labels": labels}
        self._writer.put_step(step, (seen.loss, seen.learning_rate, *counts), arrays, rows)

    # --- ending

    def end_epoch(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """All weights at the end of a pass through the data, if there is time; its measures are an event."""
        if self.has_begun:
            if self._thrift.has_room_for(self._writer.size(Stream.SNAPSHOTS)):
                self._record_end()
            self._writer.event("epoch", self.step, epoch=epoch, logs=dict(logs or {}))
            self._writer.writer.commit()

    def _record_end(self) -> None:
        """All weights as they are, with numbers of their step, without which readers do not see them."""
        self._record_all(self.step)
        if self._whole_at == self.step and self._writer.writer.last_step != self.step:
            self._put_numbers(self.step, SeenStep(0, float("nan")), 0)

    def close(self, kind: str = "finished") -> None:
        """Finish the run and close its files; twice does no harm."""
        book = self._writer
        try:
            if self.has_begun:
                book.writer.take_back()
                self._record_end()
                book.writer.commit()
            book.event(kind, self.step)
            if kind == "finished" and self.has_begun and book.has_index:
                update_index(self.folder)
        finally:
            book.writer.close()


def _now(reads: Mapping[str, Callable[[], Array]]) -> dict[str, Array]:
    return {name: read() for name, read in reads.items()}


def _is_equal(recorded: Array, now: Array) -> bool:
    return np.array_equal(recorded, np.asarray(now, recorded.dtype), equal_nan=True)


def _kind(array: Array) -> str:
    return "<i8" if array.dtype.kind in "iu" else "<f4"
