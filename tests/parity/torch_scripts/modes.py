"""How a training is run: as it is, from weights a rounding away, watched, or on our engine."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kernelearn import explain
from kernelearn.recording import Run
from kernelearn.watching import watch
from tests.parity.torch_scripts import script

# Steps that compile, fill caches, and are no measure of what a step takes.
WARM = 8
# Bits of the numbers that a training is computed in, where it is not float32.
BITS = {"cifar_amp": 8}


@dataclass
class Mode:
    """One training: what is done to each model, and when its steps ended.

    Attributes:
        change: (model, optimizer, number of the model) -> the model to call.
        ends: seconds at which the steps of the first optimiser ended.
    """

    change: Callable[[Any, Any, int], Any]
    ends: list[float] = field(default_factory=list)
    count: int = 0

    def __call__(self, model: Any, optimizer: Any) -> Any:
        self.count += 1
        if self.count == 1:
            optimizer.register_step_post_hook(lambda *_: self.ends.append(time.perf_counter()))
        return self.change(model, optimizer, self.count)

    def losses(self, name: str, steps: int) -> np.ndarray:
        return np.array(script(name)(self, steps=steps))

    def step_time(self) -> float:
        """Median seconds of a step, without the first ones."""
        gaps = [b - a for a, b in zip(self.ends[WARM:], self.ends[WARM + 1 :])]
        return statistics.median(gaps)


def eager() -> Mode:
    return Mode(lambda model, optimizer, number: model)


def nudged(bits: int, seed: int) -> Mode:
    """Eager, from weights of which each is up or down by half a unit of its last of so many bits."""

    def change(model: Any, optimizer: Any, number: int) -> Any:
        random = torch.Generator().manual_seed(10 * seed + number)
        with torch.no_grad():
            for p in model.parameters():
                signs = torch.randint(0, 2, p.shape, generator=random) * 2 - 1
                p.mul_(1 + signs * 2.0**-bits)
        return model

    return Mode(change)


def usual_distance(name: str, steps: int, plain: np.ndarray, several: int = 3) -> np.ndarray:
    """How far eager is from itself up to each step, from weights that differ in their last bit."""
    others = [nudged(BITS.get(name, 23), seed).losses(name, steps) for seed in range(several)]
    return np.asarray(np.max([apart(plain, other) for other in others], axis=0))


def watched(folder: Path, every: int = 10) -> Mode:
    """With the first model watched, into this folder."""
    watchers = []

    def change(model: Any, optimizer: Any, number: int) -> Any:
        if number == 1:
            watchers.append(watch(model, optimizer, folder, every=every, layers="all"))
        return model

    mode = Mode(change)
    mode.stop = lambda: [w.stop() for w in watchers]  # type: ignore[attr-defined]
    return mode


def compiled() -> Mode:
    """On our engine. The function is what PyTorch finds under the name "kernelearn" once we are installed."""
    from kernelearn.torch import compile_graph

    torch._dynamo.reset()
    return Mode(lambda model, optimizer, number: torch.compile(model, backend=compile_graph))


def residuals(run: Run, several: int = 3) -> dict[str, float]:
    """Layer/weight -> largest residual of some weights of its ledgers, by the sum of the absolute terms."""
    random, found = np.random.default_rng(0), {}
    for layer in run.layers:
        for weight in run.weights(layer):
            for step in run.ledger_steps_of(layer, weight):
                factors = run.ledger(layer, int(step), weight)
                for _ in range(several):
                    index = tuple(int(random.integers(size)) for size in factors.gradient.shape)
                    book = explain.ledger(factors, weight=(weight, *index))
                    size = float(np.abs(book.terms).sum()) + abs(book.penalty)
                    worst = found.get(f"{layer}/{weight}", 0.0)
                    found[f"{layer}/{weight}"] = max(abs(book.residual) / max(size, 1e-12), worst)
    return found


def apart(losses: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far two trainings have been apart up to each step, by the size of the losses."""
    size = np.maximum(np.abs(losses).max(), 1e-3)
    return np.asarray(np.maximum.accumulate(np.abs(losses - others)) / size)
