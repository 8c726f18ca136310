"""A training from plan to saved run: what `kernelearn train` does once its options are read."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelearn.cli import runs
from kernelearn.cli.networks import file_digest, make_network
from kernelearn.cli.output import say
from kernelearn.cli.plan import Plan, load_data
from kernelearn.cli.recipe import augmented, make_optimizer
from kernelearn.errors import ArgumentError, DataError, MissingDependencyError
from kernelearn.storage import check_writable

_MARGIN_BYTES = 5_000_000  # of pictures, history and manifest


@dataclass(frozen=True)
class Job:
    """A training about to happen.

    Attributes:
        folder: of the run.
        is_resumed: go on with what the folder holds.
        source: where the data lies now; None where the plan says.
        verbose: as in `fit`; 0 prints nothing but errors.
    """

    plan: Plan
    folder: Path
    is_resumed: bool = False
    source: str | None = None
    verbose: Any = "auto"


def train(job: Job) -> runs.Run:
    """Train, test and save.

    Raises: KeyboardInterrupt or SystemExit after saving, if the run was asked to stop; KernelearnError.
    """
    check_writable(job.folder)
    try:
        run, data, model = _prepare(job)
    except Exception:
        with suppress(OSError):  # a folder that holds something stays
            job.folder.rmdir()
        raise
    if job.verbose != 0:
        _announce(job, data, model)
    started = time.monotonic()
    try:
        history = _fit(model, data, job)
    except (KeyboardInterrupt, SystemExit):
        _save_interrupted(run, model, job)
        raise
    except Exception:
        run.status = "failed"
        run.save(job.folder)
        raise
    seconds = time.monotonic() - started
    return _finish(run, model, data, job, history, seconds)


def _prepare(job: Job) -> tuple[runs.Run, Any, Any]:
    """(run, data, model), with run.json written: all that can fail before training."""
    data = load_data(job.plan, job.source)
    run = runs.Run(job.plan.to_dict(), _about_data(data))
    if job.is_resumed:
        run = _checked_resume(runs.Run.load(job.folder), data, job)
    model = _make_model(job.plan, data)
    check_writable(job.folder, 5 * sum(w.value.nbytes for w in model.weights) + _MARGIN_BYTES)
    run.save(job.folder)
    return run, data, model


def _make_model(plan: Plan, data: Any) -> Any:
    from kernelearn.utils import set_random_seed

    set_random_seed(plan.seed)
    model = make_network(plan.model, data.input_shape, data.classes)
    model = augmented(model, plan.augment, data.input_shape)
    steps = data.train.steps(plan.batch_size) * plan.epochs
    model.compile(
        optimizer=make_optimizer(plan.optimizer, plan.lr, plan.schedule, steps),
        loss="sparse_categorical_crossentropy" if data.classes else "mse",
        metrics=["accuracy"] if data.classes else ["mae"],
        engine=plan.engine,
        policy=plan.policy,
    )
    model.metadata.update(_about_data(data))
    model.metadata["resize"] = plan.resize
    return model


def _about_data(data: Any) -> dict[str, Any]:
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "input_shape": list(data.input_shape),
        "classes": data.classes,
        "class_names": data.class_names,
    }


def _checked_resume(run: runs.Run, data: Any, job: Job) -> runs.Run:
    """The run as it was, if data and network are still the same.

    Raises: DataError, ArgumentError.
    """
    if data.fingerprint != run.data["fingerprint"]:
        raise DataError(
            f"The data is not what the run {str(job.folder)!r} began with (fingerprint {data.fingerprint}, "
            f"then {run.data['fingerprint']}). Resume with the same files, or start a new run."
        )
    if file_digest(job.plan.model) != job.plan.model_digest:
        raise ArgumentError(
            f"The file {job.plan.model!r} has changed since the run {str(job.folder)!r} began. "
            "Put the old content back, or start a new run."
        )
    run.status = "running"
    return run


def _announce(job: Job, data: Any, model: Any) -> None:
    counts = ", ".join(f"{part.size:,} {role}" for role, part in data.parts().items())
    say(f"Data: {data.name}, {' x '.join(map(str, data.input_shape))}, {counts}")
    for warning in data.warnings:
        say(f"Warning: {warning}", to_stderr=True)
    say(f"Model: {model.name}, {model.count_params():,} weights")
    say(f"Run: {job.folder}")


def _fit(model: Any, data: Any, job: Job) -> Any:
    from kernelearn.callbacks import BackupAndRestore, CSVLogger, EarlyStopping

    plan = job.plan
    callbacks: list[Any] = [CSVLogger(job.folder / runs.HISTORY)]
    if plan.patience is not None:
        monitor = "loss" if data.validation is None else "val_loss"
        callbacks.append(EarlyStopping(monitor, patience=plan.patience, restore_best_weights=True))
    if plan.record is not None:
        from kernelearn.recording import Recorder

        callbacks.append(Recorder(job.folder / runs.RECORD, **plan.record))
    callbacks.append(BackupAndRestore(job.folder / runs.CHECKPOINT))
    return model.fit(
        data.train,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        validation_data=data.validation,
        callbacks=callbacks,
        seed=plan.seed,
        verbose=job.verbose,
    )


def _save_interrupted(run: runs.Run, model: Any, job: Job) -> None:
    run.status = "interrupted"
    run.save(job.folder)
    model.save(job.folder / runs.MODEL)
    say(f"Go on with: kernelearn train --resume --run {job.folder}", to_stderr=True)


def _finish(run: runs.Run, model: Any, data: Any, job: Job, history: Any, seconds: float) -> runs.Run:
    model.save(job.folder / runs.MODEL)
    epochs = {name: values[-1] for name, values in history.history.items() if values}
    run.results = {"epochs": len(history.history["loss"]), "seconds": round(seconds, 3), "last_epoch": epochs}
    if data.test is not None:
        run.results["test"] = model.evaluate(
            data.test, batch_size=job.plan.batch_size, return_dict=True, verbose=0
        )
    run.results["kernels"] = _draw_kernels(model, job.folder / runs.KERNELS)
    run.status = "finished"
    run.save(job.folder)
    return run


def _draw_kernels(model: Any, path: Path) -> str | None:
    from kernelearn.view import plot_kernels, save_figure

    try:
        save_figure(plot_kernels(model), path)
    except (MissingDependencyError, ArgumentError) as error:
        say(f"No picture of the kernels: {error}", to_stderr=True)
        return None
    return str(path)
