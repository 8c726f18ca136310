"""Contestants and workers that take the time they are told, on a clock that only they move."""

import pytest

from kernelearn.bench.nets import find_net
from kernelearn.bench.nets.blueprint import blueprint_of, save_weights
from kernelearn.bench.processes import WorkerError
from kernelearn.bench.runners import Repeat
from kernelearn.bench.worker import Session


class FakeClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class FakeRunner:
    """A framework whose steps take a fixed time."""

    def __init__(self, clock, step, loss=2.0):
        self._clock, self._step, self._loss = clock, step, loss

    def versions(self):
        return {"fake": "1"}

    def prepare(self, task):
        if task.get("fails"):
            raise RuntimeError("no such operator")
        return Repeat(lambda: self._clock.advance(self._step), lambda _: self._loss)


class LocalWorker:
    """The protocol of a worker without a process."""

    def __init__(self, session):
        self._session = session
        self.closed = False

    def ask(self, patience=0.0, **message):
        answer = self._session.answer(message)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["ok"]

    def close(self):
        self.closed = True


def local_workers(steps, losses=None):
    """For `Workers(start=...)`: framework -> seconds a step; others are missing."""

    def start(framework, threads, python):
        if framework not in steps:
            raise WorkerError(f"{framework} is not installed")
        clock = FakeClock()
        loss = (losses or {}).get(framework, 2.0)
        return LocalWorker(Session(FakeRunner(clock, steps[framework], loss), clock))

    return start


def network_task(folder, name="lenet", batch=2, input_shape=None, **more):
    """A task of a real network, small, with a rate at which it learns."""
    model = find_net(name).build(input_shape)
    save_weights(model, folder / f"{name}.npz")
    return {
        "what": "train",
        "mode": "eager",
        "net": name,
        "batch": batch,
        "weights": str(folder / f"{name}.npz"),
        "blueprint": blueprint_of(model).to_dict(),
        "optimizer": "sgd",
        "rate": 0.01,
        "dtype": "float32",
        "engine": "cpu",
        **more,
    }


def runner_or_skip(framework):
    """A runner; skips where its package is not installed."""
    from kernelearn.bench.runners import load_runner
    from kernelearn.errors import MissingDependencyError

    try:
        return load_runner(framework, 1)
    except (ImportError, MissingDependencyError) as error:
        pytest.skip(f"{framework} is not installed: {error}")
