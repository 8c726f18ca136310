"""`Recorder`: the callback that writes a run folder while a model trains. It copies, it never recomputes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kernelearn.data import Dataset
from kernelearn.errors import ArgumentError, KernelearnError, StorageError
from kernelearn.locks import FolderLock
from kernelearn.recording.budget import (
    GRADIENTS,
    KERNELS,
    LEDGER,
    MAPS,
    SNAPSHOTS,
    STATE,
    is_due,
    is_ledger_due,
)
from kernelearn.recording.index import update_index
from kernelearn.recording.joining import Place, place_of
from kernelearn.recording.manifest import MANIFEST
from kernelearn.recording.pen import Pen
from kernelearn.recording.plan import (
    PROBES,
    STEP_FIELDS,
    STEPS,
    Plan,
    about_model,
    is_same,
    make_plan,
)
from kernelearn.recording.probes import Probes, make_probes
from kernelearn.recording.writer import RunWriter, remove_run
from kernelearn.storage import PathLike, check_writable, storage_error
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.step import StepReport

DEFAULT_BATCH = 32
_MARGIN_BYTES = 1_000_000
# A stride that is not given. Ledgers, maps: so many times in a fit, but at least every so many steps.
_AUTOMATIC, _TIMES_A_FIT, _RAREST = -1, 20, 500


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
            0 for never; None for twenty times in a fit, and every 500 steps, as far as the 5 % allow.
        maps_every: record feature maps of the probe images every so many steps; 0 and None as above.
        layers: names (or objects) of the layers to record, or "all". None chooses every trained layer with a
            convolution kernel, and the other trained layers of at most 4,096 numbers.
        probe_images: (images, ...) array as the model takes them, or how many to choose from the data (None:
            8); 0 for none.
        max_bytes: size that the run may reach, those of earlier fits included. Where what was asked for does
            not fit, the schedule that takes the most room is halved, and a warning and an event say so.
        gradients_every: record gradients and optimiser state every so many steps; 0: at ledger steps only.
        snapshots_every: record all weights of the model at the end of every so many epochs.
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
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        if not os.fspath(run_dir):
            raise ArgumentError("Recorder: run_dir is empty; give the name of a folder.")
        self.folder = Path(run_dir)
        self.wished = {
            KERNELS: _AUTOMATIC if kernels_every is None else _count("kernels_every", kernels_every, 1),
            GRADIENTS: _count("gradients_every", gradients_every),
            LEDGER: _AUTOMATIC if ledger_every is None else _count("ledger_every", ledger_every),
            MAPS: _AUTOMATIC if maps_every is None else _count("maps_every", maps_every),
            SNAPSHOTS: _count("snapshots_every", snapshots_every, 1),
        }
        self.layers, self.probe_images = layers, probe_images
        self.max_bytes = _count("max_bytes", max_bytes, 1)
        self.overwrite = overwrite
        self.run: str | None = None
        self._place = Place(0, 0)
        self._pen: Pen | None = None
        self._probes: Probes | None = None
        self._has_begun = self._has_failed = False
        self._seen = 0  # images of a stream so far
        self._due: tuple[bool, bool] = (False, False)

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
        if self._pen is not None:
            self._pen.pace.pause()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._pen is not None:
            self.model.watch_step(self._wanted(self._pen, self._place.step + 1))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        pen = self._pen
        if pen is not None:
            pen.pace.arrive(self._due[0])
            self._guarded(self._record_step, pen, batch, logs or {})
            if pen.pace.leave() and self._pen is not None:
                self._guarded(pen.save_time, self._place.step, self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._pen is not None:
            self._guarded(self._record_epoch, self._pen, epoch, logs or {})

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._pen is not None:
            self._guarded(self._end, self._pen, "finished")
        self._release()

    def close(self) -> None:
        """Close the files; what was not recorded whole is removed."""
        if self._pen is not None:
            self._guarded(self._end, self._pen, "interrupted")
        self._release()

    # --- beginning

    def _begin(self) -> None:
        """Find the place in the run, and write the state from which training starts."""
        if self.overwrite:
            self._remove_old()
        automatic = [name for name, every in self.wished.items() if every == _AUTOMATIC]
        self._pen = pen = Pen(self._open(), self.max_bytes, self._strides(), automatic)
        self.overwrite, self.run = False, pen.writer.content["run"]
        self._probes = self._make_probes() if pen.every[MAPS] else None
        self._open_segment(pen, self.params.get("batch_size") or DEFAULT_BATCH)
        self._look_ahead(pen)
        pen.writer.event("begun", self._place.step, every=pen.every, epochs=self.params.get("epochs"))
        self._has_begun = True

    def _open(self) -> RunWriter:
        """The run's writer, at the place where this fit goes on."""
        model = self.model
        if not (self.folder / MANIFEST).exists():
            self._place = Place(0, -model.optimizer.iterations)
            return RunWriter.create(self.folder, about_model(model))
        writer = RunWriter.reopen(self.folder)
        try:
            self._place = place_of(self.folder, model.weight_paths(), model.optimizer.iterations, self.run)
            if writer.last_step is not None and writer.last_step > self._place.step:
                writer.rewind(self._place.step)
        except BaseException:
            writer.close()
            raise
        return writer

    def _strides(self) -> dict[str, int]:
        """The strides that were asked for, with numbers where they were left to this class."""
        per_epoch, epochs = self.params.get("steps"), self.params.get("epochs")
        total = per_epoch * epochs if per_epoch and epochs else _TIMES_A_FIT * _RAREST
        rare = int(min(_RAREST, max(1, total // _TIMES_A_FIT)))
        automatic = {KERNELS: 1, LEDGER: rare, MAPS: rare}
        return {
            name: automatic[name] if every == _AUTOMATIC else every for name, every in self.wished.items()
        }

    def _remove_old(self) -> None:
        lock = FolderLock(self.folder)
        lock.acquire()
        try:
            remove_run(self.folder)
        finally:
            lock.release()

    def _make_probes(self) -> Probes | None:
        layers = make_plan(self.model, self.layers, (), 1).about["layers"]
        return make_probes(self.model, self.probe_images, list(layers))

    def _open_segment(self, pen: Pen, capacity: int, has_start: bool = True) -> None:
        """Go on with the layout of the run, or begin a segment of another one.

        Args:
            has_start: write the state of now as that of the step before.
        """
        plan = make_plan(self.model, self.layers, self._metric_names(), capacity, self._probes)
        ids = "rows" if isinstance(self.model.fit_data, Dataset) else "order"
        about = {**plan.about, "offset": self._place.offset, "ids": ids}
        pen.plan = plan
        if pen.writer.content["segments"] and is_same(pen.writer.segment, plan, about):
            return
        pen.writer.begin_segment(self._place.step, plan.layouts.values(), **about)
        if has_start:
            self._write_start(pen, plan)

    def _write_start(self, pen: Pen, plan: Plan) -> None:
        """The state before the first step of a segment, under the step before it."""
        step, needed = self._place.step, pen.size(SNAPSHOTS, STATE, KERNELS, STEPS)
        if not pen.has_room(needed):
            raise ArgumentError(
                f"Recorder: max_bytes={self.max_bytes:,} has no room for the first state of the model, which "
                f"takes {needed:,} bytes (of the run {pen.used:,} are used). Raise max_bytes."
            )
        if self._probes is not None and not pen.has_room(needed + pen.size(PROBES, MAPS)):
            self._probes = None
            pen.change({MAPS: 0}, step)
        if self._probes is not None:
            pen.put(PROBES, step, self._probes.arrays())
            pen.put(MAPS, step, self._probes.maps())
        pen.put(SNAPSHOTS, step, plan.snapshot)
        pen.put(STATE, step, plan.state)
        pen.put(KERNELS, step, plan.weights)
        pen.put(STEPS, step, {"loss": np.nan, "learning_rate": self.model.optimizer.learning_rate})
        pen.writer.commit()

    def _metric_names(self) -> list[str]:
        logs = self.model.results()
        return [n for n, value in logs.items() if n not in STEP_FIELDS and np.ndim(value) == 0]

    def _look_ahead(self, pen: Pen) -> None:
        """Let what is still to come of this fit have room."""
        if pen.is_planned(self._place.step):
            return
        per_epoch, epochs, state = self.params.get("steps"), self.params.get("epochs"), self.model.fit_state
        steps = max(per_epoch * (epochs - state.epoch) - state.batch, 0) if per_epoch and epochs else None
        pen.look_ahead(self._place.step, steps, per_epoch)

    # --- steps

    def _wanted(self, pen: Pen, step: int) -> dict[str, str]:
        """The buffers that a step has to give back, and a note of what is due."""
        is_ledger = is_ledger_due(step, pen.every[LEDGER])
        self._due = is_ledger, is_ledger or is_due(step, pen.every[GRADIENTS])
        factors = pen.plan.ledger_buffers if is_ledger else {}
        return {**factors, **pen.plan.gradient_buffers} if self._due[1] else {}

    def _record_step(self, pen: Pen, batch: int, logs: Mapping[str, Any]) -> None:
        report, step = self.model.last_step, self.model.optimizer.iterations + self._place.offset
        if step == self._place.step:
            pen.writer.event("not finite", step, loss=report.loss)
            return
        pen.check_room()
        rows = report.batch.rows
        if rows > pen.writer.streams[STEPS].layout.capacity:
            # Larger batches need larger records; the state before this step is in the segment before.
            self._open_segment(pen, max(rows, 2 * pen.writer.streams[STEPS].layout.capacity), False)
        self._look_ahead(pen)
        self._record_weights(pen, step)
        self._record_gradients(pen, step, report.buffers, rows)
        if self._probes is not None and is_due(step, pen.every[MAPS]):
            pen.put_if_room(MAPS, step, self._probes.maps)
        self._record_numbers(pen, step, batch, report, rows, logs)  # makes the step count: the last
        pen.writer.commit()
        self._place = Place(step, self._place.offset)

    def _record_weights(self, pen: Pen, step: int) -> None:
        is_before = is_ledger_due(step + 1, pen.every[LEDGER])
        if self._due[0] or is_before or is_due(step, pen.every[KERNELS]):
            pen.put_if_room(KERNELS, step, pen.plan.weights)
        if self._due[1] or is_before or is_due(step + 1, pen.every[GRADIENTS]):
            pen.put_if_room(STATE, step, pen.plan.state)

    def _record_gradients(self, pen: Pen, step: int, buffers: Mapping[str, Any], rows: int) -> None:
        is_ledger, has_gradients = self._due
        if not has_gradients:
            return
        gradients = {name: buffers[name] for name in pen.plan.gradient_buffers}
        if pen.put_if_room(GRADIENTS, step, gradients) and is_ledger:
            pen.put_if_room(LEDGER, step, {name: buffers[name] for name in pen.plan.ledger_buffers}, rows)

    def _record_numbers(
        self, pen: Pen, step: int, batch: int, report: StepReport, rows: int, logs: Mapping[str, Any]
    ) -> None:
        """What is recorded of every step, in the order of `plan.STEP_FIELDS`."""
        metrics = [_number(logs.get(name)) for name in pen.plan.about["metrics"]]
        labels = self._labels(report)
        counts = self.model.fit_state.epoch, batch, self.model.optimizer.iterations, labels is not None
        images = self._next_images(rows) if report.rows is None else report.rows
        arrays = {"images": images, "labels": -1 if labels is None else labels}
        pen.put_step(step, (report.loss, report.learning_rate, *metrics, *counts), arrays, rows)

    def _labels(self, report: StepReport) -> np.ndarray | None:
        data = self.model.fit_data
        if report.rows is not None and data.has_classes:
            return data.labels[report.rows]
        return report.batch.class_numbers()

    def _next_images(self, rows: int) -> np.ndarray:
        """Numbers for images that have none: in the order in which they come."""
        self._seen += rows
        return np.arange(self._seen - rows, self._seen)

    def _record_epoch(self, pen: Pen, epoch: int, logs: Mapping[str, Any]) -> None:
        step = self._place.step
        if is_due(epoch + 1, pen.every[SNAPSHOTS]) or epoch + 1 == self.params.get("epochs"):
            pen.put_if_room(SNAPSHOTS, step, pen.plan.snapshot)
            pen.writer.commit()
        pen.writer.event("epoch", step, epoch=epoch, logs={k: v for k, v in logs.items() if np.ndim(v) == 0})

    # --- ending

    def _end(self, pen: Pen, kind: str) -> None:
        """Finish the run and bring its index up to date."""
        pen.writer.take_back()
        pen.writer.event(kind, self._place.step)
        if kind == "finished":
            update_index(self.folder)

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
        pen, self._pen = self._pen, None
        if pen is not None:
            with suppress(OSError):
                pen.writer.close()


def _count(name: str, value: Any, least: int = 0) -> int:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ArgumentError(f"Recorder: {name} must be a whole number of at least {least}, got {value!r}.")
    return int(value)


def _number(value: Any) -> float:
    """A metric as a number; NaN for one that has a value for each class."""
    if isinstance(value, float):
        return value
    return float(value) if value is not None and np.ndim(value) == 0 else float("nan")
