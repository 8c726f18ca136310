"""What watching a training in PyTorch or Keras costs: trainings with and without it, in turn.

    python benchmarks/watching.py lenet resnet20 dense keras
    python benchmarks/watching.py lenet --seconds 20 --steps 60       a short training
    KERAS_BACKEND=jax python benchmarks/watching.py keras

Each network is trained in five ways, from the same weights, some steps of each at a time and in any order, so
that all meet the same machine: as it is, twice ("again" tells how far two equal ones are apart: the noise);
watched with the usual settings; watched with nothing due behind the first step ("idle": a step that is not
recorded); and watched, then stopped behind the first step. Told is the time of the processor, one thread,
without the first step, in which the run is made and the model read: of "watched" the sum of all steps, with
the end of the recording; of the others the median step. Each way has a clock of its own, which stands while
the others train: the watcher sees a training like any other. "counted" is what the recording itself says that
it has spent.

A network takes about a minute (`--seconds`): trainings are repeated for as long as another one fits, and
where not even one does, it ends early, and the row says behind how many steps.

On TensorFlow and JAX the computation is in threads of their own, so the time of the whole process is taken.

The package greenlet is needed besides, which lets trainings take turns in one thread.

A difference of two steps has noise, so that what the hooks of a step that is not recorded take is also
measured by itself, in a training that computes next to nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
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
BACKEND = os.environ["KERAS_BACKEND"]
WAYS = ("plain", "again", "watched", "idle", "stopped")
# Steps that fill caches: in the sums, but in no median.
WARM = 8
# Steps that a training does when it is its turn: a training of its own finds its caches as it has left them.
TURN = 8
# Seconds of the processor: of this thread, where it is the one that computes.
now = time.thread_time


@dataclass
class Runner:
    """One of the trainings that take turns; all are in one thread, because threads get memory of their own.

    Attributes:
        way: of `WAYS`.
        steps: to train; fewer, once the time is over.
        folder: of the run.
        seconds: of each step.
        counted: seconds that the recording says it has spent.
        before, apart: seconds of what is done once: before the first step, and within it.
    """

    way: str
    steps: int
    folder: Path
    seconds: list[float] = field(default_factory=list)
    counted: float = 0.0
    before: float = 0.0
    apart: float = 0.0
    _began: float = 0.0
    _own: float = 0.0
    _told: float = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether anything watches it."""
        return self.way in WAYS[2:]

    @property
    def goes_on(self) -> bool:
        """Whether there is another step to train."""
        return len(self.seconds) < self.steps

    def clock(self) -> float:
        """Seconds of this training alone."""
        return self._own + now() - self._began

    def options(self) -> dict[str, int]:
        """What the watcher is given."""
        return {"every": NEVER, "kernels_every": NEVER} if self.way == "idle" else {}

    def use_own_clock(self, book: Any) -> None:
        """Let a run be paced by this clock."""
        book._thrift._clock = book._writer.timer._clock = self.clock
        book.pause()

    def step_ends(self) -> None:
        """Note it, let the others have their step, and go on."""
        self._own = self.clock()
        self.seconds.append(self._own - self._told)
        self._told = self._own
        if len(self.seconds) % TURN == 0 or not self.goes_on:
            greenlet.getcurrent().parent.switch()
        self._began = now()

    def begin(self) -> None:
        """The first step begins."""
        self._began = now()

    def run(self, train: Callable[[Runner], None]) -> None:
        """The whole training; what is behind its last step is part of that one."""
        train(self)
        self.seconds[-1] += self.clock() - sum(self.seconds)

    def ends(self, book: Any) -> None:
        """What its recording says."""
        self.counted, self.apart = book._thrift.spent, book._thrift.apart


