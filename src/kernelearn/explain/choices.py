"""What is meant when nothing is said: a run's first kernel, the weights and the steps that moved most.

The command line, the report and the figures all choose by these functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.gradient.pairs import operator_index
from kernelearn.explain.runs import run_of
from kernelearn.layers.core.unknown_sizes import fits
from kernelearn.recording.run import Run


def kernel_layers(run: Run) -> dict[str, str]:
    """Recorded layers with a kernel -> its name, in the order of the model."""
    named = {layer: run.about.kernel_name(layer) for layer in run.layers}
    return {layer: name for layer, name in named.items() if name is not None}


def is_convolution(run: Run, layer: str) -> bool:
    """Whether the kernel of a recorded layer has spatial axes."""
    name = run.about.kernel_name(layer)
    return name is not None and len(run.shape_of(layer, name)) > 2


def first_kernel_layer(run: Run) -> str:
    """The first recorded convolution, or else the first layer with a kernel.

    Raises: ArgumentError if no kernel is recorded.
    """
    layers = list(kernel_layers(run))
    if not layers or not len(run.steps):
        raise ArgumentError(f"No kernel is recorded in this run; its layers are {run.layers}.")
    return next((layer for layer in layers if is_convolution(run, layer)), layers[0])


def ledger_step(run: Run, layer: str, index: Sequence[int], weight: str) -> int:
    """The step with a ledger whose update moved a number of a weight most.

    Raises: ArgumentError if no ledger of the weight is recorded.
    """
    kernel = run.about.kernel_name(layer) if weight == "bias" else weight
    steps = run.ledger_steps_of(layer, kernel or weight)
    if not len(steps):
        there = [name for name, own in kernel_layers(run).items() if len(run.ledger_steps_of(name, own))]
        record = "Record one with Recorder(..., ledger_every=100), train --record, or watch(..., every=100)."
        remedy = f"Layers with one: {', '.join(there)}." if there else record
        raise ArgumentError(f"This run has no ledger of {layer}/{weight}. {remedy}")
    return step_that_moved_most(run, layer, index, weight, steps)


def step_that_moved_most(
    run: Run, layer: str, index: Sequence[int], weight: str, among: Sequence[int] | np.ndarray
) -> int:
    """The one of these updates, the last of them if none is known, that moved a number of a weight most.

    Raises: ArgumentError for an index outside of the weight.
    """
    shape = run.shape_of(layer, weight)
    steps, values = run.trace(layer, operator_index(tuple(index), shape, shape), weight)
    known = dict(zip(steps.tolist(), values.astype(np.float64).tolist()))
    there = [int(k) for k in among if int(k) in known and int(k) - 1 in known]
    moves = {k: abs(known[k] - known[k - 1]) for k in there}
    return max(moves, key=lambda k: moves[k], default=int(among[-1]))


def moved_most(run: Run, layer: str, k: int = 1, weight: str | None = None) -> list[tuple[int, ...]]:
    """Indices of the k numbers of a weight that ended farthest from where they started, farthest first.

    Args:
        weight: its name; None for the kernel of the layer.
    Raises: ArgumentError for a layer without a kernel.
    """
    run = run_of(run, "moved_most")
    name = weight or run.about.kernel_name(layer)
    if name is None:
        raise ArgumentError(f"Layer {layer!r} has no kernel; it has {run.weights(layer)}.")
    first, last = _ends(run, layer, name)
    change = np.abs(run.kernels(layer, last, name).astype(np.float64) - run.kernels(layer, first, name))
    order = np.argsort(-change.ravel(), kind="stable")[:k]
    return [tuple(int(i) for i in np.unravel_index(place, change.shape)) for place in order]


def filters_that_moved_most(run: Run, layer: str, k: int, weight: str = "kernel") -> list[int]:
    """Numbers of the k filters (last axis) whose weights moved farthest in all, in ascending order."""
    first, last = _ends(run, layer, weight)
    change = run.kernels(layer, last, weight).astype(np.float64) - run.kernels(layer, first, weight)
    size = np.square(change).sum(axis=tuple(range(change.ndim - 1)))
    return sorted(np.argsort(-size, kind="stable")[:k].tolist())


def _ends(run: Run, layer: str, weight: str) -> tuple[int, int]:
    """First and last step at which a weight is known."""
    steps = run.weight_steps(layer, weight)
    return int(steps[0]), int(steps[-1])


def some_steps(steps: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the steps, the first and the last among them, spread evenly.

    >>> some_steps(range(101), 5).tolist()
    [0, 25, 50, 75, 100]
    """
    known = np.asarray(steps)
    if len(known) <= count:
        return known
    return np.asarray(known[np.unique(np.linspace(0, len(known) - 1, count).round().astype(int))])


def batch_images(run: Run, step: int) -> np.ndarray | None:
    """(n, ...) the images of a step as the first layer got them: augmented, if the network augments.

    They are the input of the first recorded kernel that reads whole images; None where the recorded layers
    stand too deep, or the step has no ledger.
    """
    run = run_of(run, "batch_images")
    shape = run.model().inputs[0].shape[1:]
    for layer, weight in kernel_layers(run).items():
        try:
            part = run.ledger(layer, step, weight).parts[0]
        except KernelearnError:
            continue
        if part.kind != "conv_transpose" and fits(part.x.shape[1:], shape):
            return part.x
    return None


def by_number(images: np.ndarray | None, numbers: Sequence[int] | np.ndarray) -> Any:
    """A function (number of an image in the data) -> the image, out of a batch; None without images."""
    if images is None:
        return None
    rows = {int(number): row for row, number in reversed(list(enumerate(numbers)))}
    return lambda number: images[rows[int(number)]]
