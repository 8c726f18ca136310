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
from kernelearn.layers.base import LAYERS
from kernelearn.recording.budget import (
    GRADIENTS,
    KERNELS,
    LEDGER,
    MAPS,
    SNAPSHOTS,
    is_due,
    is_ledger_due,
    thinned,
)
from kernelearn.recording.index import update_index
from kernelearn.recording.joining import Place, place_of
from kernelearn.recording.lock import FolderLock
from kernelearn.recording.manifest import MANIFEST
from kernelearn.recording.plan import PROBES, STATE, STEP_FIELDS, STEPS, Plan, Probes, make_plan, spread_rows
from kernelearn.recording.writer import RunWriter, remove_run
from kernelearn.storage import PathLike, check_writable, readable_size, storage_error
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.feeds import program_inputs

DEFAULT_BATCH = 32
DEFAULT_PROBES = 8
# A stride that is not given: so many times in a fit, but not more rarely than so many steps.
_AUTOMATIC, _TIMES_A_FIT, _RAREST = -1, 20, 100
# Steps that are planned ahead where their number is not known.
_UNKNOWN_STEPS = 1000
_MARGIN_BYTES = 1_000_000
# Stream -> schedules that fill it.
_SCHEDULES = {
    KERNELS: (KERNELS,),
    STATE: (LEDGER, GRADIENTS),
    GRADIENTS: (LEDGER, GRADIENTS),
    LEDGER: (LEDGER,),
    MAPS: (MAPS,),
    SNAPSHOTS: (SNAPSHOTS,),
}


