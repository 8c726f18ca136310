"""Figures of experiments: every seed of every condition, means with intervals, and the curves behind them."""

from typing import Any

import numpy as np

from kernelearn.view.colours import COLOURS, GAP, MARKERS, STYLES
from kernelearn.view.figure import new_figure


def plot_experiment(result: Any, title: str | None = None) -> Any:
    """Accuracy of every condition, one dot per seed and the mean with its 95 % interval; learning curves.

    Thin grey lines join the dots of one seed: the comparison is within seeds.

    Args:
        result: `kernelearn.explain.experiments.ExperimentResult`.
        title: over the figure; the question if None.
    Returns: matplotlib Figure with two panels.
    Raises: MissingDependencyError without matplotlib.
    """
    height = max(3.4, 1.4 + 0.42 * len(result.rows))
    figure = new_figure((11.0, height))
    scores, curves = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    _draw_scores(scores, result)
    _draw_curves(curves, result)
    figure.suptitle(title or result.question, fontsize=11)
    return figure


def _look(number: int) -> dict[str, Any]:
    """Colour, line style and marker of a condition."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def _draw_scores(axis: Any, result: Any) -> None:
    places = np.arange(len(result.rows))
    accuracies = 100 * np.array([row.accuracy for row in result.rows])  # (conditions, seeds)
    axis.plot(accuracies, places, color=GAP, linewidth=0.7, zorder=1)
    for number, row in enumerate(result.rows):
        look = _look(number)
        axis.scatter(
            accuracies[number], np.full(len(row.accuracy), number), s=16, color=look["color"], alpha=0.55
        )
        summary = row.summary()
        half = None if np.isnan(summary.low) else 100 * (summary.high - summary.mean)
        axis.errorbar(
            100 * summary.mean,
            number,
            xerr=half,
            color=look["color"],
            marker=look["marker"],
            markersize=8,
            markeredgecolor="black",
            elinewidth=2,
            capsize=4,
            zorder=3,
        )
    axis.set_yticks(places, result.names)
    axis.invert_yaxis()
    axis.set_xlabel("test accuracy in %")
    axis.set_title(f"{len(result.seeds)} seed(s): dots; mean and its 95 % interval", fontsize=9)
    _tidy(axis)


def _draw_curves(axis: Any, result: Any) -> None:
    epochs = np.arange(1, result.budget["epochs"] + 1)
    for number, row in enumerate(result.rows):
        curves = 100 * np.array(row.curves)  # (seeds, epochs)
        look = _look(number)
        axis.plot(epochs, curves.mean(axis=0), markersize=4, label=row.name, **look)
        if len(curves) > 1:
            low, high = curves.min(axis=0), curves.max(axis=0)
            axis.fill_between(epochs, low, high, color=look["color"], alpha=0.1, linewidth=0)
    chance = 100 * float(np.mean(result.chance))
    axis.axhline(chance, color="black", linewidth=0.8, linestyle=":", label="most frequent class")
    axis.set_xlabel("epoch")
    axis.set_ylabel("test accuracy in %")
    axis.set_title("mean of the seeds, shaded from worst to best", fontsize=9)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=8)
    _tidy(axis)


def _tidy(axis: Any) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
