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
from kernelearn.utils import set_random_seed

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

    def on_epoch_end(self, epoch, logs=None):
        start = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.hooks["epoch"].append(time.perf_counter() - start)

    def _kind(self):
        step = self._place.step
        kinds = [name for name in ("ledger", "maps") if step % self._pen.every[name] == 0]
        return "+".join(kinds) or "plain"


def measure(name: str, steps: int, batch_size: int, folder: Path) -> TimedRecorder:
    """Train for so many steps and give back the recorder with its times."""
    build, shape = MODELS[name]
    set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.random((50 * batch_size, *shape), dtype=np.float32)
    y = rng.integers(0, 10, len(x))
    model = build(shape, 10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    recorder = TimedRecorder(folder, ledger_every=100, maps_every=100)
    model.fit(x, y, epochs=max(1, steps // 50), batch_size=batch_size, verbose=0, callbacks=[recorder])
    return recorder


def report(recorder: TimedRecorder, folder: Path) -> float:
    """Print the times; gives the recorder's share of the training in percent."""
    count = len(recorder.steps)
    for kind, times in sorted(recorder.hooks.items()):
        print(f"{kind:12} {len(times):5} times, median {1e6 * statistics.median(times):9.1f} us")
    own = sum(map(sum, recorder.hooks.values())) / count
    step = statistics.median(recorder.steps)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"recorded {size / count / 1e3:.1f} kB a step")
    print(
        f"recorder {1e6 * own:.1f} us a step, training {1e3 * step:.2f} ms a step: {100 * own / step:.2f} %"
    )
    return 100 * own / step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--at-most", type=float, help="percent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        share = report(measure(options.model, options.steps, options.batch_size, folder), folder)
    return int(options.at_most is not None and share > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
