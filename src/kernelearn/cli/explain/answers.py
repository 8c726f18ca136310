"""What `kernelearn explain` commands give: tables on the terminal; a figure, JSON and CSV where asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kernelearn.explain.table import Table

PLACE = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|MODEL",
        help="A run folder or a file with a model (.kernelearn, .keras, .onnx, ...).",
        show_default=False,
    ),
]
RUN = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run that was recorded.", show_default=False)
]
LAYER = Annotated[str | None, typer.Option(help="Name of the layer. [default: the first convolution]")]
STEP = Annotated[
    int | None, typer.Option(min=0, help="Number of the update; its weights are those after it.")
]
WEIGHT = Annotated[
    str | None,
    typer.Option(
        help="Index such as 1,0,0,3 (row, column, channel, filter), or bias,3. "
        "[default: the number that moved most]"
    ),
]
DATA = Annotated[
    str | None, typer.Option(help="Images to look at. [default: the test part of the run's own data]")
]
FIGURE = Annotated[Path | None, typer.Option(help="Draw it into this file (.png, .svg, .pdf).")]
JSON = Annotated[Path | None, typer.Option(help="Write everything as JSON into this file; - prints it.")]
CSV = Annotated[Path | None, typer.Option(help="Write the table, with all digits; - prints it.")]


@dataclass
class Explained:
    """The answer of one command.

    Attributes:
        lines: text above the tables; notes: below.
        formula: the one of `lines` that is not broken between words.
        tables: `explain.Table`s to print.
        content: everything, for JSON.
        figure: makes the matplotlib Figure; called only if one is wanted.
        rows: the table for CSV; None for the first of `tables`.
    """

    tables: "Sequence[Table]"
    content: object
    figure: "Callable[[], Figure]"
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    formula: str = ""
    rows: "Table | None" = None


def deliver(found: Explained, figure: Path | None, json: Path | None, csv: Path | None) -> None:
    """Print an answer, or the JSON or CSV of it, and write the files that were asked for.

    Raises: StorageError for a file that cannot be written, ArgumentError for a figure of unknown ending.
    """
    from kernelearn.cli.output import say, write_text

    is_printed = "-" in (str(json), str(csv))
    if not is_printed:
        _show(found)
    if csv is not None:
        write_text(csv, (found.rows or found.tables[0]).to_csv(), "Table", is_printed)
    if json is not None:
        write_text(json, _as_json(found.content), "JSON", is_printed)
    if figure is not None:
        from kernelearn.view import save_figure

        say(f"Figure: {save_figure(found.figure(), figure)}", to_stderr=is_printed)


def _show(found: Explained) -> None:
    from kernelearn.cli.output import say, say_prose, say_table

    for line in found.lines:
        print_line = say if line == found.formula else say_prose
        print_line(line)
    for number, table in enumerate(found.tables):
        if number or found.lines:
            say()
        say_table(table.columns, table.cells(), table.title)
    for line in found.notes:
        say_prose(line)


def _as_json(content: object) -> str:
    import json

    from kernelearn.cli.output import plain

    return json.dumps(plain(content), indent=1, allow_nan=False) + "\n"
