"""Three families of hues that say what a number is before its caption is read: weights, activations, errors.

Each is diverging: zero is the neutral of the page, the sign has a hue, the size a depth. Nothing rests on
colour alone: kernels carry numbers, what passes nothing is hatched, what is chosen has a frame in ink.
The tables here are the only place of these colours: figures, report and documentation take them from here.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from kernelearn._optional import require

# Depth by size: small numbers are still told from zero.
EXPONENT = 0.85
# Shades from zero to one end of a family.
SHADES = 128


class Pair(NamedTuple):
    """A colour on a light page and on a dark one."""

    light: str
    dark: str


# Names as style sheets have them, without the two hyphens.
TOKENS = {
    "wp": Pair("#b24d06", "#f59a45"),
    "wn": Pair("#5a49b8", "#a594f7"),
    "ap": Pair("#08766c", "#3cc4b5"),
    "an": Pair("#8f680c", "#d9a93f"),
    "ep": Pair("#c0205a", "#f4709a"),
    "en": Pair("#1c62ad", "#6db0f5"),
    "zero": Pair("#f4f4f1", "#23282d"),
    "bg": Pair("#f7f7f5", "#121518"),
    "surface": Pair("#ffffff", "#191d21"),
    "ink": Pair("#1b2026", "#eceeef"),
    "ink2": Pair("#525b64", "#b0b8bf"),
    "ink3": Pair("#68717a", "#929ba3"),
    "line": Pair("#dddfe0", "#30363c"),
    "hair": Pair("#eceded", "#262b30"),
    "mark": Pair("#1b2026", "#ffffff"),
    "sel": Pair("#fff3c9", "#2c2a20"),
    "blk": Pair("#a9afb4", "#5a636b"),
}


def css_tokens(is_dark: bool) -> str:
    """The table as declarations of a style sheet, for light pages or for dark ones."""
    return "".join(f"--{name}:{pair[is_dark]};" for name, pair in TOKENS.items())


INK, QUIET, HAIR, PAPER = (TOKENS[name].light for name in ("ink", "ink3", "line", "surface"))
ZERO = TOKENS["zero"].light


class Family(NamedTuple):
    """One kind of number: its name, and the tokens of positive and of negative ones."""

    name: str
    tokens: tuple[str, str]

    @property
    def plus(self) -> str:
        """Hue of positive numbers on white."""
        return TOKENS[self.tokens[0]].light

    @property
    def minus(self) -> str:
        """Hue of negative numbers on white."""
        return TOKENS[self.tokens[1]].light


WEIGHTS = Family("weights", ("wp", "wn"))
ACTIVATIONS = Family("activations", ("ap", "an"))
ERRORS = Family("errors", ("ep", "en"))
# What is none of the three, such as a similarity: from zero to ink.
NEUTRAL = Family("neutral", ("ink", "ink"))
FAMILIES = (WEIGHTS, ACTIVATIONS, ERRORS, NEUTRAL)

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
def shades(family: Family, is_dark: bool = False) -> np.ndarray:
    """(2 * SHADES + 1, 3) uint8: the colours of a family, from its negative end over zero to its positive."""
    places = np.linspace(-1, 1, 2 * SHADES + 1)
    colours = np.array([colour_of(family, float(t), is_dark) for t in places])
    return (255 * colours + 0.5).astype(np.uint8)


@cache
def colour_map(family: Family) -> Any:
    """The matplotlib colour map of a family; what is not a number has the colour of lines."""
    colours = require("matplotlib.colors", "drawing figures")
    found = colours.ListedColormap(shades(family) / 255, name=family.name)
    return found.with_extremes(bad=HAIR)


def colour_of(family: Family, t: float, is_dark: bool = False) -> tuple[float, float, float]:
    """The colour of a number between -1 and 1 of its range: red, green, blue in [0, 1]."""
    depth = min(abs(t), 1.0) ** EXPONENT
    end = _lab(TOKENS[family.tokens[0 if t > 0 else 1]][is_dark])
    red, green, blue = _rgb((1 - depth) * _lab(TOKENS["zero"][is_dark]) + depth * end)
    return red, green, blue


def text_on(colour: tuple[float, float, float]) -> str:
    """Black or white, whichever is read better on a colour."""
    linear = _linear(np.asarray(colour))
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


@cache
def crossing(family: Family, is_plus: bool, is_dark: bool = False) -> float:
    """From which share of the range on text is not as on zero, black or white; above 1 if never."""
    sign = 1.0 if is_plus else -1.0
    first = text_on(colour_of(family, 0.0, is_dark))
    places = np.linspace(0, 1, 101)
    other = [t for t in places if text_on(colour_of(family, sign * float(t), is_dark)) != first]
    return float(other[0]) if other else 1.01


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
