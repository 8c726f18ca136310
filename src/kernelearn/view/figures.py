"""Figures: the kernels of a layer, images of a data set, the course of a training.

All give a matplotlib `Figure` that belongs to nobody else: no window is opened and no global state is used.
"""

import csv
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, DataError, NotBuiltError
from kernelearn.storage import PathLike, atomic_write
from kernelearn.view import maps
from kernelearn.view.colours import COLOURS, MARK
from kernelearn.view.families import WEIGHTS, colour_map
from kernelearn.view.figure import new_figure
from kernelearn.view.mosaic import Mosaic, arrange_kernels, kernel_grid

_NUMBER_CELLS = 640  # kernels with at most so many weights in all show them as numbers
_CELL_INCHES = 0.42  # of one weight that shows its number
_LONG_SIDE_INCHES = 14.0


def plot_kernels(model_or_layer: Any, layer: str | int | None = None, title: str | None = None) -> Any:
    """Every kernel of a layer, orange above 0 and violet below, in one range.

    A row is an input channel, a column a filter. Where there is one input channel only, or one filter, the
    kernels fill a block row by row. 3-D kernels show one slice below the other, 1-D ones a single line.
    Small kernels show their numbers.

    Args:
        model_or_layer: a model, a layer with a kernel, or a kernel array (kh, kw, channels, filters).
        layer: name or index of the layer of a model; None for the first convolution, or the first layer
            that has a kernel.
        title: over the figure; made from the layer if None.
    Returns: matplotlib Figure.
    Raises: ArgumentError for a layer without a kernel, NotBuiltError before weights exist,
        MissingDependencyError without matplotlib.

    >>> from kernelearn.layers import Conv2D
    >>> layer = Conv2D(12, 3)
    >>> layer.compute_output_shape((None, 25, 25, 1))
    (None, 23, 23, 12)
    >>> plot_kernels(layer).savefig("kernels.png")  # doctest: +SKIP
    """
    name, kind, kernel = _find_kernel(model_or_layer, layer)
    grid = kernel_grid(kernel, kind)
    mosaic = arrange_kernels(grid)
    heading = title or _kernel_title(name, kernel)
    return _draw_mosaic(mosaic, heading, show_numbers=grid.size <= _NUMBER_CELLS)


def plot_data_grid(
    images: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    predictions: Any = None,
    columns: int | None = None,
    title: str | None = None,
) -> Any:
    """Images side by side under their classes.

    Args:
        images: (n, h, w, c) with 1, 3 or 4 channels; other channel numbers show the first. Floats are
            stretched to the range of all images together, unless they lie in [0, 1]; uint8 is shown as is.
            Images of several sizes are a list of arrays.
        labels: (n,) class numbers or values, shown over the images.
        class_names: names of the class numbers.
        predictions: (n,) class numbers; a wrong one is shown in red beside the true one.
        columns: images per row; about a square if None.
    Returns: matplotlib Figure.
    Raises: DataError for an array of another rank or without images.
    """
    shown = displayable(_of_one_size(images))
    columns = columns or max(1, ceil(sqrt(len(shown) * 1.6)))
    rows = ceil(len(shown) / columns)
    figure = new_figure((min(20.0, 1.05 * columns), min(60.0, 1.2 * rows + 0.4)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes, shown)):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        text, is_wrong = _image_title(i, labels, class_names, predictions)
        axis.set_title(text, fontsize=8, pad=2, color=MARK if is_wrong else "black")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def plot_history(history: Any, title: str | None = None) -> Any:
    """Loss and metrics over the epochs, validation beside training.

    Args:
        history: what `fit` gives, its `.history` dict, or the path of a `CSVLogger` file.
    Returns: matplotlib Figure with one panel for the loss and one for each metric.
    Raises: DataError if there is no epoch in it.
    """
    values = _history_values(history)
    names = [name for name in values if not name.startswith("val_")]
    names.sort(key=lambda name: (name != "loss", name))
    figure = new_figure((4.6 * len(names), 3.4))
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        for key, label, colour in zip((name, f"val_{name}"), ("training", "validation"), COLOURS):
            if key in values:
                epochs = np.arange(1, len(values[key]) + 1)
                axis.plot(epochs, values[key], color=colour, label=label, marker=".", markersize=4)
        axis.set_title(name.replace("_", " "), fontsize=11)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    if title:
        figure.suptitle(title)
    return figure


def save_figure(figure: Any, path: PathLike, dpi: int | None = None) -> Path:
    """Write a figure whole or not at all; the ending of `path` chooses PNG, SVG or PDF.

    Raises: ArgumentError for another ending, StorageError if it cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ArgumentError(f"A figure can be saved as {', '.join(sorted(known))}; got {path.name!r}.")
    with atomic_write(path) as file:
        figure.savefig(file, format=kind, dpi=dpi or "figure")
    return path


def layers_with_kernels(model: Any) -> list[Any]:
    """The layers that `plot_kernels` can show, in the model's order, those of nested models included."""
    return [layer for layer in _flat_layers(model) if getattr(layer, "kernel", None) is not None]


def _find_kernel(source: Any, layer: str | int | None) -> tuple[str, str, np.ndarray]:
    """(layer name, layer class, kernel array)."""
    if isinstance(source, np.ndarray):
        return "kernel", "", source
    if hasattr(source, "layers"):
        source = _chosen_layer(source, layer)
    kernel = _kernel_of(source)
    if kernel is None:
        if not getattr(source, "built", True):
            raise NotBuiltError(
                f"Layer {source.name!r} has no weights yet: give it an input_shape or call it on data."
            )
        raise ArgumentError(f"Layer {source.name!r} ({type(source).__name__}) has no kernel to show.")
    return source.name, type(source).__name__, kernel


