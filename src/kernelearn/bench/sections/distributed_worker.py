"""What the processes of "distributed" do: python -m kernelearn.bench.sections.distributed_worker TASK."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import kernelearn as kl
from kernelearn.bench.nets import CLASSES, find_net
from kernelearn.bench.sections.distributed import MARK, PROCESSES
from kernelearn.parallel import DEFAULT_SHARDS, Exchange, world
from kernelearn.parallel.exchange import Alone
from kernelearn.parallel.tree import cover, share_of

# Numbers in a vector, and how often each is exchanged in a round.
LENGTHS, QUICK_LENGTHS, TIMES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000), (1_000, 100_000), 5

FIRST, EACH, SHARED = "first", "each", "shared"

Step = Callable[[], Any]


def measure(together: Exchange, task: dict[str, Any]) -> dict[str, Any]:
    """Everything that the section wants, on the first process."""
    lengths = QUICK_LENGTHS if task["quick"] else LENGTHS
    if together.size > PROCESSES:
        return {"crowded": [_crowded(together, name, task) for name in task["nets"]]}
    return {
        "steps": [_steps(together, name, task) for name in task["nets"]],
        "exchanges": [_exchanges(together, length, task["rounds"]) for length in lengths],
    }


def _crowded(together: Exchange, name: str, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds a step of a network in more processes than the others are compared with."""
    step, _ = _step_of(name, task, DEFAULT_SHARDS)
    count = max(1, int(together.told(task["burst"] / max(_turn(together, step, 1, SHARED, 1), 1e-6))))
    times = [_turn(together, step, 1, SHARED, count) for _ in range(task["rounds"])]
    return {"net": name, "processes": together.size, "seconds": median(times)}


def _steps(together: Exchange, name: str, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds a step of a network: alone, with two threads, in shards, and in two processes."""
    with world.pretending(Alone()):
        alone, weights = _step_of(name, task, None)
        in_shards, _ = _step_of(name, task, DEFAULT_SHARDS)
        half, _ = _step_of(name, {**task, "batch": -(-task["batch"] // together.size)}, None)
    shared, _ = _step_of(name, task, DEFAULT_SHARDS)
    halves, _ = _step_of(name, task, together.size)
    kinds = {
        "alone": (alone, 1, FIRST),
        "threads": (alone, 2, FIRST),
        "apart": (half, 1, EACH),
        "shards": (in_shards, 1, FIRST),
        "processes": (shared, 1, SHARED),
        "halves": (halves, 1, SHARED),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    count = 1
    for number in range(task["rounds"] + 1):
        for kind, (step, threads, who) in kinds.items():
            seconds = _turn(together, step, threads, who, count)
            if number:
                times[kind].append(seconds)
            elif kind == "alone":  # the first round warms up, and says how many steps a burst has
                count = int(together.told(max(1, int(task["burst"] / max(seconds, 1e-6)))))
    found = {kind: median(seconds) for kind, seconds in times.items()}
    return {"net": name, "batch": task["batch"], "weights": weights, **found}


def _turn(together: Exchange, step: Step, threads: int, who: str, count: int) -> float:
    """Seconds of one of so many steps, on the first process.

    Args:
        who: FIRST: it runs them alone; EACH: every process does, for itself; SHARED: they share them.
    """
    _meet(together)
    if who != FIRST or together.rank == 0:
        kl.set_num_threads(threads)
        with world.pretending(together if who == SHARED else Alone()):
            step()  # what other kinds have driven out of the caches, or the system out of memory, comes back
            start = time.perf_counter()
            for _ in range(count):
                step()
            seconds = (time.perf_counter() - start) / count
    else:
        seconds = 0.0
    _meet(together)
    return float(together.told(seconds))


def _meet(together: Any) -> None:
    """Wait for the others asleep: MPI would spin."""
    request = together.communicator.Ibarrier()
    while not request.Test():
        time.sleep(0.001)


def _step_of(name: str, task: dict[str, Any], shards: int | None) -> tuple[Step, int]:
    """A training step on random data, and the number of weights."""
    kl.set_random_seed(0)
    net, rng = find_net(name), np.random.default_rng(0)
    model = net.build()
    model.compile("sgd", "sparse_categorical_crossentropy", engine=task["engine"], shards=shards)
    x = rng.random((task["batch"], *net.input_shape), "float32")
    y = rng.integers(0, CLASSES, task["batch"])
    return lambda: model.train_on_batch(x, y), model.count_params()


def _exchanges(together: Exchange, length: int, rounds: int) -> dict[str, Any]:
    """Seconds of the exchange of vectors of a length."""
    root = (0, DEFAULT_SHARDS)
    nodes = list(cover(root, share_of(together.rank, together.size, DEFAULT_SHARDS)))
    vectors = {node: np.ones(length, np.float32) for node in nodes}
    like, times = np.zeros(length, np.float32), []
    for _ in range(rounds + 1):
        together.told(None)
        start = time.perf_counter()
        with together.busy():
            for _ in range(TIMES):
                together.combine(DEFAULT_SHARDS, vectors, like, lambda node: True)
        times.append((time.perf_counter() - start) / TIMES)
    return {"bytes": like.nbytes, "exchange": median(times[1:])}


if __name__ == "__main__":
    others = kl.distribute()
    result = measure(others, json.loads(sys.argv[1]))
    if others.rank == 0:
        print(MARK + json.dumps(result))
