"""What commands print: text for people on stdout, JSON when asked, hints on stderr."""

import json
import math
import sys
from typing import Any

import numpy as np
import typer

from kernelearn.errors import ArgumentError


def say(text: str = "", to_stderr: bool = False) -> None:
    """Print a line."""
    typer.echo(text, file=sys.stderr if to_stderr else sys.stdout)


def say_rich(thing: Any) -> None:
    """Print a table: in colours on a terminal, plain elsewhere."""
    from rich.console import Console

    Console(soft_wrap=not sys.stdout.isatty()).print(thing)


def say_json(content: Any) -> None:
    """Print content as JSON; numbers that JSON has no words for (NaN, infinity) become null."""
    typer.echo(json.dumps(plain(content), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """NumPy numbers, arrays, tuples and paths as what JSON holds."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


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
