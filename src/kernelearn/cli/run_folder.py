"""A run folder: what `kernelearn train` leaves behind, and how other commands find their model in it.

run.json            what was run: versions, arguments, data fingerprint, status, results
model.kernelearn    the trained network
history.csv         one line an epoch
checkpoint/         the whole state, while the run is not finished
record/             every step, with --record: what `kernelearn.recording.Run` reads
kernels.png         every kernel of the first convolution
start.kernelearn    the network that a fine-tuning began with, while it is not finished
transfer.json       what a fine-tuning took over, what is new, how far each layer moved
report.html         what `kernelearn report` made of the recording
writer.lock         while a training writes here
"""

import json
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.locks import FolderLock
from kernelearn.storage import atomic_write, make_folder

if TYPE_CHECKING:
    from kernelearn.models import Model

MANIFEST = "run.json"
MODEL = "model.kernelearn"
HISTORY = "history.csv"
CHECKPOINT = "checkpoint"
RECORD = "record"
KERNELS = "kernels.png"
REPORT = "report.html"
START = "start.kernelearn"
TRANSFER = "transfer.json"
_VERSION = 1
# What run.json may hold under each name, and what of it no run can do without.
_TYPES: dict[str, type] = {
    "arguments": dict,
    "data": dict,
    "command": list,
    "versions": dict,
    "status": str,
    "results": dict,
    "format_version": int,
}
_DATA_TYPES: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "fingerprint": str,
    "input_shape": list,
    "classes": int,
    "class_names": (list, type(None)),
}


