"""A command in several processes: who starts them, and who of them speaks.

`--processes N` starts `mpiexec -n N python -m kernelearn ...` and waits. In what it starts, as in
what a user starts with mpiexec, the first process alone prints and writes; the others train in silence.
"""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from kernelearn.cli.output import say
from kernelearn.errors import ArgumentError
from kernelearn.parallel import world
from kernelearn.parallel.starting import mpiexec

# Exit codes that the processes have explained themselves: done, an error, a wrong command line, stopped.
_EXPLAINED = (0, 1, 2, 130, 143)


def silence_unless_first() -> bool:
    """Whether this process prints and writes; if not, it says nothing from now on but its own error."""
    if world.is_first():
        return True
    sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    warnings.simplefilter("ignore")
    return False


def starts_others(processes: int | None) -> bool:
    """Whether processes are to be started: --processes was given, and none of them runs this.

    Raises: ArgumentError under mpiexec with another number.
    """
    if processes is None:
        return False
    if world.started_by_mpi():
        size = world.exchange().size
        if processes != size:
            raise ArgumentError(
                f"--processes {processes} under an mpiexec that has started {size}: leave --processes out."
            )
        return False
    return True


def start(context: typer.Context, processes: int, remedy: str = "") -> int:
    """Start the same command in so many processes and wait for them.

    Args:
        remedy: what is said where one of them was killed.
    Returns: exit code.
    Raises: MissingDependencyError without mpiexec or mpi4py.
    """
    command = [*mpiexec(processes, "--processes"), sys.executable, "-m", "kernelearn", *_words(context)]
    # The words go to a program, not to a shell: what is shown is for people.
    say(f"Starting {processes} processes: {' '.join(command)}", to_stderr=True)
    code = _run(command)
    if code not in _EXPLAINED:
        say(
            f"The processes ended with code {code}: one was killed or crashed, which ends all. {remedy}",
            to_stderr=True,
        )
    return code


def _words(context: Any) -> list[str]:
    """The command line once more, without --processes: what was said, not what follows from it."""
    if context.parent is None:
        return _given(context)
    return [*_words(context.parent), str(context.command.name), *_given(context)]


def _given(context: Any) -> list[str]:
    """The words of one command that stood on the command line."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name == "processes":
            continue
        words += _as_words(parameter, context.params[name])
    return words


def _as_words(parameter: Any, value: Any) -> list[str]:
    """A parameter as it is written."""
    if parameter.param_type_name == "argument":
        return [str(value)]
    option = parameter.opts[0]
    if getattr(parameter, "is_flag", False):
        return [option if value else parameter.secondary_opts[0]]
    values: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return [word for one in values for word in (option, str(one))]


def _run(command: Sequence[str]) -> int:
    """Run a command in a group of its own, and pass requests to stop on to it, each once."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as started:

        def pass_on(number: int, frame: Any) -> None:
            started.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = started.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code
