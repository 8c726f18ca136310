"""Pictures of a report: ratios as bars with their quartiles, and curves with the lines fitted to them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
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
    shared = [row for row in report.sections.get("distributed", []) if "points" in row]
    if not compared and not curves and not shared:
        return None
    figures = require("matplotlib.figure", "drawing benchmarks")
    heights = [max(2.2, 0.24 * sum(max(1, len(r.peers())) for r in rows) + 1.0) for _, rows in compared]
    heights += [3.0] * bool(curves) + [3.2] * bool(shared)
    figure = figures.Figure(figsize=(10.0, sum(heights)), dpi=120, layout="constrained", facecolor="white")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (name, rows) in zip(parts, compared):
        _draw_ratios(part.subplots(), _TITLES[name], rows)
    if curves:
        places = parts[len(compared)].subplots(1, len(curves), squeeze=False)[0]
        for axis, curve in zip(places, curves):
            _draw_curve(axis, curve)
    if shared:
        draw_processes(parts[-1].subplots(1, 2), shared)
    facts = report.machine
    figure.suptitle(f"{facts['processor']}, {report.settings.threads} threads, {facts['date']}", fontsize=9)
    return figure


def draw_processes(axes: Sequence[Any], rows: list[dict[str, Any]]) -> None:
    """Measured steps of several processes beside the model's curve, and what that says of many machines.

    Args:
        axes: two.
        rows: of the networks, as the section "distributed" gives them.
    """
    near, far = axes
    for row in rows:
        counts, measured, predicted = zip(*row["points"])
        (line,) = near.plot(counts, [row["shards"] / s for s in predicted], label=f"{row['net']}, model")
        times = [row["shards"] / s for s in measured]
        near.plot(counts, times, "o", color=line.get_color(), label=f"{row['net']}, measured")
        sizes, shares = [int(p) for p in row["efficiency"]], list(row["efficiency"].values())
        far.plot(sizes, [100 * share for share in shares], color=line.get_color(), label=row["net"])
    near.set(xlabel="processes of this machine, one batch", ylabel="times as fast as one", ylim=(0, None))
    near.set_xticks(sorted({count for row in rows for count, *_ in row["points"]}))
    far.set(xlabel="processes, a batch each, by the model", ylabel="% of so many times one", ylim=(0, 102))
    far.set_xscale("log", base=2)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)


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
