"""Section "input": training from a folder of JPEG files, beside its two halves.

Per network and size of the files: images a second that are decoded (and stretched) when nothing else runs,
that a training with augmentation takes from memory, and that the same training takes when it reads the files
as it goes. It is bound by reading where it takes fewer than it would from memory. All take turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.bursts import in_turn
from kernelearn.bench.nets import CLASSES, Net, find_net
from kernelearn.bench.runners.own import compiled
from kernelearn.bench.suite import Bench, Settings

# Sides of the files in pixels; None: the network's own, so that nothing is stretched.
SIDES = (None, 256)
# Files of a folder.
FILES, QUICK_FILES = 512, 128
_QUALITY = 90


def run(bench: Bench) -> list[dict[str, Any]]:
    """Per network of RGB images and side: {"net", "batch", "side", "bytes", "decode", "step", "together"}.

    "bytes" are a file's; the other three are images a second.
    """
    from kernelearn import set_num_threads

    require("PIL.Image", "the benchmark of reading pictures")
    set_num_threads(bench.settings.threads)
    try:
        nets = [find_net(name) for name in bench.settings.nets]
        return [_measure(bench, net, side) for net in nets if _takes_pictures(net) for side in SIDES]
    finally:
        set_num_threads(None)


def _takes_pictures(net: Net) -> bool:
    return len(net.input_shape) == 3 and net.input_shape[-1] == 3


def _measure(bench: Bench, net: Net, side: int | None) -> dict[str, Any]:
    batch = bench.settings.batches_of(net)[0]
    height, width = net.input_shape[:2]
    shape = (height, width) if side is None else (side, side)
    bench.say(f"input {net.name}, batch {batch}, files of {shape[0]} x {shape[1]}")
    with tempfile.TemporaryDirectory() as place:
        images = -(-(QUICK_FILES if bench.settings.quick else FILES) // batch) * batch
        size = write_pictures(Path(place), shape, images)
        passes = _passes(Path(place), net, batch, bench.settings)
        times = in_turn(list(passes.values()), bench.settings.plan.rounds, warm_up=1)
    rates = {name: images / median(one) for name, one in zip(passes, zip(*times))}
    return {"net": net.name, "batch": batch, "side": list(shape), "bytes": size, **rates}


def write_pictures(folder: Path, shape: tuple[int, int], count: int) -> float:
    """So many JPEG files of smooth colours with some noise, in a folder for each class; bytes of one.

    Args:
        shape: (height, width) of each.
    """
    pil = require("PIL.Image", "the benchmark of reading pictures")
    rng = np.random.default_rng(0)
    total = 0
    for number in range(count):
        place = folder / f"class{number % CLASSES}"
        place.mkdir(exist_ok=True)
        coarse = pil.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize(shape[::-1], pil.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        path = place / f"{number}.jpg"
        pil.fromarray(noisy).save(path, quality=_QUALITY)
        total += path.stat().st_size
    return total / count


def _passes(folder: Path, net: Net, batch: int, settings: Settings) -> dict[str, Callable[[], Any]]:
    """One pass over the files in each of the three ways, made ready: the step is compiled."""
    from kernelearn.data import load

    size = (net.input_shape[0], net.input_shape[1])
    lazy, kept = (load(folder, test=False, resize=size, cache_bytes=room).train for room in (0, 2**40))
    model = _augmented(net, settings)

    def decode() -> None:
        for _ in lazy.batches(batch, shuffle=True):
            pass

    def fit(data: Any) -> Callable[[], Any]:
        return lambda: model.fit(data, epochs=1, batch_size=batch, verbose=0)

    fit(kept)()
    return {"decode": decode, "step": fit(kept), "together": fit(lazy)}


def _augmented(net: Net, settings: Settings) -> Any:
    """The network behind mirrored and shifted images, compiled for training."""
    from kernelearn import Sequential
    from kernelearn.layers import Input, RandomFlip, RandomTranslation

    changes = [RandomFlip("horizontal"), RandomTranslation(0.1, 0.1)]
    model = Sequential([Input(net.input_shape), *changes, net.build()])
    return compiled(model, settings.optimizer, settings.engine)
