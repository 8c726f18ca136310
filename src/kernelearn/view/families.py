"""Three families of hues that say what a number is before its caption is read: weights, activations, errors.

Each is diverging: zero is the neutral of the page, the sign has a hue, the size a depth. Nothing rests on
colour alone: kernels carry numbers, what passes nothing is hatched, what is chosen has a frame in ink.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from kernelearn._optional import require

INK, QUIET, HAIR, PAPER = "#1b2026", "#68717a", "#dddfe0", "#ffffff"
ZERO = "#f4f4f1"
# Depth by size: small numbers are still told from zero.
_EXPONENT = 0.85
_SHADES = 128


class Family(NamedTuple):
    """The hues of one kind of number: name, of positive and of negative ones."""

    name: str
    plus: str
    minus: str


WEIGHTS = Family("weights", "#b24d06", "#5a49b8")
ACTIVATIONS = Family("activations", "#08766c", "#8f680c")
ERRORS = Family("errors", "#c0205a", "#1c62ad")

# Oklab: https://bottosson.github.io/posts/oklab/
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@cache
def colour_map(family: Family) -> Any:
    """The matplotlib colour map of a family, from its negative hue over zero to its positive one."""
    colours = require("matplotlib.colors", "drawing figures")
    shades = np.linspace(-1, 1, 2 * _SHADES + 1)
    return colours.ListedColormap([colour_of(family, float(t)) for t in shades], name=family.name)


def colour_of(family: Family, t: float) -> tuple[float, float, float]:
    """The colour of a number between -1 and 1 of its range: red, green, blue in [0, 1]."""
    depth = min(abs(t), 1.0) ** _EXPONENT
    end = _lab(family.plus if t > 0 else family.minus)
    red, green, blue = _rgb((1 - depth) * _lab(ZERO) + depth * end)
    return red, green, blue


def text_on(colour: tuple[float, float, float]) -> str:
    """Black or white, whichever is read better on a colour."""
    linear = _linear(np.asarray(colour))
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def _lab(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.asarray(_TO_LAB @ np.cbrt(_TO_LMS @ _linear(rgb)))


def _rgb(lab: np.ndarray) -> list[float]:
    linear = np.linalg.solve(_TO_LMS, np.linalg.solve(_TO_LAB, lab) ** 3)
    clipped = np.clip(linear, 0, 1)
    return [
        float(v)
        for v in np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    ]


def _linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
