"""`watch_keras`: the callback for Keras's `fit`, of the class that Keras wants its callbacks to be."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from kernelearn._optional import require
from kernelearn.storage import PathLike
from kernelearn.watching.keras import checks
from kernelearn.watching.keras.watcher import KerasWatcher
from kernelearn.watching.opening import Opening

_PURPOSE = "watching a training in Keras"


def watch_keras(
    run: PathLike = "runs/watched",
    every: int | None = None,
    *,
    kernels_every: int | None = None,
    maps_every: int | None = None,
    layers: Any = None,
    probe_images: Any = None,
    class_names: Any = None,
    max_bytes: int = 2**30,
    overwrite: bool = False,
) -> Any:
    """A callback for `fit` of Keras 3 that records how a model learns.

        model.fit(x, y, callbacks=[kernelearn.watch_keras("runs/mine", every=100)])

    Args:
        run: folder of the run.
        every: record the factors of the gradients every so many steps, and at the first. None for every 100
            steps, as far as recording stays under 5 % of the training's time.
        kernels_every: record the weights every so many steps; None for every step, as far as the 5 % allow.
        maps_every: the same for feature maps of the probe images; None as `every`.
        layers: names of the layers to record, as in `model.summary()` (`outer/conv` inside of a layer), or
            "all"; None for all with a convolution, and small others.
        probe_images: (n, ...) array as the model takes them.
        class_names: names of the classes, in the order of their numbers.
        max_bytes, overwrite: as for the Recorder.
    Returns: a `keras.callbacks.Callback`; `stop()` ends it before the training ends. One callback is for one
        fit.
    Raises: ArgumentError for what cannot be watched, with what to do; MissingDependencyError without Keras.

    On PyTorch a training is the same with it, bit by bit, and on JAX too; on TensorFlow recorded steps are
    compiled apart and may differ in rounding. An error while recording ends the recording, with a warning.
    """
    keras = require("keras", _PURPOSE)
    backend = checks.check_keras(keras)
    maps = 0 if probe_images is None else maps_every
    opening = Opening(
        "watch_keras", run, every, kernels_every, maps, layers, max_bytes, overwrite, class_names
    )
    opening.check_free()
    return _callback_class(keras)(KerasWatcher(opening, backend, probe_images))


@cache
def _callback_class(keras: Any) -> Any:
    """The watcher as a callback of Keras: its class is there once Keras is."""

    class WatchCallback(keras.callbacks.Callback):  # type: ignore[misc]
        """Writes a run; made by `watch_keras`."""

        def __init__(self, watcher: KerasWatcher) -> None:
            super().__init__()
            self._watcher = watcher

        @property
        def folder(self) -> Path:
            """Of the run."""
            return self._watcher.folder

        def on_train_begin(self, logs: Any = None) -> None:
            self._watcher.begin(self._model)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._watcher.begin_epoch(epoch)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self._watcher.begin_step()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._watcher.end_step()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._watcher.end_epoch(epoch, logs or {})

        def on_train_end(self, logs: Any = None) -> None:
            self._watcher.end()

        def stop(self) -> None:
            """End the recording: the files are closed."""
            self._watcher.end()

    return WatchCallback
