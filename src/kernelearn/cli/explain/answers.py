"""What `kernelearn explain` commands give: tables on the terminal; a figure, JSON and CSV where asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

PLACE = Annotated[
    Path,
    typer.Argument(metavar="RUN|MODEL", help="A run folder or a .kernelearn file.", show_default=False),
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
        tables: `explain.Table`s to print.
        content: everything, for JSON.
        figure: makes the matplotlib Figure; called only if one is wanted.
        rows: the table for CSV; None for the first of `tables`.
    """

    tables: list[Any]
    content: Any
    figure: Callable[[], Any]
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: Any = None


def deliver(found: Explained, figure: Path | None, json: Path | None, csv: Path | None) -> None:
    """Print an answer, or the JSON or CSV of it, and write the files that were asked for.

    Raises: StorageError for a file that cannot be written, ArgumentError for a figure of unknown ending.
    """
    from kernelearn.cli.output import say

    is_printed = "-" in (str(json), str(csv))
    if not is_printed:
        _show(found)
    if csv is not None:
        _write(csv, (found.rows or found.tables[0]).to_csv(), "Table")
    if json is not None:
        _write(json, _as_json(found.content), "JSON")
    if figure is not None:
        from kernelearn.view import save_figure

        say(f"Figure: {save_figure(found.figure(), figure)}", to_stderr=is_printed)


def _show(found: Explained) -> None:
    from kernelearn.cli.output import say

    for line in found.lines:
        say(line)
    for number, table in enumerate(found.tables):
        if number or found.lines:
            say()
        _say_table(table)
    for line in found.notes:
        say(line)


def _say_table(table: Any) -> None:
    """Print a table as wide as it is: on a narrow terminal lines wrap, and no cell is cut."""
    from rich.console import Console

    from kernelearn.cli.output import say

    made, console = _rich(table), Console()
    wide = Console(width=max(console.width, Console(width=10_000).measure(made).maximum))
    if table.title:
        say(table.title)
    wide.print(made)


def _rich(table: Any) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, is_numeric in zip(table.columns, table.is_numeric):
        made.add_column(Text(name), justify="right" if is_numeric else "left")
    for cells in table.cells():
        made.add_row(*map(Text, cells))
    return made


def _as_json(content: Any) -> str:
    import json

    from kernelearn.cli.output import plain

    return json.dumps(plain(content), indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str, what: str) -> None:
    from kernelearn.cli.output import say
    from kernelearn.storage import atomic_write

    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
    say(f"{what}: {path}")
