"""Section "distributed": two processes of one thread beside one process, and what their exchange costs.

All times are taken in turn, inside of two processes that `distributed_worker` runs in: one of them sleeps
while the other one works alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kernelearn.bench.suite import Bench
from kernelearn.errors import KernelearnError
from kernelearn.parallel.starting import mpiexec

PROCESSES, NETS = 2, ("lenet", "resnet20", "resnet18")
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
MARK = "measured "


@dataclass(frozen=True)
class Cost:
    """The LogGP model of an exchange: 2 (p - 1) latency + (k + 1) per_byte m (p - 1) / p.

    Attributes:
        latency: L + 2 o, seconds of a message.
        per_byte: G, seconds.
    """

    latency: float
    per_byte: float

    def exchange(self, processes: int, size: int, nodes: int = 1) -> float:
        """Seconds of one exchange.

        Args:
            size: bytes of a vector.
            nodes: of the tree, to the share of a process.

        >>> Cost(1e-5, 1e-9).exchange(2, 1_000_000)
        0.00102
        """
        messages = 2 * (processes - 1) * self.latency
        return messages + (nodes + 1) * self.per_byte * size * (processes - 1) / processes

    def efficiency(self, processes: int, step: float, size: int) -> float:
        """Share of so many times the speed of one process that is reached, for batches that grow with them.

        Args:
            step: seconds of a step of one process alone, on its part of the batch; reading included.
            size: bytes of a vector, 4 for each weight.

        >>> ten_gigabit = Cost(latency=3e-5, per_byte=8e-10)
        >>> [round(ten_gigabit.efficiency(p, 1.5, 44_000_000), 3) for p in (2, 16, 256)]
        [0.977, 0.957, 0.946]
        """
        return step / (step + self.exchange(processes, size))

    def shared(self, processes: int, step: float, rest: float, size: int) -> float:
        """Seconds of a step that so many processes share, for a batch that stays as it is.

        Args:
            step: seconds of it on one process alone; rest: of what every process does whole, the update.

        >>> round(Cost(3e-5, 8e-10).shared(4, 2.0, 0.1, 0), 5)
        0.57518
        """
        return (step - rest) / processes + rest + self.exchange(processes, size)


def fitted(sizes: Sequence[int], seconds: Sequence[float], processes: int = PROCESSES) -> Cost:
    """The cost that explains measured exchanges, each with the same weight relative to its time.

    >>> sizes = [1000, 100_000, 10_000_000]
    >>> cost = fitted(sizes, [Cost(2e-5, 3e-10).exchange(2, size) for size in sizes])
    >>> round(cost.latency * 1e6, 3), round(cost.per_byte * 1e9, 3)
    (20.0, 0.3)
    """
    terms = np.array([[Cost(1, 0).exchange(processes, m), Cost(0, 1).exchange(processes, m)] for m in sizes])
    taken = np.asarray(seconds)
    latency, per_byte = np.linalg.lstsq(terms / taken[:, None], np.ones(len(taken)), rcond=None)[0]
    return Cost(max(float(latency), 0.0), max(float(per_byte), 0.0))


def run(bench: Bench) -> list[dict[str, Any]]:
    """Rows {"net", "batch", "weights", "efficiency", "predicted"} with seconds a step: "alone" of one process
    with one thread, "threads" with two, "shards" with one and the usual shards; "processes" and "halves" of
    two processes, with the usual shards and with two. Then {"bytes", "exchange"}, and the Cost.

    Raises: MissingDependencyError without MPI; KernelearnError where the processes fail.
    """
    settings = bench.settings
    bench.say("distributed: two processes of one thread, one process of one and of two")
    nets = [name for name in NETS if name in settings.nets]
    batch = (settings.batches or (32,))[0]
    task = {"nets": nets, "batch": batch, "engine": settings.engine, "rounds": settings.plan.rounds}
    words = [sys.executable, "-m", "kernelearn.bench.sections.distributed_worker"]
    told = json.dumps({**task, "burst": settings.plan.burst, "quick": settings.quick})
    done = subprocess.run(
        [*mpiexec(PROCESSES, "measuring several processes"), *words, told],
        capture_output=True,
        text=True,
        env={**os.environ, "KERNELEARN_NUM_THREADS": "1"},
        check=False,
    )
    found = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not found:
        raise KernelearnError(f"Two processes could not be measured: {done.stderr.strip()[-500:]}")
    return _rows(json.loads(found[0]))


def _rows(measured: dict[str, Any]) -> list[dict[str, Any]]:
    exchanges = measured["exchanges"]
    cost = fitted([row["bytes"] for row in exchanges], [row["exchange"] for row in exchanges])
    steps = [
        {
            **row,
            "efficiency": {p: cost.efficiency(p, row["alone"], 4 * row["weights"]) for p in SIZES},
            "predicted": cost.shared(PROCESSES, row["shards"], 0.0, 4 * row["weights"]),
        }
        for row in measured["steps"]
    ]
    predicted = [{**row, "predicted": cost.exchange(PROCESSES, row["bytes"])} for row in exchanges]
    return [*steps, *predicted, asdict(cost)]
