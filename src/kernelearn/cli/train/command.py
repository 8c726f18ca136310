"""`kernelearn train DATA`: train a network and keep everything about it in a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kernelearn.cli.train import options
from kernelearn.cli.train import record_options as recording
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    from kernelearn.cli.run_folder import Training
    from kernelearn.cli.train.settings import Settings


RESUME = (
    "Go on from the last checkpoint: kernelearn train --resume --run ..., with any number of --processes."
)


def train(
    context: typer.Context,
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
    freeze: options.FREEZE = None,
    class_weight: options.CLASS_WEIGHT = None,
    shards: options.SHARDS = None,
    transport: options.TRANSPORT = None,
    val: options.VAL = None,
    test: options.TEST = None,
    split_seed: options.SPLIT_SEED = None,
    resize: options.RESIZE = None,
    pad: options.PAD = None,
    channels: options.CHANNELS = None,
    run: options.FOLDER = None,
    resume: options.RESUME = False,
    overwrite: options.OVERWRITE = False,
    record: recording.RECORD = False,
    record_layers: recording.LAYERS = None,
    record_kernels: recording.KERNELS = None,
    record_ledger: recording.LEDGER = None,
    record_gradients: recording.GRADIENTS = None,
    record_full: recording.FULL = None,
    record_budget: recording.BUDGET = None,
    watch: recording.WATCH = False,
    control: recording.CONTROL = False,
    paused: recording.PAUSED = False,
    browser: recording.BROWSER = True,
    port: recording.PORT = 0,
    processes: options.PROCESSES = None,
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
    - `kernelearn train digits --watch --control --run runs/watched`
    - `kernelearn train photos/ --model runs/demo --freeze "conv*" --class-weight balanced`
    - `kernelearn train --resume --run runs/demo`
    - `kernelearn train photos/ --processes 4`
    \f
    Long by its options: typer reads one parameter for each. What follows \f is not in the help.
    """
    from kernelearn.cli.train import processes as several
    from kernelearn.cli.train.settings import options_of

    if processes is not None and several.starts_others(processes):
        raise typer.Exit(several.start(context, processes, RESUME))
    is_first = several.silence_unless_first()
    watched = recording.watch_options(watch, control, paused, browser, port)
    is_recorded = record or (watch and not resume)
    recorded = recording.RecordOptions(
        is_recorded,
        record_layers,
        record_kernels,
        record_ledger,
        record_gradients,
        record_full,
        record_budget,
    )
    given = options_of({**locals(), "record": recorded.recorder_arguments()})
    verbose: str | int = 0 if quiet or as_json else "auto"
    if not is_first:
        follow()
    elif resume:
        report(*resumed(given, run, verbose, watched), as_json)
    else:
        report(*begin(given, run, overwrite, verbose, watched), as_json)


def follow() -> None:
    """Train with the first process, which has the folder and says how."""
    from kernelearn.cli.train import job
    from kernelearn.cli.train.settings import Settings
    from kernelearn.parallel import exchange

    told = exchange().told(None)
    if told is not None:
        job.follow(Settings.from_dict(told["settings"]), told["source"])


def _tell(settings: "Settings | None", source: str | None = None) -> None:
    """Say to the other processes what is trained; None if nothing is."""
    from kernelearn.parallel import exchange

    exchange().told(None if settings is None else {"settings": settings.to_dict(), "source": source})


def begin(
    given: dict[str, Any],
    wanted: Path | None,
    overwrite: bool,
    verbose: str | int,
    watched: recording.WatchOptions | None = None,
) -> "tuple[Training, Path]":
    """Train in a folder that is free, or that may be replaced."""
    from kernelearn.cli import run_folder
    from kernelearn.cli.train import job
    from kernelearn.cli.train.settings import make_settings

    if given["data"] is None:
        raise typer.BadParameter("Say what to train on, for example: kernelearn train digits")
    settings = make_settings(given)
    folder = wanted or run_folder.next_folder(Path(settings.data).stem, Path(settings.model).stem)
    with run_folder.held(folder):
        if run_folder.holds_run(folder) and not overwrite:
            raise ArgumentError(
                f"There is a run in {str(folder)!r} already. Use --resume to go on with it, --overwrite to "
                "replace it, or another --run."
            )
        _tell(settings)
        return job.train(job.Job(settings, folder, verbose=verbose, watched=watched)), folder


def resumed(
    given: dict[str, Any],
    folder: Path | None,
    verbose: str | int,
    watched: recording.WatchOptions | None = None,
) -> "tuple[Training, Path]":
    """Go on with the training that a folder holds; its own options count, and others are refused."""
    from kernelearn.cli import run_folder
    from kernelearn.cli.train import job
    from kernelearn.cli.train.settings import Settings, located

    if folder is None:
        raise typer.BadParameter("--resume needs the folder of the run: --run runs/...")
    other = [name for name, value in given.items() if value is not None and name != "data"]
    if other:
        raise ArgumentError(
            f"--resume goes on with the options of the run; leave out --{other[0].replace('_', '-')}, or "
            "start a new run."
        )
    run_folder.Training.load(folder)  # before the folder is touched: there may be none
    with run_folder.held(folder):
        run = run_folder.Training.load(folder)
        if run.is_finished(folder):
            _tell(None)
            return _already_finished(run, folder), folder
        source = None if given["data"] is None else located(given["data"])
        settings = Settings.from_dict(run.arguments)
        if watched is not None and settings.record is None:
            raise ArgumentError("This run is not recorded, so that there is nothing to --watch.")
        _tell(settings, source)
        return job.train(job.Job(settings, folder, True, source, verbose, watched)), folder


def _already_finished(run: "Training", folder: Path) -> "Training":
    """A finished run as it is; what a process left undone that was killed at the very end is done."""
    from kernelearn.cli.output import say
    from kernelearn.cli.run_folder import load_trained
    from kernelearn.cli.train.job import is_tidy, tidy

    say(f"The run in {str(folder)!r} is finished; there is nothing to go on with.", to_stderr=True)
    if not is_tidy(run, folder):
        tidy(run, load_trained(folder)[0], folder)
    return run


def report(run: "Training", folder: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from kernelearn.cli import run_folder
    from kernelearn.cli.output import metric_text, say, say_json
    from kernelearn.cli.train.transfer import show_report

    if as_json:
        say_json({"run": str(folder), **asdict(run)})
        return
    for name, value in sorted(run.results.get("test", {}).items()):
        say(f"Test {metric_text(name, value)}")
    show_report(folder)
    if run.results.get("kernels"):
        say(f"Kernels: {run.results['kernels']}")
    say(f"Model: {folder / run_folder.MODEL}")
    if run.arguments.get("record") is not None:
        _report_recording(folder / run_folder.RECORD, folder)


def _report_recording(record: Path, folder: Path) -> None:
    from kernelearn.cli.output import say
    from kernelearn.recording import Run

    say(f"Recorded: {record} (look at it with: kernelearn report {folder})")
    full = Run(record).full_layers
    say(
        f"Full history: {', '.join(full)} (explain a weight with: kernelearn explain history {folder})"
        if full
        else "Full history: of no layer; --record-full names layers whose every update is to be recorded"
    )
