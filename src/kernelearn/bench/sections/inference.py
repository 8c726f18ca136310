"""Section "inference": predictions for one image, and for many."""

from __future__ import annotations

from kernelearn.bench.nets import Net, find_net
from kernelearn.bench.rivals import OURS, Comparison, Entry
from kernelearn.bench.sections.training import torch_modes
from kernelearn.bench.suite import Bench


def run(bench: Bench) -> list[Comparison]:
    """A comparison for every network and batch."""
    rows = []
    for name in bench.settings.nets:
        net = find_net(name)
        flops = bench.folder_blueprint(net).forward_flops()
        for batch in bench.settings.predicted_of(net):
            bench.say(f"inference {name}, batch {batch}")
            rows.append(
                bench.workers.compare(
                    f"{name}, batch {batch}", entries(bench, net, batch), bench.settings.plan, flops * batch
                )
            )
    return rows


def entries(bench: Bench, net: Net, batch: int) -> list[Entry]:
    """Ours below and at the public API, and all peers that were asked for."""
    wanted = bench.settings.frameworks()
    result = [
        Entry(OURS, OURS, OURS, bench.task(net, batch, "predict", "executable")),
        Entry("kernelearn predict_on_batch", OURS, OURS, bench.task(net, batch, "predict")),
    ]
    if "torch" in wanted:
        result += [
            Entry(name, "PyTorch", "torch", bench.task(net, batch, "predict", mode))
            for mode, name in torch_modes(bench, net)
        ]
    for framework, name in (("onnxruntime", "ONNX Runtime"), ("jax", "JAX")):
        if framework in wanted:
            result.append(Entry(name, name, framework, bench.task(net, batch, "predict")))
    return result
