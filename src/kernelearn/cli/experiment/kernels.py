"""`kernelearn experiment ...`: questions about kernels.

Each command says what is compared; options, progress, table, files and Ctrl-C are the same for all.
"""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kernelearn.explain.experiments import ExperimentResult, ExperimentSettings, Problem

_COMMON: dict[str, tuple[Any, Any, Any]] = {  # name -> type, default, option
    "data": (
        str,
        "digits",
        typer.Option(help="Anything that `kernelearn data` reads: digits, a folder, ..."),
    ),
    "epochs": (int, 10, typer.Option(min=1, help="Passes over the training images.")),
    "seeds": (int, 20, typer.Option(min=1, help="Repetitions: images, first weights and order anew.")),
    "first_seed": (int, 0, typer.Option(min=0, help="Number of the first seed; the others follow.")),
    "images": (int, 1000, typer.Option(min=1, help="At most so many to train on.")),
    "test_images": (int, 1000, typer.Option(min=1, help="At most so many to test on.")),
    "batch_size": (int, 32, typer.Option(min=1, help="Images per update.")),
    "lr": (float, 5e-3, typer.Option("--lr", help="Learning rate of Adam, for every condition.")),
    "resize": (str | None, None, typer.Option(help="Stretch images to 32 or 32x48.")),
    "channels": (int | None, None, typer.Option(help="1 for grey, 3 for colour.")),
    "figure": (
        Path | None,
        None,
        typer.Option("--figure", "--output", "-o", help="Save a picture (.png, .svg, .pdf)."),
    ),
    "save": (
        Path | None,
        None,
        typer.Option(help="Save the table after each seed: .json (everything), .csv, .md or .txt."),
    ),
    "as_json": (bool, False, typer.Option("--json", help="Print every number as JSON.")),
    "processes": (
        int | None,
        None,
        typer.Option(min=1, help="Share the trainings out among so many processes of this machine, by MPI."),
    ),
}


@dataclass(frozen=True)
class Options:
    """The values of the options that all commands take."""

    data: str
    epochs: int
    seeds: int
    first_seed: int
    images: int
    test_images: int
    batch_size: int
    lr: float
    resize: str | None
    channels: int | None
    figure: Path | None
    save: Path | None
    as_json: bool
    processes: int | None


def _with_common_options(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """A command: the options of `function`, which gives the experiment its own settings, and the common ones.

    Typer reads options from a signature, so the common ones are written into it instead of six times below.
    """

    def command(context: typer.Context, **given: Any) -> None:
        from kernelearn.cli.train import processes as several

        if several.starts_others(given["processes"]):
            raise typer.Exit(several.start(context, given["processes"]))
        own = function(**{name: given.pop(name) for name in list(given) if name not in _COMMON})
        _run(function.__name__, own, Options(**given))

    common = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for name, (kind, default, option) in _COMMON.items()
    ]
    own = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in signature(function).parameters.values()]
    context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, common[0], *own, *common[1:]]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


@_with_common_options
def frozen() -> dict[str, Any]:
    """What does training the kernels add to filters that stay as they are?

    Trains all, freezes the kernels, freezes the classifier, fixes Sobel and Gabor filters or random ones.

    **Examples**

    - `kernelearn experiment frozen`
    - `kernelearn experiment frozen --data photos/ --resize 32 --seeds 50 -o frozen.png`
    """
    return {}


@_with_common_options
def initialisation() -> dict[str, Any]:
    """How much do the first values of the kernels decide?

    Zeros, a constant, normal, uniform, glorot, he, and the kernels of a network trained on other images.

    **Example**: `kernelearn experiment initialisation -o initialisation.png`
    """
    return {}


@_with_common_options
def activation() -> dict[str, Any]:
    """What does the activation behind the convolutions do?

    None, relu, leaky_relu, elu, tanh, sigmoid, gelu, silu, from the same first weights.

    **Example**: `kernelearn experiment activation --epochs 20 --save activation.csv`
    """
    return {}


@_with_common_options
def pooling() -> dict[str, Any]:
    """What does pooling do to what the kernels learn?

    Maxima, means, strides in place of pooling, none at all, and a mean over each whole map.

    **Example**: `kernelearn experiment pooling -o pooling.png`
    """
    return {}


@_with_common_options
def augmentation() -> dict[str, Any]:
    """What does it do to change images at random while training?

    None, moved, turned, zoomed, contrast, mirrored, and three of these together.

    **Example**: `kernelearn experiment augmentation --epochs 20`
    """
    return {}


@_with_common_options
def sharing() -> dict[str, Any]:
    """What does it gain that a convolution shares one kernel between all positions?

    The convolution against the untied (locally connected) and the dense layer of the same size: accuracy,
    weights, time, and accuracy on images that are moved.

    **Example**: `kernelearn experiment sharing --images 200`
    """
    return {}


@_with_common_options
def transfer(
    per_class: Annotated[int, typer.Option(min=1, help="Images of each new class to learn from.")] = 10,
    new_epochs: Annotated[int, typer.Option(min=1, help="Passes over these.")] = 60,
    new_batch_size: Annotated[int, typer.Option(min=1, help="Images per update on these.")] = 16,
) -> dict[str, Any]:
    """Are kernels that were learned on some classes of use for others?

    Pretrains on half of the classes (--epochs, --images, --batch-size), then learns the other half with the
    kernels frozen, partly frozen, fine-tuned, or from scratch.

    **Example**: `kernelearn experiment transfer --per-class 3 --seeds 10`
    """
    return {"per_class": per_class, "new_epochs": new_epochs, "new_batch_size": new_batch_size}


