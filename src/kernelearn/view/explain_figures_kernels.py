"""Figures of kernels: what they resemble, how they change step by step, how far they go, layers compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.choices import filters_that_moved_most, some_steps
from kernelearn.explain.kernel.source import as_filters, layer_kind
from kernelearn.explain.runs import run_of
from kernelearn.view import maps
from kernelearn.view.colours import COLOURS, FAINT, MARKERS, STYLES
from kernelearn.view.drawing import caption, tidy
from kernelearn.view.families import INK, NEUTRAL, WEIGHTS, colour_of, text_on
from kernelearn.view.figure import new_figure

_NUMBERED = 5  # kernels of a filmstrip up to 5 x 5 show their numbers


def plot_filter_bank(bank: Any, health: Any = None, rows: int = 32) -> Any:
    """Every kernel with its similarity to each family of classical filters.

    The kernel is drawn with the channel that has most of its energy. A frame marks the best family where
    p is at most 0.05. The last row is what random kernels reach.

    Args:
        bank: `explain.FilterBank`.
        health: `explain.KernelHealth` of the same kernels, to name dead and duplicate ones.
        rows: at most so many kernels, the first.
    Returns: matplotlib Figure.
    """
    count = min(rows, len(bank.labels))
    figure = new_figure((3.2 + 0.85 * len(bank.families), 1.6 + 0.42 * (count + 1)))
    tiles, table = figure.subplots(1, 2, width_ratios=(0.42, 0.85 * len(bank.families)))
    _draw_tiles(figure, tiles, _strongest_slices(bank, count))
    _draw_similarity(table, bank, health, count)
    figure.suptitle(f"Filter bank of {bank.kernels.name}", fontsize=11)
    left_out = f" {len(bank.labels) - count} more kernels are not shown." if count < len(bank.labels) else ""
    caption(
        figure,
        [
            "Numbers: best |cosine| with a filter of the family, over scale, angle and sign. Frame: best "
            "family, where random kernels reach it with p at most 0.05. Orange: positive weights, "
            f"violet: negative, one range.{left_out}"
        ],
    )
    return figure


def _strongest_slices(bank: Any, count: int) -> list[np.ndarray]:
    """(h, w) of each kernel: the slice of the channel with most energy; 3-D slices one below the other."""
    values = bank.kernels.values
    slices = []
    for label in bank.labels[:count]:
        number, channel = label if isinstance(label, tuple) else (label, None)
        one = values[..., number]
        if channel is None:
            channel = int(np.square(one).sum(axis=tuple(range(one.ndim - 1))).argmax())
        picture = np.atleast_2d(one[..., channel])
        slices.append(picture.reshape(-1, picture.shape[-1]))
    return slices


def _draw_tiles(figure: Any, axis: Any, tiles: list[np.ndarray]) -> None:
    """The kernels in one column of tiles, each one unit high."""
    limit = maps.limit_of(*tiles)
    axis.set_xlim(-0.5, 0.5)
    axis.set_ylim(len(tiles) + 0.5, -0.5)
    for row, tile in enumerate(tiles):
        image = maps.draw(axis, tile, WEIGHTS, limit)
        scale = 0.44 / max(tile.shape)
        height, width = (scale * size for size in tile.shape)
        image.set_extent((-width, width, row + height, row - height))
    axis.set_xlim(-0.5, 0.5)
    axis.set_ylim(len(tiles) + 0.5, -0.5)
    axis.set_aspect("auto")


def _draw_similarity(axis: Any, bank: Any, health: Any, count: int) -> None:
    shown = np.vstack([bank.similarity[:count], bank.baseline])
    maps.draw(axis, shown, NEUTRAL, 1.0)
    axis.set_aspect("auto")
    for (row, column), value in np.ndenumerate(shown):
        colour = text_on(colour_of(NEUTRAL, float(value)))
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    for row in range(count):
        if bank.best[row] and bank.p_best[row] <= 0.05:
            _frame(axis, bank.families.index(bank.best[row]), row)
    names = [_kernel_words(bank, health, row) for row in range(count)]
    axis.set_yticks(range(count + 1), [*names, "random kernels"], fontsize=7)
    axis.set_xticks(range(len(bank.families)), [f.replace("_", "\n") for f in bank.families], fontsize=8)
    axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False, left=False, labelleft=False)
    axis.tick_params(labelright=True)


def _frame(axis: Any, column: int, row: int) -> None:
    sides = (column - 0.46, column + 0.46, row + 0.44, row - 0.44)
    left, right, low, high = sides
    axis.plot([left, right, right, left, left], [low, low, high, high, low], color=INK, linewidth=1.8)


def _kernel_words(bank: Any, health: Any, row: int) -> str:
    """Filter 3: sobel, p 0.004, duplicate of 1."""
    words = [f"{bank.labels[row]}: {bank.best[row] or 'zeros'}, p {bank.p_best[row]:.3g}"]
    if health is not None and len(health.norm) == len(bank.labels):
        words += ["dead"] * bool(health.dead[row])
        if health.duplicate_of[row] >= 0:
            words.append(f"duplicate of {health.duplicate_of[row]}")
    return ", ".join(words)


def plot_filter_bank_history(history: Any) -> Any:
    """Mean similarity of a layer's kernels to each family over the steps; dotted: what random kernels reach.

    Args:
        history: `explain.filter_bank_history(...)`.
    Returns: matplotlib Figure.
    """
    figure = new_figure((7.5, 4.0))
    axis = figure.subplots()
    means = history.similarity.mean(axis=1)
    for number, family in enumerate(history.families):
        look = _line_look(number)
        axis.plot(history.steps, means[:, number], label=family.replace("_", " "), markevery=0.15, **look)
        axis.axhline(history.baseline[number], color=look["color"], linestyle=":", linewidth=0.9)
    axis.set_xlabel("step")
    axis.set_ylabel("mean similarity")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    tidy(axis)
    axis.set_title(f"What the kernels of {history.layer} come to resemble", fontsize=11)
    caption(figure, ["Lines: mean over the kernels of the best |cosine|. Dotted: median of random kernels."])
    return figure


def _line_look(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.3,
    }


def plot_filmstrip(
    run: Any,
    layer: str,
    steps: Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    channel: int = 0,
    weight: str | None = None,
) -> Any:
    """Kernels over time: one row per filter, one column per step, one range for all.

    Args:
        run: `recording.Run`, or the path of its folder.
        steps: recorded steps; None for eight from the first to the last.
        filters: their numbers; None for the eight that moved most.
        channel: input channel of the slices.
    Returns: matplotlib Figure. Kernels up to 7 x 7 show their numbers where there is room.
    Raises: ArgumentError for a layer without a convolution kernel.
    """
    run = run_of(run, "plot_filmstrip")
    name = weight or run.about.kernel_name(layer) or "kernel"
    shown = some_steps(run.weight_steps(layer, name), 8) if steps is None else np.asarray(steps)
    kind = layer_kind(run, layer)
    films = np.stack([as_filters(run.kernels(layer, int(step), name), kind) for step in shown])
    rows = filters_that_moved_most(run, layer, 8, name) if filters is None else list(filters)
    rows = [row for row in rows if row < films.shape[-1]]
    if not rows or not 0 <= channel < films.shape[-2]:
        raise ArgumentError(f"{layer!r} has {films.shape[-1]} filters on {films.shape[-2]} channels.")
    picked = films[..., channel, :][..., rows]
    figure = new_figure((0.9 + 1.15 * len(shown), 1.3 + 1.15 * len(rows)))
    axes = figure.subplots(len(rows), len(shown), squeeze=False)
    limit = maps.limit_of(picked)
    for i, row in enumerate(rows):
        for j, step in enumerate(shown):
            image = _draw_kernel(axes[i, j], picked[j, ..., i], limit)
            if i == 0:
                axes[i, j].set_title(f"step {step}", fontsize=8)
        axes[i, 0].set_ylabel(f"filter {row}", fontsize=8)
    figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01, label="weight")
    figure.suptitle(f"Kernels of {layer} over time, input channel {channel}", fontsize=11)
    return figure


def _draw_kernel(axis: Any, kernel: np.ndarray, limit: float) -> Any:
    flat = np.atleast_2d(kernel)
    flat = flat.reshape(-1, flat.shape[-1])
    image = maps.draw(axis, flat, WEIGHTS, limit)
    if max(flat.shape) <= _NUMBERED:
        maps.draw_numbers(axis, flat, WEIGHTS, limit, 2, 5.5)
    return image


def plot_learning_curves(curves: Any) -> Any:
    """How the filters of a layer moved: distance from the start, to the end, and speed.

    Args:
        curves: `explain.LearningCurves`.
    Returns: matplotlib Figure; a thin line per filter, the median thick, dots where filters settled.
    """
    figure = new_figure((12.0, 3.8))
    axes = figure.subplots(1, 3)
    steps = curves.steps
    middle = steps[1:]
    panels = (
        (steps, curves.from_start, "distance from the start"),
        (steps, curves.to_end, "distance to the end"),
        (middle, curves.speed, "speed: distance per step"),
    )
    for axis, (at, values, title) in zip(axes, panels):
        axis.plot(at, values, color=FAINT, linewidth=0.5, alpha=0.7)
        axis.plot(at, np.median(values, axis=1), color=WEIGHTS.plus, linewidth=2, label="median filter")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step", fontsize=9)
        tidy(axis)
    places = np.searchsorted(steps, curves.settled)
    heights = curves.to_end[places, np.arange(len(places))]
    axes[1].plot(curves.settled, heights, "o", color=INK, markersize=3.5, label="settled")
    axes[1].legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"How the {curves.norm.shape[1]} filters of {curves.layer or 'the kernel'} moved", fontsize=11
    )
    caption(
        figure,
        [
            f"Settled: from then on a filter stays within {100 * curves.tolerance:.0f} % of its largest "
            f"distance from its last value. Median step {np.median(curves.settled):.0f} of {steps[-1]}."
        ],
    )
    return figure


def plot_layers_compared(several: Sequence[Any]) -> Any:
    """Layers side by side: the median filter of each, relative to its length at the start.

    Args:
        several: `explain.LearningCurves`, one per layer.
    Returns: matplotlib Figure.
    """
    figure = new_figure((10.5, 3.9))
    axes = figure.subplots(1, 2)
    for number, curves in enumerate(several):
        size = np.where(curves.norm[0] > 0, curves.norm[0], np.nan)
        label = f"{curves.layer} ({curves.norm.shape[1]} filters)"
        for axis, at, values in (
            (axes[0], curves.steps, curves.from_start / size),
            (axes[1], curves.steps[1:], curves.speed / size),
        ):
            low, median, high = np.nanpercentile(values, (25, 50, 75), axis=1)
            look = _line_look(number)
            axis.plot(at, median, label=label, markevery=0.17, **look)
            axis.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
    for axis, title in zip(axes, ("distance from the start", "speed: distance per step")):
        axis.set_title(f"{title}, by the length at the start", fontsize=9)
        axis.set_xlabel("step", fontsize=9)
        tidy(axis)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle("Layers compared", fontsize=11)
    caption(figure, ["Lines: the median filter. Shaded: from the first to the third quartile."])
    return figure
