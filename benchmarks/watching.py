"""What watching a training in PyTorch or Keras costs: trainings with and without it, step by step in turn.

    python benchmarks/watching.py lenet resnet20 dense keras

Each network is trained in four ways, from the same weights, a step of each at a time, so that all meet the
same machine: as it is; watched with the usual settings; watched with nothing due behind the first step
("idle": a step that is not recorded); and watched, then stopped behind the first step. Told is the time of
the processor, one thread, without the first step, in which the run is made and the model read: of "watched"
the sum of all steps, with the end of the recording; of the others the median step. Each way has a clock of
its own, which stands while the others train: the watcher sees a training like any other.

The package greenlet is needed besides, which lets trainings take turns in one thread.

A difference of two steps has noise, so that what the hooks of a step that is not recorded take is also
measured by itself, in a training that computes next to nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import greenlet
import numpy as np
import torch
from torch import nn

from kernelearn.recording import Run
from kernelearn.torch.networks import NETWORKS
from kernelearn.watching import watch, watch_keras

NEVER = 10**9
WAYS = ("plain", "watched", "idle", "stopped")
# Steps that fill caches: in the sums, but in no median.
WARM = 8


@dataclass
class Runner:
    """One of the trainings that take turns; all are in one thread, because threads get memory of their own.

    Attributes:
        way: of `WAYS`.
        steps: to train.
        folder: of the run.
        seconds: of each step.
    """

    way: str
    steps: int
    folder: Path
    seconds: list[float] = field(default_factory=list)
    _began: float = 0.0
    _own: float = 0.0

    def clock(self) -> float:
        """Seconds of this training alone."""
        return self._own + time.thread_time() - self._began

    def options(self) -> dict[str, int]:
        """What the watcher is given."""
        return {"every": NEVER, "kernels_every": NEVER} if self.way == "idle" else {}

    def use_own_clock(self, book: Any) -> None:
        """Let a run be paced by this clock."""
        book._thrift._clock = book._writer.timer._clock = self.clock
        book._thrift.begin()
        book.pause()

    def step_ends(self) -> None:
        """Note it, let the others have their step, and go on."""
        self._own = self.clock()
        self.seconds.append(self._own - sum(self.seconds))
        greenlet.getcurrent().parent.switch()
        self._began = time.thread_time()

    def run(self, train: Callable[[Runner], None]) -> None:
        """The whole training; what is behind its last step is part of that one."""
        self._began = time.thread_time()
        train(self)
        self.seconds[-1] += self.clock() - sum(self.seconds)


def trained(train: Callable[[Runner], None], steps: int, place: Path) -> dict[str, Runner]:
    """All ways, in turn."""
    runners = {way: Runner(way, steps, place / way) for way in WAYS}
    waiting = [greenlet.greenlet(runner.run) for runner in runners.values()]
    for one in waiting:
        one.switch(train)
    while waiting:
        for one in waiting:
            one.switch()
        waiting = [one for one in waiting if not one.dead]
        waiting = waiting[1:] + waiting[:1]  # each behind each
    return runners


def in_torch(make: Callable[[], nn.Module], shape: tuple[int, ...], batch: int) -> Callable[[Runner], None]:
    """A training of PyTorch: gradient descent with momentum, cross-entropy of ten classes."""
    x, y = torch.randn(batch, *shape), torch.arange(batch) % 10

    def train(runner: Runner) -> None:
        torch.manual_seed(0)
        module, criterion = make(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)
        watcher = None
        if runner.way != "plain":
            watcher = watch(module, optimizer, runner.folder, **runner.options())
            runner.use_own_clock(watcher._book)
        for number in range(runner.steps):
            optimizer.zero_grad()
            loss = criterion(module(x), y)
            loss.backward()
            optimizer.step()
            if watcher is not None and not number and runner.way == "stopped":
                watcher.stop()
            runner.step_ends()
        if watcher is not None:
            watcher.stop()

    return train


def in_keras(batch: int) -> Callable[[Runner], None]:
    """A training by `fit`."""
    import keras
    from keras import layers

    x = np.random.default_rng(0).normal(size=(4096, 28, 28, 1)).astype("float32")
    y = np.arange(len(x)) % 10

    class Turns(keras.callbacks.Callback):
        def __init__(self, runner: Runner, watching: Any) -> None:
            super().__init__()
            self.runner, self.watching, self.count = runner, watching, 0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.count += 1
            if self.count == 1 and self.watching is not None:
                if self.runner.way == "stopped":
                    self.watching.stop()
                self.runner.use_own_clock(self.watching._watcher._book)
            self.runner.step_ends()
            self.model.stop_training = self.count >= self.runner.steps

    def train(runner: Runner) -> None:
        keras.utils.set_random_seed(0)
        shapes = [keras.Input((28, 28, 1)), layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D()]
        shapes += [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
        shapes += [layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
        model = keras.Sequential(shapes)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
        watching = None if runner.way == "plain" else watch_keras(runner.folder, **runner.options())
        callbacks = [one for one in (watching, Turns(runner, watching)) if one is not None]
        epochs = -(-runner.steps * batch // len(x))
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=callbacks)

    return train


def dense() -> nn.Module:
    layers = [nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def nets() -> dict[str, tuple[Callable[[], Callable[[Runner], None]], int]]:
    """Name -> (a function that makes its training, steps)."""

    def network(name: str, batch: int) -> Callable[[], Callable[[Runner], None]]:
        make, shape = NETWORKS[name]
        return lambda: in_torch(make, shape, batch)

    return {
        "lenet": (network("lenet", 64), 1000),
        "resnet20": (network("resnet20", 32), 100),
        "dense": (lambda: in_torch(dense, (784,), 64), 500),
        "keras": (lambda: in_keras(64), 500),
    }


def hooks_seconds(steps: int = 4000) -> float:
    """What the hooks of a step take of which nothing is recorded: a difference of small steps, in turn."""

    def train(runner: Runner) -> None:
        module, x = nn.Linear(1, 1), torch.ones(1, 1)
        optimizer = torch.optim.SGD(module.parameters(), 0.0)
        if runner.way == "idle":
            watch(module, optimizer, runner.folder, **runner.options())
        for _ in range(runner.steps):
            optimizer.zero_grad()
            module(x).sum().backward()
            optimizer.step()
            runner.step_ends()

    with tempfile.TemporaryDirectory() as place:
        ways = trained(train, steps, Path(place))
        return median_step(ways["idle"]) - median_step(ways["plain"])


def median_step(runner: Runner) -> float:
    return statistics.median(runner.seconds[WARM:])


def row(name: str, steps: int, repeats: int, hooks: float) -> list[str]:
    """The cells of a network's line."""
    train, found = nets()[name][0](), []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as place:
            ways = trained(train, steps, Path(place))
            run = Run(ways["watched"].folder)
            recorded = len(run.weight_steps(run.layers[0])), len(run.ledger_steps)
        found.append(ways)

    def percent(seconds: Callable[[Runner], float], way: str) -> str:
        ratios = [seconds(ways[way]) / seconds(ways["plain"]) for ways in found]
        return f"{100 * (statistics.median(ratios) - 1):+.1f} %"

    step = statistics.median(median_step(ways["plain"]) for ways in found)
    return [
        f"{name}, {steps} steps",
        f"{1e3 * step:.2f}",
        percent(lambda runner: sum(runner.seconds[1:]), "watched"),
        "{} / {}".format(*recorded),
        percent(median_step, "idle"),
        "" if name == "keras" else f"{100 * hooks / step:.2f} %",
        percent(median_step, "stopped"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(nets()))
    parser.add_argument("--steps", type=int, help="of a training; by network, where it is not said")
    parser.add_argument("--repeats", type=int, default=3, help="of each; told are medians")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    hooks = hooks_seconds()
    print(f"PyTorch {torch.__version__}; hooks of a step that is not recorded: {1e6 * hooks:.1f} us")
    heads = ("step ms", "watched", "weights / ledgers", "idle step", "its hooks", "stopped")
    print("| training | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    for name in given.names:
        cells = row(name, given.steps or nets()[name][1], given.repeats, hooks)
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
