"""`Recorder`: the callback that writes a run folder while a model trains. It copies, it never recomputes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import numpy as np

from kernelearn.data import Dataset
from kernelearn.errors import ArgumentError, KernelearnError, StorageError
from kernelearn.locks import FolderLock
from kernelearn.recording.arguments import checked_count, checked_folder
from kernelearn.recording.capture.budgeted_writer import BudgetedWriter
from kernelearn.recording.capture.joining import Place, place_of
from kernelearn.recording.capture.probes import Probes, make_probes
from kernelearn.recording.capture.selection import (
    STEP_FIELDS,
    Selection,
    about_model,
    compiled_as,
    is_same,
    layer_of,
    select,
)
from kernelearn.recording.capture.sizes import usual_shapes
from kernelearn.recording.files.events import read_events
from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.recording.files.writer import EVENTS, INDEX, RunWriter, remove_run
from kernelearn.recording.index import update_index
from kernelearn.recording.interventions import do_on_all, of_events, rate_of, standing
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike, check_writable, readable_size, storage_error
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.fingerprint import Fingerprint
from kernelearn.training.steps.step import StepReport

DEFAULT_BATCH = 32
_MARGIN_BYTES = 1_000_000
# Part of `max_bytes` that the layers with a full history take at most without being asked for.
_FULL_PART = 16
# Fits of at most so many steps keep these histories whole however long it takes: a tenth of a second or so.
_SHORT_FIT = 2000
# A stride that is not given. Ledgers, maps: so many times in a fit, but at least every so many steps.
_AUTOMATIC, _TIMES_A_FIT, _RAREST = -1, 20, 500
# What the step before a ledger has to hold.
_FOR_A_LEDGER = frozenset({Stream.KERNELS, Stream.STATE})


class Recorder(Callback):
    """Records a training, step by step, in a folder that `kernelearn.recording.Run` reads.

    Step k is the k-th update: the weights at step k are those after it, step 0 is the initial state. Every
    step has its loss, metrics, learning rate and the numbers of its images; the rest comes as often as the
    arguments say. A run that is killed loses at most its last step. The training itself is bitwise the same
    with and without a Recorder.

    Args:
        run_dir: folder of the run alone; made if missing. A fit that goes on where the run ends (another fit
            of the model, or a resumed one) is added to it.
        kernels_every: record the weights of the layers every so many steps. None for every step, as long as
            recording takes no more than 5 % of the training's time; where it would, what was left to the
            Recorder comes less often after the first 32 steps, and the event "paced" says so.
        ledger_every: record the factors of the gradients (layer inputs and output gradients), and with them
            gradients, optimiser state and weights before and after, every so many steps and at the first.
            0 for never; None for twenty times in a fit, and every 500 steps, as far as the 5 % allow. With
            images of several sizes a ledger is of a batch of the size that most have: the next one that
                comes.
        maps_every: record feature maps of the probe images every so many steps; 0 and None as above.
        layers: names (or objects) of the layers to record, or "all". None chooses every trained layer with a
            convolution kernel, and the other trained layers of at most 4,096 numbers.
        probe_images: (images, ...) array as the model takes them, or how many to choose from the data (None:
            8); 0 for none.
        max_bytes: size that all files of the run may reach, those of earlier fits included. Where what was
            asked for does not fit, the schedule that takes the most room is halved, and a warning and an
            event say so. A run of less than 256 kB gets no SQL index.
        gradients_every: record gradients and optimiser state every so many steps; 0: at ledger steps only.
        snapshots_every: record all weights of the model at the end of every so many epochs.
        full_layers: names (or objects) of recorded layers, or "all": their weights, gradients and optimiser
            state are recorded at every step, so that every update of every weight is explained; () for none.
            None chooses the layers of at most 1,024 numbers, as far as a sixteenth of `max_bytes` and, in
            fits of more than 2,000 steps, the 5 % allow.
        overwrite: replace the run that is in the folder.
    Raises: ArgumentError; StorageError before the first step if the folder cannot be written or another
        process records there.

    >>> import tempfile
    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D, Dense, Flatten
    >>> model = Sequential([Conv2D(2, 3, input_shape=(6, 6, 1), name="conv"), Flatten(), Dense(3)])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> x, y = np.zeros((8, 6, 6, 1), "float32"), np.ones((8, 3))
    >>> _ = model.fit(x, y, batch_size=4, verbose=0, callbacks=[Recorder(folder)])
    >>> from kernelearn.recording import Run
    >>> Run(folder).steps
    array([0, 1, 2])
    """

    on_first_only: ClassVar[bool] = True

    state_names: ClassVar[tuple[str, ...]] = ("run",)

    def __init__(
        self,
        run_dir: PathLike,
        kernels_every: int | None = None,
        ledger_every: int | None = None,
        maps_every: int | None = None,
        layers: Any = None,
        probe_images: Any = None,
        max_bytes: int = 2**30,
        *,
        gradients_every: int = 0,
        snapshots_every: int = 1,
        full_layers: Any = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self.folder = checked_folder("Recorder", "run_dir", run_dir)
        count = partial(checked_count, "Recorder")
        self.wished: dict[str, int] = {
            Stream.KERNELS: _AUTOMATIC if kernels_every is None else count("kernels_every", kernels_every, 1),
            Stream.GRADIENTS: count("gradients_every", gradients_every),
            Stream.FULL: _AUTOMATIC if full_layers is None else 1,
            Stream.LEDGER: _AUTOMATIC if ledger_every is None else count("ledger_every", ledger_every),
            Stream.MAPS: _AUTOMATIC if maps_every is None else count("maps_every", maps_every),
            Stream.SNAPSHOTS: count("snapshots_every", snapshots_every, 1),
        }
        self.layers, self.full_layers, self.probe_images = layers, full_layers, probe_images
        self.max_bytes = count("max_bytes", max_bytes, 1)
        self.overwrite = overwrite
        self.rate_before: Any = None  # learning rate, or schedule, that the fit began with
        self.run: str | None = None
        self._place = Place(0, 0)
        self._book: BudgetedWriter[Selection] | None = None
        self._probes: Probes | None = None
        self._has_begun = self._has_failed = False
        self._full: Any = ()  # what `select` is told of the layers to record in full
        self._seen = 0  # images of a stream so far
        self._whole_at = -1  # the last step with all weights
        self._due: frozenset[Stream] = frozenset()
        # Of a model of any image size: the sizes of the batches whose ledgers are recorded, and whether one
        # is still to come because the batch that it was due at had others.
        self._shapes: Any = None
        self._owes_ledger = False

    # --- hooks

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.close()
        check_writable(self.folder, _MARGIN_BYTES)
        if not self.overwrite and (self.folder / MANIFEST).exists():
            RunWriter.reopen(self.folder).close()  # refuses now what could not be written later
        # A checkpoint that is restored behind this call says which run it belongs to.
        self.run, self._has_begun, self._has_failed, self._seen = None, False, False, 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # NOTE: not in on_train_begin, because a run is resumed between the two.
        if not (self._has_begun or self._has_failed):
            self._guarded(self._begin)
        if self._book is not None:
            self._book.timer.pause()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._book is not None:
            self._due = self._book.schedule.due(self._place.step + 1)
            if self._owes_ledger:
                self._due |= {Stream.LEDGER, Stream.GRADIENTS, *_FOR_A_LEDGER}
            taken = self._book.selection
            self.model.watch_step(self._buffers(taken))
            if Stream.LEDGER in self._due:
                self.model.watch_step(taken.ledger_buffers, self._shapes)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        book = self._book
        if book is not None:
            book.timer.arrive(Stream.LEDGER in self._due)
            self._guarded(self._record_step, book, batch, logs or {})
            if book.timer.leave() and self._book is not None:
                self._guarded(book.save_time, self._place.step, self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._book is not None:
            self._guarded(self._record_epoch, self._book, epoch, logs or {})

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.run is not None and not (self._has_begun or self._has_failed or self.overwrite):
            # A training that was killed behind its last step and resumed: no epoch began, the run ends here.
            self._guarded(self._begin)
        if self._book is not None:
            self._guarded(self._end, self._book, "finished")
        self._release()

    def close(self) -> None:
        """Close the files; what was not recorded whole is removed."""
        if self._book is not None:
            self._guarded(self._end, self._book, "interrupted")
        self._release()

    # --- what others ask and tell it

    @property
    def last_step(self) -> int:
        """Number of updates recorded."""
        return self._place.step

    def note(self, kind: str, **about: Any) -> None:
        """Record an event at the last step, such as something that was done to the training by hand."""
        if self._book is not None:
            self._guarded(self._note, self._book, kind, about)

    def _note(self, book: BudgetedWriter[Selection], kind: str, about: Mapping[str, Any]) -> None:
        book.event(kind, self._place.step, **about)

    def reselect(self) -> None:
        """What is trained was changed between two steps: go on with records that fit."""
        if self._book is not None:
            self._guarded(self._reselect, self._book)

    def _reselect(self, book: BudgetedWriter[Selection]) -> None:
        asked = self._full
        if isinstance(asked, list | tuple):
            trained = {layer_of(p) for p, weight in self.model.weight_paths().items() if weight.trainable}
            self._full = tuple(n for n in asked if getattr(n, "name", n) in trained)
        self._open_segment(book, book.writer.streams[Stream.STEPS].layout.capacity)
        self._full = asked

    # --- beginning

    def _begin(self) -> None:
        """Find the place in the run, and write the state from which training starts."""
        if self.overwrite:
            self._remove_old()
        automatic = [n for n, every in self.wished.items() if every == _AUTOMATIC and self._may_thin(n)]
        fingerprint = self.model.training_fingerprint()
        self.rate_before = rate_of(self.model.optimizer)
        is_resumed = self.run is not None and (self.folder / MANIFEST).exists()
        self._shapes, self._owes_ledger = usual_shapes(self.model), False
        writer = self._open(fingerprint)
        if is_resumed:
            self._do_again(writer)
        self._full, strides = self._full_layers(), self._strides()
        if self._full == ():
            strides[Stream.FULL] = 0
        self._book = book = BudgetedWriter[Selection](writer, self.max_bytes, strides, automatic)
        self.overwrite, self.run = False, book.writer.content["run"]
        self._probes = self._make_probes() if book.every[Stream.MAPS] else None
        self._open_segment(book, self.params.get("batch_size") or DEFAULT_BATCH)
        self._look_ahead(book)
        about = {"every": book.every, "epochs": self.params.get("epochs"), "fingerprint": fingerprint}
        how = {"seed": self.model.fit_state.seed, "compiled": compiled_as(self.model)}
        book.event("begun", self._place.step, **about, **how)
        self._has_begun = True

    def _do_again(self, writer: RunWriter) -> None:
        """What was done by hand and still holds, for a training that was killed and resumed.

        Its checkpoint has the weights, but neither a layer that was frozen nor a learning rate.
        """
        try:
            events, _ = read_events(self.folder / EVENTS)
            before = (one for one in of_events(events) if one.step <= self._place.step)
            for done in standing(before):
                do_on_all(self.model, done, self.rate_before)
        except BaseException:
            writer.close()
            raise

    def _open(self, fingerprint: Fingerprint) -> RunWriter:
        """The run's writer, at the place where this fit goes on."""
        model = self.model
        if not (self.folder / MANIFEST).exists():
            self._place = Place(0, -model.optimizer.iterations)
            return RunWriter.create(self.folder, about_model(model))
        writer = RunWriter.reopen(self.folder)
        try:
            paths, done = model.weight_paths(), model.optimizer.iterations
            self._place = place_of(self.folder, paths, done, self.run, fingerprint)
            if writer.last_step is not None and writer.last_step > self._place.step:
                writer.rewind(self._place.step)
        except BaseException:
            writer.close()
            raise
        return writer

    def _strides(self) -> dict[str, int]:
        """The strides that were asked for, with numbers where they were left to this class."""
        total = self._steps_in_all()
        rare = int(min(_RAREST, max(1, total // _TIMES_A_FIT)))
        automatic: dict[str, int] = {
            Stream.KERNELS: 1,
            Stream.FULL: 1,
            Stream.LEDGER: rare,
            Stream.MAPS: rare,
        }
        return {
            name: automatic[name] if every == _AUTOMATIC else every for name, every in self.wished.items()
        }

    def _full_layers(self) -> Any:
        """The layers to record in full: those asked for, or None to choose them, or () without room."""
        chosen = select(self.model, self.layers, (), 1, full=self.full_layers, shapes=self._shapes)
        layout = chosen.layouts.get(Stream.FULL)
        size = 0 if layout is None else layout.record_bytes * self._steps_in_all()
        is_small = size <= self.max_bytes // _FULL_PART
        return self.full_layers if layout is not None and (is_small or self.full_layers is not None) else ()

    def _steps_in_all(self) -> int:
        per_epoch, epochs = self.params.get("steps"), self.params.get("epochs")
        return per_epoch * epochs if per_epoch and epochs else _TIMES_A_FIT * _RAREST

    def _may_thin(self, stream: str) -> bool:
        """Whether a stream whose stride is left to this class may come less often to save time."""
        return stream != Stream.FULL or self._steps_in_all() > _SHORT_FIT

    def _remove_old(self) -> None:
        with FolderLock(self.folder):
            remove_run(self.folder)

    def _make_probes(self) -> Probes | None:
        layers = select(self.model, self.layers, (), 1, shapes=self._shapes).about["layers"]
        return make_probes(self.model, self.probe_images, list(layers))

    def _open_segment(self, book: BudgetedWriter[Selection], capacity: int, has_start: bool = True) -> None:
        """Go on with the layout of the run, or begin a segment of another one.

        Args:
            has_start: write the state of now as that of the step before.
        """
        names = self._metric_names()
        selection = select(self.model, self.layers, names, capacity, self._probes, self._full, self._shapes)
        ids = "rows" if isinstance(self.model.fit_data, Dataset) else "order"
        about = {**selection.about, "offset": self._place.offset, "ids": ids}
        if book.writer.content["segments"] and is_same(book.writer.segment, selection.layouts, about):
            book.go_on_with(selection)
            return
        book.begin_segment(selection, self._place.step, about)
        if has_start:
            self._write_start(book, selection)

    def _write_start(self, book: BudgetedWriter[Selection], selection: Selection) -> None:
        """The state before the first step of a segment, under the step before it."""
        full = (Stream.FULL,) if book.every[Stream.FULL] else ()
        step = self._place.step
        needed = book.size(Stream.SNAPSHOTS, Stream.STATE, Stream.KERNELS, Stream.STEPS, *full)
        if not book.has_room(needed):
            raise ArgumentError(
                f"Recorder: max_bytes={self.max_bytes:,} has no room for the first state of the model, which "
                f"takes {needed:,} bytes (of the run {book.used:,} are used). Raise max_bytes."
            )
        if self._probes is not None and not book.has_room(needed + book.size(Stream.PROBES, Stream.MAPS)):
            self._probes = None
            book.change({Stream.MAPS: 0}, step)
        if self._probes is not None:
            book.put(Stream.PROBES, step, self._probes.arrays())
            book.put(Stream.MAPS, step, self._probes.maps())
        book.put(Stream.SNAPSHOTS, step, selection.snapshot)
        self._whole_at = step
        book.put(Stream.STATE, step, selection.state)
        book.put(Stream.KERNELS, step, selection.weights)
        for stream in full:
            book.put(stream, step, selection.full_record({}))
        book.put(Stream.STEPS, step, {"loss": np.nan, "learning_rate": self.model.optimizer.learning_rate})
        book.writer.commit()

    def _metric_names(self) -> list[str]:
        logs = self.model.results()
        return [n for n, value in logs.items() if n not in STEP_FIELDS and np.ndim(value) == 0]

    def _look_ahead(self, book: BudgetedWriter[Selection]) -> None:
        """Let what is still to come of this fit have room."""
        if book.is_planned(self._place.step):
            return
        per_epoch, epochs, state = self.params.get("steps"), self.params.get("epochs"), self.model.fit_state
        steps = max(per_epoch * (epochs - state.epoch) - state.batch, 0) if per_epoch and epochs else None
        book.look_ahead(self._place.step, steps, per_epoch)

    # --- steps

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
        return (book.schedule.due(step) | _FOR_A_LEDGER) - {Stream.LEDGER}

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

    def _guarded(self, action: Any, *arguments: Any) -> None:
        """Run an action that writes. If the disk fails, recording ends, says so, and training goes on."""
        try:
            action(*arguments)
        except OSError as error:
            is_ours = isinstance(error, StorageError)
            if is_ours and not self._has_begun:
                raise  # before the first step it is not too late to stop
            self._give_up(error if is_ours else storage_error(error, self.folder))
        except KernelearnError:
            self._release()
            raise

    def _give_up(self, error: Exception) -> None:
        self._has_failed = True
        self._release()
        warnings.warn(
            f"Recorder: {error} Recording ends at step {self._place.step}; training goes on without it. What "
            "is recorded can be read.",
            UserWarning,
            stacklevel=3,
        )

    def _release(self) -> None:
        book, self._book = self._book, None
        if book is not None:
            with suppress(OSError):
                book.writer.close()


def _number(value: Any) -> float:
    """A metric as a number; NaN for one that has a value for each class."""
    if isinstance(value, float):
        return value
    return float(value) if value is not None and np.ndim(value) == 0 else float("nan")
