"""Write losses, metrics, weights and kernels for TensorBoard, without TensorFlow."""

import os
import time
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.storage import PathLike, check_writable
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.callbacks.kernel_image import kernel_picture, png_bytes

_BINS = 30


class _Protos(NamedTuple):
    """The parts of TensorBoard that are used."""

    events: ModuleType
    summaries: ModuleType
    writers: ModuleType


class TensorBoard(Callback):
    """Writes event files that TensorBoard shows: `tensorboard --logdir logs`. Needs the extra `tensorboard`.

    Scalars are called as Keras calls them: `epoch_loss` in the folders `train` and `validation`, `batch_loss`
    for batches.

    Args:
        log_dir: where to write; one folder a run.
        histogram_freq: every how many epochs to write a histogram of each weight; 0 for never.
        write_images: write convolution kernels as images, with the histograms (every epoch without them).
        write_steps_per_second: write how many batches a second were trained.
        update_freq: "epoch", "batch", or a number of batches between two writings of batch values.
        unsupported: Keras's `write_graph`, `profile_batch`, `embeddings_freq` and `embeddings_metadata` are
            accepted and have no effect.
    Raises: ArgumentError; MissingDependencyError and StorageError before the first step.
    """

    on_first_only: ClassVar[bool] = True

    state_names: ClassVar[tuple[str, ...]] = ("batches",)

    def __init__(
        self,
        log_dir: PathLike = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        **unsupported: Any,
    ) -> None:
        super().__init__()
        _check_unsupported(unsupported)
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = _batches_between(update_freq)
        self.batches = 0
        self._protos: _Protos | None = None
        self._writers: dict[str, Any] = {}
        self._epoch_began = 0.0
        self._batches_before = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._protos = _import_protos()
        check_writable(self.log_dir)
        self.batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_began = time.perf_counter()
        self._batches_before = self.batches

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.batches += 1
        if self.update_freq and self.batches % self.update_freq == 0:
            for name, value in (logs or {}).items():
                self._scalar("train", f"batch_{name}", value, self.batches)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in {**(logs or {}), "learning_rate": self.model.optimizer.learning_rate}.items():
            folder = "validation" if name.startswith("val_") else "train"
            self._scalar(folder, f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._epoch_began, 1e-9)
            rate = (self.batches - self._batches_before) / seconds
            self._scalar("train", "epoch_steps_per_second", rate, epoch)
        self._write_weights(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write_weights(self, epoch: int) -> None:
        has_histograms = self.histogram_freq > 0 and epoch % self.histogram_freq == 0
        has_images = self.write_images and (has_histograms or not self.histogram_freq)
        if not (has_histograms or has_images):
            return
        for name, weight in _named_weights(self.model):
            if has_histograms:
                self._add("train", name, epoch, histo=self._histogram(weight))
            if has_images and weight.ndim == 4:
                self._add("train", f"{name}/image", epoch, image=self._image(kernel_picture(weight)))

    def _scalar(self, folder: str, name: str, value: Any, step: int) -> None:
        if np.ndim(value) == 0:
            self._add(folder, name, step, simple_value=float(value))

    def _histogram(self, array: np.ndarray) -> Any:
        values = array[np.isfinite(array)].astype("float64").ravel()
        counts, edges = np.histogram(values, bins=_BINS)
        return self._loaded().summaries.HistogramProto(
            min=values.min(initial=np.inf),
            max=values.max(initial=-np.inf),
            num=values.size,
            sum=values.sum(),
            sum_squares=np.square(values).sum(),
            bucket_limit=edges[1:].tolist(),
            bucket=counts.tolist(),
        )

    def _image(self, picture: np.ndarray) -> Any:
        height, width = picture.shape[:2]
        return self._loaded().summaries.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=png_bytes(picture)
        )

    def _add(self, folder: str, name: str, step: int, **content: Any) -> None:
        protos = self._loaded()
        value = protos.summaries.Summary.Value(tag=name, **content)
        summary = protos.summaries.Summary(value=[value])
        event = protos.events.Event(wall_time=time.time(), step=step, summary=summary)
        self._writer(folder, step).add_event(event)

    def _writer(self, folder: str, step: int) -> Any:
        if folder not in self._writers:
            protos = self._loaded()
            writer = protos.writers.EventFileWriter(os.path.join(self.log_dir, folder))
            # Tells TensorBoard to drop what an earlier process, since killed, wrote for this step and later.
            start = protos.events.SessionLog(status=protos.events.SessionLog.START)
            writer.add_event(protos.events.Event(wall_time=time.time(), step=step, session_log=start))
            self._writers[folder] = writer
        return self._writers[folder]

    def _loaded(self) -> _Protos:
        if self._protos is None:
            self._protos = _import_protos()
        return self._protos


def _import_protos() -> _Protos:
    purpose = "the TensorBoard callback"
    return _Protos(
        require("tensorboard.compat.proto.event_pb2", purpose),
        require("tensorboard.compat.proto.summary_pb2", purpose),
        require("tensorboard.summary.writer.event_file_writer", purpose),
    )


def _named_weights(model: Any) -> list[tuple[str, np.ndarray]]:
    return [(weight.path, weight.numpy()) for weight in model.weights]


def _batches_between(update_freq: str | int) -> int:
    """Batches from one writing of batch values to the next; 0 for none."""
    if isinstance(update_freq, str) and update_freq in ("batch", "epoch"):
        return 1 if update_freq == "batch" else 0
    if isinstance(update_freq, int) and not isinstance(update_freq, bool) and update_freq > 0:
        return update_freq
    raise ArgumentError(
        f'TensorBoard: update_freq must be "epoch", "batch" or a number of batches, got {update_freq!r}.'
    )


def _check_unsupported(arguments: dict[str, Any]) -> None:
    unknown = set(arguments) - {"profile_batch", "embeddings_freq", "embeddings_metadata"}
    if unknown:
        raise ArgumentError(f"TensorBoard has no argument {min(unknown)!r}.")
