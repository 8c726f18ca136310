"""Section "recorder": what a Recorder at its usual settings adds to a training step.

The time inside the Recorder's hooks is measured, and the time of the steps between them: a difference of two
trainings would drown a per cent in noise.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.bench.nets import find_net
from kernelearn.bench.runners.own import compiled_model
from kernelearn.bench.suite import Bench
from kernelearn.recording import Recorder

NETS = ("lenet", "resnet20")
STEPS, STEPS_AN_EPOCH = 200, 50


class TimedRecorder(Recorder):
    """A Recorder that notes how long its hooks took, and the steps between them."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(folder)
        self._clock = clock
        self.steps: list[float] = []
        self.hooks = 0.0
        self._ready = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Timed."""
        start = self._clock()
        super().on_train_batch_begin(batch, logs)
        self._ready = self._clock()
        self.hooks += self._ready - start

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Timed."""
        start = self._clock()
        self.steps.append(start - self._ready)
        super().on_train_batch_end(batch, logs)
        self.hooks += self._clock() - start

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Timed."""
        start = self._clock()
        super().on_epoch_end(epoch, logs)
        self.hooks += self._clock() - start


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
    bench.say(f"recorder {name}, batch {batch}")
    model = compiled_model(bench.task(net, batch, "train"))
    each = 25 if bench.settings.quick else STEPS_AN_EPOCH
    epochs = 2 if bench.settings.quick else STEPS // STEPS_AN_EPOCH
    rng = np.random.default_rng(0)
    x = rng.random((each * batch, *net.input_shape), dtype=np.float32)
    y = rng.integers(0, 10, len(x))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        recorder = TimedRecorder(folder)
        model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0, callbacks=[recorder])
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    step, own = statistics.median(recorder.steps), recorder.hooks / len(recorder.steps)
    size = written / len(recorder.steps)
    return {"net": name, "batch": batch, "step": step, "recorder": own, "share": own / step, "bytes": size}
