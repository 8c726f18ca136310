"""Which recorded runs there are in a folder, in a few numbers each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelearn.errors import FormatError
from kernelearn.recording.files.manifest import is_run_folder
from kernelearn.recording.files.writer import run_bytes
from kernelearn.recording.run import Run

_DEPTH = 3


@dataclass(frozen=True)
class RunSummary:
    """A recorded run in short.

    Attributes:
        path: its folder.
        status: as of `Run.status`, or "damaged".
        steps: updates recorded.
        epochs: epochs ended.
        bytes: size of all files.
        numbers: last value of the loss, the metrics and the validation values.
        problem: why a damaged run cannot be read.
    """

    path: str
    status: str
    steps: int = 0
    epochs: int = 0
    bytes: int = 0
    numbers: dict[str, float] | None = None
    problem: str | None = None


def list_runs(folder: Any) -> list[RunSummary]:
    """The recorded runs in a folder and its folders, by name; the folder itself if it is one."""
    return [summarise(path) for path in _run_folders(Path(folder), _DEPTH)]


def summarise(path: Path) -> RunSummary:
    """A recorded run in short; one that cannot be read says why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damage is counted below
            run = Run(path)
            numbers = {name: _last(run, name) for name in run.scalar_names}
    except FormatError as error:
        return RunSummary(str(path), "damaged", problem=str(error))
    epochs = [event for event in run.events if event["kind"] == "epoch"]
    kept = {n: v for n, v in numbers.items() if v is not None and n not in ("epoch", "batch", "iteration")}
    problem = "; ".join(run.problems) or None
    return RunSummary(str(path), run.status, run.last_step, len(epochs), run_bytes(path), kept, problem)


def _last(run: Run, name: str) -> float | None:
    values = run.scalars(name)[1]
    return float(values[-1]) if len(values) else None


def _run_folders(folder: Path, depth: int) -> list[Path]:
    if is_run_folder(folder):
        return [folder]
    if not depth or not folder.is_dir():
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return [found for path in inner for found in _run_folders(path, depth - 1)]
