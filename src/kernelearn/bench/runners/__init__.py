"""The frameworks that can be timed, one file each: what a worker process loads to prepare and run tasks.

A task is a dict: "what" ("train", "fit", "predict", "conv", ...), "mode" (how the framework does it), and the
work itself: "blueprint", "weights", "batch", "optimizer", "dtype".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kernelearn.errors import unknown_name

# Framework -> module of this package.
FRAMEWORKS = {
    "kernelearn": "own",
    "torch": "pytorch",
    "keras-torch": "keras_fit",
    "keras-jax": "keras_fit",
    "keras-tensorflow": "keras_fit",
    "jax": "jax_step",
    "onnxruntime": "onnx_session",
}
# "torch: MODE" is a process for one mode of PyTorch's, with our engine or without.
TORCH_MODE = "torch: "
# The network stays what it was. One that has learned its only batch gives units that are out gradients of
# zero, and momentum that fades away from there to numbers that processors are slow with.
LEARNING_RATE = 1e-8
MOMENTUM = 0.9
# Axes of one input -> PyTorch's name of the format that has the channels last; it has none for others.
CHANNELS_LAST = {3: "channels_last", 4: "channels_last_3d"}


class Prepared(Protocol):
    """Work that is ready to be timed."""

    note: str

    def ready(self, count: int) -> None:
        """Untimed: make the data for so many steps."""

    def run(self, count: int) -> float | None:
        """Timed: do so many steps and wait until they are done; the last loss, where there is one."""


class Runner(Protocol):
    """A framework."""

    def versions(self) -> dict[str, str]:
        """What is compared, for the report."""

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """Build what the task says."""


@dataclass
class Repeat:
    """Work that is one function called again and again."""

    step: Callable[[], Any]
    finish: Callable[[Any], float | None] = lambda result: None
    note: str = ""

    def ready(self, count: int) -> None:
        """Nothing to prepare."""

    def run(self, count: int) -> float | None:
        """Call it so many times; `finish` waits for the last result."""
        result = None
        for _ in range(count):
            result = self.step()
        return self.finish(result)


def digest(result: Any) -> float:
    """One number of class probabilities (..., classes) that tells whether two networks answer the same."""
    values = np.asarray(result, np.float64)
    return float((values * np.arange(values.shape[-1])).sum() * values.shape[-1] / values.size)


def channels_first(values: np.ndarray) -> np.ndarray:
    """(n, ..., c) as a new array (n, c, ...)."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 1))


def load_runner(framework: str, threads: int) -> Runner:
    """Import a framework and hold it to so many threads.

    Raises: UnknownNameError, or whatever the framework's import raises.
    """
    name = "torch_modes" if framework.startswith(TORCH_MODE) else FRAMEWORKS.get(framework)
    if name is None:
        raise unknown_name("framework", framework, FRAMEWORKS)
    module = importlib.import_module(f"kernelearn.bench.runners.{name}")
    runner: Runner = module.load(threads)
    return runner
