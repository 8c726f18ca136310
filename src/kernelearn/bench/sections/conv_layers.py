"""Sections "layers" and "profile": single convolutions against PyTorch, and the calls of networks' steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.bench.nets import Net, find_net
from kernelearn.bench.nets.blueprint import images_for
from kernelearn.bench.rivals import OURS, Comparison, Entry
from kernelearn.bench.suite import Bench
from kernelearn.training.steps.step import Clock, input_name

if TYPE_CHECKING:
    from kernelearn.engine.cpu.report.profile import Timing
    from kernelearn.engine.work import Work

BATCH = 32
# Seconds of a burst: a layer takes less than a step, and there are many.
BURST = 0.2


@dataclass(frozen=True)
class Conv:
    """A 3x3 convolution of square maps, as the compared networks have them."""

    channels: int
    filters: int
    size: int
    padding: int = 1
    stride: int = 1

    @property
    def label(self) -> str:
        """Such as "32->64, 13x13, valid"."""
        words = [f"{self.channels}->{self.filters}", f"{self.size}x{self.size}"]
        words += ["valid"] * (not self.padding) + [f"stride {self.stride}"] * (self.stride > 1)
        return ", ".join(words)

    def flops(self, batch: int) -> float:
        """Of one pass."""
        out = (self.size + 2 * self.padding - 3) // self.stride + 1
        return 2.0 * 9 * self.channels * self.filters * out * out * batch


LAYERS = (
    Conv(1, 32, 28, padding=0),
    Conv(32, 64, 13, padding=0),
    Conv(3, 32, 32),
    Conv(32, 32, 32),
    Conv(32, 64, 16),
    Conv(64, 64, 16),
    Conv(128, 128, 8),
    Conv(16, 16, 32),
    Conv(64, 64, 32),
    Conv(256, 256, 8),
    Conv(64, 128, 32, stride=2),
)
PASSES = {"forward": "conv", "input gradient": "conv_grad_input", "kernel gradient": "conv_grad_kernel"}


def run(bench: Bench) -> list[Comparison]:
    """A comparison for every layer and pass. A first layer needs no gradient of its input."""
    rows = []
    plan = replace(bench.settings.plan, burst=min(BURST, bench.settings.plan.burst))
    batch = bench.settings.batches[0] if bench.settings.batches else BATCH
    for layer in LAYERS[:2] if bench.settings.quick else LAYERS:
        for name, operator in PASSES.items():
            if name == "input gradient" and layer.channels <= 3:
                continue
            label = f"{layer.label}: {name}"
            bench.say(f"layer {label}")
            flops = layer.flops(batch)
            rows.append(bench.workers.compare(label, entries(bench, layer, operator, batch), plan, flops))
    return rows


def entries(bench: Bench, layer: Conv, operator: str, batch: int) -> list[Entry]:
    """Ours, and PyTorch in both memory formats."""
    task = {"what": "conv", "operator": operator, "batch": batch, **vars(layer)}
    result = [Entry(OURS, OURS, OURS, task)]
    if "torch" in bench.settings.frameworks():
        for mode, name in (("eager", "PyTorch"), ("channels_last", "PyTorch channels_last")):
            result.append(Entry(name, "PyTorch", "torch", {**task, "mode": mode}))
    return result


def run_profile(bench: Bench) -> list[dict[str, Any]]:
    """Per network and step that was asked for: every kernel call with its time and rate."""
    found = []
    for name in bench.settings.nets:
        net = find_net(name)
        batches = {"train": bench.settings.batches_of(net)[:1], "predict": bench.settings.predicted_of(net)}
        found += [profile_net(bench, net, what, n) for what in bench.settings.profiled for n in batches[what]]
    return found


def profile_net(bench: Bench, net: Net, what: str, batch: int) -> dict[str, Any]:
    """{"net", "what", "batch", "seconds", "moved_bytes" and "least_bytes" of the step, "calls": [...]}.

    Args:
        what: "train" or "predict".
    """
    from kernelearn import set_num_threads
    from kernelearn.bench.runners.own import compiled_model
    from kernelearn.engine.cpu.report.profile import profile
    from kernelearn.engine.cpu.report.rows import estimated as estimates

    bench.say(f"profile {net.name}, {what}, batch {batch}")
    set_num_threads(bench.settings.threads)
    try:
        model = compiled_model({**bench.task(net, batch, what), "engine": "cpu"})
        inputs = inputs_of(model, what, batch)
        executable = model.step(what).executable
        timings = profile(executable, inputs, bench.settings.plan.rounds)
        limits = estimates(executable.plan, [timing.step for timing in timings], batch)
        moved, least = executable.moved_bytes(batch), executable.least_bytes(batch)
    finally:
        set_num_threads(None)
    calls = [_call(timing, row) for timing, row in zip(timings, limits)]
    seconds = sum(timing.seconds for timing in timings)
    found = {"net": net.name, "what": what, "batch": batch, "seconds": seconds, "calls": calls}
    return {**found, "moved_bytes": moved, "least_bytes": least}


def _call(timing: Timing, row: Work) -> dict[str, Any]:
    """A kernel call, its time, and the least that it takes by the roofline (0: not known)."""
    return {
        "layer": timing.step.operation.layer,
        "what": timing.step.operation.operator,
        "note": getattr(timing.step, "note", "") or getattr(timing.step, "why", ""),
        "seconds": timing.seconds,
        "flops": timing.flops,
        "bytes": row.bytes,
        "best": row.estimate.seconds if row.estimate else 0.0,
    }


def inputs_of(model: Any, what: str, batch: int) -> dict[str, np.ndarray]:
    """What the training or predicting program of a compiled model wants, with random images."""
    x, y = images_for(model, batch)
    if what == "predict":
        return {input_name(0): x}
    return model.step("train").inputs(model.batch(x, y), Clock.of(model.optimizer, seed=1))
