"""How a recording begins: its place in the run, how often what comes, and the state it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.errors import ArgumentError
from kernelearn.locks import FolderLock
from kernelearn.recording.capture.budgeted_writer import BudgetedWriter
from kernelearn.recording.capture.joining import Place, place_of
from kernelearn.recording.capture.probes import Probes, make_probes
from kernelearn.recording.capture.selection import (
    STEP_FIELDS,
    Selection,
    about_model,
    compiled_as,
    is_same,
    select,
)
from kernelearn.recording.capture.sizes import usual_shapes
from kernelearn.recording.files.events import read_events
from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.recording.files.writer import EVENTS, RunWriter, remove_run
from kernelearn.recording.interventions import do_on_all, of_events, rate_of, standing
from kernelearn.recording.schedule import Stream
from kernelearn.training.callbacks.base import Callback
from kernelearn.training.fingerprint import Fingerprint

DEFAULT_BATCH = 32
# Part of `max_bytes` that the layers with a full history take at most without being asked for.
_FULL_PART = 16
# Fits of at most so many steps keep these histories whole however long it takes: a tenth of a second or so.
_SHORT_FIT = 2000
# A stride that is not given. Ledgers, maps: so many times in a fit, but at least every so many steps.
AUTOMATIC, _TIMES_A_FIT, _RAREST = -1, 20, 500


class Opening(Callback):
    """What a `Recorder` does before the first step, and where a segment begins.

    Attributes:
        folder: of the run.
        wished: stream -> stride that was asked for, or `AUTOMATIC`.
        layers, full_layers, probe_images, max_bytes, overwrite: see `Recorder`.
        rate_before: learning rate, or schedule, that the fit began with.
        run: the run that is recorded; None before the first step.
    """

    folder: Path
    wished: dict[str, int]
    layers: Any
    full_layers: Any
    probe_images: Any
    max_bytes: int
    overwrite: bool

    def __init__(self) -> None:
        super().__init__()
        self.rate_before: Any = None
        self.run: str | None = None
        self._place = Place(0, 0)
        self._book: BudgetedWriter[Selection] | None = None
        self._probes: Probes | None = None
        self._has_begun = self._has_failed = False
        self._full: Any = ()  # what `select` is told of the layers to record in full
        self._whole_at = -1  # the last step with all weights
        # Of a model of any image size: the sizes of the batches whose ledgers are recorded, and whether one
        # is still to come because the batch that it was due at had others.
        self._shapes: Any = None
        self._owes_ledger = False

    def _begin(self) -> None:
        """Find the place in the run, and write the state from which training starts."""
        if self.overwrite:
            self._remove_old()
        automatic = [n for n, every in self.wished.items() if every == AUTOMATIC and self._may_thin(n)]
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
        return {name: automatic[name] if every == AUTOMATIC else every for name, every in self.wished.items()}

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

    # --- segments

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
