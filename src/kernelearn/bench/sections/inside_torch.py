"""Section "torch": PyTorch's own training loop with our engine in it, beside PyTorch without.

Each mode runs in a process of its own: two pools of threads in one would disturb each other. Bursts take
turns, and a line tells of each network as soon as it is measured.
"""

from __future__ import annotations

from kernelearn.bench.rivals import Comparison, Entry
from kernelearn.bench.runners import TORCH_MODE
from kernelearn.bench.runners.torch_modes import MODES, OURS
from kernelearn.bench.statistics import Spread, ratio
from kernelearn.bench.suite import Bench
from kernelearn.errors import unknown_name

# Network -> batch of its training steps. What they are is in `kernelearn.torch.networks`.
NETWORKS = {
    "lenet": 32,
    "vgg_small": 64,
    "resnet20": 64,
    "resnet18": 32,
    "mobilenet_v2": 16,
    "resnet50": 16,
}
PYTORCH = "PyTorch"
TRAINING, PREDICTION = "torch-train", "torch-predict"


def run(bench: Bench) -> list[Comparison]:
    """For every network its training steps, and predictions of one image, or the batches asked for."""
    rows = []
    for name in networks_of(bench.settings.torch_nets):
        batches = bench.settings.batches
        for what, batch in [
            *((TRAINING, batch) for batch in batches or (NETWORKS[name],)),
            *((PREDICTION, batch) for batch in batches or (1,)),
        ]:
            rows.append(_compare(bench, name, what, batch))
            bench.say(line(rows[-1]))
    return rows


def networks_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """These networks, or all.

    Raises: UnknownNameError for one that this section does not have.
    """
    for name in names:
        if name not in NETWORKS:
            raise unknown_name("network", name, NETWORKS)
    return names or tuple(NETWORKS)


def _compare(bench: Bench, name: str, what: str, batch: int) -> Comparison:
    doing = "training" if what == TRAINING else "predicting"
    bench.say(f"torch {name}, {doing}, batch {batch}")
    return bench.workers.compare(
        f"{name}, {doing}, batch {batch}", entries(bench, name, what, batch), bench.settings.plan
    )


def entries(bench: Bench, name: str, what: str, batch: int) -> list[Entry]:
    """Every mode that was asked for; inductor compiles long, and needs a compiler for C++."""
    task = {"what": what, "net": name, "batch": batch, "optimizer": bench.settings.optimizer}
    found = []
    for mode, how in MODES.items():
        if (how.backend == "inductor" and not bench.settings.compile) or (how.is_step and what != TRAINING):
            continue
        group = OURS if how.backend == OURS else PYTORCH
        found.append(Entry(mode, group, TORCH_MODE + mode, {**task, "mode": mode}))
    return found


def ratios(row: Comparison) -> dict[str, Spread]:
    """Mode of ours -> how many times as long the best of PyTorch takes."""
    if PYTORCH not in row.peers():
        return {}
    best = row.seconds[row.best(PYTORCH)]
    ours = [name for name, group in row.groups.items() if group == OURS and name in row.seconds]
    return {name: ratio(best, row.seconds[name]) for name in ours}


def line(row: Comparison) -> str:
    """A row in one line, for whoever waits for the others."""
    found = ratios(row)
    if not found:
        return f"{row.label}: nothing to compare ({'; '.join(sorted(set(row.notes.values())))})"
    best = row.best(PYTORCH)
    told = ", ".join(f"{name} x{spread.median:.2f}" for name, spread in found.items())
    return f"{row.label}: {best} {1e3 * row.time(best).median:.3g} ms; {told}"
