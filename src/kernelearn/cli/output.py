"""What commands print: text for people on stdout, JSON when asked, hints on stderr.

Everything goes through here, so that names from files and folders cannot act on the terminal (control
characters are shown, not sent), and tables fit its width.
"""

import json
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kernelearn.errors import ArgumentError, KernelearnError

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

# Control characters, marks that turn the direction of writing, and what stands for a byte that is not UTF-8.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( ?%)?|-|nan|inf|")
_GAP = 2  # between columns


def visible(text: str) -> str:
    """A text in one line, with everything that would act on a terminal written out.

    >>> visible("a\\x1b[31mb"), visible("caf\\udce9")
    ('a\\\\x1b[31mb', 'caf\\\\xe9')
    """
    return _INVISIBLE.sub(lambda found: _written_out(ord(found[0])), text)


def _written_out(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def say(text: str = "", to_stderr: bool = False) -> None:
    """Print a line."""
    typer.echo(visible(text), file=sys.stderr if to_stderr else sys.stdout)


def say_lines(text: str, to_stderr: bool = False) -> None:
    """Print a text that has lines of its own."""
    for line in text.splitlines():
        say(line, to_stderr)


def say_prose(text: str, to_stderr: bool = False) -> None:
    """Print sentences, broken between words where the terminal ends."""
    if not (text and has_width()):
        say(text, to_stderr)
        return
    for line in textwrap.wrap(visible(text), width(), break_long_words=False, break_on_hyphens=False):
        typer.echo(line, file=sys.stderr if to_stderr else sys.stdout)


def say_error(error: Exception) -> None:
    """Print what went wrong, in the words of the command line."""
    from kernelearn.cli.hints import in_options

    text, label = str(error), ""
    if (ending := sys.modules.get("kernelearn.parallel.ending")) is not None:
        ending.let_first_speak()
        label = ending.label()
    if isinstance(error, OSError) and not isinstance(error, KernelearnError) and error.filename:
        text = f"{error.strerror or type(error).__name__}: {str(error.filename)!r}."
    say_lines(f"Error: {label}{in_options(text)}", to_stderr=True)


def say_warning(text: str) -> None:
    """Print what is not as it was meant, in the words of the command line."""
    from kernelearn.cli.hints import in_options

    say_lines(f"Warning: {in_options(text)}", to_stderr=True)


def write_text(path: Path, text: str, what: str, to_stderr: bool = False) -> None:
    """Write a file and say where it is; `-` prints the text instead.

    Raises: StorageError if it cannot be written.
    """
    from kernelearn.storage import atomic_write

    if str(path) == "-":
        say_lines(text)
        return
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    say(f"{what}: {path}", to_stderr)


def width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def has_width() -> bool:
    """Whether somebody reads in a window: a file or a pipe takes lines as long as they are."""
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def say_json(content: object) -> None:
    """Print content as JSON; numbers that JSON has no words for (NaN, infinity) become null."""
    typer.echo(json.dumps(plain(content), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """NumPy numbers, arrays, tuples and paths as what JSON holds."""
    import numpy as np

    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


# --- tables


def say_table(
    columns: Sequence[str], rows: Sequence[Sequence["str | Text"]], title: str = "", headings: bool = True
) -> None:
    """Print a table no wider than the terminal: in colours there, plain elsewhere.

    Headings break between words. Where that is not enough, the columns come in several tables under each
    other, each with the first column; a cell that is wider than the terminal is folded. Nothing is cut.

    Args:
        columns: headings.
        rows: one cell a column in each; numbers stand right.
        headings: whether to print the headings.
    """
    from rich.console import Console

    console = Console(width=width(), soft_wrap=False)
    cells = [[_cell(cell) for cell in row] for row in rows]
    names = [visible(name) for name in columns]
    if title:
        say_prose(title)
    for number, chosen in enumerate(_blocks(names, cells, console.width)):
        if number:
            say()
        console.print(_rich_table(names, cells, chosen, headings))


def _cell(value: "str | Text") -> "Text":
    from rich.text import Text

    return Text(visible(value)) if isinstance(value, str) else Text(visible(value.plain), style=value.style)


def _blocks(names: list[str], cells: "list[list[Text]]", available: int) -> Iterator[list[int]]:
    """Numbers of the columns that stand side by side; the first column is in each block."""
    from rich.cells import cell_len

    needed = [
        max([*(cell_len(word) for word in name.split()), *(row[i].cell_len for row in cells), 1])
        for i, name in enumerate(names)
    ]
    block, used = [0], needed[0]
    for i in range(1, len(names)):
        if len(block) > 1 and used + _GAP + needed[i] > available:
            yield block
            block, used = [0], needed[0]
        block.append(i)
        used += _GAP + needed[i]
    yield block


def _rich_table(
    names: list[str], cells: "list[list[Text]]", chosen: list[int], headings: bool
) -> "RichTable":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    style: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "show_edge": False}
    made = Table(**style, padding=(0, _GAP - 1, 0, 0), show_header=headings)
    for i in chosen:
        is_number = i > 0 and all(_NUMBER.fullmatch(row[i].plain) for row in cells)
        made.add_column(Text(names[i]), justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        made.add_row(*[row[i] for i in chosen])
    return made


# --- words


def percent(share: float) -> str:
    """0.98765 -> "98.77 %"."""
    return f"{100 * share:.2f} %"


def counts(text: str, option: str) -> tuple[int, ...]:
    """ "1 2 5" or "1,2,5" as ascending counts.

    Raises: ArgumentError naming the option for anything else.
    """
    words = text.replace(",", " ").split()
    if not words or not all(word.isdigit() and int(word) > 0 for word in words):
        raise ArgumentError(f"{option} takes whole numbers such as '1 2 5 10', got {text!r}.")
    return tuple(sorted({int(word) for word in words}))


def metric_text(name: str, value: float) -> str:
    """A metric for people: accuracies in percent, others with four digits."""
    return f"{name.replace('_', ' ')} {percent(value) if 'acc' in name else format(value, '.4f')}"
