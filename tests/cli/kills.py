"""Kill a training at each file operation behind its last step in turn, and look what `--resume` makes of it.

`python tests/cli/kills.py --record` prints the table of all operations. Each attempt is a process of its own
that dies as with kill -9 right before its n-th operation; another one goes on with `train --resume`, and the
commands that read a run are tried on what it leaves.
"""

import argparse
import builtins
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KILLED = 137
COMMANDS_EACH = 5  # behind every so-many-th kill the other commands are tried too
# Operations of `os` that change what is on the disk.
CHANGES = (
    "replace",
    "rename",
    "fsync",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
    "write",
    "truncate",
    "ftruncate",
)
TRAINING = ("digits", "--epochs", "2", "--batch-size", "256", "--seed", "3", "--patience", "1")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Attempt:
    """One kill and what came of it.

    Attributes:
        operation: what the process was about to do, "" if it ended by itself.
        resumed: exit code of `train --resume`.
        status: what run.json said when the process was dead.
        same: whether model and history are bitwise those of a run that nobody killed.
        commands: exit code of each command that was tried on the run then.
        says: what went wrong, for people.
    """

    number: int
    operation: str
    status: str
    resumed: int
    same: bool
    commands: dict[str, int]
    says: str

    @property
    def is_right(self) -> bool:
        """Whether the run ended as if nothing had happened."""
        return self.resumed == 0 and self.same and not any(self.commands.values())


class Trap:
    """Counts the operations behind the last step of a training, and ends the process before the n-th."""

    def __init__(self, steps: int, deadly: int | None, log: Path) -> None:
        self.steps, self.deadly, self.log = steps, deadly, log
        self.count = 0

    def set(self) -> None:
        """Put itself around what changes files, and wait for the last step."""
        from kernelearn.training.callbacks import CallbackList

        hook = CallbackList.on_train_batch_end

        def on_train_batch_end(this: Any, *arguments: Any, **named: Any) -> None:
            self.steps -= 1
            if not self.steps:
                self._arm()
            hook(this, *arguments, **named)

        CallbackList.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]

    def _arm(self) -> None:
        for name in CHANGES:
            setattr(os, name, self._counted(name, getattr(os, name)))
        os.open = self._counted("open", os.open, lambda path, flags, *rest, **named: bool(flags & WRITING))
        builtins.open = io.open = self._counted("open", builtins.open, _is_for_writing)

    def _counted(
        self, name: str, operation: Callable, is_change: Callable = lambda *_, **__: True
    ) -> Callable:
        def counted(*arguments: Any, **named: Any) -> Any:
            if is_change is bool or is_change(*arguments, **named):
                self._count(name, arguments[0])
            return operation(*arguments, **named)

        return counted

    def _count(self, name: str, target: Any) -> None:
        self.count += 1
        if self.count == self.deadly:
            self.log.write_bytes(
                f"{name} {Path(target).name if not isinstance(target, int) else ''}".encode()
            )
            os._exit(KILLED)


def _is_for_writing(path: Any, mode: str = "r", *rest: Any, **named: Any) -> bool:
    return any(letter in mode for letter in "wax+") and not isinstance(path, int)


def in_child(action: Callable[[], int], log: Path | None = None) -> int:
    """Exit code of an action in a process of its own; what it prints goes to `log`."""
    pid = os.fork()
    if not pid:
        code = 99
        with open(log or os.devnull, "w") as file, redirect_stdout(file), redirect_stderr(file):
            code = action()
            file.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def command(*words: object) -> Callable[[], int]:
    """A call of the command line."""

    def call() -> int:
        from kernelearn.cli import main

        return main([str(word) for word in words])

    return call


def attempts(
    place: Path, words: Sequence[str], steps: int, chosen: Callable[[int], bool]
) -> Iterator[Attempt]:
    """Kill the training of `words` before each chosen operation behind its last step.

    Args:
        steps: updates that the training takes.
        chosen: whether the operation of a number is tried.
    """
    whole = place / "whole"
    assert in_child(command("train", *words, "--run", whole)) == 0
    number = 0
    while True:
        number += 1
        if not chosen(number):
            continue
        made = _attempt(place, words, steps, number, whole)
        if made is None:
            return
        yield made


def _attempt(place: Path, words: Sequence[str], steps: int, number: int, whole: Path) -> Attempt | None:
    folder, log, printed = place / f"killed-{number}", place / "operation", place / "printed"
    log.unlink(missing_ok=True)
    trap = Trap(steps, number, log)

    def train_and_die() -> int:
        trap.set()
        return command("train", *words, "--run", folder)()

    code = in_child(train_and_die, printed)
    if code == 0:
        return None  # there is no operation of this number any more
    assert code == KILLED, printed.read_text()
    status = json.loads((folder / "run.json").read_text())["status"]
    resumed = in_child(command("train", "--resume", "--run", folder), printed)
    says = printed.read_text() if resumed else ""
    is_same = resumed == 0 and _is_same(folder, whole)
    tried = () if resumed or number % COMMANDS_EACH else _reading(folder, words)
    commands = {name: in_child(command(*one)) for name, one in tried}
    return Attempt(number, log.read_text(), status, resumed, is_same, commands, says.strip()[-300:])


def _reading(folder: Path, words: Sequence[str]) -> Iterator[tuple[str, tuple[object, ...]]]:
    yield "evaluate", ("evaluate", folder)
    yield "filters", ("explain", "filters", folder)
    if "--record" in words:
        yield "report", ("report", folder)
        yield "check", ("runs", "show", folder, "--check")


def _is_same(folder: Path, whole: Path) -> bool:
    def equal() -> int:
        import numpy as np

        from kernelearn import load_model

        ours, theirs = (load_model(one / "model.kernelearn").get_weights() for one in (folder, whole))
        return 0 if all(np.array_equal(x, y) for x, y in zip(ours, theirs)) else 1

    is_history = (folder / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    leftovers = {path.name for path in folder.iterdir()} ^ {path.name for path in whole.iterdir()}
    return is_history and leftovers <= {"report.html"} and in_child(equal) == 0


def _import_all() -> None:
    """Load here what the children need: each of them is a copy of this process."""
    for name in ("train.job", "train.settings_guard", "evaluate", "report", "runs", "explain.kernels"):
        importlib.import_module(f"kernelearn.cli.{name}")
    for name in ("models.zoo", "recording", "explain", "view", "data"):
        importlib.import_module(f"kernelearn.{name}")
    for name in ("filter_bank", "kernel_health"):
        getattr(sys.modules["kernelearn.explain"], name)  # loads its module
    for name in ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.font_manager"):
        importlib.import_module(name)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true", help="record the run")
    parser.add_argument("--every", type=int, default=1, help="only each so-many-th operation")
    parser.add_argument("--json", action="store_true", help="one line of JSON an attempt")
    given = parser.parse_args()

    words = (*TRAINING, *(("--record",) if given.record else ()))
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        for one in attempts(Path(place), words, 12, lambda number: number % given.every == 0):
            wrong += not one.is_right
            print(json.dumps(asdict(one)) if given.json else one, flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
