"""The `--record...` options of `kernelearn train`, and the arguments of a Recorder that they stand for."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from kernelearn._optional import require
from kernelearn.errors import ArgumentError

_PANEL = "Recording"
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9}

RECORD = Annotated[
    bool,
    typer.Option(
        "--record",
        help="Record every step in RUN/record: kernels, ledger, images, feature maps.",
        rich_help_panel=_PANEL,
    ),
]
LAYERS = Annotated[
    str | None,
    typer.Option(
        help="Layers to record: names, or all. [default: convolutions and small layers]",
        rich_help_panel=_PANEL,
    ),
]
KERNELS = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Steps from one record of the weights to the next. [default: 1, if time allows]",
        rich_help_panel=_PANEL,
    ),
]
LEDGER = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Steps from one ledger to the next, 0 for none. [default: 20 in a run, one in 500 steps]",
        rich_help_panel=_PANEL,
    ),
]
GRADIENTS = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Steps from one gradient (with the optimizer's state) to the next. [default: as the ledger]",
        rich_help_panel=_PANEL,
    ),
]
FULL = Annotated[
    str | None,
    typer.Option(
        help="Layers with a full history, every update of every weight: names, all, or none. "
        "[default: those of at most 1,024 numbers]",
        rich_help_panel=_PANEL,
    ),
]
BUDGET = Annotated[
    str | None,
    typer.Option(
        help="Largest size of the recording, such as 500MB. [default: 1 GiB]", rich_help_panel=_PANEL
    ),
]

WATCH = Annotated[
    bool,
    typer.Option(
        "--watch", help="Record, and open the microscope over the training.", rich_help_panel=_PANEL
    ),
]
CONTROL = Annotated[
    bool,
    typer.Option(
        "--control",
        help="With --watch: let the page pause the training, freeze layers, edit weights.",
        rich_help_panel=_PANEL,
    ),
]
PAUSED = Annotated[
    bool,
    typer.Option(
        "--paused", help="With --control: wait for the page before the first step.", rich_help_panel=_PANEL
    ),
]
BROWSER = Annotated[
    bool, typer.Option(help="With --watch: open the page in a browser.", rich_help_panel=_PANEL)
]
PORT = Annotated[
    int,
    typer.Option(
        min=0, max=65535, help="With --watch: of the page; 0 takes a free one.", rich_help_panel=_PANEL
    ),
]


@dataclass(frozen=True)
class WatchOptions:
    """How a training is watched; None in the place of it for one that is not."""

    control: bool = False
    paused: bool = False
    browser: bool = True
    port: int = 0


def watch_options(watch: bool, control: bool, paused: bool, browser: bool, port: int) -> WatchOptions | None:
    """The options as they were given.

    Raises: typer.BadParameter for some without effect, MissingDependencyError before anything is begun.
    """
    if not watch:
        if control or paused or port or not browser:
            raise typer.BadParameter(
                "--control, --paused, --port and --no-browser say how to --watch; give that too."
            )
        return None
    if paused and not control:
        raise typer.BadParameter("--paused waits for the page, which may let it go on with --control only.")
    for module in ("starlette", "uvicorn"):
        require(module, "the microscope")
    return WatchOptions(control, paused, browser, port)


@dataclass(frozen=True)
class RecordOptions:
    """The options as they were given; None where one was not."""

    record: bool
    layers: str | None
    kernels: int | None
    ledger: int | None
    gradients: int | None
    full: str | None
    budget: str | None

    def recorder_arguments(self) -> dict[str, Any] | None:
        """Arguments of the Recorder, as the run keeps them; None to record nothing.

        Raises: typer.BadParameter for options without --record, ArgumentError for a budget that is no size.
        """
        given = {
            "layers": self.layers,
            "kernels_every": self.kernels,
            "ledger_every": self.ledger,
            "gradients_every": self.gradients,
            "full_layers": self.full,
            "max_bytes": self.budget,
        }
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if not self.record:
            if chosen:
                raise typer.BadParameter("--record-... options say how to record; give --record too.")
            return None
        for name in ("layers", "full_layers"):
            if name in chosen:
                chosen[name] = _names(chosen[name])
        if self.full == "none":
            chosen["full_layers"] = []
        if self.budget is not None:
            chosen["max_bytes"] = _bytes(self.budget)
        return chosen


def _names(text: str) -> str | list[str]:
    """ "conv1, conv2" -> a list; "all" stays."""
    return text if text == "all" else [name.strip() for name in text.split(",")]


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
