"""Figures of what kernels see: maps, receptive fields, best patches, saliency, and images they prefer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.view.colours import COLOURS, STYLES
from kernelearn.view.drawing import caption, class_name, grey, shown_images, signed_text, tidy
from kernelearn.view.families import ACTIVATIONS, ERRORS, Family
from kernelearn.view.figure import new_figure
from kernelearn.view.maps import draw, limit_of

_MOST_MAPS = 12
_MOST_IMAGES = 6


def plot_feature_maps(
    maps: Any, images: Any = None, layer: str = "", channels: Sequence[int] | None = None
) -> Any:
    """Feature maps of a layer: a row for each image, a column for each channel, one range for all.

    Args:
        maps: (n, *positions, channels) as `explain.feature_maps` gives for a layer.
        images: (n, ...) shown at the left.
        channels: which; None for the twelve with the largest values.
    Returns: matplotlib Figure. Green is positive, brown negative.
    """
    found = np.asarray(maps, np.float64)[:_MOST_IMAGES]
    if found.ndim < 3:
        raise ArgumentError(f"Feature maps have positions, (n, *positions, channels); got {found.shape}.")
    found = found.reshape(len(found), -1, *found.shape[-2:]) if found.ndim != 4 else found
    strength = np.abs(found).max(axis=(0, 1, 2))
    order = sorted(np.argsort(-strength, kind="stable")[:_MOST_MAPS].tolist())
    chosen = order if channels is None else list(channels)
    columns = len(chosen) + (images is not None)
    figure = new_figure((0.8 + 0.95 * columns, 1.2 + 1.05 * len(found)))
    axes = figure.subplots(len(found), columns, squeeze=False)
    if images is not None:
        for axis, image in zip(axes[:, 0], shown_images(images)[: len(found)]):
            grey(axis, image)
        axes[0, 0].set_title("image", fontsize=8)
    limit = limit_of(found[..., chosen])
    for row, values in enumerate(found):
        for axis, channel in zip(axes[row, columns - len(chosen) :], chosen):
            image = draw(axis, values[..., channel], ACTIVATIONS, limit)
            if row == 0:
                axis.set_title(f"{channel}", fontsize=8)
    figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01, label="activation")
    figure.suptitle(f"Feature maps of {layer or 'the layer'}", fontsize=11)
    caption(figure, [f"{len(chosen)} of {found.shape[-1]} channels, numbered above; one range for all maps."])
    return figure


def plot_receptive_fields(fields: Any, image: Any = None) -> Any:
    """What units see of the image: a frame for each field, and the exact pixels of a single one.

    Args:
        fields: `explain.ReceptiveField`, or several.
        image: (h, w, channels) drawn below the frames.
    Returns: matplotlib Figure.
    Raises: ArgumentError for images that are not two-dimensional.
    """
    several = list(fields) if isinstance(fields, list | tuple) else [fields]
    if any(len(one.image_size) != 2 for one in several):
        raise ArgumentError("Receptive fields are drawn for images with two axes only; see the table.")
    figure = new_figure((6.4, 5.0))
    axis = figure.subplots()
    height, width = several[0].image_size
    if image is not None:
        grey(axis, shown_images(np.asarray(image)[None])[0])
    else:
        seen = several[0].mask if len(several) == 1 else np.zeros((height, width))
        axis.imshow(seen, cmap="Greys", vmin=0, vmax=2.5, interpolation="nearest")
    _frame_of(axis, (-0.5, -0.5), (height, width), color="black", linewidth=2.5)
    for number, one in enumerate(several):
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)]}
        label = f"{one.layer}: {' x '.join(map(str, one.size))}"
        corner = (one.start[0] - 0.5 + 0.05 * number, one.start[1] - 0.5 + 0.05 * number)
        _frame_of(axis, corner, one.size, linewidth=2, label=label, **look)
    low = min(min(one.start) for one in several) - 1.0
    high = max(max(one.stop) for one in several) + 0.5
    axis.set_xlim(min(low, -1.0), max(high, width))
    axis.set_ylim(max(high, height), min(low, -1.0))
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set_title("Receptive fields", fontsize=11)
    middle = "the unit in the middle" if len(several) > 1 else f"unit {several[0].unit}"
    caption(figure, [f"What {middle} sees, in pixels. Black frame: the image; beside it: padding."])
    return figure


def _frame_of(axis: Any, corner: tuple[float, float], size: Sequence[int], **look: Any) -> None:
    patches = require("matplotlib.patches", "drawing figures")
    colour = look.pop("color")
    top, left = corner
    axis.add_patch(patches.Rectangle((left, top), size[1], size[0], fill=False, edgecolor=colour, **look))


def plot_patches(found: Any, filters: Sequence[int] | None = None) -> Any:
    """The parts of images that filters respond to most: a row per filter, strongest first.

    Args:
        found: `explain.top_patches(...)`.
        filters: which; None for the first sixteen.
    Returns: matplotlib Figure; below each patch its response and the number of its image.
    """
    chosen = list(found.patches)[:16] if filters is None else list(filters)
    count = max(len(found[f]) for f in chosen)
    figure = new_figure((0.9 + 1.05 * count, 0.8 + 1.25 * len(chosen)))
    axes = figure.subplots(len(chosen), count, squeeze=False)
    crops = [shown_images(found.crops(f)) for f in chosen]
    for row, filter in enumerate(chosen):
        for column, axis in enumerate(axes[row]):
            axis.axis("off")
            if column < len(found[filter]):
                patch = found[filter][column]
                grey(axis, crops[row][column])
                axis.axis("on")
                axis.set_xlabel(
                    f"{signed_text(patch.value, 3)}\nimage {patch.image}", fontsize=6.5, labelpad=2
                )
        axes[row, 0].set_ylabel(f"filter {filter}", fontsize=8)
    figure.suptitle(f"What the filters of {found.layer} respond to most", fontsize=11)
    return figure


def plot_attribution(found: Any, images: Any, class_names: Sequence[str] | None = None) -> Any:
    """Which pixels speak for the explained class: the images above, the maps below.

    Args:
        found: what `explain.saliency`, `smooth_grad`, `integrated_gradients` or `grad_cam` gives.
        images: (n, ...) the explained images.
        class_names: names of the classes.
    Returns: matplotlib Figure. Signed methods are red for and blue against; Grad-CAM is made of maps
        and has their green.
    """
    method, maps = found.method, found.heatmaps
    is_cam = method == "grad_cam"
    shown = shown_images(images)[:12]
    figure = new_figure((0.9 + 1.25 * len(shown), 3.9))
    axes = figure.subplots(2, len(shown), squeeze=False)
    for i, picture in enumerate(shown):
        grey(axes[0, i], picture)
        target = found.targets[i]
        name = class_name(class_names, target) if isinstance(target, int) else str(target)
        axes[0, i].set_title(f"{name}\nscore {signed_text(float(found.scores[i]), 3)}", fontsize=8)
        drawn = _draw_map(axes[1, i], maps[i], limit_of(maps), ACTIVATIONS if is_cam else ERRORS)
    figure.colorbar(drawn, ax=axes[1], fraction=0.02, pad=0.01)
    title = f"Grad-CAM of {found.layer}" if is_cam else method.replace("_", " ").capitalize()
    figure.suptitle(f"{title}: which pixels the score depends on", fontsize=11)
    caption(figure, [_METHOD_WORDS[method]])
    return figure


_METHOD_WORDS = {
    "gradient": "Largest |change of the score per change of the pixel| over the channels.",
    "gradient_times_input": "Pixel times change of the score by the pixel. Red: for, blue: against.",
    "smooth_grad": "Mean change of the score over noisy copies of the image. Red: for, blue: against.",
    "integrated_gradients": "What a pixel adds to the score, from the baseline on. Red: for, blue: against.",
    "grad_cam": "Sum of the layer's maps, each times the mean change of the score per change of the map.",
}


def _draw_map(axis: Any, values: np.ndarray, limit: float, family: Family) -> Any:
    flat = np.atleast_2d(values)
    flat = flat.reshape(-1, flat.shape[-1])
    return draw(axis, flat, family, limit)


def plot_preferred(found: Any) -> Any:
    """The images that units like best, and how their scores rose.

    Args:
        found: what `explain.activation_maximization` gives.
    Returns: matplotlib Figure.
    """
    shown = shown_images(found.images)
    count = len(shown)
    figure = new_figure((max(5.0, 1.3 * count + 0.6), 4.4))
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.3))
    for axis, image, target, score in zip(
        above.subplots(1, count, squeeze=False)[0], shown, found.targets, found.scores
    ):
        grey(axis, image)
        axis.set_title(f"{target}", fontsize=8)
        axis.set_xlabel(f"score {signed_text(float(score), 3)}", fontsize=7.5)
    axis = below.subplots()
    for number, history in enumerate(found.history.T):
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)]}
        axis.plot(history, label=f"{found.targets[number]}", linewidth=1.3, **look)
    axis.set_xlabel("step of ascent", fontsize=9)
    axis.set_ylabel("score", fontsize=9)
    axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    tidy(axis)
    figure.suptitle(f"Images that {found.layer or 'the output'} prefers, by unit", fontsize=11)
    return figure
