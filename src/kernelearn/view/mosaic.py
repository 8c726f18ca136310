"""Kernels as tiles of one big array: which weight lies where. Numbers only; `figures` gives it colours."""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from kernelearn.errors import ArgumentError


@dataclass(frozen=True)
class Mosaic:
    """Tiles in one array, with NaN between them.

    Attributes:
        values: (height, width) float64.
        column_centres, row_centres: middle of each tile, in cells; `*_names` are shown there.
        column_label, row_label: what columns and rows are.
    """

    values: np.ndarray
    column_centres: list[float]
    column_names: list[str]
    row_centres: list[float]
    row_names: list[str]
    column_label: str
    row_label: str


def kernel_grid(kernel: np.ndarray, layer_class: str = "") -> np.ndarray:
    """A kernel of any convolution as (rows, columns, tile height, tile width).

    Rows are input channels, columns filters; for a dense layer there is a single tile, inputs x units.

    Args:
        kernel: as the layer keeps it.
        layer_class: name of the layer's class, which tells transposed and depthwise kernels apart.
    Raises: ArgumentError for an array that is no kernel.
    """
    kernel = np.asarray(kernel, np.float64)
    if not 2 <= kernel.ndim <= 5 or not kernel.size:
        raise ArgumentError(f"A kernel has 2 to 5 axes and at least one weight; got shape {kernel.shape}.")
    if kernel.ndim == 2:
        return kernel[None, None]
    if layer_class.endswith("Transpose"):
        kernel = np.swapaxes(kernel, -1, -2)
    *spatial, channels, filters = kernel.shape
    depth = int(np.prod(spatial[:-2]))
    height, width = (1, *spatial)[-2:]
    # Slices of a 3-D kernel lie one below the other, a blank line between them.
    slices = kernel.reshape(depth, height, width, channels, filters).transpose(3, 4, 0, 1, 2)
    padded = np.pad(slices, ((0, 0), (0, 0), (0, 0), (0, 1), (0, 0)), constant_values=np.nan)
    return padded.reshape(channels, filters, depth * (height + 1), width)[:, :, :-1]


def arrange_kernels(grid: np.ndarray) -> Mosaic:
    """Tiles (rows, columns, height, width) side by side, one cell of NaN around each.

    A single row or column of many tiles is folded into a block that is about as wide as high.
    """
    rows, columns, height, width = grid.shape
    is_folded = min(rows, columns) == 1 and max(rows, columns) > 4
    if is_folded:
        return _folded(grid.reshape(-1, height, width), "filter" if rows == 1 else "input channel")
    if (rows, columns) == (1, 1):
        names, labels = ([""], [""]), ("", "")
    else:
        names = ([str(i) for i in range(columns)], [str(i) for i in range(rows)])
        labels = ("filter", "input channel")
    return _mosaic(grid, names, labels)


def _folded(tiles: np.ndarray, what: str) -> Mosaic:
    count, height, width = tiles.shape
    # Rows that hold 4, 8 or 16 tiles read better than an exact square.
    target = sqrt(count * (height + 1) / (width + 1) * 1.6)
    columns = min((4, 8, 16, 32, 64), key=lambda n: abs(n - target))
    columns = min(columns, count)
    rows = ceil(count / columns)
    padding = np.full((rows * columns - count, height, width), np.nan)
    grid = np.concatenate([tiles, padding]).reshape(rows, columns, height, width)
    names = ([f"+{i}" for i in range(columns)], [str(i * columns) for i in range(rows)])
    return _mosaic(grid, names, ("", f"{what} = row + column"))


def _mosaic(grid: np.ndarray, names: tuple[list[str], list[str]], labels: tuple[str, str]) -> Mosaic:
    rows, columns, height, width = grid.shape
    padded = np.pad(grid, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=np.nan)
    values = padded.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))
    values = np.pad(values, ((0, 1), (0, 1)), constant_values=np.nan)
    return Mosaic(
        values=values,
        column_centres=[i * (width + 1) + 1 + (width - 1) / 2 for i in range(columns)],
        column_names=names[0],
        row_centres=[i * (height + 1) + 1 + (height - 1) / 2 for i in range(rows)],
        row_names=names[1],
        column_label=labels[0],
        row_label=labels[1],
    )
