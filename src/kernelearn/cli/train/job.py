"""A training from settings to saved run: what `kernelearn train` does once its options are read.

The state of the run lies in its checkpoint until run.json says "finished", and nothing slow stands between
the model and that word: a process killed at any moment leaves what `--resume` needs.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.cli import run_folder
from kernelearn.cli.networks import file_digest, make_network
from kernelearn.cli.output import say
from kernelearn.cli.run_folder import Training, shape_text
from kernelearn.cli.train import transfer
from kernelearn.cli.train.recipe import augmented, class_weights, freeze_layers, make_optimizer
from kernelearn.cli.train.record_options import WatchOptions
from kernelearn.cli.train.settings import KEEP, Settings, load_data
from kernelearn.errors import ArgumentError, DataError, MissingDependencyError
from kernelearn.storage import check_writable

if TYPE_CHECKING:
    from kernelearn.callbacks import Callback
    from kernelearn.data import Data
    from kernelearn.models import Model
    from kernelearn.training.callbacks import History

_MARGIN_BYTES = 5_000_000  # of pictures, history and manifest


@dataclass(frozen=True)
class Job:
    """A training about to happen, in a folder that this process holds.

    Attributes:
        folder: of the run.
        is_resumed: go on with what the folder holds.
        source: where the data lies now; None where the settings say.
        verbose: as in `fit`; 0 prints nothing but errors.
        watched: how the microscope shows it, or None.
    """

    settings: Settings
    folder: Path
    is_resumed: bool = False
    source: str | None = None
    verbose: str | int = "auto"
    watched: WatchOptions | None = None


def train(job: Job) -> Training:
    """Train, test and save.

    Raises: KeyboardInterrupt or SystemExit after saving, if the run was asked to stop; KernelearnError.
    """
    check_writable(job.folder)
    run, data, model = _prepare(job)
    if job.verbose != 0:
        _announce(job, data, model)
    started = time.monotonic()
    try:
        history = _fit(model, data, job)
        results = _results(model, data, job, history, time.monotonic() - started)
    except (KeyboardInterrupt, SystemExit):
        _save_interrupted(run, model, job)
        raise
    except Exception:
        run.status = "failed"
        run.save(job.folder)
        raise
    model.save(job.folder / run_folder.MODEL)
    if job.settings.finetune is not None:
        moved = transfer.write_report(job.folder, model, job.settings.model)
        results["transfer"] = {"taken_over": moved.taken_over, "total": moved.total}
    run.results, run.status = results, "finished"
    run.save(job.folder)
    tidy(run, model, job.folder)
    return run


def follow(settings: Settings, source: str | None) -> None:
    """Train with the first process, which tests and saves."""
    data = load_data(settings, source)
    if source is None and file_digest(settings.model) != settings.model_digest:
        raise ArgumentError(f"The file {settings.model!r} here is another than that of process 0.")
    job, model = Job(settings, Path(os.devnull), verbose=0), _make_model(settings, data, None)
    history = _fit(model, data, job)
    _results(model, data, job, history, 0.0)


def is_tidy(run: Training, folder: Path) -> bool:
    """Whether a finished run has its picture, and nothing any more that only a running one needs."""
    left = any((folder / name).exists() for name in (run_folder.CHECKPOINT, run_folder.START))
    return "kernels" in run.results and not left


def tidy(run: Training, model: "Model", folder: Path) -> None:
    """What is left to do for a finished run: its checkpoint goes, and its kernels are drawn."""
    run_folder.remove_checkpoint(folder)
    (folder / run_folder.START).unlink(missing_ok=True)
    run.results["kernels"] = _draw_kernels(model, folder / run_folder.KERNELS)
    run.save(folder)


def _prepare(job: Job) -> "tuple[Training, Data, Model]":
    """(run, data, model), with run.json written: all that can fail before training."""
    data = load_data(job.settings, job.source)
    run = Training(job.settings.to_dict(), _about_data(data))
    if job.is_resumed:
        run = _checked_resume(Training.load(job.folder), data, job)
    class_weights(job.settings.class_weight, data)  # says what is wrong with it before anything is written
    start = job.folder / run_folder.START
    has_start = job.is_resumed and start.exists()
    model = _make_model(job.settings, data, start if has_start else None)
    model.check_savable()
    check_writable(job.folder, 5 * sum(w.value.nbytes for w in model.weights) + _MARGIN_BYTES)
    if not job.is_resumed:
        run_folder.clear(job.folder)
    run.save(job.folder)
    if job.settings.finetune is not None and not has_start:
        model.save(start)
    return run, data, model


def _make_model(settings: Settings, data: "Data", start: Path | None) -> "Model":
    """The network, compiled.

    Args:
        start: what a fine-tuning that goes on began with, whatever has become of the file that it is from.
    """
    from kernelearn.models import load_model
    from kernelearn.utils import set_random_seed

    set_random_seed(settings.seed)
    shape: Any = data.input_shape if settings.resize != KEEP else (None, None, data.input_shape[-1])
    plan = None if settings.finetune is None else transfer.Plan(**settings.finetune)
    if plan is None:
        model = make_network(settings.model, shape, data.classes)
        freeze_layers(model, settings.freeze)
        model = augmented(model, settings.augment, shape)
    elif start is not None:
        model = load_model(start, compile=False)
    else:
        model, new = transfer.adapted(settings.model, plan, data, shape, settings.augment)
        model.metadata["new_layers"] = new
    steps = (data.train.steps(settings.batch_size) or 1) * settings.epochs
    model.compile(
        optimizer=make_optimizer(settings.optimizer, settings.lr, settings.schedule, steps),
        loss="sparse_categorical_crossentropy" if data.classes else "mse",
        metrics=["accuracy"] if data.classes else ["mae"],
        engine=settings.engine,
        policy=settings.policy,
        learning_rate_multipliers=None if plan is None else transfer.multipliers(plan.rates),
        shards=settings.shards,
        transport=settings.transport,
    )
    model.metadata.update(_about_data(data))
    model.metadata["resize"] = settings.resize
    if settings.pad is not None:
        model.metadata["pad"] = settings.pad
    return model


def _about_data(data: "Data") -> dict[str, Any]:
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "input_shape": list(data.input_shape),
        "classes": data.classes,
        "class_names": data.class_names,
    }


def _checked_resume(run: Training, data: "Data", job: Job) -> Training:
    """The run as it was, if data and network are still the same.

    Raises: DataError, ArgumentError.
    """
    _check_data(run, data, job.folder)
    if file_digest(job.settings.model) != job.settings.model_digest:
        raise ArgumentError(
            f"The file {job.settings.model!r} has changed since the run {str(job.folder)!r} began. "
            "Put the old content back, or start a new run."
        )
    run.status = "running"
    return run


def _check_data(run: Training, data: "Data", folder: Path) -> None:
    """Raises DataError naming what differs from the data that a run began with."""
    from kernelearn.data.fingerprint import is_same_data, why_not_comparable

    now, then = _about_data(data), run.data
    saved = str(then.get("fingerprint"))
    names = ("input_shape", "classes", "class_names")
    differing = [name.replace("_", " ") for name in names if name in then and then[name] != now[name]]
    is_same = is_same_data(saved, data.fingerprint)
    if is_same is False:
        differing.append(f"fingerprint {data.fingerprint}, then {saved}")
    if differing:
        raise DataError(
            f"The data is not what the run {str(folder)!r} began with (different: {'; '.join(differing)}). "
            "Resume with the same files, or start a new run."
        )
    if is_same is None:
        reason = why_not_comparable(saved)
        say(f"Warning: whether the data is still the same cannot be told, because {reason}.", to_stderr=True)


def _announce(job: Job, data: "Data", model: "Model") -> None:
    counts = ", ".join(f"{part.size:,} {role}" for role, part in data.parts().items())
    say(f"Data: {data.name}, {shape_text(data.input_shape)}, {counts}")
    for warning in data.warnings:
        say(f"Warning: {warning}", to_stderr=True)
    say(f"Model: {model.name}, {model.count_params():,} weights")
    say(f"Run: {job.folder}")


def _fit(model: "Model", data: "Data", job: Job) -> "History":
    settings = job.settings
    plan = None if settings.finetune is None else transfer.Plan(**settings.finetune)
    stored = None if plan is None else transfer.cached(model, plan, settings.record is not None, data)
    return (model if stored is None else stored).fit(
        data.train,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation_data=data.validation,
        class_weight=class_weights(settings.class_weight, data),
        callbacks=_callbacks(data, job),
        seed=settings.seed,
        verbose=job.verbose,
    )


def _callbacks(data: "Data", job: Job) -> "list[Callback]":
    from kernelearn.callbacks import BackupAndRestore, CSVLogger, EarlyStopping
    from kernelearn.cli.train.settings_guard import SettingsGuard

    settings = job.settings
    callbacks: list[Callback] = [SettingsGuard(settings, job.folder)]
    callbacks.append(CSVLogger(job.folder / run_folder.HISTORY))
    if settings.patience is not None:
        monitor = "loss" if data.validation is None else "val_loss"
        callbacks.append(EarlyStopping(monitor, patience=settings.patience, restore_best_weights=True))
    if settings.finetune is not None:
        callbacks += transfer.callbacks_of(transfer.Plan(**settings.finetune), job.verbose)
    if settings.record is not None:
        callbacks.append(_recorder(job, settings.record))
    # The checkpoint stays until run.json says that the run is finished.
    callbacks.append(BackupAndRestore(job.folder / run_folder.CHECKPOINT, delete_checkpoint=False))
    return callbacks


def _recorder(job: Job, arguments: dict[str, Any]) -> "Callback":
    """What records the training, and shows it where that was asked for."""
    folder, watched = job.folder / run_folder.RECORD, job.watched
    if watched is None:
        from kernelearn.recording import Recorder

        return Recorder(folder, **arguments)
    from kernelearn.view import Microscope

    return Microscope(
        folder,
        port=watched.port,
        browser=watched.browser,
        control=watched.control,
        start_paused=watched.paused,
        say=lambda text: say(text, to_stderr=True),
        **arguments,
    )


def _save_interrupted(run: Training, model: "Model", job: Job) -> None:
    run.status = "interrupted"
    run.save(job.folder)
    model.save(job.folder / run_folder.MODEL)
    say(f"Go on with: kernelearn train --resume --run {job.folder}", to_stderr=True)


def _results(model: "Model", data: "Data", job: Job, history: "History", seconds: float) -> dict[str, Any]:
    epochs = {name: values[-1] for name, values in history.history.items() if values}
    results: dict[str, Any] = {"epochs": len(history.history["loss"]), "seconds": round(seconds, 3)}
    results["last_epoch"] = epochs
    if data.test is not None:
        results["test"] = model.evaluate(
            data.test, batch_size=job.settings.batch_size, return_dict=True, verbose=0
        )
    return results


def _draw_kernels(model: "Model", path: Path) -> str | None:
    from kernelearn.view import plot_kernels, save_figure

    try:
        save_figure(plot_kernels(model), path)
    except (MissingDependencyError, ArgumentError) as error:
        say(f"No picture of the kernels: {error}", to_stderr=True)
        return None
    return str(path)