def trained(
    train: Callable[[Runner], None], steps: int, place: Path, seconds: float, ways: Sequence[str] = WAYS
) -> dict[str, Runner]:
    """All ways, in turn; so many seconds of the processor behind their first steps they end."""
    runners = {way: Runner(way, steps, place / way) for way in ways}
    waiting = [greenlet.greenlet(runner.run) for runner in runners.values()]
    for one in waiting:
        one.switch(train)
    order, until = random.Random(0), time.process_time() + seconds
    while waiting:
        if time.process_time() > until:
            done = max(len(runner.seconds) for runner in runners.values())
            for runner in runners.values():
                runner.steps = min(runner.steps, done + TURN)
        order.shuffle(waiting)  # each behind each: a step is slower behind one that has filled the caches
        for one in waiting:
            one.switch()
        waiting = [one for one in waiting if not one.dead]
    return runners


def in_torch(make: Callable[[], nn.Module], shape: tuple[int, ...], batch: int) -> Callable[[Runner], None]:
    """A training of PyTorch: gradient descent with momentum, cross-entropy of ten classes."""
    x, y = torch.randn(batch, *shape), torch.arange(batch) % 10

    def train(runner: Runner) -> None:
        torch.manual_seed(0)
        module, criterion = make(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)
        watcher = None
        if runner.is_watched:
            watcher, runner.before = timed(
                lambda: watch(module, optimizer, runner.folder, **runner.options())
            )
            runner.use_own_clock(watcher._book)
        runner.begin()
        while runner.goes_on:
            optimizer.zero_grad()
            loss = criterion(module(x), y)
            loss.backward()
            optimizer.step()
            if watcher is not None and not runner.seconds and runner.way == "stopped":
                watcher.stop()
            runner.step_ends()
        if watcher is not None:
            watcher.stop()
            runner.ends(watcher._book)

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
            self.runner, self.watching = runner, watching

        def on_train_begin(self, logs: object = None) -> None:
            self.runner.begin()

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            if not self.runner.seconds and self.watching is not None:
                if self.runner.way == "stopped":
                    self.watching.stop()
                self.runner.use_own_clock(self.watching._watcher._book)
            self.runner.step_ends()
            self.model.stop_training = not self.runner.goes_on

    def train(runner: Runner) -> None:
        keras.utils.set_random_seed(0)
        shapes = [keras.Input((28, 28, 1)), layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D()]
        shapes += [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
        shapes += [layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
        model = keras.Sequential(shapes)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
        watching = watch_keras(runner.folder, **runner.options()) if runner.is_watched else None
        callbacks = [one for one in (watching, Turns(runner, watching)) if one is not None]
        epochs = -(-runner.steps * batch // len(x))
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=callbacks)
        if watching is not None:
            runner.ends(watching._watcher._book)

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
        "lenet": (network("lenet", 64), 600),
        "resnet20": (network("resnet20", 32), 60),
        "dense": (lambda: in_torch(dense, (784,), 64), 300),
        "keras": (lambda: in_keras(64), 300),
    }


def hooks_seconds(steps: int = 3000) -> float:
    """What the hooks of a step take of which nothing is recorded: a difference of small steps, in turn."""

    def train(runner: Runner) -> None:
        module, x = nn.Linear(1, 1), torch.ones(1, 1)
        optimizer = torch.optim.SGD(module.parameters(), 0.0)
        if runner.way == "idle":
            watch(module, optimizer, runner.folder, **runner.options())
        runner.begin()
        while runner.goes_on:
            optimizer.zero_grad()
            module(x).sum().backward()
            optimizer.step()
            runner.step_ends()

    with tempfile.TemporaryDirectory() as place:
        ways = trained(train, steps, Path(place), 10, ("plain", "idle"))
        return median_step(ways["idle"]) - median_step(ways["plain"])


def median_step(runner: Runner) -> float:
    return statistics.median(runner.seconds[WARM:] or runner.seconds[-1:])


def sum_of(runner: Runner) -> float:
    """Seconds of all steps, with the end of the recording, without what is done once."""
    return sum(runner.seconds) - runner.apart


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """(what it makes, seconds)."""
    began = now()
    made = make()
    return made, now() - began


@dataclass
class Found:
    """What trainings of a network have shown: ratios to the one without a watcher, one of each repeat."""

    steps: int = 0
    recorded: tuple[int, int] = (0, 0)
    step: list[float] = field(default_factory=list)
    counted: list[float] = field(default_factory=list)
    once: list[float] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})

    def add(self, ways: dict[str, Runner]) -> None:
        """One more time of each."""
        plain, run = ways["plain"], Run(ways["watched"].folder)
        self.steps = len(plain.seconds)
        self.recorded = len(run.weight_steps(run.layers[0])), len(run.ledger_steps)
        self.step.append(median_step(plain))
        watched = ways["watched"]
        self.counted.append(watched.counted / sum_of(plain))
        self.once.append(watched.before + watched.apart)
        for way, runner in ways.items():
            measure = sum_of if way in ("again", "watched") else median_step
            self.ratios[way].append(measure(runner) / measure(plain) - 1)

    def percent(self, way: str) -> str:
        """The median, and how far apart repeats are."""
        found = sorted(self.ratios[way])
        spread = f" ({100 * found[0]:+.1f} to {100 * found[-1]:+.1f})" if len(found) > 1 else ""
        return f"{100 * statistics.median(found):+.1f} %{spread}"