def _kernel_of(layer: Any) -> np.ndarray | None:
    weight = getattr(layer, "kernel", None)
    return None if weight is None else np.asarray(weight.numpy())


def _chosen_layer(model: Any, layer: str | int | None) -> Any:
    layers = list(_flat_layers(model))
    with_kernel = layers_with_kernels(model)
    if isinstance(layer, str):
        named = {one.name: one for one in reversed(layers)}
        if layer not in named:
            raise ArgumentError(
                f"No layer is called {layer!r}. Layers with kernels: "
                f"{', '.join(one.name for one in with_kernel) or 'none'}."
            )
        return named[layer]
    if layer is not None:
        if not -len(layers) <= layer < len(layers):
            raise ArgumentError(f"layer must lie in 0..{len(layers) - 1}, got {layer}.")
        return layers[layer]
    if not with_kernel:
        raise ArgumentError(f"Model {model.name!r} has no layer with a kernel; is it built?")
    return next((one for one in with_kernel if len(one.kernel.shape) > 2), with_kernel[0])


def _flat_layers(model: Any) -> Any:
    """Layers in order, those of nested models in their place."""
    for one in model.layers:
        if hasattr(one, "layers"):
            yield from _flat_layers(one)
        else:
            yield one


def _kernel_title(name: str, kernel: np.ndarray) -> str:
    return f"{name}: kernels {' x '.join(map(str, kernel.shape))}"


def _draw_mosaic(mosaic: Mosaic, title: str, show_numbers: bool) -> Any:
    height, width = mosaic.values.shape
    inches = _CELL_INCHES if show_numbers else _LONG_SIDE_INCHES / max(height, width, 40)
    size = (max(3.2, width * inches + 1.5), max(2.0, height * inches + 0.9))
    # Without numbers a weight should still be some pixels wide.
    figure = new_figure(size, dpi=120 if show_numbers else int(np.clip(3 / inches, 120, 400)))
    axis = figure.subplots()
    finite = mosaic.values[np.isfinite(mosaic.values)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    image = axis.imshow(
        mosaic.values, cmap=colour_map(WEIGHTS), vmin=-limit, vmax=limit, interpolation="nearest"
    )
    _label_tiles(axis, mosaic, width * inches)
    if show_numbers:
        maps.draw_numbers(axis, mosaic.values, WEIGHTS, limit, 2 if limit < 10 else 1, 6.5)
    axis.set_title(title, fontsize=11)
    figure.colorbar(image, ax=axis, label="weight", fraction=0.05, pad=0.02, aspect=25)
    return figure


def _label_tiles(axis: Any, mosaic: Mosaic, inches: float) -> None:
    """Channel numbers at the left and filter numbers above; every second, fifth, ... where they crowd."""
    axis.tick_params(length=0, labelsize=7)
    axis.xaxis.tick_top()
    axis.xaxis.set_label_position("top")
    axis.spines[:].set_visible(False)
    for which, centres, names in (
        (axis.xaxis, mosaic.column_centres, mosaic.column_names),
        (axis.yaxis, mosaic.row_centres, mosaic.row_names),
    ):
        step = _label_step(len(centres), inches)
        which.set_ticks(centres[::step], names[::step])
    axis.set_xlabel(mosaic.column_label, fontsize=9)
    axis.set_ylabel(mosaic.row_label, fontsize=9)


def _label_step(count: int, inches: float) -> int:
    room = max(1, int(inches / 0.3))
    return next((step for step in (1, 2, 4, 8, 16, 32, 64, 128) if count / step <= room), 256)


def _of_one_size(images: Any) -> np.ndarray:
    """Images as one array; smaller ones in the middle of white."""
    if not isinstance(images, list) or len({np.shape(image) for image in images}) == 1:
        return np.asarray(images)
    shape = np.max([image.shape for image in images], axis=0)
    white = 255 if images[0].dtype == np.uint8 else max(1.0, float(max(image.max() for image in images)))
    out = np.full((len(images), *shape), white, images[0].dtype)
    for place, image in zip(out, images):
        top, left = (shape[:2] - image.shape[:2]) // 2
        place[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out


def displayable(images: np.ndarray) -> np.ndarray:
    """(n, h, w) or (n, h, w, 3 or 4) floats in [0, 1]."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not len(images):
        raise DataError(f"Expected images of shape (n, height, width, channels), got {images.shape}.")
    values = images.astype(np.float64) / (255.0 if images.dtype == np.uint8 else 1.0)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < 0 or high > 1:
        values = (values - low) / (high - low)
    return values if values.shape[-1] in (3, 4) else values[..., 0]


def _image_title(
    index: int, labels: Any, class_names: Sequence[str] | None, predictions: Any
) -> tuple[str, bool]:
    def name(value: Any) -> str:
        is_class = isinstance(value, int | np.integer)
        return str(class_names[value]) if class_names and is_class else f"{value:.4g}"

    if labels is None and predictions is None:
        return "", False
    if predictions is None:
        return name(labels[index]), False
    if labels is None:
        return name(predictions[index]), False
    is_wrong = bool(labels[index] != predictions[index])
    text = f"{name(labels[index])}, not {name(predictions[index])}" if is_wrong else name(labels[index])
    return text, is_wrong


def _history_values(history: Any) -> dict[str, list[float]]:
    if isinstance(history, str | Path):
        with open(history, newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        names = [name for name in (table[0] if table else {}) if name != "epoch"]
        values = {name: [_number(row[name]) for row in table] for name in names}
    else:
        values = {k: list(v) for k, v in dict(getattr(history, "history", history)).items()}
    if not isinstance(values, Mapping) or not any(values.values()):
        raise DataError("This history has no epoch to draw.")
    return {name: numbers for name, numbers in values.items() if name not in ("learning_rate", "lr")}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
