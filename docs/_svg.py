"""A small drawing board for the pictures of the pages: SVG with the three families of hues, light or dark.

Weights, activations and errors have a hue for each sign; zero is the neutral of the page, depth is size.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kernelearn.view.families import ACTIVATIONS, ERRORS, EXPONENT, TOKENS, WEIGHTS, text_on

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
W, A, E = WEIGHTS.name, ACTIVATIONS.name, ERRORS.name
WIDTH = 720


class Theme(NamedTuple):
    """The colours of one picture: page, ink, quieter ink, rules, zero, and (plus, minus) of each family."""

    name: str
    paper: str
    ink: str
    quiet: str
    line: str
    zero: str
    families: dict[str, tuple[str, str]]


def _theme(name: str) -> Theme:
    """A theme out of the table of the library."""
    colours = {token: getattr(pair, name) for token, pair in TOKENS.items()}
    families = {f.name: (colours[f.tokens[0]], colours[f.tokens[1]]) for f in (WEIGHTS, ACTIVATIONS, ERRORS)}
    return Theme(name, *(colours[token] for token in ("surface", "ink", "ink3", "line", "zero")), families)


LIGHT, DARK = _theme("light"), _theme("dark")
THEMES = (LIGHT, DARK)


def number(value: float, decimals: int = 2, sign: bool = False) -> str:
    """So many decimals, a true minus sign, and a plus where it is asked for; 0 where it is exactly that."""
    if value == 0:
        return "0"
    return f"{value:{'+' if sign else ''}z.{decimals}f}".replace("-", "\u2212")


class Drawing:
    """One picture: shapes are added, `save` writes it. Lengths in pixels, y grows downwards."""

    def __init__(self, width: float, height: float, theme: Theme, alt: str) -> None:
        self.width, self.height, self.theme, self.alt = width, height, theme, alt
        self._parts: list[str] = []

    def hue(self, family: str, value: float) -> str:
        """The full hue of a sign, for words and bars."""
        plus, minus = self.theme.families[family]
        return plus if value > 0 else minus

    def shade(self, family: str, t: float) -> str:
        """The colour of a number between -1 and 1 of its range."""
        depth = min(abs(float(t)), 1.0) ** EXPONENT
        ends = [_rgb(self.theme.zero), _rgb(self.hue(family, t))]
        return "#" + "".join(f"{round(255 * v):02x}" for v in _mixed(*ends, depth))

    def rect(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: str = "none",
        stroke: str = "none",
        width: float = 1,
    ) -> None:
        edge = "" if stroke == "none" else f' stroke="{stroke}" stroke-width="{width}"'
        self._parts.append(
            f'<rect x="{x:.5g}" y="{y:.5g}" width="{w:.4g}" height="{h:.4g}" fill="{fill}"{edge}/>'
        )

    def line(self, points: Sequence[tuple[float, float]], stroke: str = "", width: float = 1) -> None:
        path = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
        colour = stroke or self.theme.line
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:.3g}" '
            'stroke-linejoin="round"/>'
        )

    def circle(self, x: float, y: float, r: float, fill: str = "none", stroke: str = "none") -> None:
        self._parts.append(f'<circle cx="{x:.4g}" cy="{y:.4g}" r="{r:g}" fill="{fill}" stroke="{stroke}"/>')

    def curve(self, start: tuple[float, float], end: tuple[float, float], stroke: str, width: float) -> None:
        """A line that leaves and arrives level."""
        middle = (start[0] + end[0]) / 2
        self._parts.append(
            f'<path d="M{start[0]:g},{start[1]:g} C{middle:g},{start[1]:g} {middle:g},{end[1]:g} '
            f'{end[0]:g},{end[1]:g}" fill="none" stroke="{stroke}" stroke-width="{width:.3g}"/>'
        )

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A straight arrow, level or upright."""
        self.line([start, end], self.theme.quiet, 1.2)
        (x, y), sign = end, 1 if end[0] + end[1] >= start[0] + start[1] else -1
        level = start[1] == end[1]
        back = (5 * sign, 3.5) if level else (3.5, 5 * sign)
        across = (1, -1) if level else (-1, 1)
        tips = (x - back[0], y - back[1]), (x - across[0] * back[0], y - across[1] * back[1])
        self.line([tips[0], end, tips[1]], self.theme.quiet, 1.2)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 13,
        anchor: str = "start",
        colour: str = "",
        bold: bool = False,
    ) -> None:
        """One line; y is the middle of its small letters."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y + 0.35 * size:.4g}" font-size="{size:g}" text-anchor="{anchor}" '
            f'fill="{colour or self.theme.ink}"{weight}>{escape(words)}</text>'
        )

    def note(self, x: float, y: float, words: str, size: float = 12.5, anchor: str = "start") -> None:
        """A line in the quiet ink of captions."""
        self.text(x, y, words, size, anchor, self.theme.quiet)

    def spans(self, x: float, y: float, parts: Sequence[tuple[str, str]], size: float = 13) -> None:
        """One line of words with their colours; those without one are quiet."""
        inner = "".join(f'<tspan fill="{c or self.theme.quiet}">{escape(t)}</tspan>' for t, c in parts)
        self._parts.append(
            f'<text x="{x:g}" y="{y + 0.35 * size:.4g}" font-size="{size:g}" '
            f'xml:space="preserve">{inner}</text>'
        )

    def cells(
        self,
        x: float,
        y: float,
        size: float,
        values: np.ndarray,
        family: str,
        limit: float,
        decimals: int | None = None,
        closed: np.ndarray | None = None,
        text_size: float = 0,
    ) -> None:
        """A matrix as squares, with numbers if decimals are given; hatched where nothing passes."""
        rows, columns = np.shape(values)
        self.rect(x, y, columns * size, rows * size, self.theme.zero)
        fills = [[self.shade(family, v / limit) for v in row] for row in np.asarray(values, float)]
        if closed is not None:
            fills = [["url(#hatch)" if c else f for f, c in zip(*pair)] for pair in zip(fills, closed)]
        for i, row in enumerate(fills):
            for first, last, fill in _stretches(row):
                if fill != self.theme.zero:  # a hair wider, so that no seam shows between neighbours
                    self.rect(x + first * size, y + i * size, (last - first) * size + 0.3, size + 0.3, fill)
        if decimals is not None:
            for (i, j), value in np.ndenumerate(np.asarray(values, float)):
                if not fills[i][j].startswith("url"):
                    red, green, blue = _rgb(fills[i][j])
                    ink = text_on((float(red), float(green), float(blue)))
                    place = x + (j + 0.5) * size, y + (i + 0.5) * size
                    self.text(*place, number(value, decimals), text_size or 0.33 * size, "middle", ink)
        self.rect(x, y, columns * size, rows * size, stroke=self.theme.line)

    def frame(self, x: float, y: float, w: float, h: float) -> None:
        """What is chosen: a frame in ink."""
        self.rect(x, y, w, h, stroke=self.theme.ink, width=2)

    def svg(self) -> str:
        """The whole picture as text."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" aria-label="{escape(self.alt)}" '
            f'font-family="{SANS}" style="font-variant-numeric:tabular-nums">'
        )
        hatch = (
            '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><rect width="5" height="5" fill="{self.theme.zero}"/>'
            f'<line x1="0" y1="0" x2="0" y2="5" stroke="{self.theme.quiet}"/></pattern></defs>'
        )
        ground = f'<rect width="{self.width:g}" height="{self.height:g}" rx="4" fill="{self.theme.paper}"/>'
        return "\n".join([head, hatch, ground, *self._parts, "</svg>\n"])

    def save(self, path: Path) -> None:
        path.write_text(self.svg(), encoding="utf-8")


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def _stretches(row: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first, behind the last, value) of equal neighbours."""
    found: list[tuple[int, int, str]] = []
    for j, fill in enumerate(row):
        if found and found[-1][2] == fill:
            found[-1] = (found[-1][0], j + 1, fill)
        else:
            found.append((j, j + 1, fill))
    return found


def _mixed(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """Between two colours."""
    return (1 - share) * start + share * end
