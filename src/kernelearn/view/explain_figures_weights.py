"""Figures of one weight: its ledger, its updates, its history, and its layer as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.explain.choices import batch_images, by_number
from kernelearn.view import maps
from kernelearn.view.blocks import block_of
from kernelearn.view.colours import COLOURS, MORE_COLOURS
from kernelearn.view.drawing import (
    bars,
    caption,
    class_name,
    grey,
    shown_images,
    signed_text,
    tidy,
)
from kernelearn.view.families import ACTIVATIONS, ERRORS, INK, WEIGHTS
from kernelearn.view.figure import new_figure
from kernelearn.view.windows import window_picture

# Parts of an update, each with its own colour and hatching in every figure.
PART_LOOKS = {
    "gradient": (COLOURS[0], ""),
    "momentum": (COLOURS[1], "//"),
    "penalty": (COLOURS[2], ".."),
    "clipping": (COLOURS[3], "xx"),
    "weight_decay": (COLOURS[4], "\\\\"),
    "constraint": (COLOURS[5], "++"),
    "accumulated": (COLOURS[0], "--"),
    "averaging": (COLOURS[6], "oo"),
}
_MOST_BARS = 12


def plot_ledger(book: Any, images: Any = None, class_names: Sequence[str] | None = None, k: int = 8) -> Any:
    """The ledger of a weight: its largest terms, and the sums by image, position and class.

    Args:
        book: `explain.Ledger`.
        images: what the terms came from, see `Ledger.top`. None takes the images of the step as the network
            got them, where the run has them; else it shows what the kernel read.
        class_names: names of the classes.
        k: terms to show.
    Returns: matplotlib Figure.
    Raises: MissingDependencyError without matplotlib.
    """
    images = _images_of(book) if images is None else images
    top = book.top(k, images)
    by_position = book.by_position()
    panels = ["image"] + ["position"] * bool(by_position.ndim) + ["class"] * (book.labels is not None)
    figure = new_figure((max(9.0, 1.3 * len(top)), 6.4))
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.35))
    _draw_terms(above, book, top, images, class_names)
    for name, axis in zip(panels, below.subplots(1, len(panels), squeeze=False)[0]):
        if name == "position":
            _draw_positions(below, axis, by_position)
        else:
            _draw_sums(axis, book, name, class_names)
    figure.suptitle(f"Ledger of {book.layer}/{book.weight}{list(book.index)}, step {book.step}", fontsize=11)
    caption(figure, ledger_caption(book, top))
    return figure


def _images_of(book: Any) -> Any:
    """The images of the ledger's step, by their numbers; None without a run that has them."""
    if book.run is None:
        return None
    return by_number(batch_images(book.run, book.step), book.run.batch(book.step).images)


def ledger_caption(book: Any, top: list[Any]) -> list[str]:
    """The formula, its first terms with their numbers, and the sum."""
    penalty = f" + penalty {book.penalty:.6g}" if book.penalty else ""
    first = " + ".join(f"({one.input:.4g}) \u00d7 ({one.delta:.4g})" for one in top[:3])
    rest = len(book.terms) - len(top[:3])
    return [
        book.formula,
        f"= {first}" + (f" + \u2026 {rest:,} terms more" if rest else ""),
        f"= {book.total:.9g} (sum of {len(book.terms):,} terms){penalty}; gradient of the engine "
        f"{book.gradient:.9g}; residual {book.residual:.1g}",
    ]


def _draw_terms(figure: Any, book: Any, top: list[Any], images: Any, names: Any) -> None:
    axes = figure.subplots(1, len(top), squeeze=False)[0]
    if images is None:
        pictures = [window_picture(book, one) for one in top]
        limit = maps.limit_of(*pictures)
    else:
        wholes = [np.asarray(images(one.image) if callable(images) else images[one.image]) for one in top]
        pictures = list(shown_images(np.stack(wholes)))
    for axis, one, picture in zip(axes, top, pictures):
        if images is None:
            maps.draw(axis, picture, ACTIVATIONS, limit)
        else:
            grey(axis, picture)
            _outline(axis, one.crop_window)
        label = "" if one.label is None else f" ({class_name(names, one.label)})"
        axis.set_title(f"image {one.image}{label}", fontsize=7.5, pad=3)
        where = f"at {', '.join(map(str, one.position))}\n" if one.position else ""
        product = f"{signed_text(one.input, 3)} \u00d7 {signed_text(one.delta, 3)}"
        axis.set_xlabel(f"{where}{product}\n= {signed_text(one.term, 3)}", fontsize=7.5, labelpad=3)
    what = "image, and what the unit sees of it" if images is not None else "what the kernel read there"
    figure.supylabel(what, fontsize=8)


