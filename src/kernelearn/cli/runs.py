"""`kernelearn runs ...`: runs listed, recorded ones described, made smaller, given to other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from kernelearn.cli.listing import Listed
    from kernelearn.recording import Run

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List all runs; describe, prune and export those that `kernelearn train --record` recorded.",
)

_Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run that was recorded.", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COUNTS = ("epoch", "batch", "iteration")


def _stride(what: str) -> Any:
    return typer.Option(min=0, help=f"Keep {what} of every so many steps; 0 for none.", show_default=False)


@app.command("list")
def list_command(
    folder: Annotated[Path, typer.Argument(help="Where to look, with the folders inside.")] = Path("runs"),
    as_json: _Json = False,
) -> None:
    """A table of the runs in a folder: date, status, epochs, accuracy, size of the recording.

    **Examples**

    - `kernelearn runs list`
    - `kernelearn runs list experiments/ --json`
    """
    from dataclasses import asdict

    from kernelearn.cli.listing import list_trainings
    from kernelearn.cli.output import say, say_json, say_table
    from kernelearn.errors import ArgumentError

    if not folder.is_dir():
        raise ArgumentError(f"There is no folder {str(folder)!r}; say where the runs are.")
    found = list_trainings(folder)
    if as_json:
        say_json([asdict(one) for one in found])
    elif found:
        say_table(("run", "date", "status", "epochs", "accuracy", "recorded"), [_row(one) for one in found])
    else:
        say(f"No runs in {str(folder)!r}. Make one with: kernelearn train digits")


def _row(one: "Listed") -> tuple[str, ...]:
    from kernelearn.cli.output import percent
    from kernelearn.storage import readable_size

    status = f"{one.status} (damaged)" if one.problem and one.status != "damaged" else one.status
    accuracy = "-" if one.accuracy is None else f"{percent(one.accuracy)} ({one.accuracy_of})"
    size = "-" if one.bytes is None else readable_size(one.bytes)
    return one.path, one.date, status, str(one.epochs), accuracy, size


@app.command()
def show(
    run: _Run,
    check: Annotated[bool, typer.Option("--check", help="Compare every byte with its checksum.")] = False,
    as_json: _Json = False,
) -> None:
    """What a run holds: layers, weights, how often what is recorded, and what is damaged.

    **Examples**

    - `kernelearn runs show runs/demo`
    - `kernelearn runs show runs/demo --check --json`
    """
    from kernelearn.cli.output import say, say_json, say_prose
    from kernelearn.recording import Run

    content = _described(Run(run), check)
    if as_json:
        say_json(content)
        return
    say(f"{content['run']}: {content['status']}, {content['updates']:,} updates, {content['size']}")
    say(f"Optimizer: {content['optimizer']}")
    for name, values in content["recorded"].items():
        say(f"{name.capitalize()}: {values['count']:,} steps" + _range(values))
    for layer, weights in content["layers"].items():
        shapes = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in weights.items())
        say_prose(f"Layer {layer}: {shapes}")
    for name, value in content["last"].items():
        say(f"Last {name}: {value:.6g}")
    for problem in content["problems"]:
        say(f"Damaged: {problem}", to_stderr=True)
    if check and not content["problems"]:
        say("Every record is what was written.")


def _range(values: dict[str, Any]) -> str:
    return f", {values['first']} to {values['last']}" if values["count"] else ""


def _described(run: "Run", check: bool) -> dict[str, Any]:
    from kernelearn.recording.catalog import summarise
    from kernelearn.recording.schedule import SCHEDULED
    from kernelearn.storage import readable_size

    problems = run.check() if check else run.problems
    summary = summarise(run.folder)
    steps = {name: run.stream_steps(name) for name in SCHEDULED}
    return {
        "run": str(run.folder),
        "status": run.status,
        "updates": run.last_step,
        "size": readable_size(summary.bytes),
        "bytes": summary.bytes,
        "optimizer": (run.optimizer.get("config") or {}).get("class_name") or run.optimizer.get("kind"),
        "recorded": {name: _counted(found) for name, found in steps.items()},
        "layers": {layer: _shapes(run, layer) for layer in run.layers},
        "last": summary.numbers or {},
        "problems": problems,
    }


def _counted(steps: "np.ndarray") -> dict[str, Any]:
    ends = {"first": int(steps[0]), "last": int(steps[-1])} if len(steps) else {"first": None, "last": None}
    return {"count": len(steps), **ends}


def _shapes(run: "Run", layer: str) -> dict[str, list[int]]:
    recorded = {path: list(shape) for path, shape in run.about.weights.items()}
    return {name: recorded.get(f"{layer}/{name}", []) for name in run.weights(layer)}


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of recorded runs.", show_default=False)
    ],
    layer: Annotated[str | None, typer.Option(help="Layer whose kernels are drawn.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw curves and kernels into this file.")] = None,
    as_json: _Json = False,
) -> None:
    """Runs beside each other: settings that differ, where they ended, the same kernels in each.

    Where the runs were tested on the same images, the difference of their accuracies comes with its interval.

    **Examples**

    - `kernelearn runs compare runs/a runs/b`
    - `kernelearn runs compare runs/a runs/b runs/c --figure compared.png`
    """
    from kernelearn.cli.comparing import compared, paired_lines
    from kernelearn.cli.output import say, say_json, say_prose, say_table

    found, sources = compared(runs)
    if as_json:
        say_json(found.to_dict())
    else:
        for number, table in enumerate(found.tables()):
            if number:
                say()
            say_table(table.columns, table.cells(), table.title)
        for line in paired_lines(found, sources):
            say_prose(line)
    if figure is not None:
        from kernelearn.view import plot_runs_compared, save_figure

        say(f"Figure: {save_figure(plot_runs_compared(found, layer), figure)}", to_stderr=as_json)


@app.command()
def prune(
    run: _Run,
    kernels: Annotated[int | None, _stride("weights")] = None,
    ledger: Annotated[int | None, _stride("the ledger (the bulk of a run)")] = None,
    gradients: Annotated[int | None, _stride("gradients and optimizer state")] = None,
    full: Annotated[int | None, _stride("layers recorded in full")] = None,
    maps: Annotated[int | None, _stride("feature maps")] = None,
    snapshots: Annotated[int | None, _stride("all weights of the model")] = None,
) -> None:
    """Make a run smaller. What stays is as it was; numbers and images of the steps always stay.

    **Examples**

    - `kernelearn runs prune runs/demo --ledger 0`
    - `kernelearn runs prune runs/demo --kernels 10 --ledger 500 --maps 500`
    """
    from kernelearn import recording
    from kernelearn.cli.output import say
    from kernelearn.storage import readable_size

    every = {
        "kernels": kernels,
        "ledger": ledger,
        "gradients": gradients,
        "full": full,
        "maps": maps,
        "snapshots": snapshots,
    }
    if all(stride is None for stride in every.values()):
        raise typer.BadParameter("Say what to thin out, for example --ledger 0 or --kernels 10.")
    done = recording.prune(run, **every)
    say(f"{readable_size(done.before)} before, {readable_size(done.after)} now")


@app.command()
def export(
    run: _Run,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File, or folder for TensorBoard.", show_default=False),
    ],
    format: Annotated[
        str | None,
        typer.Option(help="npz, safetensors, tensorboard or csv. [default: the ending of --output]"),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Only the weights of this step (npz, safetensors).")
    ] = None,
) -> None:
    """Give a run to other programs.

    **Examples**

    - `kernelearn runs export runs/demo -o demo.npz`
    - `kernelearn runs export runs/demo -o step100.safetensors --step 100`
    - `kernelearn runs export runs/demo -o logs/demo --format tensorboard`
    - `kernelearn runs export runs/demo -o demo.csv`
    """
    from kernelearn import recording
    from kernelearn.cli.output import say

    say(f"Written: {recording.export(recording.Run(run), output, format, step)}")
