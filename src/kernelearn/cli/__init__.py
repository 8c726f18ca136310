"""The command line of kernelearn: `kernelearn COMMAND ...`, one file a command.

Exit codes: 0 done, 1 an error of the data or arguments, told in one message, 2 a command line that cannot be
read, 130 stopped by Ctrl-C (143 by SIGTERM). Nothing heavy is imported before a command runs.
"""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

ERROR = 1
INTERRUPTED = 130

try:
    from kernelearn.cli.application import app
    from kernelearn.cli.output import say_error, say_warning
    from kernelearn.errors import ArgumentError, KernelearnError, UnregisteredError
except KeyboardInterrupt:  # while the program is loaded, too, Ctrl-C ends it without a trace
    raise SystemExit(INTERRUPTED) from None

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words behind the program's name; None takes those of the process.
    Returns: exit code.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _in_one_line
        code = _run(arguments)
    if code and (ending := sys.modules.get("kernelearn.parallel.ending")) is not None:
        ending.end_all(code)  # the other processes of a training would wait for this one
    return code


_of_python = warnings.showwarning


def _in_one_line(message: Any, category: Any, *place: Any, **stream: Any) -> None:
    """A warning as a message of the command line; what is meant for programmers as Python has it."""
    if issubclass(category, UserWarning):
        say_warning(str(message))
    else:
        _of_python(message, category, *place, **stream)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        app(args=None if arguments is None else list(arguments), prog_name="kernelearn")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    except UnregisteredError as error:
        say_error(ArgumentError(f"{error} On the command line: kernelearn --code FILE.py COMMAND ..."))
        return ERROR
    except (KernelearnError, OSError) as error:
        say_error(error)
        return ERROR
    return 0