def _outline(axis: Any, window: Any) -> None:
    """The part of the image that a unit sees."""
    if window is None or len(window) != 2:
        return
    (top, bottom), (left, right) = ((s.start, s.stop - 1) for s in window)
    maps.frame(axis, top, left, bottom, right, ACTIVATIONS.plus)


def _draw_sums(axis: Any, book: Any, by: str, names: Any) -> None:
    sums = book.by_image() if by == "image" else book.by_class()
    order = np.argsort(-np.abs(sums.sums), kind="stable") if by == "image" else np.arange(len(sums.keys))
    shown, rest = order[:_MOST_BARS], order[_MOST_BARS:]
    labels = [class_name(names if by == "class" else None, sums.keys[i]) for i in shown]
    values = sums.sums[shown].tolist()
    if len(rest):
        labels.append(f"{len(rest)} others")
        values.append(float(sums.sums[rest].sum()))
    bars(axis, labels, values, ERRORS, digits=2)
    axis.set_title(f"sum of the terms of each {by}", fontsize=9)


def _draw_positions(figure: Any, axis: Any, values: np.ndarray) -> None:
    flat = values.reshape(-1, values.shape[-1])
    image = maps.draw(axis, flat, ERRORS, maps.limit_of(flat))
    axis.set_title("sum at each position", fontsize=9)
    bar = figure.colorbar(image, ax=axis, fraction=0.05, pad=0.03)
    bar.ax.tick_params(labelsize=7)


def plot_update_split(splits: Any, index: Sequence[int], step: int | None = None) -> Any:
    """The parts of the updates of one weight: stacked over the steps, and one update with its numbers.

    Args:
        splits: `explain.UpdateSplit` of one step, or several in order.
        index: which number of the weight.
        step: the update to show in numbers; None for the last.
    Returns: matplotlib Figure.
    Raises: ArgumentError without an update, or for a step that is not among them.
    """
    found = list(splits) if isinstance(splits, list | tuple) else [splits]
    if not found:
        raise ArgumentError("plot_update_split needs at least one update.")
    steps = [one.steps[-1] for one in found]
    at = steps[-1] if step is None else int(step)
    if at not in steps:
        raise ArgumentError(f"Update {at} is not among those given: {steps[0]} to {steps[-1]}.")
    place, chosen = tuple(index), found[steps.index(at)]
    figure = new_figure((10.0, 4.2) if len(found) > 1 else (6.0, 3.2))
    axes = figure.subplots(1, 2 if len(found) > 1 else 1, squeeze=False)[0]
    if len(found) > 1:
        _stack_parts(axes[0], steps, found, place)
    values = chosen.at(place)
    bars(axes[-1], [name.replace("_", " ") for name in values], list(values.values()), WEIGHTS, digits=4)
    axes[-1].set_title(f"update {at}", fontsize=9)
    figure.suptitle(
        f"Updates of {chosen.layer}/{chosen.weight}{list(place)} ({chosen.optimizer})", fontsize=11
    )
    caption(figure, update_caption(chosen, place))
    return figure


def update_caption(split: Any, place: tuple[int, ...]) -> list[str]:
    """W_after - W_before with its numbers, and what it is the sum of."""
    values = split.at(place)
    update = values.pop("update")
    parts = " + ".join(f"({value:.6g}) {name.replace('_', ' ')}" for name, value in values.items())
    before, after = float(split.before[place]), float(split.after[place])
    return [f"{after:.9g} \u2212 {before:.9g} = {update:.6g} = {parts}"]


def _stack_parts(axis: Any, steps: list[int], splits: list[Any], place: tuple[int, ...]) -> None:
    names = list(dict.fromkeys(name for one in splits for name in one.parts))
    heights = {
        n: np.array([float(s.parts[n][place]) if n in s.parts else 0.0 for s in splits]) for n in names
    }
    above, below = np.zeros(len(splits)), np.zeros(len(splits))
    width = 0.8 * min(np.diff(steps), default=1)
    for name, values in heights.items():
        bottom = np.where(values >= 0, above, below)
        colour, hatch = PART_LOOKS.get(name, (COLOURS[6], ""))
        label = name.replace("_", " ")
        axis.bar(
            steps,
            values,
            width,
            bottom,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=label,
            linewidth=0,
        )
        above, below = above + np.maximum(values, 0), below + np.minimum(values, 0)
    updates = [float(one.update[place]) for one in splits]
    axis.plot(steps, updates, color=INK, marker="o", markersize=3.5, linewidth=0.8, label="update, their sum")
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xlabel("update", fontsize=9)
    axis.set_title("parts of each recorded update, stacked", fontsize=9)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    axis.legend(frameon=False, fontsize=8)
    tidy(axis)


