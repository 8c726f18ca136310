"""Which runs there are in a folder, recorded or not, in a few numbers each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.cli import run_folder
from kernelearn.cli.run_folder import Training
from kernelearn.errors import FormatError
from kernelearn.locks import is_locked

if TYPE_CHECKING:
    from kernelearn.recording.catalog import RunSummary

_DEPTH = 3


@dataclass(frozen=True)
class Listed:
    """A run in short.

    Attributes:
        path: its folder.
        date: when it last got on, as "2026-11-29 20:12", local time.
        status: as of run.json or the recording; "killed" if it says "running" and nobody trains there;
            "damaged" if it cannot be read.
        epochs, steps: that it has done; steps are known of recorded ones.
        bytes: size of the recording; None if there is none.
        accuracy, accuracy_of: of the test part, else the last of the validation or training part, and which.
        numbers: last value of the loss, the metrics and the validation values.
        problem: what is damaged.
    """

    path: str
    date: str
    status: str
    epochs: int = 0
    steps: int | None = None
    bytes: int | None = None
    accuracy: float | None = None
    accuracy_of: str | None = None
    numbers: dict[str, float] | None = None
    problem: str | None = None


def list_trainings(folder: Path) -> list[Listed]:
    """The runs in a folder and its folders, by name; the folder itself if it is one."""
    return [_listed(path) for path in _folders(folder, _DEPTH)]


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    from kernelearn.recording.files.manifest import is_run_folder

    if (folder / run_folder.MANIFEST).is_file() or is_run_folder(folder):
        yield folder
    elif depth and folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from _folders(path, depth - 1)


def _listed(folder: Path) -> Listed:
    from kernelearn.recording.catalog import summarise
    from kernelearn.recording.files.manifest import is_run_folder

    recording = next((p for p in (folder / run_folder.RECORD, folder) if is_run_folder(p)), None)
    summary = None if recording is None else summarise(recording)
    manifest = folder / run_folder.MANIFEST
    if not manifest.is_file():
        assert recording is not None  # `_folders` gives nothing else
        return _with_recording({}, folder, _date(recording), summary)
    try:
        training = Training.load(folder)
    except FormatError as error:
        return Listed(str(folder), _date(manifest), "damaged", problem=str(error))
    return _with_recording(_of_training(training, folder), folder, _date(manifest), summary)


def _of_training(training: Training, folder: Path) -> dict[str, Any]:
    is_left = training.status == "running" and not is_locked(folder)
    results = training.results
    test = results.get("test")
    return {
        "status": "killed" if is_left else training.status,
        "epochs": results.get("epochs", 0),
        "numbers": results.get("last_epoch"),
        "test": test.get("accuracy") if isinstance(test, dict) else None,
    }


def _with_recording(known: dict[str, Any], folder: Path, date: str, summary: "RunSummary | None") -> Listed:
    numbers = (summary and summary.numbers) or known.get("numbers") or {}
    shares = {"test": known.get("test"), "val": numbers.get("val_accuracy"), "train": numbers.get("accuracy")}
    part = next((part for part, share in shares.items() if share is not None), None)
    status = known.get("status") or (summary.status if summary else "")
    if summary is not None and summary.status == "damaged":
        status = "damaged"
    return Listed(
        str(folder),
        date,
        status,
        (summary.epochs if summary else 0) or known.get("epochs", 0),
        summary.steps if summary else None,
        summary.bytes if summary else None,
        shares[part] if part else None,
        part,
        numbers,
        summary.problem if summary else None,
    )


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
