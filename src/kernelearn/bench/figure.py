"""Pictures of a report: ratios as bars with their quartiles, and curves with the lines fitted to them."""

from __future__ import annotations

import textwrap
from typing import Any

from kernelearn._optional import require
from kernelearn.bench.rivals import Comparison
from kernelearn.bench.suite import Report

_COLOURS = {"PyTorch": "#D55E00", "Keras fit": "#0072B2", "JAX": "#009E73", "ONNX Runtime": "#CC79A7"}
_TITLES = {"training": "training step", "inference": "inference", "layers": "convolutions"}


def plot_report(report: Report) -> Any | None:
    """All that can be drawn: a panel for each section of comparisons, and one for each curve.

    Returns: matplotlib Figure; None if nothing was compared.
    Raises: MissingDependencyError without matplotlib.
    """
    compared = [
        (name, rows)
        for name, rows in report.sections.items()
        if name in _TITLES and any(row.peers() for row in rows)
    ]
    curves = report.sections.get("curves", [])
    if not compared and not curves:
        return None
    figures = require("matplotlib.figure", "drawing benchmarks")
    heights = [max(2.2, 0.24 * sum(max(1, len(r.peers())) for r in rows) + 1.0) for _, rows in compared]
    heights += [3.0] * bool(curves)
    figure = figures.Figure(figsize=(10.0, sum(heights)), dpi=120, layout="constrained", facecolor="white")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (name, rows) in zip(parts, compared):
        _draw_ratios(part.subplots(), _TITLES[name], rows)
    if curves:
        for axis, curve in zip(parts[-1].subplots(1, len(curves), squeeze=False)[0], curves):
            _draw_curve(axis, curve)
    facts = report.machine
    figure.suptitle(f"{facts['processor']}, {report.settings.threads} threads, {facts['date']}", fontsize=9)
    return figure


def _draw_ratios(axis: Any, title: str, rows: list[Comparison]) -> None:
    """A bar for every row and group of peers; the thin line is the range of half of the rounds."""
    place, ticks, labels, seen = 0.0, [], [], set()
    for row in rows:
        groups = [group for group in row.peers() if row.ratio(group) is not None]
        start = place
        for group in groups:
            found = row.ratio(group)
            assert found is not None
            error = [[found.median - found.low], [found.high - found.median]]
            label = None if group in seen else group
            seen.add(group)
            colour = _COLOURS.get(group, "#777777")
            axis.barh(place, found.median - 1, 0.9, left=1.0, xerr=error, color=colour, label=label)
            axis.annotate(f" {found.median:.2f}", (max(found.high, 1), place), va="center", fontsize=7)
            place += 1
        if groups:
            ticks.append((start + place - 1) / 2)
            labels.append(row.label)
            place += 0.6
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_yticks(ticks, labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("time of the best of the peer / time of kernelearn")
    axis.set_title(f"{title}: right of the line kernelearn is faster", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_curve(axis: Any, curve: dict[str, Any]) -> None:
    sizes, line = curve["sizes"], curve["line"]
    middle = [1e3 * seconds for seconds in curve["seconds"]]
    low = [m - 1e3 * v for m, v in zip(middle, curve["low"])]
    high = [1e3 * v - m for m, v in zip(middle, curve["high"])]
    axis.errorbar(sizes, middle, yerr=[low, high], fmt="o", color="#0072B2", capsize=3)
    ends = [0, max(sizes)]
    axis.plot(ends, [1e3 * (line["start"] + line["slope"] * x) for x in ends], color="#777777", linewidth=1)
    axis.set_xlabel(curve["unit"])
    axis.set_ylabel("ms")
    axis.set_title(f"{textwrap.fill(curve['what'], 45)}\nR2 = {line['fit']:.4f}", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