def plot_weight_history(past: Any, trace: Any, class_names: Sequence[str] | None = None) -> Any:
    """One weight over a run, what its change is made of, and what each class did to it.

    Args:
        past: `explain.History`.
        trace: (steps, values) of the weight, as `run.trace` gives it.
    Returns: matplotlib Figure.
    """
    sums = past.by_class() if past.run is not None and _knows_classes(past) else None
    count = 2 if sums is None or not len(sums.keys) else 3
    figure = new_figure((4.3 * count, 4.0))
    axes = figure.subplots(1, count, squeeze=False)[0]
    _draw_trace(axes[0], past, trace)
    parts = {**past.totals, "residual": past.residual, "change": past.change}
    bars(axes[1], [name.replace("_", " ") for name in parts], list(parts.values()), WEIGHTS)
    axes[1].set_title("what the change is the sum of", fontsize=9)
    if sums is not None and count == 3:
        bars(axes[2], [class_name(class_names, key) for key in sums.keys], sums.sums.tolist(), WEIGHTS)
        axes[2].set_title(f"by class, in {len(past.ledger_steps)} steps with a ledger", fontsize=9)
    figure.suptitle(f"History of {past.layer}/{past.weight}{list(past.index)}", fontsize=11)
    caption(figure, [f"{past.after:.9g} \u2212 {past.before:.9g} = {past.change:.6g}. {past.note()}"])
    return figure


def _knows_classes(past: Any) -> bool:
    try:
        past.by_class()
    except ArgumentError:
        return False
    return True


def _draw_trace(axis: Any, past: Any, trace: Any) -> None:
    steps, values = (np.asarray(part) for part in trace)
    axis.plot(steps, values, color=WEIGHTS.plus, linewidth=1.2)
    marked = np.isin(steps, past.ledger_steps)
    axis.plot(steps[marked], values[marked], "D", color=ERRORS.plus, markersize=4, label="has a ledger")
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xlabel("step", fontsize=9)
    axis.set_title("the weight after each step", fontsize=9)
    if marked.any():
        axis.legend(frameon=False, fontsize=8)
    tidy(axis)


def plot_dense_equivalent(wide: Any, channel: int = 0, filter: int = 0) -> Any:
    """A convolution as a matrix: its values, and which entries are tied (one colour, one kernel entry).

    Args:
        wide: `explain.DenseEquivalent`.
        channel, filter: the block to draw, from this input channel to this filter.
    Returns: matplotlib Figure with the values, the ties, and the kernel as legend of the ties.
    Raises: ArgumentError for a channel or filter that no entry belongs to.
    """
    values, ties, kernel = block_of(wide, channel, filter)
    figure = new_figure((11.0, 5.2))
    axes = figure.subplots(1, 3, width_ratios=(1.0, 1.0, 0.45))
    image = maps.draw(axes[0], values, WEIGHTS, maps.limit_of(kernel))
    axes[0].set_title("values (grey: zero, whatever the kernel is)", fontsize=9)
    figure.colorbar(image, ax=axes[0], fraction=0.045, pad=0.02, label="weight")
    _draw_ties(axes[1], ties, kernel.size)
    axes[1].set_title("ties: one colour, one number of the kernel", fontsize=9)
    _draw_legend_kernel(axes[2], kernel)
    for axis in axes[:2]:
        axis.set_xlabel(f"{values.shape[1]} inputs of channel {channel}", fontsize=8)
        axis.set_ylabel(f"{values.shape[0]} outputs of filter {filter}", fontsize=8)
    figure.suptitle(f"{wide.layer or wide.kind}/{wide.weight} as a dense layer", fontsize=11)
    caption(
        figure,
        [
            f"Whole layer {wide.input_shape} \u2192 {wide.output_shape}: {wide.entries:,} entries, "
            f"{wide.zeros:,} of them zero, {wide.nonzeros:,} tied to {wide.free:,} numbers."
        ],
    )
    return figure


def _tie_scale(count: int) -> Any:
    """Colours for numbers of taps: Okabe and Ito's where they are enough, else a dark-to-light scale."""
    matplotlib = require("matplotlib", "drawing figures")
    colours = require("matplotlib.colors", "drawing figures")
    if count <= 9:
        return colours.ListedColormap([*COLOURS, *MORE_COLOURS][:count])
    return matplotlib.colormaps["turbo"].resampled(count)


def _draw_ties(axis: Any, ties: np.ndarray, count: int) -> None:
    axis.imshow(ties, cmap=_tie_scale(count), vmin=-0.5, vmax=count - 0.5, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_legend_kernel(axis: Any, kernel: np.ndarray) -> None:
    flat = kernel.reshape(-1, kernel.shape[-1]) if kernel.ndim else kernel.reshape(1, 1)
    _draw_ties(axis, np.arange(flat.size).reshape(flat.shape), flat.size)
    for (i, j), value in np.ndenumerate(flat):
        axis.text(
            j,
            i,
            signed_text(value, 2),
            ha="center",
            va="center",
            fontsize=8,
            color="white",
            bbox={"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.5},
        )
    axis.set_title("the kernel", fontsize=9)