class Recorder(Callback):
    """Records a training, step by step, in a folder that `kernelearn.recording.Run` reads.

    Step k is the k-th update: the weights at step k are those after it, step 0 is the initial state. Every
    step has its loss, metrics, learning rate and the numbers of its images; the rest comes as often as the
    arguments say. A run that is killed loses at most its last step. The training itself is bitwise the same
    with and without a Recorder.

    Args:
        run_dir: folder of the run alone; made if missing. A fit that goes on where the run ends (another fit
            of the model, or a resumed one) is added to it.
        kernels_every: record the weights of the layers every so many steps.
        ledger_every: record the factors of the gradients (layer inputs and output gradients), and with them
            gradients, optimiser state and weights before and after, every so many steps and at the first.
            0 for never; None for twenty times in a fit, and at least every hundred steps.
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
        kernels_every: int = 1,
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
            KERNELS: _count("kernels_every", kernels_every, 1),
            GRADIENTS: _count("gradients_every", gradients_every),
            LEDGER: _AUTOMATIC if ledger_every is None else _count("ledger_every", ledger_every),
            MAPS: _AUTOMATIC if maps_every is None else _count("maps_every", maps_every),
            SNAPSHOTS: _count("snapshots_every", snapshots_every, 1),
        }
        self.layers, self.probe_images = layers, probe_images
        self.max_bytes = _count("max_bytes", max_bytes, 1)
        self.overwrite = overwrite
        self.every = dict(self.wished)
        self.run: str | None = None
        self._place = Place(0, 0)
        self._plan: Plan | None = None
        self._probes: Probes | None = None
        self._writer: RunWriter | None = None
        self._stopped = False
        self._used = 0
        self._planned_until = 0.0
        self._horizon = 0  # last step that is planned for
        self._seen = 0  # images of a stream so far
        self._due: tuple[bool, bool] = (False, False)

    # --- hooks

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.close()
        check_writable(self.folder, _MARGIN_BYTES)
        if not self.overwrite and (self.folder / MANIFEST).exists():
            RunWriter.reopen(self.folder).close()  # refuses now what could not be written later
        # A checkpoint that is restored behind this call says which run it belongs to.
        self._plan, self._stopped, self._seen, self.run = None, False, 0, None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # NOTE: not in on_train_begin, because a run is resumed between the two.
        if self._plan is None and not self._stopped:
            self._guarded(self._begin)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._writer is None:
            return
        step, plan = self._place.step + 1, self._the_plan()
        is_ledger = is_ledger_due(step, self.every[LEDGER])
        self._due = is_ledger, is_ledger or is_due(step, self.every[GRADIENTS])
        wanted = {
            **(plan.ledger_buffers if is_ledger else {}),
            **(plan.gradient_buffers if self._due[1] else {}),
        }
        self.model.watch_step(wanted)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._writer is not None:
            self._guarded(self._record_step, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._writer is not None:
            self._guarded(self._record_epoch, epoch, logs or {})

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._writer is not None:
            self._guarded(self._end, "finished")
        self._release()

    def close(self) -> None:
        """Close the files; what was not recorded whole is removed."""
        if self._writer is not None:
            self._guarded(self._end, "interrupted")
        self._release()

    # --- beginning

    def _begin(self) -> None:
        """Find the place in the run, and write the state from which training starts."""
        model = self.model
        if self.overwrite:
            self._remove_old()
        is_new = not (self.folder / MANIFEST).exists()
        if is_new:
            self._writer = RunWriter.create(self.folder, _about_model(model))
            self._place = Place(0, -model.optimizer.iterations)
        else:
            self._writer = RunWriter.reopen(self.folder)
            self._place = place_of(self.folder, model.weight_paths(), model.optimizer.iterations, self.run)
            if self._writer.last_step is not None and self._writer.last_step > self._place.step:
                self._writer.rewind(self._place.step)
        self.overwrite = False
        self._choose_strides()
        self.run = self._writer.content["run"]
        self._probes = self._make_probes()
        self._open_segment(self.params.get("batch_size") or DEFAULT_BATCH)
        self._fit_schedules()
        self._writer.event("begun", self._place.step, every=self.every, epochs=self.params.get("epochs"))

    def _choose_strides(self) -> None:
        """The strides that were asked for, with numbers where they were left to this class."""
        per_epoch, epochs = self.params.get("steps"), self.params.get("epochs")
        total = per_epoch * epochs if per_epoch and epochs else _TIMES_A_FIT * _RAREST
        chosen = int(min(_RAREST, max(1, total // _TIMES_A_FIT)))
        self.every = {n: chosen if every == _AUTOMATIC else every for n, every in self.wished.items()}

    def _remove_old(self) -> None:
        lock = FolderLock(self.folder)
        lock.acquire()
        try:
            remove_run(self.folder)
        finally:
            lock.release()

    def _open_segment(self, capacity: int, has_start: bool = True) -> None:
        """Go on with the layout of the run, or begin a segment of another one.

        Args:
            has_start: write the state of now as that of the step before.
        """
        writer = self._the_writer()
        plan = self._plan = make_plan(self.model, self.layers, self._metric_names(), capacity, self._probes)
        about = {
            **plan.about,
            "offset": self._place.offset,
            "ids": "rows" if isinstance(self.model.fit_data, Dataset) else "order",
        }
        if writer.content["segments"] and _is_same(writer.segment, plan, about):
            self._used = writer.used_bytes()
            return
        writer.begin_segment(self._place.step, plan.layouts.values(), **about)
        self._used = writer.used_bytes()
        if has_start:
            self._write_start()

    def _write_start(self) -> None:
        """The state before the first step of a segment, under the step before it."""
        step, plan = self._place.step, self._the_plan()
        needed = sum(plan.layouts[s].record_bytes for s in (SNAPSHOTS, STATE, KERNELS, STEPS))
        if self._used + needed > self.max_bytes:
            raise ArgumentError(
                f"Recorder: max_bytes={self.max_bytes:,} has no room for the first state of the model, which "
                f"takes {needed:,} bytes (of the run {self._used:,} are used). Raise max_bytes."
            )
        if self._probes is not None and self._used + needed + self._maps_bytes() > self.max_bytes:
            self._probes = None
            before, self.every = self.every[MAPS], {**self.every, MAPS: 0}
            self._tell_thinned({**self.every, MAPS: before}, step)
        if self._probes is not None:
            self._put(PROBES, step, self._probes.arrays())
            self._put(MAPS, step, self._probes.maps())
        self._put(SNAPSHOTS, step, plan.snapshot)
        self._put(STATE, step, plan.state)
        self._put(KERNELS, step, plan.weights)
        self._put(STEPS, step, {"loss": np.nan, "learning_rate": self.model.optimizer.learning_rate})
        self._the_writer().commit()

    def _maps_bytes(self) -> int:
        layouts = self._the_plan().layouts
        return layouts[PROBES].record_bytes + layouts[MAPS].record_bytes

    def _make_probes(self) -> Probes | None:
        if not self.every[MAPS] or (isinstance(self.probe_images, int) and not self.probe_images):
            return None
        model, given = self.model, self.probe_images
        if given is None or isinstance(given, int | np.integer):
            found = _images_of(model.fit_data, DEFAULT_PROBES if given is None else int(given))
            if found is None:
                return None
            images, ids = found
            inputs = program_inputs(images, model.inputs, model.input_names)
        else:
            inputs = program_inputs(_as_arrays(given), model.inputs, model.input_names)
            ids = np.full(len(inputs["x_0"]), -1)
        return Probes(model, inputs, ids, self._layers_with_maps())

    def _layers_with_maps(self) -> list[str]:
        plan = make_plan(self.model, self.layers, (), 1)
        return list(plan.about["layers"])

    def _metric_names(self) -> list[str]:
        logs = self.model._results().logs()
        return [n for n, value in logs.items() if n not in STEP_FIELDS and np.ndim(value) == 0]

    # --- steps

    def _record_step(self, batch: int, logs: Mapping[str, Any]) -> None:
        writer, report = self._the_writer(), self.model.last_step
        step = self.model.optimizer.iterations + self._place.offset
        if step == self._place.step:
            writer.event("not finite", step, loss=report.loss)
            return
        self._check_room()
        rows = len(report.inputs["x_0"])
        if rows > self._the_plan().layouts[STEPS].capacity:
            self._open_segment_for(rows)
        self._place = Place(step, self._place.offset)
        if step > self._planned_until:
            self._fit_schedules()
        self._record_weights(step)
        self._record_gradients(step, report.buffers, rows)
        if self._probes is not None and is_due(step, self.every[MAPS]):
            self._put_if_room(MAPS, step, self._probes.maps)
        self._record_numbers(step, batch, report, logs, rows)
        writer.commit()

    def _record_weights(self, step: int) -> None:
        plan, every = self._the_plan(), self.every
        is_before = is_ledger_due(step + 1, every[LEDGER])
        if self._due[0] or is_before or is_due(step, every[KERNELS]):
            self._put_if_room(KERNELS, step, plan.weights)
        if self._due[1] or is_before or is_due(step + 1, every[GRADIENTS]):
            self._put_if_room(STATE, step, plan.state)

    def _record_gradients(self, step: int, buffers: Mapping[str, np.ndarray], rows: int) -> None:
        plan, (is_ledger, has_gradients) = self._the_plan(), self._due
        if has_gradients:
            self._put_if_room(GRADIENTS, step, {name: buffers[name] for name in plan.gradient_buffers})
        if is_ledger:
            self._put_if_room(LEDGER, step, {name: buffers[name] for name in plan.ledger_buffers}, rows)

    def _record_numbers(self, step: int, batch: int, report, logs: Mapping[str, Any], rows: int) -> None:
        """The record that makes a step count, so the last of the step."""
        metrics = self._the_plan().about["metrics"]
        labels = _class_numbers(report.inputs.get("y_true_0"))
        numbers = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            **{name: _number(logs.get(name)) for name in metrics},
            "epoch": self.model.fit_state.epoch,
            "batch": batch,
            "iteration": self.model.optimizer.iterations,
            "images": self._next_images(rows) if report.rows is None else report.rows,
            "labels": -1 if labels is None else labels,
            "has_labels": labels is not None,
        }
        self._put(STEPS, step, numbers, rows)

    def _record_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        writer, step = self._the_writer(), self._place.step
        if is_due(epoch + 1, self.every[SNAPSHOTS]) or epoch + 1 == self.params.get("epochs"):
            self._put_if_room(SNAPSHOTS, step, self._the_plan().snapshot)
            writer.commit()
        writer.event("epoch", step, epoch=epoch, logs={k: v for k, v in logs.items() if np.ndim(v) == 0})

    def _end(self, kind: str) -> None:
        """Finish the run and bring its index up to date."""
        writer = self._the_writer()
        writer.take_back()
        writer.event(kind, self._place.step)
        if kind == "finished":
            writer.sync()
            update_index(self.folder)

    def _next_images(self, rows: int) -> np.ndarray:
        """Numbers for images that have none: in the order in which they come."""
        self._seen += rows
        return np.arange(self._seen - rows, self._seen)

    def _open_segment_for(self, rows: int) -> None:
        """Make room for larger batches; the state before this step is in the segment before."""
        self._open_segment(max(rows, 2 * self._the_plan().layouts[STEPS].capacity), has_start=False)

    # --- writing

    def _put(self, stream: str, step: int, arrays: Mapping[str, Any], rows: int = 0) -> None:
        file = self._the_writer().streams[stream]
        for name, array in arrays.items():
            file.put(name, getattr(array, "value", array), rows)
        self._the_writer().append(stream, step, rows)
        self._used += file.layout.record_bytes

    def _put_if_room(self, stream: str, step: int, arrays: Any, rows: int = 0) -> None:
        """Write a record unless it would break the budget; then say so, and come less often from now on."""
        size = self._the_plan().layouts[stream].record_bytes
        reserve = self._the_plan().layouts[STEPS].record_bytes * max(self._horizon - step + 1, 1)
        if self._used + size + reserve <= self.max_bytes:
            self._put(stream, step, arrays() if callable(arrays) else arrays, rows)
        else:
            before = self.every
            rarer = {name: 2 * self.every[name] for name in _SCHEDULES[stream]}
            self.every = {**self.every, **rarer}
            self._tell_thinned(before, step)

    def _check_room(self) -> None:
        if self._used + self._the_plan().layouts[STEPS].record_bytes > self.max_bytes:
            raise StorageError(
                f"max_bytes ({readable_size(self.max_bytes)}) is reached: not even the numbers of a step "
                "have room. Raise max_bytes to record more."
            )

    def _fit_schedules(self) -> None:
        """Choose how often to record, so that what is still to come has room; say what became rarer."""
        plan, params, step = self._the_plan(), self.params, self._place.step
        per_epoch, epochs = params.get("steps"), params.get("epochs")
        state = self.model.fit_state
        room = self.max_bytes - self._used
        if per_epoch and epochs:
            steps = max(per_epoch * (epochs - state.epoch) - state.batch, 0)
            self._planned_until = np.inf
        else:
            steps, room = max(_UNKNOWN_STEPS, step), room // 2
            self._planned_until = step + steps
        self._horizon = step + steps
        fixed = plan.layouts[STEPS].record_bytes
        before, self.every = (
            self.every,
            thinned(self.every, plan.costs(per_epoch or steps), steps, room, fixed),
        )
        self._tell_thinned(before, step)

    def _tell_thinned(self, before: Mapping[str, int], step: int) -> None:
        changed = {name: every for name, every in self.every.items() if every != before[name]}
        if not changed:
            return
        self._the_writer().event(
            "thinned", step, every=self.every, before=dict(before), max_bytes=self.max_bytes
        )
        said = ", ".join(
            f"{name} every {every} instead of {before[name]}" if every else f"no {name}"
            for name, every in changed.items()
        )
        unit = " (snapshots count epochs, the others steps)" if SNAPSHOTS in changed else ""
        warnings.warn(
            f"Recorder: to stay under max_bytes ({readable_size(self.max_bytes)}) it records {said}{unit} "
            f"from step {step} on. Raise max_bytes, or record fewer layers, to keep more.",
            UserWarning,
            stacklevel=2,
        )

    def _guarded(self, action: Any, *arguments: Any) -> None:
        """Run an action that writes. If the disk fails, recording ends, says so, and training goes on."""
        try:
            action(*arguments)
        except OSError as error:
            is_ours = isinstance(error, StorageError)
            if is_ours and self._plan is None:
                raise  # before the first step it is not too late to stop
            self._give_up(error if is_ours else storage_error(error, self.folder))
        except KernelearnError:
            self._release()
            raise

    def _give_up(self, error: Exception) -> None:
        self._stopped = True
        self._release()
        warnings.warn(
            f"Recorder: {error} Recording ends at step {self._place.step}; training goes on without it. What "
            "is recorded can be read.",
            UserWarning,
            stacklevel=3,
        )

    def _release(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.close()

    def _the_writer(self) -> RunWriter:
        assert self._writer is not None
        return self._writer

    def _the_plan(self) -> Plan:
        assert self._plan is not None
        return self._plan


def _count(name: str, value: Any, least: int = 0) -> int:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ArgumentError(f"Recorder: {name} must be a whole number of at least {least}, got {value!r}.")
    return int(value)


def _about_model(model: Any) -> dict[str, Any]:
    """What the manifest says of the whole run."""
    names = getattr(model.fit_data, "class_names", None)
    return {
        "model": LAYERS.serialize(model),
        "metadata": model.metadata,
        "weights": {path: list(weight.shape) for path, weight in model.weight_paths().items()},
        "engine": model._engine,
        "class_names": None if names is None else [str(name) for name in names],
    }


def _is_same(segment: Mapping[str, Any], plan: Plan, about: Mapping[str, Any]) -> bool:
    """Whether a segment of the manifest describes what the plan does."""
    layouts = {name: layout.checksum for name, layout in plan.layouts.items()}
    recorded = {name: stream["checksum"] for name, stream in segment["streams"].items()}
    return layouts == recorded and all(segment.get(key) == _json(value) for key, value in about.items())


def _json(value: Any) -> Any:
    """A value as JSON gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, list | tuple) else value


def _images_of(data: Any, count: int) -> tuple[Any, np.ndarray] | None:
    """Some images of the data and their row numbers; None for a stream."""
    if not isinstance(data, Dataset):
        return None
    rows = spread_rows(len(data), count)
    return next(iter(data.subset(rows).batches(len(rows))))[0], rows


def _as_arrays(images: Any) -> Any:
    if isinstance(images, Mapping):
        return {name: np.asarray(part) for name, part in images.items()}
    if isinstance(images, list | tuple) and all(hasattr(part, "shape") for part in images):
        return [np.asarray(part) for part in images]
    return np.asarray(images)


def _number(value: Any) -> float:
    """A metric as a number; NaN for one that has a value for each class."""
    return float(value) if value is not None and np.ndim(value) == 0 else float("nan")


def _class_numbers(targets: np.ndarray | None) -> np.ndarray | None:
    """(n,) class of each sample from class numbers or one-hot rows; None for other targets."""
    if targets is None:
        return None
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        return targets
    is_one_hot = targets.ndim == 2 and targets.shape[1] > 1 and bool(((targets == 0) | (targets == 1)).all())
    if is_one_hot and bool((targets.sum(1) == 1).all()):
        return targets.argmax(1)
    return None
