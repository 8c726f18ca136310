"""Charts: lines over steps as inline SVG, bars left and right of zero. The style sheet has the colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np

from kernelearn.view.families import ERRORS, Family
from kernelearn.view.report.decimals import brief
from kernelearn.view.report.markup import Html, join, scrolling, tag

_WIDTH, _HEIGHT = 460.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 12.0, 34.0
_MOST_POINTS = 460
# Colours with dash patterns in the style sheet.
LOOKS = 7
# The look of a weight's own line: the hue of weights.
OF_WEIGHT = -1
# That of a loss: grey.
OF_LOSS = -2


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: in the legend.
        look: number of its colour and dash pattern in the style sheet.
        is_thin: pale and thin, for what lies behind.
        dots: draw the points, too.
    """

    label: str
    x: Any
    y: Any
    look: int = 0
    is_thin: bool = False
    dots: bool = False


def line_chart(
    lines: Sequence[Line],
    title: str,
    x_label: str = "step",
    is_log: bool = False,
    marks: Sequence[float] = (),
) -> Html:
    """Lines with axes and a legend.

    Args:
        is_log: logarithmic y axis; numbers that are not positive are left out.
        marks: x of vertical lines.
    """
    shown = [_cleaned(line, is_log) for line in lines]
    shown = [line for line in shown if len(line.x)]
    if not shown:
        return tag("p", "Nothing was recorded for this chart.", class_="missing")
    frame = _Frame.around(shown, is_log)
    body = [*frame.axes(x_label)]
    body += [
        tag("line", class_="mark", x1=_f(frame.x(m)), x2=_f(frame.x(m)), y1=_TOP, y2=_HEIGHT - _BOTTOM)
        for m in marks
    ]
    body += [_drawn(line, frame) for line in shown]
    legend = [
        tag("span", tag("i", class_=f"key {_class_of(line)}"), line.label) for line in shown if line.label
    ]
    chart = tag(
        "svg", tag("title", title), *body, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", role="img", class_="chart"
    )
    return tag("figure", chart, tag("figcaption", tag("b", title), tag("span", *legend, class_="legend")))


@dataclass(frozen=True)
class _Frame:
    """The area of a chart: from numbers to places."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    is_log: bool

    @classmethod
    def around(cls, lines: Sequence[Line], is_log: bool) -> _Frame:
        x = np.concatenate([line.x for line in lines])
        y = np.concatenate([line.y for line in lines])
        low, high = float(y.min()), float(y.max())
        if is_log:
            low, high = log10(low), log10(high)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(float(x.min()), float(x.max()) or 1.0, low - margin, high + margin, is_log)

    def x(self, value: Any) -> Any:
        share = (np.asarray(value, float) - self.x_low) / ((self.x_high - self.x_low) or 1.0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: Any) -> Any:
        number = np.log10(value) if self.is_log else np.asarray(value, float)
        share = (number - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_label: str) -> list[Html]:
        found = []
        for value in self._y_ticks():
            place = _f(self.y(value))
            found.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=place, y2=place))
            found.append(tag("text", brief(value, 3), x=_LEFT - 6, y=place, class_="tick y"))
        for value in _ticks(self.x_low, self.x_high, 7, is_whole=True):
            found.append(
                tag("text", brief(value), x=_f(self.x(value)), y=_HEIGHT - _BOTTOM + 14, class_="tick x")
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        found.append(tag("text", x_label, x=middle, y=_HEIGHT - 4, class_="tick x"))
        return found

    def _y_ticks(self) -> list[float]:
        if not self.is_log:
            return _ticks(self.y_low, self.y_high, 7)
        powers = range(ceil(self.y_low), floor(self.y_high) + 1)
        step = max(1, ceil(len(powers) / 5))
        return [10.0**p for p in powers[::step]] or [10**self.y_low, 10**self.y_high]


def _cleaned(line: Line, is_log: bool) -> Line:
    """Finite points, thinned to what a screen can show: the lowest and the highest of each stretch."""
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    keep = np.isfinite(y) & ((y > 0) | (not is_log))
    x, y = x[keep], y[keep]
    if len(x) > _MOST_POINTS:
        parts = np.array_split(np.arange(len(x)), _MOST_POINTS // 2)
        places = {0, len(x) - 1}
        for part in parts:
            places.update((int(part[y[part].argmin()]), int(part[y[part].argmax()])))
        chosen = sorted(places)
        x, y = x[chosen], y[chosen]
    return Line(line.label, x, y, line.look, line.is_thin, line.dots)


def _class_of(line: Line) -> str:
    own = {OF_WEIGHT: "kw", OF_LOSS: "kq"}
    name = own.get(line.look) or f"k{line.look % LOOKS}"
    return f"{name} thin" if line.is_thin else name


def _drawn(line: Line, frame: _Frame) -> Html:
    places = list(zip(frame.x(line.x), frame.y(line.y)))
    look = f"line {_class_of(line)}"
    found = [tag("polyline", points=" ".join(f"{_f(x)},{_f(y)}" for x, y in places), class_=look)]
    if line.dots:
        circle = {"r": 3, "class_": f"dot {_class_of(line)}"}
        found += [tag("circle", cx=_f(x), cy=_f(y), **circle) for x, y in places]
    return join(found)


def _ticks(low: float, high: float, count: int, is_whole: bool = False) -> list[float]:
    """Round numbers between low and high; steps and epochs are whole."""
    span = (high - low) or 1.0
    size = 10.0 ** floor(log10(span / count))
    step = next(size * f for f in (1, 2, 5, 10) if span / (size * f) <= count)
    step = max(step, 1.0) if is_whole else step
    first = ceil(low / step)
    return [round(i * step, 12) for i in range(first, floor(high / step + 1e-9) + 1)]


def _f(value: Any) -> str:
    return f"{float(value):.1f}"


def bar_chart(
    names: Sequence[Any],
    values: Sequence[float],
    title: str,
    texts: Sequence[str] | None = None,
    family: Family = ERRORS,
) -> Html:
    """Bars left and right of zero, each with its name and number, as a table that reads aloud."""
    limit = max((abs(v) for v in values), default=0.0) or 1.0
    shown = list(texts or (brief(v, 3) for v in values))
    rows = []
    for name, value, text in zip(names, values, shown):
        side = "pos" if value >= 0 else "neg"
        bar = tag("i", class_=f"bar {side}", style=f"width:{50 * abs(value) / limit:.1f}%")
        rows.append(
            tag(
                "tr",
                tag("th", name, scope="row"),
                tag("td", bar, class_="track"),
                tag("td", text, class_="n"),
            )
        )
    bars = tag("table", tag("caption", title), tag("tbody", *rows), class_=f"bars of-{family.name[0]}")
    return scrolling(bars)
