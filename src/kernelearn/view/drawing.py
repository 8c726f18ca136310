"""What the figures of explanations share: pictures, bars, captions.

Whatever matters is there as a number or a label, too. Maps are drawn by `maps`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kernelearn.view.families import HAIR, INK, Family
from kernelearn.view.figures import displayable
from kernelearn.view.maps import limit_of


def grey(axis: Any, image: np.ndarray) -> Any:
    """Draw an image (h, w) or (h, w, 3) with values in [0, 1]."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color(HAIR)
    look = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest", "aspect": "equal"}
    return axis.imshow(image, **look)


def shown_images(images: Any) -> np.ndarray:
    """(n, h, w) or (n, h, w, 3) in [0, 1], whatever the images are: rows of features become lines."""
    found = np.asarray(images, np.float64)
    while found.ndim < 4:
        found = found[:, None] if found.ndim < 3 else found[..., None]
    if found.ndim > 4:  # 3-D images: slices one below the other
        found = found.reshape(len(found), -1, *found.shape[-2:])
    return displayable(found)


def bars(axis: Any, names: Sequence[str], values: Sequence[float], family: Family, digits: int = 3) -> None:
    """Horizontal bars left and right of 0 in the hues of a family, each with its number."""
    numbers = np.asarray(values, np.float64)
    places = np.arange(len(numbers))
    axis.barh(places, numbers, color=[family.plus if v > 0 else family.minus for v in numbers], height=0.7)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(places, names, fontsize=8)
    axis.invert_yaxis()
    limit = 1.75 * limit_of(numbers)
    axis.set_xlim(-limit, limit)
    for place, value in enumerate(numbers):
        side = "left" if value >= 0 else "right"
        text = f" {signed_text(value, digits)} "
        axis.text(value, place, text, va="center", ha=side, fontsize=7)
    axis.tick_params(labelsize=7)
    axis.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    axis.locator_params(axis="x", nbins=5)
    tidy(axis)


def signed_text(value: float, digits: int = 4) -> str:
    """A number with so many digits and a true minus sign."""
    return f"{value:z.{digits}g}".replace("-", "\u2212")


def tidy(axis: Any) -> None:
    """Light grid, no frame above and at the right."""
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def caption(figure: Any, lines: Iterable[str], size: float = 8.0) -> None:
    """Lines below a figure: the formula with its numbers, and what the colours mean."""
    width = int(figure.get_figwidth() * 72 / (0.52 * size))
    wrapped = [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="    ")]
    figure.supxlabel("\n".join(wrapped), x=0.01, ha="left", fontsize=size, linespacing=1.4)


def class_name(names: Sequence[str] | None, number: Any) -> str:
    """The name of a class, or its number."""
    return str(names[int(number)]) if names and 0 <= int(number) < len(names) else str(number)
