"""Runs over each other: their curves, and the same kernels side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.view import maps
from kernelearn.view.colours import COLOURS, STYLES
from kernelearn.view.drawing import tidy
from kernelearn.view.families import WEIGHTS
from kernelearn.view.figure import new_figure

_FILTERS = 12


def plot_runs_compared(found: Any, layer: str | None = None) -> Any:
    """Curves of two or more runs over each other, and the kernels of one layer side by side.

    Args:
        found: `explain.RunComparison`.
        layer: whose kernels; None for the first that all have.
    Returns: matplotlib Figure.
    Raises: MissingDependencyError without matplotlib.
    """
    names = [n for n in found.curves if not n.startswith("val_") and n != "learning_rate"][:3]
    chosen = layer or next(iter(found.kernels), None)
    has_kernels = chosen in found.kernels
    figure = new_figure((4.2 * max(len(names), 1), 3.4 + 0.75 * len(found.names) * has_kernels))
    parts = figure.subfigures(2, 1, height_ratios=(3.2, 0.75 * len(found.names))) if has_kernels else [figure]
    for axis, name in zip(parts[0].subplots(1, max(len(names), 1), squeeze=False)[0], names):
        _draw_curves(axis, found, name)
    if has_kernels:
        _draw_kernels(parts[1], found, str(chosen))
    return figure


def _draw_curves(axis: Any, found: Any, name: str) -> None:
    for number, (run, (steps, values)) in enumerate(zip(found.names, found.curves[name])):
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        thin = {"color": colour, "linewidth": 0.5, "alpha": 0.35}
        axis.plot(steps, values, **thin)
        size = max(len(values) // 40, 1)
        smooth = np.convolve(values, np.ones(size) / size, "valid")
        axis.plot(steps[size - 1 :], smooth, style, color=colour, linewidth=1.4, label=run)
        if f"val_{name}" in found.curves:
            at, measured = found.curves[f"val_{name}"][number]
            axis.plot(at, measured, "o", color=colour, markersize=3)
    axis.set_title(f"{name} (dots: validation)" if f"val_{name}" in found.curves else name, fontsize=9)
    axis.set_xlabel("update", fontsize=8)
    axis.legend(fontsize=7)
    axis.tick_params(labelsize=7)
    tidy(axis)


def _draw_kernels(figure: Any, found: Any, layer: str) -> None:
    """One row for each run, one column for each filter; one range for all."""
    kernels = [_slices(kernel) for kernel in found.kernels[layer]]
    count = min(kernels[0].shape[-1], _FILTERS)
    limit = maps.limit_of(*[kernel[..., :count] for kernel in kernels])
    axes = figure.subplots(len(kernels), count, squeeze=False)
    for row, (run, kernel) in enumerate(zip(found.names, kernels)):
        for column, axis in enumerate(axes[row]):
            maps.draw(axis, kernel[..., column], WEIGHTS, limit)
        axes[row, 0].set_ylabel(run, fontsize=7, rotation=0, ha="right", va="center")
    figure.suptitle(f"{layer}: the same filters, first input channel", fontsize=9)


def _slices(kernel: np.ndarray) -> np.ndarray:
    """(rows, columns, filters) of the first input channel; a dense kernel as a column for each unit."""
    if kernel.ndim < 3:
        return kernel[:, None, :]
    flat = kernel[..., 0, :]
    return flat[None] if flat.ndim == 2 else flat.reshape(-1, *flat.shape[-2:])
