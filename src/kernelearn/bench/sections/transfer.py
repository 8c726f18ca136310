"""Section "transfer": what a training step costs with more and more layers frozen, from the first one on.

Frozen layers still compute their outputs, but no gradients and no updates. The last row trains the head on
stored features, which leaves out even that. All versions of a network are timed in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from kernelearn.bench.bursts import in_turn
from kernelearn.bench.nets import Net, find_net
from kernelearn.bench.nets.blueprint import images_for
from kernelearn.bench.runners.own import compiled_model
from kernelearn.bench.suite import Bench

# Share of the layers with weights, from the first one on, that is frozen.
SHARES = (0.0, 0.25, 0.5, 0.75)
STORED = "stored features"


def run(bench: Bench) -> list[dict[str, Any]]:
    """Rows {"net", "batch", "layers", "frozen", "what", "backward", "step", "share"}; seconds a step."""
    from kernelearn import set_num_threads

    set_num_threads(bench.settings.threads)
    try:
        nets = [find_net(name) for name in bench.settings.nets]
        return [row for net in nets for row in _measure(bench, net)]
    finally:
        set_num_threads(None)


def _measure(bench: Bench, net: Net) -> list[dict[str, Any]]:
    batch = bench.settings.batches_of(net)[0]
    bench.say(f"transfer {net.name}, batch {batch}")
    task = bench.task(net, batch, "train")
    rows, steps = versions(task)
    times = in_turn(steps, bench.settings.plan.rounds)
    for number, row in enumerate(rows):
        row["step"] = median(one[number] for one in times)
        row["share"] = median(one[number] / one[0] for one in times)
    return [{"net": net.name, "batch": batch, **row} for row in rows]


def versions(task: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Callable[[], Any]]]:
    """Every version of a network, and a step of each, made ready."""
    rows: list[dict[str, Any]] = []
    steps: list[Callable[[], Any]] = []
    count = len(_weighted(compiled_model(task)))
    for frozen in dict.fromkeys([*(int(share * count) for share in SHARES), count - 1]):
        model = compiled_model(task)
        _freeze(model, frozen)
        rows.append(_row(model, count, frozen, f"{frozen} of {count} layers frozen"))
        steps.append(_step(model, *images_for(model, task["batch"])))
    head, x, y = _on_stored_features(task)
    rows.append(_row(head, count, count - 1, STORED))
    steps.append(_step(head, x, y))
    return rows, steps


def _weighted(model: Any) -> list[Any]:
    return [layer for layer in model.flat_layers() if layer.own_weights]


def _freeze(model: Any, count: int) -> None:
    for layer in _weighted(model)[:count]:
        layer.trainable = False


def _row(model: Any, count: int, frozen: int, what: str) -> dict[str, Any]:
    operations = model.program("train").operations
    backward = sum(op.phase == "backward" for op in operations)
    return {"layers": count, "frozen": frozen, "what": what, "backward": backward}


def _step(model: Any, x: Any, y: Any) -> Callable[[], Any]:
    model.train_on_batch(x, y)
    return lambda: model.train_on_batch(x, y)


def _on_stored_features(task: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The head of a network whose other layers are frozen, with the features of one batch."""
    from kernelearn.models import CachedFeatures

    model = compiled_model(task)
    _freeze(model, len(_weighted(model)) - 1)
    x, y = images_for(model, task["batch"])
    cached = CachedFeatures(model)
    cached.head.programs.compile_like(model.programs)
    features, _ = cached.dataset(x, y).arrays()
    return cached.head, features, y
