"""Section "curves": how the cost of training grows with the batch, the number of images and the channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.bench.nets import find_net
from kernelearn.bench.processes import WorkerError
from kernelearn.bench.rivals import OURS, Entry
from kernelearn.bench.sections.conv_layers import PASSES, Conv
from kernelearn.bench.statistics import fit_line, spread
from kernelearn.bench.suite import Bench

BATCHES = (8, 16, 32, 64, 128, 256)
# Batches of 32 in an epoch.
EPOCHS = (4, 8, 16, 32, 64)
CHANNELS = (16, 32, 64, 128, 256)


def run(bench: Bench) -> list[dict[str, Any]]:
    """Three curves as `summarise` gives them."""
    return [_batch_curve(bench), _image_curve(bench), _channel_curve(bench)]


def _sizes(bench: Bench, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return sizes[:3] if bench.settings.quick else sizes


def _batch_curve(bench: Bench) -> dict[str, Any]:
    """One training step of LeNet."""
    bench.say("curve: training step of lenet over the batch")
    net, sizes = find_net("lenet"), _sizes(bench, BATCHES)
    entries = [Entry(str(n), OURS, OURS, bench.task(net, n, "train")) for n in sizes]
    return _curve(bench, "a training step of lenet", "images in the batch", sizes, entries)


def _image_curve(bench: Bench) -> dict[str, Any]:
    """A whole `fit`: the seconds of an epoch. A burst is one epoch, so its length decides the images."""
    bench.say("curve: epoch of lenet over the images")
    net, counts = find_net("lenet"), _sizes(bench, EPOCHS)
    task = bench.task(net, 32, "fit")
    worker = bench.workers.get(OURS)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    worker.ask(do="prepare", id="epochs", task=task)
    for _ in range(bench.settings.plan.rounds):
        for count in counts:
            seconds[count].append(worker.ask(do="run", id="epochs", count=count))
    worker.ask(do="drop", id="epochs")
    sizes = [32 * count for count in counts]
    return summarise("an epoch of lenet, batch 32", "images in the epoch", sizes, list(seconds.values()))


def _channel_curve(bench: Bench) -> dict[str, Any]:
    """All three passes of a 3x3 convolution of 16x16 maps to 64 filters."""
    bench.say("curve: convolution over the channels")
    sizes = _sizes(bench, CHANNELS)
    parts: dict[int, list[np.ndarray]] = {n: [] for n in sizes}
    for operator in PASSES.values():
        entries = [
            Entry(
                str(n),
                OURS,
                OURS,
                {"what": "conv", "operator": operator, "batch": 32, **vars(Conv(n, 64, 16))},
            )
            for n in sizes
        ]
        times = _times(bench, operator, entries)
        for n, seconds in zip(sizes, times):
            parts[n].append(np.array(seconds))
    what = "forward and both gradients of a 3x3 convolution to 64 filters"
    return summarise(what, "channels", sizes, [list(sum(parts[n], np.zeros(1))) for n in sizes])


def _curve(bench: Bench, what: str, unit: str, sizes: Any, entries: list[Entry]) -> dict[str, Any]:
    return summarise(what, unit, sizes, _times(bench, what, entries))


def _times(bench: Bench, what: str, entries: list[Entry]) -> list[list[float]]:
    """Seconds of every entry, round by round.

    Raises: WorkerError if one of them failed: a curve with a hole would be fitted wrongly.
    """
    found = bench.workers.compare(what, entries, bench.settings.plan)
    for entry in entries:
        if entry.name not in found.seconds:
            raise WorkerError(f"Size {entry.name} of the curve {what!r} failed: {found.notes[entry.name]}")
    return [found.seconds[entry.name] for entry in entries]


def summarise(what: str, unit: str, sizes: Any, seconds: list[list[float]]) -> dict[str, Any]:
    """{"what", "unit", "sizes", "seconds", "low", "high", "line"}: medians, quartiles, line through them."""
    spreads = [spread(times) for times in seconds]
    return {
        "what": what,
        "unit": unit,
        "sizes": list(sizes),
        "seconds": [s.median for s in spreads],
        "low": [s.low for s in spreads],
        "high": [s.high for s in spreads],
        "line": vars(fit_line(sizes, [s.median for s in spreads])),
    }
