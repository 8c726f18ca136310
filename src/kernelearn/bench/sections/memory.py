"""Section "memory": how much memory training needs at most, each framework in a process of its own."""

from __future__ import annotations

from typing import Any

from kernelearn.bench.nets import Net, find_net
from kernelearn.bench.processes import WorkerError
from kernelearn.bench.rivals import OURS
from kernelearn.bench.runners import CHANNELS_LAST
from kernelearn.bench.suite import Bench

STEPS = 10


def run(bench: Bench) -> list[dict[str, Any]]:
    """Per network and framework: {"net", "batch", "framework", "loaded", "peak"} in bytes, or "why" not."""
    contestants = [(OURS, "train")]
    contestants += [(f, "train" if f in ("torch", "jax") else "fit") for f in bench.settings.frameworks()]
    rows = []
    for name in bench.settings.nets:
        net = find_net(name)
        batch = bench.settings.batches_of(net)[-1]
        for framework, what in contestants:
            if framework == "onnxruntime":  # it does not train
                continue
            bench.say(f"memory {name}, batch {batch}, {framework}")
            task = bench.task(net, batch, what, _torch_mode(net) if framework == "torch" else "")
            row = {"net": name, "batch": batch, "framework": framework}
            rows.append({**row, **_measure(bench, framework, task)})
    return rows


def _torch_mode(net: Net) -> str:
    return "channels_last" if len(net.input_shape) in CHANNELS_LAST else "eager"


def _measure(bench: Bench, framework: str, task: dict[str, Any]) -> dict[str, Any]:
    """Peak after loading the framework, and after some steps."""
    worker = bench.workers.fresh(framework)
    try:
        loaded = worker.ask(do="hello")["memory"]
        worker.ask(do="prepare", id="net", task=task)
        worker.ask(do="run", id="net", count=2 if bench.settings.quick else STEPS)
        return {"loaded": loaded, "peak": worker.ask(do="memory")}
    except WorkerError as error:
        return {"why": str(error)}
    finally:
        worker.close()
