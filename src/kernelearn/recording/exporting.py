"""A recorded run for other programs: .npz, .safetensors, TensorBoard event files, .csv.

npz, safetensors   weights/PATH (steps, ...), steps; gradients/PATH, gradient_steps; scalars/NAME (updates,);
                   with `step` only the weights of that step, as PATH
tensorboard        a folder: batch_loss and the other numbers of every step, weights as histograms and images
csv                a line a step: step, epoch, batch, loss, learning_rate, metrics, val_...
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.recording.run import Run
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike, atomic_write, check_writable
from kernelearn.training.callbacks import TensorBoard

Named = Iterator[tuple[str, np.ndarray]]
_COUNTS = ("epoch", "batch", "iteration")


def export(run: Run, path: PathLike, format: str | None = None, step: int | None = None) -> Path:
    """Write a run in another format; files are whole or absent.

    Args:
        path: file, or folder for TensorBoard.
        format: "npz", "safetensors", "tensorboard" or "csv"; None takes it from the ending of `path`, and
            TensorBoard for a path without one.
        step: only the weights of this step (npz and safetensors).
    Returns: the path.
    Raises: UnknownNameError, ArgumentError, StorageError; MissingDependencyError for a package to install.
    """
    chosen = format or Path(path).suffix.removeprefix(".") or "tensorboard"
    if chosen not in FORMATS:
        raise unknown_name("export format", chosen, FORMATS)
    if step is not None and chosen not in ("npz", "safetensors"):
        raise ArgumentError(f"step={step} goes with npz and safetensors; {chosen} has all steps.")
    FORMATS[chosen](run, Path(path), step)
    return Path(path)


def arrays_of(run: Run, step: int | None = None) -> Named:
    """What npz and safetensors hold, one array after another."""
    if step is not None:
        yield from _weights_of(run, step)
        return
    yield "steps", run.steps
    for path in run.fields(Stream.KERNELS):
        layer, _, weight = path.rpartition("/")
        steps, values = run.trace(layer, (), weight)
        yield f"weights/{path}", values
        if not np.array_equal(steps, run.steps):  # recorded for a part of the run, or in full
            yield f"weight_steps/{path}", steps
    for path in run.fields(Stream.GRADIENTS):
        steps, values = run.column(Stream.GRADIENTS, path)
        yield f"gradients/{path}", values
        yield f"gradient_steps/{path}", steps
    for name in run.scalar_names:
        steps, values = run.scalars(name)
        yield f"scalars/{name}", values
        yield f"scalar_steps/{name}", steps


def _weights_of(run: Run, step: int) -> Named:
    """All weights of the model if they are recorded at the step, else those of the recorded layers."""
    stream = Stream.SNAPSHOTS if step in run.model_steps else Stream.KERNELS
    for path in run.fields(stream):
        yield path, run.read(stream, path, step)


def _npz(run: Run, path: Path, step: int | None) -> None:
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays_of(run, step):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _safetensors(run: Run, path: Path, step: int | None) -> None:
    package = require("safetensors.numpy", "export to safetensors")
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays_of(run, step)}
    about = {"format": "kernelearn", "run": run.manifest["run"], "optimizer": json.dumps(run.optimizer)}
    with atomic_write(path) as file:
        file.write(package.save(tensors, about))


def _csv(run: Run, path: Path, step: int | None) -> None:
    columns = {name: dict(zip(*map(np.ndarray.tolist, run.scalars(name)))) for name in run.scalar_names}
    names = [*_COUNTS[:2], *(name for name in columns if name not in _COUNTS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *names])
    for number in columns.get("loss", {}):
        writer.writerow([number, *(_cell(columns.get(name, {}).get(number)) for name in names)])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _cell(value: Any) -> Any:
    return "" if value is None or value != value else value


# Histograms and images of more steps than these make TensorBoard slow and show no more.
_PICTURES = 50


class _Events(TensorBoard):
    """The event files of the TensorBoard callback, filled from a run."""

    def fill(self, run: Run) -> None:
        for name in run.scalar_names:
            if name not in _COUNTS:
                folder = "validation" if name.startswith("val_") else "train"
                tag = f"epoch_{name[4:]}" if name.startswith("val_") else f"batch_{name}"
                for step, value in zip(*map(np.ndarray.tolist, run.scalars(name))):
                    self._scalar(folder, tag, value, step)
        for step in _some_steps(run):
            for path in run.fields(Stream.KERNELS):
                layer, _, weight = path.rpartition("/")
                self._write_weight(path, run.kernels(layer, step, weight), step)

    def _write_weight(self, path: str, weight: np.ndarray, step: int) -> None:
        self._add("train", path, step, histo=self._histogram(weight))
        if weight.ndim == 4:
            from kernelearn.training.callbacks.kernel_image import kernel_picture

            self._add("train", f"{path}/image", step, image=self._image(kernel_picture(weight)))


def _some_steps(run: Run) -> list[int]:
    """Steps that have all recorded layers, spread over the run."""
    shared = [
        s
        for s in run.steps.tolist()
        if all(run.has(Stream.KERNELS, path, s) for path in run.fields(Stream.KERNELS))
    ]
    places = np.unique(np.linspace(0, len(shared) - 1, min(_PICTURES, len(shared))).round().astype(int))
    return [shared[place] for place in places]


def _tensorboard(run: Run, path: Path, step: int | None) -> None:
    check_writable(path)
    events = _Events(path)
    try:
        events.fill(run)
    finally:
        events.close()


FORMATS: dict[str, Callable[[Run, Path, int | None], None]] = {
    "npz": _npz,
    "safetensors": _safetensors,
    "tensorboard": _tensorboard,
    "csv": _csv,
}
