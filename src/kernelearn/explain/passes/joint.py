"""One step, all weights: a number of every kernel and bias, its gradient, how many terms it has, its update.

Kernels of convolutions and weights of dense layers stand side by side: they are trained together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.runs import run_of
from kernelearn.explain.table import Table


def joint(run: Any, step: int | None = None) -> Table:
    """One number of every recorded weight at one step: the one that the update moved most.

    Args:
        run: a recorded run, or the path of its folder.
        step: one with a ledger; None for the one in which the recorded weights moved most.
    Returns: a row for each weight: the number as layer/weight[index], its value before, gradient, number of
        terms (images x positions: 1 for each image in a dense layer), update, value after; frozen weights
        with an update of 0.
    Raises: ArgumentError for a step without a ledger.
    """
    run = run_of(run, "joint")
    steps = [int(k) for k in run.ledger_steps]
    if not steps:
        raise ArgumentError("This run holds no ledger: record it with ledger_every.")
    at = _busiest(run, steps) if step is None else int(step)
    if at not in steps:
        near = min(steps, key=lambda k: abs(k - at))
        raise ArgumentError(f"Step {at} has no ledger; the nearest step with one is {near}.")
    rows = [
        row for layer in run.layers for weight in run.weights(layer) for row in _rows(run, layer, weight, at)
    ]
    columns = ("number", "before", "gradient", "terms", "update", "after")
    return Table(columns, tuple(rows), f"Step {at}: one number of every weight, the one that moved most")


def _busiest(run: Any, steps: list[int]) -> int:
    """The step whose updates are largest, summed over the first kernel of each layer."""

    def size(step: int) -> float:
        total = 0.0
        for layer in run.layers:
            name = run.about.kernel_name(layer)
            if name is not None and run.is_split(layer, step, name):
                total += float(np.linalg.norm(run.update(layer, step, name)))
        return total

    return max(steps, key=size)


def _rows(run: Any, layer: str, weight: str, step: int) -> list[tuple[Any, ...]]:
    """The row of one weight; none where its update is not recorded."""
    if run.is_frozen(layer, step, weight):
        value = float(run.kernels(layer, step, weight).flat[0])
        index = (0,) * len(run.shape_of(layer, weight))
        return [(f"{_called(layer, weight, index)}, frozen", value, None, None, 0.0, value)]
    if not run.is_split(layer, step, weight):
        return []
    change = run.update(layer, step, weight)
    index = tuple(int(i) for i in np.unravel_index(np.abs(change).argmax(), change.shape))
    before = float(run.kernels(layer, step - 1, weight)[index])
    gradient = float(run.gradient(layer, step, weight)[index])
    terms = _terms(run, layer, weight, step)
    moved = float(change[index])
    return [(_called(layer, weight, index), before, gradient, terms, moved, before + moved)]


def _called(layer: str, weight: str, index: tuple[int, ...]) -> str:
    return f"{layer}/{weight}[{', '.join(map(str, index))}]"


def _terms(run: Any, layer: str, weight: str, step: int) -> int | None:
    """How many terms the gradient of one number is the sum of; None for weights without a ledger."""
    kernel = weight if weight.endswith("kernel") else run.about.kernel_name(layer)
    if kernel is None or step not in run.ledger_steps_of(layer, kernel) or weight.endswith(("gamma", "beta")):
        return None
    parts = run.ledger(layer, step, kernel).parts
    places = [part.x if part.kind == "conv_transpose" and weight != "bias" else part.delta for part in parts]
    return sum(int(np.prod(array.shape[:-1], dtype=int)) for array in places)