@dataclass
class Training:
    """What run.json holds.

    Attributes:
        arguments: those of the training, resolved; enough to start it again.
        data: name, fingerprint, input_shape, classes and class_names.
        status: "running", "interrupted", "failed" or "finished"; a run that was killed still says "running".
        results: of a finished training: epochs, seconds, the numbers of the last epoch and of the test part,
            and the picture of the kernels.
    """

    arguments: dict[str, Any]
    data: dict[str, Any]
    command: list[str] = field(default_factory=lambda: ["kernelearn", *sys.argv[1:]])
    versions: dict[str, str] = field(default_factory=lambda: versions())
    status: str = "running"
    results: dict[str, Any] = field(default_factory=dict)
    format_version: int = _VERSION

    def save(self, folder: Path) -> None:
        """Write run.json, whole or not at all."""
        with atomic_write(folder / MANIFEST) as file:
            file.write((json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "Training":
        """Read run.json.

        Raises: ArgumentError if there is none, FormatError if it is damaged or from a newer version.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ArgumentError(f"{str(folder)!r} is not a run folder: it has no {MANIFEST}.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            _check_content(content)
        except (ValueError, RecursionError) as error:
            raise FormatError(
                f"{str(path)!r} is damaged ({error}). Put back a copy of it, or train again into another "
                "folder."
            ) from error
        if content.get("format_version", _VERSION) > _VERSION:
            raise FormatError(
                f"{str(path)!r} was written by a newer kernelearn "
                f"({content.get('versions', {}).get('kernelearn')}). Install that version or a newer one."
            )
        return cls(**content)

    def is_finished(self, folder: Path) -> bool:
        """Whether the training has ended and its model is there."""
        return self.status == "finished" and (folder / MODEL).is_file()


def _check_content(content: object) -> None:
    """Raises ValueError where run.json does not hold what it should."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not an object")
    unknown = sorted(set(content) - {one.name for one in fields(Training)})
    if unknown:
        raise ValueError(f"it has the unknown entry {unknown[0]!r}")
    for name in ("arguments", "data"):
        if name not in content:
            raise ValueError(f"it has no {name!r}")
    _check_types("", content, _TYPES)
    _check_types("data.", content["data"], _DATA_TYPES)


def _check_types(prefix: str, content: dict[str, Any], types: dict[str, Any]) -> None:
    for name, wanted in types.items():
        value = content.get(name)
        is_right = isinstance(value, wanted) and not isinstance(value, bool)
        if name in content and not is_right:
            raise ValueError(f"its {prefix}{name} is {value!r:.40}")


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    import numpy

    from kernelearn import __version__

    return {
        "kernelearn": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
    }


# --- the folder


def next_folder(data_name: str, model_name: str, parent: Path = Path("runs")) -> Path:
    """Make the first of runs/DATA-MODEL-1, -2, ... that does not exist; two processes get different ones."""
    number = 1
    while True:
        folder = parent / f"{data_name}-{model_name}-{number}"
        make_folder(parent)
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder and hold it, so that no second training writes there; an empty one goes in the end.

    Raises: StorageError if it cannot be made or written, or another process holds it.
    """
    make_folder(folder)
    try:
        with FolderLock(folder, use="used", remedy="choose another folder with --run"):
            yield
    finally:
        with suppress(OSError):  # a folder that holds something stays
            folder.rmdir()


def holds_run(folder: Path) -> bool:
    """Whether a training has left something that a second one would replace."""
    return any((folder / name).exists() for name in (MANIFEST, MODEL, CHECKPOINT, RECORD))


def clear(folder: Path) -> None:
    """Remove the files of a run but run.json, and only those; a new run.json takes the place of the old."""
    for name in (MODEL, HISTORY, KERNELS, REPORT, START, TRANSFER):
        (folder / name).unlink(missing_ok=True)
    remove_checkpoint(folder)
    _remove_recording(folder / RECORD)


def remove_checkpoint(folder: Path) -> None:
    """Remove the state of a training that is finished or given up."""
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)


def _remove_recording(folder: Path) -> None:
    from kernelearn.recording.files.manifest import is_run_folder
    from kernelearn.recording.files.writer import remove_run

    if is_run_folder(folder):
        with FolderLock(folder):
            remove_run(folder)
        with suppress(OSError):  # other files are there: the folder stays
            folder.rmdir()


# --- its model


def model_endings() -> str:
    """The endings of files that hold a whole model, for help and messages."""
    from kernelearn.formats.model_files import FORMATS

    foreign = [ending for kind in FORMATS if not kind.weights_only for ending in kind.endings]
    return ", ".join([".kernelearn", *foreign])


def is_model_file(path: Path) -> bool:
    """Whether a file is to be opened as a model: what exists and is neither code nor a description.

    Pipes and devices are: whoever opens them says what they are.
    """
    return path.exists() and not path.is_dir() and path.suffix not in (".py", ".json")


def load_trained(place: Path) -> "tuple[Model, Training | None]":
    """(model, its run or None) of a run folder or a file with a model: our own, or another program's.

    Raises: ArgumentError if there is no model there, FormatError for another kind of file.
    """
    from kernelearn.models import load_model

    if place.is_dir():
        run = Training.load(place)
        if not (place / MODEL).is_file():
            raise ArgumentError(
                f"The run {str(place)!r} has not saved its model yet (status: {run.status}). "
                f"Go on with it: kernelearn train --resume --run {place}"
            )
        return load_model(place / MODEL), run
    if not place.exists():
        raise ArgumentError(
            f"There is no run folder and no model file at {str(place)!r}. "
            f"Give the folder of a training (runs/...) or a file with one of the endings {model_endings()}."
        )
    return load_model(place), None


def image_shape(network: "Model") -> tuple[int, ...]:
    """(height, width, channels) of the images that a trained network takes; None for any size."""
    takes = tuple(network.input_shape[1:])
    return takes if None in takes else tuple(network.metadata.get("input_shape") or takes)


def shape_text(shape: Sequence[int | None]) -> str:
    """(32, 48, 3) -> "32 x 48 x 3", for people; "any" for sizes that a network does not fix."""
    return " x ".join("any" if size is None else str(size) for size in shape)


def class_names(network: "Model", count: int) -> list[str]:
    """Names of the classes: those of the training, else their numbers."""
    return network.metadata.get("class_names") or [str(number) for number in range(count)]
