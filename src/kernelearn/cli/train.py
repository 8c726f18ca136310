"""`kernelearn train DATA`: train a network and keep everything about it in a run folder."""

from pathlib import Path
from typing import Any

import typer

from kernelearn.cli import record_options as recording
from kernelearn.cli import train_options as options
from kernelearn.errors import ArgumentError


def train(
    data: options.DATA = None,
    model: options.MODEL = None,
    epochs: options.EPOCHS = None,
    batch_size: options.BATCH_SIZE = None,
    optimizer: options.OPTIMIZER = None,
    lr: options.LR = None,
    schedule: options.SCHEDULE = None,
    seed: options.SEED = None,
    augment: options.AUGMENT = None,
    patience: options.PATIENCE = None,
    engine: options.ENGINE = None,
    policy: options.POLICY = None,
    val: options.VAL = None,
    test: options.TEST = None,
    split_seed: options.SPLIT_SEED = None,
    resize: options.RESIZE = None,
    channels: options.CHANNELS = None,
    run: options.FOLDER = None,
    resume: options.RESUME = False,
    overwrite: options.OVERWRITE = False,
    record: recording.RECORD = False,
    record_layers: recording.LAYERS = None,
    record_kernels: recording.KERNELS = None,
    record_ledger: recording.LEDGER = None,
    record_gradients: recording.GRADIENTS = None,
    record_budget: recording.BUDGET = None,
    quiet: options.QUIET = False,
    as_json: options.AS_JSON = False,
) -> None:
    """Train a network on images and keep the run: model, history, kernels, and what is needed to repeat it.

    Ctrl-C saves the run; `--resume` goes on as if nothing had happened.

    **Examples**

    - `kernelearn train digits --run runs/demo`
    - `kernelearn train photos/ --resize 64 --augment flip,crop --model resnet20 --epochs 50`
    - `kernelearn train mnist/ --optimizer sgd --lr 0.1 --schedule one-cycle`
    - `kernelearn train digits --record --run runs/recorded`
    - `kernelearn train --resume --run runs/demo`
    \f
    Long by its options: typer reads one parameter for each. What follows \f is not in the help.
    """
    from kernelearn.cli import job

    recorded = recording.RecordOptions(
        record, record_layers, record_kernels, record_ledger, record_gradients, record_budget
    )
    given = {
        "data": data,
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "lr": lr,
        "schedule": schedule,
        "seed": seed,
        "split_seed": split_seed,
        "val": val,
        "test": test,
        "augment": augment,
        "resize": resize,
        "channels": channels,
        "patience": patience,
        "engine": engine,
        "policy": policy,
        "record": recorded.recorder_arguments(),
    }
    verbose: Any = 0 if quiet or as_json else "auto"
    task = _resumed(given, run, verbose) if resume else _new(given, run, overwrite, verbose)
    _report(job.train(task), task.folder, as_json)


def _new(given: dict[str, Any], folder: Path | None, overwrite: bool, verbose: Any) -> Any:
    """A job in a folder that is free, or that may be replaced."""
    from kernelearn.cli import runs
    from kernelearn.cli.job import Job
    from kernelearn.cli.plan import make_plan

    if given["data"] is None:
        raise typer.BadParameter("Say what to train on, for example: kernelearn train digits")
    plan = make_plan(given)
    folder = folder or runs.next_folder(Path(plan.data).stem, Path(plan.model).stem)
    if (folder / runs.MANIFEST).exists():
        if not overwrite:
            raise ArgumentError(
                f"There is a run in {str(folder)!r} already. Use --resume to go on with it, --overwrite to "
                "replace it, or another --run."
            )
        _clear(folder)
    return Job(plan, folder, verbose=verbose)


def _clear(folder: Path) -> None:
    """Remove the files of a run, and only those."""
    import shutil

    from kernelearn.cli import runs

    for name in (runs.MANIFEST, runs.MODEL, runs.HISTORY, runs.KERNELS, runs.REPORT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / runs.CHECKPOINT, ignore_errors=True)
    _clear_recording(folder / runs.RECORD)


def _clear_recording(folder: Path) -> None:
    from contextlib import suppress

    from kernelearn.recording.lock import LOCK_NAME
    from kernelearn.recording.manifest import is_run_folder
    from kernelearn.recording.writer import remove_run

    if is_run_folder(folder):
        remove_run(folder)
        (folder / LOCK_NAME).unlink(missing_ok=True)
        with suppress(OSError):  # other files are there: the folder stays
            folder.rmdir()


def _resumed(given: dict[str, Any], folder: Path | None, verbose: Any) -> Any:
    """The job that a folder holds; its own options count, and others are refused."""
    from kernelearn.cli import runs
    from kernelearn.cli.job import Job
    from kernelearn.cli.plan import Plan, located

    if folder is None:
        raise typer.BadParameter("--resume needs the folder of the run: --run runs/...")
    other = [name for name, value in given.items() if value is not None and name != "data"]
    if other:
        raise ArgumentError(
            f"--resume goes on with the options of the run; leave out --{other[0].replace('_', '-')}, or "
            "start a new run."
        )
    run = runs.Run.load(folder)
    if run.status == "finished":
        raise ArgumentError(f"The run in {str(folder)!r} is finished; there is nothing to go on with.")
    source = None if given["data"] is None else located(given["data"])
    return Job(Plan.from_dict(run.arguments), folder, is_resumed=True, source=source, verbose=verbose)


def _report(run: Any, folder: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from kernelearn.cli import runs
    from kernelearn.cli.output import metric_text, say, say_json

    if as_json:
        say_json({"run": str(folder), **asdict(run)})
        return
    for name, value in sorted(run.results.get("test", {}).items()):
        say(f"Test {metric_text(name, value)}")
    if run.results.get("kernels"):
        say(f"Kernels: {run.results['kernels']}")
    say(f"Model: {folder / runs.MODEL}")
    if run.arguments.get("record") is not None:
        say(f"Recorded: {folder / runs.RECORD} (look at it with: kernelearn report {folder})")
