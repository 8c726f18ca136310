"""Live control: a training that listens to commands, and the way they take to it.

    server  --- a file for each command, written whole --->  RUN/record/control/
    training --- state.json after each change  ---------->  RUN/record/control/

A command is a file of JSON in a folder beside the records, read in the order of its name and removed before
it is done. So it needs no port and no common memory, lasts when the server ends, and only who may write into
the run can give one. Training looks at the folder's time once a step, which takes a microsecond.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError, KernelearnError, unknown_name
from kernelearn.locks import is_locked
from kernelearn.recording import interventions as by_hand
from kernelearn.recording.interventions import Intervention
from kernelearn.storage import atomic_write
from kernelearn.training.interrupts import is_stop_requested

FOLDER, STATE = "control", "state.json"
# Command -> the entries that it needs besides "do".
COMMANDS: dict[str, tuple[str, ...]] = {
    "pause": (),
    "run": ("steps",),
    "resume": (),
    "learning_rate": ("value",),
    "freeze": ("layer",),
    "unfreeze": ("layer",),
    "edit": ("layer", "weight", "index", "value"),
    "reset": ("layer", "filter"),
}
_LARGEST = 100_000
_MOST_WAITING = 1000
_POLL = 0.02
_BEAT = 1.0
# A folder that was read so soon after its time may have got one more file within the same tick of its clock.
_TICK_NS = 100_000_000


def send(record: Path, command: Mapping[str, Any]) -> str:
    """Put a command where the training of a run finds it; gives its number.

    Args:
        record: folder of the records.
    Raises: ArgumentError for a command that is none, or where nobody listens.
    """
    checked = check(command)
    why = why_not(record)
    if why:
        raise ArgumentError(why)
    folder = record / FOLDER
    if len(os.listdir(folder)) > _MOST_WAITING:
        raise ArgumentError(
            f"More than {_MOST_WAITING} commands wait already: the training does not take them."
        )
    number = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    with atomic_write(folder / f"{number}.json") as file:
        file.write(json.dumps(checked).encode())
    return number


def state_of(record: Path) -> dict[str, Any]:
    """What a training under control says of itself; {} where nobody listens."""
    if why_not(record):
        return {}
    return _read_state(record)


def why_not(record: Path) -> str:
    """Why a run takes no commands; "" if it does."""
    if not (record / FOLDER / STATE).is_file():
        return (
            "This run is not being trained under control: it is finished, or was started without --control "
            "(Microscope(control=True))."
        )
    if not is_locked(record):
        return "The training of this run has ended without saying so: nobody takes commands."
    return ""


def _read_state(record: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((record / FOLDER / STATE).read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def check(command: Any) -> dict[str, Any]:
    """A command with what it needs and nothing else.

    Raises: ArgumentError, UnknownNameError.
    """
    if not isinstance(command, Mapping) or not isinstance(command.get("do"), str):
        raise ArgumentError(f'A command is an object such as {{"do": "pause"}}; got {str(command)[:80]!r}.')
    do = command["do"]
    if do not in COMMANDS:
        raise unknown_name("command", do, COMMANDS)
    wanted = {"do", *COMMANDS[do]} | ({"weight"} if do == "reset" else set())
    for name in command:
        if name not in wanted:
            raise ArgumentError(
                f"The command {do!r} takes {', '.join(sorted(wanted))}; got {str(name)[:40]!r}."
            )
    for name in COMMANDS[do]:
        if name not in command:
            raise ArgumentError(f"The command {do!r} needs {name!r}.")
        _CHECKS[name](name, command[name])
    if "weight" in command:
        _text("weight", command["weight"])
    return dict(command)


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) < 500:
        raise ArgumentError(f"{name} must be a name, got {str(value)[:80]!r}.")


def _count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < (1 if name == "steps" else 0):
        raise ArgumentError(f"{name} must be a whole number, got {str(value)[:80]!r}.")


def _number(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (is_number or value is None):
        raise ArgumentError(f"{name} must be a finite number, got {str(value)[:80]!r}.")


def _index(name: str, value: Any) -> None:
    if not isinstance(value, list) or not value or len(value) > 8:
        raise ArgumentError(f"{name} must be a list of whole numbers, got {str(value)[:80]!r}.")
    for entry in value:
        _count(name, entry)


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "steps": _count,
    "value": _number,
    "layer": _text,
    "weight": _text,
    "index": _index,
    "filter": _count,
}


@dataclass
class _Now:
    """What a training under control is doing."""

    state: str = "running"
    step: int = 0
    stop_at: int | None = None


class LiveControl:
    """The training's end: takes commands between two steps, does them, and has them recorded.

    Args:
        record: folder of the records.
        model: that is trained.
        note: called with the kind of an event and what it says, to record it.
        reselect: called when a layer was frozen or set free, so that what is recorded fits again.
        is_paused: whether to wait before the first step.
        rate_before: learning rate, or schedule, of the optimiser before anything was done by hand.
    """

    def __init__(
        self,
        record: Path,
        model: Any,
        note: Callable[..., None],
        reselect: Callable[[], None],
        is_paused: bool = False,
        rate_before: Any = None,
    ) -> None:
        self.folder, self.model = record / FOLDER, model
        self._note, self._reselect = note, reselect
        now = by_hand.rate_of(model.optimizer)
        self._rate_before = now if rate_before is None else rate_before
        self._has_own_rate = self._rate_before is not now and self._rate_before != now
        self._now = _Now("paused" if is_paused else "running")
        self._seen = self._listed = 0  # time of the folder when it was last read, and when that was
        self._beat = 0.0
        self._refused: dict[str, Any] | None = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def before_step(self, step: int) -> None:
        """Take what commands there are; while paused, wait for more.

        Args:
            step: number of updates done.
        """
        now = self._now
        now.step = step
        if now.stop_at is not None and step >= now.stop_at:
            now.state, now.stop_at = "paused", None
            self._note(by_hand.PAUSED)
        self._take()
        if now.state == "paused":
            self._tell()
            # NOTE: Ctrl-C may only be noted, to stop behind the batch; so a training that waits has to go on.
            while now.state == "paused" and not is_stop_requested():
                time.sleep(_POLL)
                self._take()
        elif time.monotonic() - self._beat > _BEAT:
            self._tell()

    def end(self) -> None:
        """The training has ended: nobody listens any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self) -> None:
        """Do the commands that wait, in order."""
        try:
            stamp = os.stat(self.folder).st_mtime_ns
        except OSError:
            return
        if stamp == self._seen and self._listed - stamp > _TICK_NS:
            return
        self._seen, self._listed = stamp, time.time_ns()
        is_changed = False
        for number, command in self._waiting():
            is_changed = True
            try:
                self._do(check(command))
            except KernelearnError as error:
                self._refused = {"id": number, "message": str(error)}
        if is_changed:
            self._tell()

    def _waiting(self) -> Iterator[tuple[str, Any]]:
        for name in sorted(os.listdir(self.folder)):
            path = self.folder / name
            if not name.endswith(".json") or name == STATE:
                continue
            command: Any = None
            with suppress(OSError, ValueError):
                if path.stat().st_size <= _LARGEST:
                    command = json.loads(path.read_bytes())
            path.unlink(missing_ok=True)
            yield path.stem, command

    def _do(self, command: dict[str, Any]) -> None:
        do, now = command["do"], self._now
        if do == "pause":
            self._change_state("paused", None)
        elif do == "resume":
            self._change_state("running", None)
        elif do == "run":
            self._change_state("running", now.step + command["steps"])
        else:
            self.intervene(self._intervention(command))

    def _change_state(self, state: str, stop_at: int | None) -> None:
        now = self._now
        if state != now.state:
            about = {} if stop_at is None else {"steps": stop_at - now.step}
            self._note(by_hand.PAUSED if state == "paused" else by_hand.RESUMED, **about)
        now.state, now.stop_at = state, stop_at

    def intervene(self, done: Intervention) -> None:
        """Do an intervention and have it recorded."""
        if done.kind == by_hand.RATE:
            self._has_own_rate = done.rate is not None
        by_hand.do_on_all(self.model, done, self._rate_before)
        self._note(done.kind, **done.about())
        if done.kind in (by_hand.FROZEN, by_hand.UNFROZEN):
            self._reselect()

    def _intervention(self, command: dict[str, Any]) -> Intervention:
        """A command as what it does now."""
        do, step = command["do"], self._now.step
        if do == "learning_rate":
            value = command["value"]
            if value is not None and value < 0:
                raise ArgumentError(f"The learning rate must be 0 or greater, got {value}.")
            return Intervention(by_hand.RATE, step, rate=None if value is None else float(value))
        layer = command["layer"]
        if do in ("freeze", "unfreeze"):
            self._check_freezing(layer, do)
            return Intervention(by_hand.FROZEN if do == "freeze" else by_hand.UNFROZEN, step, layer)
        if do == "reset":
            return self._reset(layer, command.get("weight", "kernel"), command["filter"])
        if command["value"] is None:
            raise ArgumentError("value must be a finite number.")
        return by_hand.edit(
            self.model, step, layer, command["weight"], tuple(command["index"]), command["value"]
        )

    def _check_freezing(self, layer: str, do: str) -> None:
        """Raise ArgumentError where nothing would be left to train, or the layer has nothing to freeze."""
        found = by_hand.layer_of(self.model, layer)
        if not found.weights:
            raise ArgumentError(f"Layer {layer!r} has no weights to {do}.")
        own = {id(weight) for weight in found.weights}
        if do == "freeze" and all(id(weight) in own for weight in self.model.trainable_weights):
            raise ArgumentError(
                f"Layer {layer!r} is all that is trained; pause the training to keep it as it is."
            )

    def _reset(self, layer: str, weight: str, filter: int) -> Intervention:
        """A filter as it was at the beginning of the run."""
        from kernelearn.recording.run import Run

        run = Run(self.folder.parent)
        name = run.weight_name(layer, weight)
        first = run.kernels(layer, int(run.weight_steps(layer, name)[0]), name)
        index = (*[None] * (first.ndim - 1), filter)
        by_hand.check_index(index, first.shape, f"{layer}/{name}")
        done = by_hand.edit(self.model, self._now.step, layer, name, index, first[..., filter])
        return replace(done, kind=by_hand.RESET)

    def _tell(self) -> None:
        """Say what the training is doing, for the page."""
        self._beat = time.monotonic()
        now = self._now
        about = {
            "state": now.state,
            "step": now.step,
            "stop_at": now.stop_at,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "has_own_rate": self._has_own_rate,
            "frozen": [
                path for path, layer in self.model.descendants() if layer.weights and not layer.trainable
            ],
            "refused": self._refused,
            "pid": os.getpid(),
        }
        # NOTE: renamed, but not flushed to the disk as `atomic_write` does: that would hold up the training.
        fresh = self.folder / f"{STATE}.new"
        with suppress(OSError):
            fresh.write_bytes(json.dumps(about).encode())
            os.replace(fresh, self.folder / STATE)
