"""What recording costs: microseconds a step that a Recorder takes, and their share of the training.

The images are random numbers, because speed does not depend on what they show. The time inside the Recorder's
hooks is measured, and the time of the steps around them; without a Recorder none of it is run. From both, the
strides of a long training are worked out as a Recorder does, and its share. Run with
    python benchmarks/recorder_overhead.py [--model lenet] [--steps 400] [--batch-size 64] [--at-most 5]
With --at-most the exit status is 1 when the share is larger than so many percent. Medians are those of this
machine as busy as it is now; least times are those without disturbance.
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
from kernelearn.recording.budget import Cost, thinned
from kernelearn.recording.pace import LONG_STEP, SHARE, SHARE_OF_LONG
from kernelearn.utils import set_random_seed

# The training whose share is told: the default strides follow its length.
IMAGES, EPOCHS = 60_000, 5
# How often what is recorded while it is timed.
STRIDES = {"kernels": 2, "ledger": 40, "maps": 20}
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
        if step % STRIDES["maps"] == 0:
            return "maps"
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


def default_strides(recorder: TimedRecorder, costs: dict, step: float, batch_size: int) -> dict[str, int]:
    """How often a Recorder records what by default in a training of `EPOCHS` epochs of `IMAGES`.

    Args:
        costs: kind -> seconds beyond the numbers of a step, and of those.
        step: seconds of a training step.
    """
    per_epoch = IMAGES // batch_size
    steps = EPOCHS * per_epoch
    rare = min(500, steps // 20)
    wished = {"kernels": 1, "ledger": rare, "maps": rare, "snapshots": 1}
    numbers = recorder.plan.layouts["steps"].record_bytes
    with_room = thinned(wished, recorder.plan.costs(per_epoch), steps, 2**30, numbers)
    share = SHARE if step < LONG_STEP else SHARE_OF_LONG
    times = {name: Cost(costs[name]) for name in ("kernels", "ledger", "maps")}
    times["snapshots"] = Cost(costs["epoch"], per_epoch)
    return thinned(with_room, times, steps, (share * step - costs["numbers"]) * steps)


def share_of(recorder: TimedRecorder, batch_size: int, typical) -> float:
    """Print the strides and the time of a step; gives the recorder's share of the training in percent.

    Args:
        typical: `statistics.median` or `min`.
    """
    times = {kind: typical(found) for kind, found in recorder.hooks.items()}
    numbers, step = times["numbers"], typical(recorder.steps)
    costs = {
        "numbers": numbers,
        "kernels": max(times["kernels"] - numbers, 0.0),
        "ledger": max(times["ledger+maps"] - times["maps"], 0.0),
        "maps": times["maps"] - numbers,
        "epoch": times["epoch"],
    }
    every = default_strides(recorder, costs, step, batch_size)
    own = numbers + sum(costs[name] / every[name] for name in ("kernels", "ledger", "maps"))
    own += costs["epoch"] * batch_size / IMAGES / every["snapshots"]
    share = 100 * own / step
    print(f"{typical.__name__:7} recorder {1e6 * own:.0f} us, training {1e6 * step:.0f} us: {share:.1f} %")
    print(f"        {every}")
    return share


def report(recorder: TimedRecorder, batch_size: int) -> float:
    """Print the times; gives the recorder's share of the training in percent."""
    for kind, times in sorted(recorder.hooks.items()):
        middle, least = 1e6 * statistics.median(times), 1e6 * min(times)
        print(f"{kind:12} {len(times):5} times, median {middle:9.1f} us, least {least:9.1f} us")
    print(f"A step of {EPOCHS} epochs of {IMAGES:,} images by default:")
    share_of(recorder, batch_size, min)
    return share_of(recorder, batch_size, statistics.median)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--at-most", type=float, help="percent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        recorder = measure(options.model, options.steps, options.batch_size, Path(place))
    share = report(recorder, options.batch_size)
    return int(options.at_most is not None and share > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
