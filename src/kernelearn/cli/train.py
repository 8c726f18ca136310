"""`kernelearn train DATA`: train a network and keep everything about it in a run folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kernelearn.errors import ArgumentError

_PARTS, _LEARNING, _RUN, _RECORD = "Data", "Learning", "Run", "Recording"
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9}


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="digits, a folder, a zip, .npz or .npy; see kernelearn data --help.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="lenet, vgg_small, resnet20, resnet18, a FILE.py with build(input_shape, classes), a "
            "CONFIG.json, or a saved model to go on from. [default: lenet]",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Passes over the data. [default: 30 for digits, else 10]", rich_help_panel=_LEARNING
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per update. [default: 32 for digits, else 64]", rich_help_panel=_LEARNING
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="sgd, adam, adamw, rmsprop, lion, ... [default: adam]", rich_help_panel=_LEARNING),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Highest learning rate. [default: depends on the optimizer]", rich_help_panel=_LEARNING
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="constant, cosine, one-cycle or exponential. [default: one-cycle for digits, else cosine]",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Of weights, order and augmentation. [default: 0]", rich_help_panel=_LEARNING
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Any of flip,crop,shift,rotate,zoom,contrast, or none. "
            "[default: shift for digits, else none]",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Stop after so many epochs without progress; keep the best weights.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="What computes. [default: the best one there is]", rich_help_panel=_LEARNING),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Precision: float32, or mixed_bfloat16 (faster on processors that multiply bfloat16). "
            "[default: float32]",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            help="For validation: a share, a count, a path or none. [default: 0.1]", rich_help_panel=_PARTS
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="For testing. [default: the data's own test part, else 0.2]", rich_help_panel=_PARTS
        ),
    ] = None,
    split_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the division into parts. [default: 0]", rich_help_panel=_PARTS),
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="Stretch images to 32 or 32x48.", rich_help_panel=_PARTS)
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 for grey, 3 for colour.", rich_help_panel=_PARTS)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the run in. [default: runs/DATA-MODEL-N]", rich_help_panel=_RUN),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --run, exactly.", rich_help_panel=_RUN)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --run.", rich_help_panel=_RUN)
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Record every step in RUN/record: kernels, ledger, images, feature maps.",
            rich_help_panel=_RECORD,
        ),
    ] = False,
    record_layers: Annotated[
        str | None,
        typer.Option(
            help="Layers to record: names, or all. [default: convolutions and small layers]",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    record_kernels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps from one record of the weights to the next. [default: 1, if time allows]",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    record_ledger: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps from one ledger to the next, 0 for none. [default: 20 in a run, one in 500 steps]",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    record_gradients: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps from one gradient (with the optimizer's state) to the next. [default: as the ledger]",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    record_budget: Annotated[
        str | None,
        typer.Option(
            help="Largest size of the recording, such as 500MB. [default: 1 GiB]", rich_help_panel=_RECORD
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the result only.", rich_help_panel=_RUN)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, nothing else.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Train a network on images and keep the run: model, history, kernels, and what is needed to repeat it.

    Ctrl-C saves the run; `--resume` goes on as if nothing had happened.

    **Examples**

    - `kernelearn train digits --run runs/demo`
    - `kernelearn train photos/ --resize 64 --augment flip,crop --model resnet20 --epochs 50`
    - `kernelearn train mnist/ --optimizer sgd --lr 0.1 --schedule one-cycle`
    - `kernelearn train digits --record --run runs/recorded`
    - `kernelearn train --resume --run runs/demo`
    """
    from kernelearn.cli import job

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
        "record": _recording(
            record, record_layers, record_kernels, record_ledger, record_gradients, record_budget
        ),
    }
    verbose: Any = 0 if quiet or as_json else "auto"
    task = _resumed(given, run, verbose) if resume else _new(given, run, overwrite, verbose)
    _report(job.train(task), task.folder, as_json)


def _recording(
    wanted: bool,
    layers: str | None,
    kernels: int | None,
    ledger: int | None,
    gradients: int | None,
    budget: str | None,
) -> Any:
    """Arguments of the Recorder, as the run keeps them; None to record nothing."""
    given = {
        "layers": layers,
        "kernels_every": kernels,
        "ledger_every": ledger,
        "gradients_every": gradients,
        "max_bytes": budget,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        if chosen:
            raise typer.BadParameter("--record-... options say how to record; give --record too.")
        return None
    if layers is not None and layers != "all":
        chosen["layers"] = [name.strip() for name in layers.split(",")]
    if budget is not None:
        chosen["max_bytes"] = _bytes(budget)
    return chosen


def _bytes(text: str) -> int:
    """ "500MB" -> 500_000_000; a plain number counts bytes.

    Raises: ArgumentError for anything else.
    """
    number, unit = text.strip().lower().replace(" ", ""), 1
    for ending, factor in _UNITS.items():
        if number.endswith(ending):
            number, unit = number.removesuffix(ending), factor
    try:
        size = int(float(number) * unit)
    except ValueError:
        size = 0
    if size <= 0:
        raise ArgumentError(f"--record-budget takes a size such as 500MB or 2GB, got {text!r}.")
    return size


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
