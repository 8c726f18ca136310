"""Figures of learnt kernels: weights as bars."""

from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require


def plot_weights(model: Any, path: str | Path | None = None) -> Any:
    """Bars of the weights of a fitted kernel machine, with the duality gap in the title.

    Args:
        model: fitted estimator with `kernel_weights_` and `kernel_names_` or `pivots_`.
        path: where to save the figure; the ending gives the format. None to save nothing.
    Returns: the matplotlib figure.
    """
    figure_class = require("matplotlib.figure", "plotting kernel weights").Figure
    names, weights = weights_of(model)
    figure = figure_class(figsize=(7.0, 1.2 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(weights)
    positions = np.arange(len(names))
    for number, row in enumerate(weights):
        label = str(model.classes_[number]) if len(weights) > 1 else None
        axes.barh(positions + number * height, row, height=height, label=label)
    axes.set_yticks(positions + 0.4 - height / 2, names)
    axes.invert_yaxis()
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("kernel weight")
    axes.set_title(f"{type(model).__name__}, duality gap {model.gap_:.1e}")
    if len(weights) > 1:
        axes.legend(title="class")
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def weights_of(model: Any, limit: int = 25) -> tuple[list[str], np.ndarray]:
    """Names and (n_sets, m) weights of a fitted machine: the `limit` largest, and only pivots in use."""
    weights = np.atleast_2d(model.kernel_weights_)
    if hasattr(model, "kernel_names_"):
        names = list(model.kernel_names_)
    else:
        used = np.flatnonzero(np.any(weights != 0, axis=0))
        names = ["equal points" if i == j else f"pair ({i}, {j})" for i, j in model.pivots_[used]]
        weights = weights[:, used]
    if len(names) <= limit:
        return names, weights
    chosen = np.sort(np.argsort(-np.abs(weights).max(axis=0))[:limit])
    return [names[i] for i in chosen], weights[:, chosen]


def plot_few_shot(result: Any) -> Any:
    """Accuracy over the number of shots, a line per method, bars one standard deviation over seeds.

    Args:
        result: `FewShotResult`.
    Returns: matplotlib Figure.
    """
    figure_class = require("matplotlib.figure", "plotting few-shot accuracies").Figure
    figure = figure_class(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    shots = np.asarray(result.settings.shots)
    methods = result.accuracy.items()
    for number, (name, values) in enumerate(methods):
        # Side by side, so that bars do not hide each other.
        places = np.arange(len(shots)) + 0.06 * (number - (len(methods) - 1) / 2)
        deviation = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
        axes.errorbar(
            places,
            100 * values.mean(axis=1),
            None if deviation is None else 100 * deviation,
            marker="o",
            markersize=4,
            capsize=2,
            label=name,
        )
    axes.axhline(100 / result.new_classes, color="black", linewidth=0.8, linestyle=":", label="chance")
    axes.set_xticks(np.arange(len(shots)), [str(one) for one in shots])
    axes.set_xlabel("images per new class")
    axes.set_ylabel("accuracy in %")
    axes.set_title(f"{result.new_classes} new classes, {result.settings.seeds} seeds")
    axes.legend()
    return figure
