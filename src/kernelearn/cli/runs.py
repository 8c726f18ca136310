"""A run folder: what `kernelearn train` leaves behind, and how other commands find their model in it.

run.json            what was run: versions, arguments, data fingerprint, status, results
model.kernelearn    the trained network
history.csv         one line an epoch
checkpoint/         the whole state, while the run is not finished
record/             every step, with --record: what `kernelearn.recording.Run` reads
kernels.png         every kernel of the first convolution
report.html         what `kernelearn report` made of the recording
"""

import json
import platform
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.storage import atomic_write

MANIFEST = "run.json"
MODEL = "model.kernelearn"
HISTORY = "history.csv"
CHECKPOINT = "checkpoint"
RECORD = "record"
KERNELS = "kernels.png"
REPORT = "report.html"
STATUSES = ("running", "interrupted", "failed", "finished")
_VERSION = 1


@dataclass
class Run:
    """What run.json holds.

    Attributes:
        arguments: those of the training, resolved; enough to start it again.
        data: name, fingerprint, input_shape, classes and class_names.
        status: "running", "interrupted", "failed" or "finished"; a run that was killed still says "running".
        results: of the test part, once there are any.
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
    def load(cls, folder: Path) -> "Run":
        """Read run.json.

        Raises: ArgumentError if there is none, FormatError if it is damaged or from a newer version.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ArgumentError(f"{str(folder)!r} is not a run folder: it has no {MANIFEST}.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            run = cls(**content)
        except (ValueError, TypeError) as error:
            raise FormatError(
                f"{str(path)!r} is damaged ({error}); train again into another folder."
            ) from error
        if run.format_version > _VERSION:
            raise FormatError(
                f"{str(path)!r} was written by a newer kernelearn ({run.versions.get('kernelearn')}). "
                "Install a newer version: pip install -U kernelearn"
            )
        return run


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


def next_folder(data_name: str, model_name: str, parent: Path = Path("runs")) -> Path:
    """The first of runs/DATA-MODEL-1, -2, ... that does not exist."""
    number = 1
    while (parent / f"{data_name}-{model_name}-{number}").exists():
        number += 1
    return parent / f"{data_name}-{model_name}-{number}"


def load_trained(place: Path) -> tuple[Any, Run | None]:
    """(model, its run or None) of a run folder or a .kernelearn file.

    Raises: ArgumentError if there is no model there, FormatError for another kind of file.
    """
    from kernelearn.models import load_model

    if place.is_dir():
        run = Run.load(place)
        if not (place / MODEL).is_file():
            raise ArgumentError(
                f"The run {str(place)!r} has not saved its model yet (status: {run.status}). "
                f"Go on with it: kernelearn train --resume --run {place}"
            )
        return load_model(place / MODEL), run
    if not place.is_file():
        raise ArgumentError(
            f"There is no run folder and no model file at {str(place)!r}. "
            "Give the folder of a training (runs/...) or a file with the ending .kernelearn."
        )
    return load_model(place), None


def image_shape(network: Any) -> tuple[int, ...]:
    """(height, width, channels) of the images that a trained network takes."""
    return tuple(network.metadata.get("input_shape") or network.input_shape[1:])


def class_names(network: Any, count: int) -> list[str]:
    """Names of the classes: those of the training, else their numbers."""
    return network.metadata.get("class_names") or [str(number) for number in range(count)]