def measured(name: str, steps: int, repeats: int, seconds: float) -> Found:
    """Trainings of a network, for about so many seconds."""
    train, found = nets()[name][0](), Found()
    with tempfile.TemporaryDirectory() as place:  # what a process does once, like imports, is no part of it
        trained(train, 3, Path(place), seconds, ("plain", "watched"))
    began = time.process_time()
    for repeat in range(repeats):
        passed = time.process_time() - began  # with the first steps, in which networks are compiled
        if repeat and passed * (repeat + 1) / repeat > 1.1 * seconds:
            break
        ways = [*WAYS[repeat % len(WAYS) :], *WAYS[: repeat % len(WAYS)]]  # who comes first gets other memory
        with tempfile.TemporaryDirectory() as place:
            found.add(trained(train, steps, Path(place), seconds, ways))
    return found


def row(name: str, found: Found, hooks: float) -> list[str]:
    """The cells of a network's line."""
    step, title = statistics.median(found.step), f"{name} on {BACKEND}" if name == "keras" else name
    return [
        f"{title}, {found.steps} steps, {len(found.step)} times",
        f"{1e3 * step:.2f}",
        found.percent("watched"),
        f"{100 * statistics.median(found.counted):.1f} %",
        f"{statistics.median(found.once):.2f}",
        "{} / {}".format(*found.recorded),
        found.percent("idle"),
        "" if name == "keras" else f"{100 * hooks / step:.2f} %",
        found.percent("stopped"),
        found.percent("again"),
    ]


def main() -> None:
    global now
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(nets()))
    parser.add_argument("--steps", type=int, help="of a training; by network, where it is not said")
    parser.add_argument("--repeats", type=int, default=3, help="of each, at most; told are medians")
    parser.add_argument("--seconds", type=float, default=60, help="for each network, about")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    hooks = hooks_seconds() if set(given.names) - {"keras"} else 0.0
    print(f"PyTorch {torch.__version__}; hooks of a step that is not recorded: {1e6 * hooks:.1f} us")
    heads = (
        "step ms",
        "watched",
        "counted",
        "once, s",
        "weights / ledgers",
        "idle step",
        "its hooks",
        "stopped",
        "again",
    )
    print("| training | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|", flush=True)
    for name in given.names:
        now = time.process_time if name == "keras" and BACKEND != "torch" else time.thread_time
        steps = given.steps or nets()[name][1]
        cells = row(name, measured(name, steps, given.repeats, given.seconds), hooks)
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
