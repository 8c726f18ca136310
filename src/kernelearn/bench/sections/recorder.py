"""Section "recorder": what a Recorder at its usual settings adds to a step of a long training.

The time inside the Recorder's hooks is measured, and the time of the steps between them: a difference of two
trainings would drown a per cent in noise. How often a Recorder records follows from the length of a
training and the time of its first steps: one of `EPOCHS` epochs of `IMAGES` is begun, and ended early.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.bench.nets import CLASSES, Net, find_net
from kernelearn.bench.runners.own import compiled_model
from kernelearn.bench.suite import Bench
from kernelearn.data import as_dataset
from kernelearn.recording import Recorder

NETS = ("lenet", "resnet20")
IMAGES, EPOCHS = 60_000, 5
# Steps in which a Recorder finds out how often it may record, and steps that count.
LENGTH, QUICK_LENGTH = (256, 1024), (32, 96)


class TimedRecorder(Recorder):
    """A Recorder that notes how long its hooks took, and the steps between them, and ends the training.

    Args:
        settling, counted: steps that are left out, and steps that are noted after them.
        clock: gives seconds.
    Attributes:
        steps, hooks: seconds of each step that counts, and of the hooks around it.
        epoch: seconds of the hook at the end of an epoch.
        bytes: written in the steps that count.
    """

    def __init__(
        self, folder: Path, settling: int, counted: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        super().__init__(folder)
        self._settling, self._counted, self._clock = settling, counted, clock
        self.steps: list[float] = []
        self.hooks: list[float] = []
        self.epoch = 0.0
        self.bytes = 0
        self._seen_steps = 0
        self._before = self._ready = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Timed."""
        start = self._clock()
        super().on_train_batch_begin(batch, logs)
        self._ready = self._clock()
        self._before = self._ready - start

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Timed."""
        start = self._clock()
        super().on_train_batch_end(batch, logs)
        own = self._before + self._clock() - start
        self._seen_steps += 1
        if self._seen_steps > self._settling:
            self.steps.append(start - self._ready)
            self.hooks.append(own)
        if self._seen_steps == self._settling:
            self.bytes = -self._size()
        if len(self.steps) == self._counted:
            self.bytes += self._size()
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Timed."""
        start = self._clock()
        super().on_epoch_end(epoch, logs)
        self.epoch = self._clock() - start

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def run(bench: Bench) -> list[dict[str, Any]]:
    """Per network: {"net", "batch", "step", "recorder", "share", "bytes"}; seconds and bytes a step."""
    from kernelearn import set_num_threads

    set_num_threads(bench.settings.threads)
    try:
        return [_measure(bench, name) for name in NETS if name in bench.settings.nets]
    finally:
        set_num_threads(None)


def _measure(bench: Bench, name: str) -> dict[str, Any]:
    net = find_net(name)
    batch = (bench.settings.batches or (32,))[0]
    bench.say(f"recorder {name}, batch {batch}, in a training of {EPOCHS} epochs of {IMAGES:,} images")
    model = compiled_model(bench.task(net, batch, "train"))
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        # What the budget makes rarer is part of the usual settings.
        warnings.filterwarnings("ignore", "Recorder: to stay under max_bytes")
        length = QUICK_LENGTH if bench.settings.quick else LENGTH
        recorder = TimedRecorder(Path(place) / "run", *length)
        model.fit(_data(net), epochs=EPOCHS, batch_size=batch, verbose=0, callbacks=[recorder])
    step = statistics.median(recorder.steps)
    own = statistics.mean(recorder.hooks) + recorder.epoch * batch / IMAGES
    size = recorder.bytes / len(recorder.steps)
    return {"net": name, "batch": batch, "step": step, "recorder": own, "share": own / step, "bytes": size}


def _data(net: Net) -> Any:
    """`IMAGES` images in the memory of one: their number decides how often what is recorded, and no more."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, net.input_shape, np.uint8)
    return as_dataset(np.broadcast_to(image, (IMAGES, *net.input_shape)), rng.integers(0, CLASSES, IMAGES))
