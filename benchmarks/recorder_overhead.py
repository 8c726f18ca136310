"""What recording costs: microseconds a step that a Recorder takes, and their share of the training.

The images are random numbers, because speed does not depend on what they show. The time inside the Recorder's
hooks is measured, and the time of the steps around them; without a Recorder none of it is run. Run with
    python benchmarks/recorder_overhead.py [--model lenet] [--steps 400] [--batch-size 32] [--at-most 5]
With --at-most the exit status is 1 when the share is larger than so many percent.
"""

import os

# ruff: noqa: E402
# Read by the BLAS when NumPy is loaded, so before every other import.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from kernelearn.models import zoo
from kernelearn.recording import Recorder
from kernelearn.recording.budget import thinned
from kernelearn.utils import set_random_seed

# The training whose share is told: the default strides follow its length.
IMAGES, EPOCHS = 60_000, 5
# How often what is recorded while it is timed.
STRIDES = {"kernels": 2, "ledger": 40, "maps": 40}
MODELS = {
    "lenet": (zoo.lenet, (28, 28, 1)),
    "resnet20": (zoo.resnet20, (32, 32, 3)),
}


class TimedRecorder(Recorder):
    """A Recorder that notes how long each of its hooks took, and how long the steps between them."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.steps = []
        self.hooks = defaultdict(list)
        self._before = 0.0
        self.plan = None

    def on_train_batch_begin(self, batch, logs=None):
        start = time.perf_counter()
        super().on_train_batch_begin(batch, logs)
        self._before = time.perf_counter()
        self._began = self._before - start

    def on_train_batch_end(self, batch, logs=None):
        start = time.perf_counter()
        super().on_train_batch_end(batch, logs)
        own = self._began + time.perf_counter() - start
        self.steps.append(start - self._before)
        self.hooks[self._kind()].append(own)
        self.plan = self._pen.plan

    def on_epoch_end(self, epoch, logs=None):
        start = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.hooks["epoch"].append(time.perf_counter() - start)

    def _kind(self):
        step = self._place.step
        if step % STRIDES["ledger"] == 0:
            return "ledger+maps"
        is_beside_ledger = (step + 1) % STRIDES["ledger"] == 0
        return "kernels" if step % STRIDES["kernels"] == 0 or is_beside_ledger else "numbers"


def measure(name: str, steps: int, batch_size: int, folder: Path) -> TimedRecorder:
    """Train for so many steps and give back the recorder with its times."""
    build, shape = MODELS[name]
    set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.random((50 * batch_size, *shape), dtype=np.float32)
    y = rng.integers(0, 10, len(x))
    model = build(shape, 10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    strides = {f"{name}_every": every for name, every in STRIDES.items()}
    recorder = TimedRecorder(folder, **strides)
    model.fit(x, y, epochs=max(1, steps // 50), batch_size=batch_size, verbose=0, callbacks=[recorder])
    return recorder


def default_strides(recorder: TimedRecorder, batch_size: int) -> dict[str, int]:
    """How often a Recorder records what by default in a training of `EPOCHS` epochs of `IMAGES`."""
    per_epoch = IMAGES // batch_size
    rare = min(500, EPOCHS * per_epoch // 20)
    wished = {"kernels": 1, "ledger": rare, "maps": rare, "snapshots": 1}
    layouts = recorder.plan.layouts
    return thinned(
        wished, recorder.plan.costs(per_epoch), EPOCHS * per_epoch, 2**30, layouts["steps"].record_bytes
    )


def report(recorder: TimedRecorder, batch_size: int) -> float:
    """Print the times; gives the recorder's share of the training in percent."""
    medians = {kind: 1e6 * statistics.median(times) for kind, times in recorder.hooks.items()}
    for kind, median in sorted(medians.items()):
        print(f"{kind:12} {len(recorder.hooks[kind]):5} times, median {median:9.1f} us")
    every = default_strides(recorder, batch_size)
    own = (
        medians["numbers"]
        + (medians["kernels"] - medians["numbers"]) / every["kernels"]
        + medians["ledger+maps"] / every["ledger"]
        + medians["epoch"] * batch_size / IMAGES / every["snapshots"]
    )
    step = 1e6 * statistics.median(recorder.steps)
    print(f"{EPOCHS} epochs of {IMAGES:,} images by default: {every}")
    print(f"recorder {own:.0f} us a step, training {step:.0f} us a step: {100 * own / step:.1f} %")
    return 100 * own / step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--at-most", type=float, help="percent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        recorder = measure(options.model, options.steps, options.batch_size, Path(place))
    share = report(recorder, options.batch_size)
    return int(options.at_most is not None and share > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
