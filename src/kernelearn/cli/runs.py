"""`kernelearn runs ...`: recorded runs listed, described, made smaller, given to other programs."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, describe, prune and export the runs that `kernelearn train --record` has recorded.",
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
    """A table of the recorded runs in a folder: steps, size, loss, accuracy.

    **Examples**

    - `kernelearn runs list`
    - `kernelearn runs list experiments/ --json`
    """
    from dataclasses import asdict

    from kernelearn.cli.output import say, say_json, say_rich
    from kernelearn.errors import ArgumentError
    from kernelearn.recording import list_runs

    if not folder.is_dir():
        raise ArgumentError(f"There is no folder {str(folder)!r}; say where the runs are.")
    found = list_runs(folder)
    if as_json:
        say_json([asdict(one) for one in found])
    elif found:
        say_rich(_table(found))
    else:
        say(f"No recorded runs in {str(folder)!r}. Record one with: kernelearn train digits --record")


def _table(found: list[Any]) -> Any:
    from rich.table import Column, Table

    from kernelearn.cli.output import percent
    from kernelearn.storage import readable_size

    names = ("Status", "Steps", "Epochs", "Size", "Loss", "Accuracy", "Val. acc.")
    table = Table(Column("Run", overflow="fold"), *names)
    for one in found:
        numbers = one.numbers or {}
        shares = [numbers.get(name) for name in ("accuracy", "val_accuracy")]
        loss = numbers.get("loss")
        table.add_row(
            one.path.removesuffix("/record"),
            one.status if one.problem is None else f"{one.status} (damaged)",
            f"{one.steps:,}",
            str(one.epochs),
            readable_size(one.bytes),
            "" if loss is None else f"{loss:.4f}",
            *("" if share is None else percent(share) for share in shares),
        )
    return table


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
    from kernelearn.cli.output import say, say_json
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
        say(f"Layer {layer}: {shapes}")
    for name, value in content["last"].items():
        say(f"Last {name}: {value:.6g}")
    for problem in content["problems"]:
        say(f"Damaged: {problem}", to_stderr=True)
    if check and not content["problems"]:
        say("Every record is what was written.")


def _range(values: dict[str, Any]) -> str:
    return f", {values['first']} to {values['last']}" if values["count"] else ""


def _described(run: Any, check: bool) -> dict[str, Any]:
    from kernelearn.recording.catalog import summarise
    from kernelearn.recording.pruning import PRUNABLE
    from kernelearn.storage import readable_size

    problems = run.check() if check else run.problems
    summary = summarise(run.folder)
    steps = {name: run.stream_steps(name) for name in PRUNABLE}
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


def _counted(steps: Any) -> dict[str, Any]:
    ends = {"first": int(steps[0]), "last": int(steps[-1])} if len(steps) else {"first": None, "last": None}
    return {"count": len(steps), **ends}


def _shapes(run: Any, layer: str) -> dict[str, list[int]]:
    recorded = run.manifest["about"].get("weights", {})
    return {name: recorded.get(f"{layer}/{name}", []) for name in run.weights(layer)}


@app.command()
def prune(
    run: _Run,
    kernels: Annotated[int | None, _stride("weights")] = None,
    ledger: Annotated[int | None, _stride("the ledger (the bulk of a run)")] = None,
    gradients: Annotated[int | None, _stride("gradients and optimizer state")] = None,
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
