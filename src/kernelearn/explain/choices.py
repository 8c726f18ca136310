"""What is meant when nothing is said: a run's first kernel, its last ledger, the weights that moved most.

The command line, the report and the figures all choose by these functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError


def kernel_name(run: Any, layer: str) -> str | None:
    """Name of the first kernel of a recorded layer: "kernel", "depthwise_kernel", ...; None without."""
    return next((name for name in run.weights(layer) if name.endswith("kernel")), None)


def kernel_layers(run: Any) -> dict[str, str]:
    """Recorded layers with a kernel -> its name, in the order of the model."""
    named = {layer: kernel_name(run, layer) for layer in run.layers}
    return {layer: name for layer, name in named.items() if name is not None}


def is_convolution(run: Any, layer: str) -> bool:
    """Whether the kernel of a recorded layer has spatial axes."""
    name = kernel_name(run, layer)
    return name is not None and run.kernels(layer, int(run.steps[0]), name).ndim > 2


def first_kernel_layer(run: Any) -> str:
    """The first recorded convolution, or else the first layer with a kernel.

    Raises: ArgumentError if no kernel is recorded.
    """
    layers = list(kernel_layers(run))
    if not layers or not len(run.steps):
        raise ArgumentError(f"No kernel is recorded in this run; its layers are {run.layers}.")
    return next((layer for layer in layers if is_convolution(run, layer)), layers[0])


def last_ledger_step(run: Any) -> int:
    """The last step with a ledger.

    Raises: ArgumentError if there is none.
    """
    if not len(run.ledger_steps):
        raise ArgumentError(
            "This run has no ledger. Record one with Recorder(..., ledger_every=100), or with "
            "kernelearn train --record."
        )
    return int(run.ledger_steps[-1])


def moved_most(run: Any, layer: str, k: int = 1, weight: str | None = None) -> list[tuple[int, ...]]:
    """Indices of the k numbers of a weight that ended farthest from where they started, farthest first.

    Args:
        weight: its name; None for the kernel of the layer.
    Raises: ArgumentError for a layer without a kernel.
    """
    name = weight or kernel_name(run, layer)
    if name is None:
        raise ArgumentError(f"Layer {layer!r} has no kernel; it has {run.weights(layer)}.")
    first, last = int(run.steps[0]), int(run.steps[-1])
    change = np.abs(run.kernels(layer, last, name).astype(np.float64) - run.kernels(layer, first, name))
    order = np.argsort(-change.ravel(), kind="stable")[:k]
    return [tuple(int(i) for i in np.unravel_index(place, change.shape)) for place in order]


def filters_that_moved_most(run: Any, layer: str, k: int, weight: str = "kernel") -> list[int]:
    """Numbers of the k filters (last axis) whose weights moved farthest in all, in ascending order."""
    first, last = int(run.steps[0]), int(run.steps[-1])
    change = run.kernels(layer, last, weight).astype(np.float64) - run.kernels(layer, first, weight)
    size = np.square(change).sum(axis=tuple(range(change.ndim - 1)))
    return sorted(np.argsort(-size, kind="stable")[:k].tolist())


def some_steps(steps: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the steps, the first and the last among them, spread evenly.

    >>> some_steps(range(101), 5).tolist()
    [0, 25, 50, 75, 100]
    """
    known = np.asarray(steps)
    if len(known) <= count:
        return known
    return known[np.unique(np.linspace(0, len(known) - 1, count).round().astype(int))]


def batch_images(run: Any, step: int) -> np.ndarray | None:
    """(n, ...) the images of a step as the first layer got them: augmented, if the network augments.

    They are the input of the first recorded kernel that reads whole images; None where the recorded layers
    stand too deep, or the step has no ledger.
    """
    shape = tuple(run.model().inputs[0].shape[1:])
    for layer, weight in kernel_layers(run).items():
        try:
            part = run.ledger(layer, step, weight).parts[0]
        except KernelearnError:
            continue
        if part.kind != "conv_transpose" and tuple(part.x.shape[1:]) == shape:
            return part.x
    return None


def by_number(images: np.ndarray | None, numbers: Sequence[int] | np.ndarray) -> Any:
    """A function (number of an image in the data) -> the image, out of a batch; None without images."""
    if images is None:
        return None
    rows = {int(number): row for row, number in reversed(list(enumerate(numbers)))}
    return lambda number: images[rows[int(number)]]
