"""The commands put together. Each command's own file is light; what it needs is imported when it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kernelearn.cli.bench.command import bench
from kernelearn.cli.convert.command import convert
from kernelearn.cli.data import data
from kernelearn.cli.doctor import doctor
from kernelearn.cli.evaluate import evaluate
from kernelearn.cli.experiment.kernel_head import experiment
from kernelearn.cli.explain import explain
from kernelearn.cli.export import export
from kernelearn.cli.kernels.fit import fit
from kernelearn.cli.kernels.show import show
from kernelearn.cli.network import network
from kernelearn.cli.predict import predict
from kernelearn.cli.report import report
from kernelearn.cli.runs import app as recordings
from kernelearn.cli.summary import summary
from kernelearn.cli.train.command import train
from kernelearn.cli.train.finetune import finetune
from kernelearn.cli.view import view

_EPILOG = "Start with: kernelearn train digits --run runs/demo"


class _PictureByDefault(TyperGroup):
    """A group whose first word may be a run or model instead of a command: then `show` is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Train convolutional networks on a CPU and see how every kernel learns.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_kernels = typer.Typer(
    cls=_PictureByDefault,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Show the kernels of a trained network, or learn the kernel function of a kernel machine.\n\n"
    "`kernelearn kernels RUN` is short for `kernelearn kernels show RUN`.",
)
_kernels.command("show")(show)
_kernels.command("fit")(fit)

for _command in (train, finetune, evaluate, predict, summary, network, data, report, view, convert, export):
    app.command(no_args_is_help=True)(_command)
app.add_typer(_kernels, name="kernels", subcommand_metavar="RUN|COMMAND ...")
app.add_typer(recordings, name="runs")
app.add_typer(explain, name="explain")
app.add_typer(experiment, name="experiment")
app.command()(bench)
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from kernelearn import __version__

        typer.echo(f"kernelearn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    code: Annotated[
        list[Path] | None,
        typer.Option(
            "--code",
            metavar="FILE.py",
            help="Run this file first: it registers layers and functions of your own that files name.",
        ),
    ] = None,
) -> None:
    if code:
        from kernelearn.cli.networks import run_python

        for path in code:
            run_python(path)
