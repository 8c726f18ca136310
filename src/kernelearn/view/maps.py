"""The one set of tools that every figure draws maps with: cells in the hue of what they are, numbers on them,
hatching where nothing passes, a frame around what is chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.view.families import HAIR, INK, QUIET, Family, colour_map, colour_of, text_on

# Cells with numbers in them: kernels up to so many a side.
NUMBERED = 7
_SQUARE_FROM = 14  # a longer row of features is folded into a block


def limit_of(*arrays: Any) -> float:
    """Largest absolute number of all arrays, 1 if all are 0: one range for all maps of a figure."""
    sizes = [float(np.nanmax(np.abs(a))) for a in arrays if np.size(a) and np.isfinite(a).any()]
    return max(sizes, default=0.0) or 1.0


def flat(values: Any) -> np.ndarray:
    """(h, w) as a picture: volumes stand slice below slice, a long row of features becomes a block."""
    found = np.asarray(values, np.float64)
    if found.ndim > 1:
        return found.reshape(-1, found.shape[-1])
    wide = int(np.ceil(np.sqrt(found.size))) if found.size > _SQUARE_FROM else max(found.size, 1)
    rows = -(-found.size // wide)
    return np.pad(found.ravel(), (0, rows * wide - found.size), constant_values=np.nan).reshape(rows, wide)


def channel_of(values: np.ndarray, channel: int) -> np.ndarray:
    """One channel of (*positions, channels) as a picture, a sequence as a line; features as a block."""
    if values.ndim < 2:
        return flat(values)
    one = values[..., channel]
    return flat(one[None] if one.ndim == 1 else one)


def draw(axis: Any, picture: np.ndarray, family: Family, limit: float) -> Any:
    """A matrix in the hues of its family, with the range +-limit; gives the image, for a colour bar."""
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color(HAIR)
    look = {"interpolation": "nearest", "aspect": "equal"}
    return axis.imshow(picture, cmap=colour_map(family), vmin=-limit, vmax=limit, **look)


def draw_numbers(
    axis: Any, picture: np.ndarray, family: Family, limit: float, decimals: int, size: float | None = None
) -> None:
    """The numbers on the cells of a small matrix, black or white as is read better."""
    longest = max(picture.shape)
    fitting = 8.5 if longest <= 3 else 6.5 if longest <= 5 else 5.0
    for (i, j), value in np.ndenumerate(picture):
        if np.isfinite(value):
            ink = text_on(colour_of(family, float(value) / limit))
            text = fixed(float(value), decimals)
            axis.text(j, i, text, ha="center", va="center", fontsize=size or fitting, color=ink)


def decimals_of(limit: float) -> int:
    """Decimals that give the largest number three digits: all have them, so that a picture adds up."""
    return int(np.clip(2 - np.floor(np.log10(limit)), 0, 6))


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals and a true minus; 0 where it is exactly that."""
    return "0" if value == 0 else f"{value:z.{decimals}f}".replace("-", "\u2212")


def hatch(axis: Any, closed: np.ndarray) -> None:
    """Hatching over the cells where nothing passes."""
    patches = require("matplotlib.patches", "drawing figures")
    look = {"fill": False, "edgecolor": QUIET, "hatch": "/////", "linewidth": 0.0, "alpha": 0.55}
    for i, j in np.argwhere(closed == 1):
        axis.add_patch(patches.Rectangle((j - 0.5, i - 0.5), 1, 1, **look))


def frame(axis: Any, top: float, left: float, bottom: float, right: float, hue: str = INK) -> None:
    """A frame around cells, the last row and column included."""
    patches = require("matplotlib.patches", "drawing figures")
    corner, width, height = (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1
    axis.add_patch(patches.Rectangle(corner, width, height, fill=False, edgecolor=hue, linewidth=1.8))
