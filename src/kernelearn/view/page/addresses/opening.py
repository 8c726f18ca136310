"""The opening screen of a run: the weight that moved most, the step that moved it, the image that did it."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import first_kernel_layer, kernel_layers, moved_most, step_that_moved_most
from kernelearn.explain.gradient.ledgers import ledger
from kernelearn.recording.run import Run


def opening(run: Run) -> dict[str, Any]:
    """layer, index, filter, step, row, image, position; what is not recorded is None."""
    found: dict[str, Any] = dict.fromkeys(("layer", "weight", "index", "filter", "step", "row", "image"))
    found["position"] = None
    try:
        layer = first_kernel_layer(run)
        weight = kernel_layers(run)[layer]
        index = moved_most(run, layer, 1, weight)[0]
    except KernelearnError:
        return {**found, "step": run.last_step}
    found |= {"layer": layer, "weight": weight, "index": list(index), "filter": index[-1]}
    steps = run.ledger_steps_of(layer, weight)
    if not len(steps):
        return {**found, "step": run.last_step}
    found["step"] = step_that_moved_most(run, layer, index, weight, steps)
    try:
        return {**found, **_largest(run, layer, weight, index, int(found["step"]))}
    except KernelearnError:
        return found


def _largest(run: Run, layer: str, weight: str, index: tuple[int, ...], step: int) -> dict[str, Any]:
    """The image with the largest sum, and the position of its largest term that lies inside the image."""
    book = ledger(run, layer, step, (weight, *index))
    sums = book.by_row()
    row = int(sums.keys[np.abs(sums.sums).argmax()])
    is_there = (book.rows == row) & ~book.in_padding
    terms = np.where(is_there, np.abs(book.terms), -1.0)
    place = int(terms.argmax())
    return {
        "row": row,
        "image": int(book.images[place]),
        "position": [int(i) for i in book.positions[place]],
    }