@_with_common_options
def depth(
    depths: Annotated[str, typer.Option(help="Numbers of convolutions.")] = "1 2 3 4 6",
    match: Annotated[
        str, typer.Option(help="Equal 'parameters' (fewer filters when deeper), or equal 'width'.")
    ] = "parameters",
    width: Annotated[int, typer.Option(min=1, help="Filters of the network with two convolutions.")] = 16,
) -> dict[str, Any]:
    """Are more convolutions better, with as many weights and updates?

    **Example**: `kernelearn experiment depth --depths "1 2 4 8" --match width`
    """
    from kernelearn.cli.output import counts

    return {"depths": counts(depths, "--depths"), "match": match, "width": width}


COMMANDS: tuple[Callable[..., None], ...] = (
    frozen,
    initialisation,
    activation,
    pooling,
    augmentation,
    sharing,
    transfer,
    depth,
)


def _run(name: str, own: dict[str, Any], options: Options) -> None:
    """Run an experiment with its own settings, and show what came out."""
    from kernelearn.cli.output import say
    from kernelearn.cli.train import processes as several
    from kernelearn.explain.experiments import EXPERIMENTS, run_experiment

    is_first = several.silence_unless_first()
    if is_first:
        _check_files(options)
    line = _ProgressLine()
    result = run_experiment(
        EXPERIMENTS[name](**own),
        _problem(options),
        _settings(options),
        progress=line.show,
        after_seed=lambda so_far: _save(so_far, options),
    )
    line.clear()
    if not is_first:
        return
    _report(result, options)
    if result.is_partial:
        finished = f"{len(result.seeds)} of {result.planned_seeds} seeds"
        say(f"Stopped: the table holds the {finished} that were finished.", to_stderr=True)
        raise _end_by(result.stopped_by)


def _end_by(number: int | None) -> BaseException:
    """How a command ends that a signal stopped: with code 130 for Ctrl-C, 143 for SIGTERM."""
    return SystemExit(128 + signal.SIGTERM) if number == signal.SIGTERM else KeyboardInterrupt()


def _check_files(options: Options) -> None:
    """Find out before the run whether its files can be written.

    Raises: ArgumentError for an ending that is not known, StorageError, MissingDependencyError.
    """
    from kernelearn.errors import ArgumentError
    from kernelearn.explain.experiments.result import checked_ending
    from kernelearn.storage import check_writable

    if options.save is not None:
        checked_ending(options.save)
    if options.figure is not None:
        from kernelearn._optional import require

        known = require("matplotlib.figure", "drawing figures").Figure().canvas.get_supported_filetypes()
        if options.figure.suffix.lstrip(".").lower() not in known:
            raise ArgumentError(
                f"--figure can be saved as {', '.join(sorted(known))}; got {str(options.figure)!r}."
            )
    for path in (options.save, options.figure):
        if path is not None:
            check_writable(path.parent)


def _problem(options: Options) -> "Problem":
    from kernelearn.cli.train.settings import sizes
    from kernelearn.explain.experiments import Problem

    return Problem.from_source(options.data, resize=sizes(options.resize), channels=options.channels)


def _settings(options: Options) -> "ExperimentSettings":
    from kernelearn.explain.experiments import ExperimentSettings

    return ExperimentSettings(
        epochs=options.epochs,
        seeds=options.seeds,
        first_seed=options.first_seed,
        images=options.images,
        test_images=options.test_images,
        batch_size=options.batch_size,
        learning_rate=options.lr,
    )


class _ProgressLine:
    """One line that is written over on a terminal; elsewhere a line for each seed."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._width = 0

    def show(self, progress: Any) -> None:
        """Show where the run is."""
        text = str(progress)
        if self._is_terminal:
            typer.echo("\r" + text.ljust(self._width), file=sys.stderr, nl=False)
            self._width = len(text)
        elif progress.ends_seed:
            typer.echo(text, file=sys.stderr)

    def clear(self) -> None:
        """Leave the line empty for what follows."""
        if self._is_terminal and self._width:
            typer.echo("\r" + " " * self._width + "\r", file=sys.stderr, nl=False)


def _save(result: "ExperimentResult", options: Options) -> None:
    if options.save is not None:
        result.save(options.save)


def _report(result: "ExperimentResult", options: Options) -> None:
    """The table, or JSON, and the files."""
    from kernelearn.cli.output import say, say_json

    if options.as_json:
        say_json(result.to_dict())
    else:
        _show(result)
    if options.save is not None:
        say(f"Table: {result.save(options.save)}", to_stderr=options.as_json)
    if options.figure is not None:
        from kernelearn.view import save_figure
        from kernelearn.view.experiment_figures import plot_experiment

        say(f"Picture: {save_figure(plot_experiment(result), options.figure)}", to_stderr=options.as_json)


def _show(result: "ExperimentResult") -> None:
    from kernelearn.cli.output import say_prose, say_table
    from kernelearn.explain.experiments.tables import cells, headings, remarks

    say_table(headings(result), cells(result), result.question)
    for line in remarks(result):
        say_prose(line)
