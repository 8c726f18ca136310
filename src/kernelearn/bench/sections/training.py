"""Section "training": whole training steps of each network and batch, and `fit` as a user waits for it."""

from __future__ import annotations

from typing import Any

from kernelearn.bench.nets import Net, find_net
from kernelearn.bench.rivals import OURS, Comparison, Entry
from kernelearn.bench.runners import CHANNELS_LAST
from kernelearn.bench.suite import Bench

OUR_FIT = "kernelearn fit"
# Batches of the epochs that `fit` is timed on, at least: its costs per epoch count, but not more than in use.
FIT_STEPS = 20
TORCH_MODES = {"eager": "PyTorch", "channels_last": "PyTorch channels_last", "compile": "PyTorch compiled"}
KERAS = {"keras-torch": "torch", "keras-jax": "jax", "keras-tensorflow": "tensorflow"}


def run(bench: Bench) -> list[Comparison]:
    """A comparison for every network and batch."""
    rows = []
    for name in bench.settings.nets:
        net = find_net(name)
        for batch in bench.settings.batches_of(net):
            bench.say(f"training {name}, batch {batch}")
            flops = bench.folder_blueprint(net).training_flops() * batch
            rows.append(
                bench.workers.compare(
                    f"{name}, batch {batch}",
                    entries(bench, net, batch),
                    bench.settings.plan,
                    flops,
                    {"Keras fit": OUR_FIT},
                )
            )
    return rows


def entries(bench: Bench, net: Net, batch: int) -> list[Entry]:
    """Ours, and all peers that were asked for."""
    wanted = bench.settings.frameworks()

    def task(what: str, mode: str = "") -> dict[str, Any]:
        return bench.task(net, batch, what, mode)

    result = [Entry(OURS, OURS, OURS, task("train"))]
    if "torch" in wanted:
        result += [
            Entry(name, "PyTorch", "torch", task("train", mode)) for mode, name in torch_modes(bench, net)
        ]
    if "jax" in wanted:
        result.append(Entry("JAX", "JAX", "jax", task("train")))
    backends = [framework for framework in KERAS if framework in wanted]
    if backends:
        least = 2 if bench.settings.quick else FIT_STEPS
        result.append(Entry(OUR_FIT, OURS, OURS, task("fit"), least))
        result += [Entry(f"Keras fit, {KERAS[f]}", "Keras fit", f, task("fit"), least) for f in backends]
    return result


def torch_modes(bench: Bench, net: Net) -> list[tuple[str, str]]:
    """(mode, name) of PyTorch's ways to run a network: those that it has and that were asked for."""
    left_out = [] if bench.settings.compile else ["compile"]
    left_out += [] if len(net.input_shape) in CHANNELS_LAST else ["channels_last"]
    return [(mode, name) for mode, name in TORCH_MODES.items() if mode not in left_out]
