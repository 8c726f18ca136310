"""Section "distributed": several processes of one thread beside one process, and what their exchange costs.

All times are taken in turn, inside of two processes that `distributed_worker` runs in: one of them sleeps
while the other one works alone. What more processes take is measured behind that, with all of them.
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
from kernelearn.engine.cpu.machine.threads import available_cpus
from kernelearn.errors import KernelearnError
from kernelearn.parallel import DEFAULT_SHARDS
from kernelearn.parallel.starting import mpiexec
from kernelearn.parallel.tree import cover, share_of

# That all is compared for, and more: on a machine of two cores they wait for each other.
PROCESSES, MORE = 2, (3, 4)
NETS = ("lenet", "resnet20", "resnet18")
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

    def on_one_machine(self, processes: int, step: float, slower: float, size: int, cores: int) -> float:
        """Seconds of a step that processes of one machine share, on a batch that stays as it is.

        Args:
            step: seconds of it in one process, in as many shards.
            slower: how many times as long a step takes while all cores train: they share the memory.

        >>> round(Cost(0.0, 0.0).on_one_machine(4, step=1.0, slower=1.2, size=0, cores=2), 3)
        0.6
        """
        working = min(processes, cores)
        crowding = 1 + (slower - 1) * (working - 1) / max(cores - 1, 1)
        return step * crowding / working + self.exchange(processes, size, _nodes(processes))


def _nodes(processes: int) -> int:
    """Nodes of the tree that the share of a process has at most, of the usual shards."""
    root = (0, DEFAULT_SHARDS)
    shares = (share_of(rank, processes, DEFAULT_SHARDS) for rank in range(processes))
    return max(len(list(cover(root, share))) for share in shares)


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
    with one thread, "threads" with two, "shards" with one and the usual shards; "apart" of two that train
    on half a batch each and exchange nothing; "processes" and "halves" of two processes, with the usual
    shards and with two; and "points", (processes, seconds measured, seconds by the model). Then {"bytes",
    "exchange"}, and the Cost.

    Raises: MissingDependencyError without MPI; KernelearnError where the processes fail.
    """
    settings = bench.settings
    bench.say("distributed: several processes of one thread, one process of one and of two")
    nets = [name for name in NETS if name in settings.nets]
    batch = (settings.batches or (32,))[0]
    task = {"nets": nets, "batch": batch, "engine": settings.engine, "rounds": settings.plan.rounds}
    task |= {"burst": settings.plan.burst, "quick": settings.quick}
    measured = _measured(PROCESSES, task)
    more = [] if settings.quick else [row for size in MORE for row in _measured(size, task)["crowded"]]
    return _rows(measured, more)


def _measured(processes: int, task: dict[str, Any]) -> dict[str, Any]:
    """What the worker found in so many processes."""
    words = [sys.executable, "-m", "kernelearn.bench.sections.distributed_worker", json.dumps(task)]
    done = subprocess.run(
        [*mpiexec(processes, "measuring several processes"), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "KERNELEARN_NUM_THREADS": "1"},
        check=False,
    )
    found = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not found:
        raise KernelearnError(f"{processes} processes could not be measured: {done.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(found[0])
    return result


def _rows(measured: dict[str, Any], more: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    exchanges = measured["exchanges"]
    cost = fitted([row["bytes"] for row in exchanges], [row["exchange"] for row in exchanges])
    steps = [
        {
            **row,
            "efficiency": {p: cost.efficiency(p, row["alone"], 4 * row["weights"]) for p in SIZES},
            "predicted": _by_model(cost, row, PROCESSES),
            "points": [
                (processes, seconds, _by_model(cost, row, processes))
                for processes, seconds in _points(row, more)
            ],
        }
        for row in measured["steps"]
    ]
    predicted = [{**row, "predicted": cost.exchange(PROCESSES, row["bytes"])} for row in exchanges]
    return [*steps, *predicted, asdict(cost)]


def _points(row: dict[str, Any], more: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Processes and seconds of a step of a network, all in the usual shards."""
    others = [(one["processes"], one["seconds"]) for one in more if one["net"] == row["net"]]
    return [(1, row["shards"]), (PROCESSES, row["processes"]), *others]


def _by_model(cost: Cost, row: dict[str, Any], processes: int) -> float:
    """Seconds of a step of a network in processes of this machine."""
    cores, slower = min(available_cpus(), PROCESSES), max(PROCESSES * row["apart"] / row["alone"], 1.0)
    return cost.on_one_machine(processes, row["shards"], slower, 4 * row["weights"], cores)
