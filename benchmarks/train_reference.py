"""Images per second when LeNet trains on one core, on images of MNIST's size.

The images are random numbers, because speed does not depend on what they show. A whole training step is
timed: batch, forward and backward pass, Adam, and the running results. Run with
    python benchmarks/train_reference.py [--images 4096] [--batch-size 64] [--at-least 500] [--json]
Prints the median of the repeats; with --at-least the exit status is 1 when it is lower than that.
"""

import os

# ruff: noqa: E402
# Read by the BLAS when NumPy is loaded, so before every other import.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import json
import statistics
import sys
import time

import numpy as np

from kernelearn.models import zoo
from kernelearn.utils import set_random_seed

SHAPE, CLASSES = (28, 28, 1), 10


def pin_to_one_core() -> None:
    """Let this process run on one core only, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def seconds_of_epochs(images: int, batch_size: int, repeats: int) -> list[float]:
    """Wall-clock seconds of each of `repeats` epochs, after one that is not counted."""
    set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.random((images, *SHAPE), dtype=np.float32)
    y = rng.integers(0, CLASSES, images)
    model = zoo.lenet(SHAPE, CLASSES)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], engine="reference")
    model.fit(x[:batch_size], y[:batch_size], batch_size=batch_size, verbose=0)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.fit(x, y, batch_size=batch_size, verbose=0)
        times.append(time.perf_counter() - start)
    return times


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-least", type=float, default=0.0, help="images/s that must be reached")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pin_to_one_core()
    times = seconds_of_epochs(arguments.images, arguments.batch_size, arguments.repeats)
    rate = arguments.images / statistics.median(times)
    result = {
        "model": "lenet",
        "input_shape": SHAPE,
        "engine": "reference",
        "cores": 1,
        "batch_size": arguments.batch_size,
        "images_per_second": round(rate, 1),
        "slowest": round(arguments.images / max(times), 1),
        "fastest": round(arguments.images / min(times), 1),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"LeNet, {SHAPE} images, batches of {arguments.batch_size}, reference engine, one core: "
            f"{rate:,.0f} images/s ({result['slowest']:,} to {result['fastest']:,})"
        )
    return 0 if rate >= arguments.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
