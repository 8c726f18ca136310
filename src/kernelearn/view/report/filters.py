"""What the kernels are, and how far they moved: filter bank, health, learning curves, layers compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import some_steps
from kernelearn.explain.kernel.curves import LearningCurves, compare_layers, learning_curves
from kernelearn.explain.kernel.filter_banks import FilterBank, filter_bank, filter_bank_history
from kernelearn.explain.kernel.health import KernelHealth, kernel_health
from kernelearn.view.families import WEIGHTS
from kernelearn.view.report.decimals import brief
from kernelearn.view.report.markup import Html, details, join, paragraph, table, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import flat_picture, map_picture
from kernelearn.view.report.svg import Line, line_chart

_FIRST_ROWS, _MOST_ROWS = 12, 64
_HISTORY_STEPS = 24
_SAMPLES = 999
_LEVEL = 0.05


def bank_section(m: Material) -> Html:
    """A table per convolution: which classical filter each kernel resembles."""
    intro = paragraph(
        "Each kernel is compared with families of classical filters. The similarity is the best absolute "
        "cosine over scale, angle and sign, so it is high even for random numbers: p says how often random "
        "kernels of the same size do as well, the choice of the family included. Trust the name where p is "
        "small."
    )
    if not m.convolutions:
        return paragraph("No convolution kernel is recorded in this run.", class_="missing")
    return join([intro, *(_bank(m, layer, name) for layer, name in m.convolutions.items())])


def _bank(m: Material, layer: str, name: str) -> Html:
    try:
        bank = filter_bank(m.run, layer, weight=name, samples=_SAMPLES)
        health = kernel_health(m.run, layer, weight=name)
    except KernelearnError as error:
        return join([tag("h3", layer), paragraph(str(error), class_="missing")])
    order = _most_telling(bank)[:_MOST_ROWS]
    limit = float(np.abs(bank.kernels.values).max()) or 1.0
    rows = [_bank_row(bank, health, int(i), limit) for i in order]
    columns = ("kernel", "filter", "resembles most", "similarity", "p", "settings", "norm", "remarks")
    right = (False, True, False, True, True, False, True, False)
    title = f"{layer}, step {bank.kernels.step:,}: {len(rows[:_FIRST_ROWS])} of {len(bank.labels)} kernels"
    found = [table(columns, rows[:_FIRST_ROWS], title, right)]
    if len(rows) > _FIRST_ROWS:
        more = table(columns, rows[_FIRST_ROWS:], None, right)
        found.append(details(f"{len(rows) - _FIRST_ROWS} more kernels", more))
    return join([tag("h3", layer), _answer(bank), _health_words(health), *found, _history(m, layer, name)])


def _answer(bank: FilterBank) -> Html:
    """How many are more like a classical filter than chance gives, and how many chance alone would."""
    count, several = len(bank.labels), np.asarray(bank.p_best)
    found = int((several <= _LEVEL).sum())
    best = [bank.best[i].replace("_", " ") for i in np.argsort(several, kind="stable")[:found]]
    kinds = ", ".join(f"{name} {best.count(name)}" for name in dict.fromkeys(best))
    verb = "resembles" if found == 1 else "resemble"
    words = (
        f"{found} of {count} {verb} a classical filter more than chance does (p at most {_LEVEL}), where "
        f"{_LEVEL * count:.1f} would be expected"
    )
    return tag("p", tag("strong", "Answer. "), words + (f": {kinds}." if kinds else "."))


def _most_telling(bank: FilterBank) -> np.ndarray:
    """Numbers of the kernels, those least likely by chance first, then the most similar."""
    similarity = [bank.of(i, best) if best else 0.0 for i, best in enumerate(bank.best)]
    return np.lexsort((-np.array(similarity), bank.p_best))


def _bank_row(bank: FilterBank, health: KernelHealth, i: int, limit: float) -> list[Any]:
    best = bank.best[i]
    settings = bank.settings[i].get(best, {})
    words = ", ".join(f"{key} {_setting(value)}" for key, value in settings.items())
    remarks = ["dead"] * bool(health.dead[i])
    if health.duplicate_of[i] >= 0:
        remarks.append(f"duplicate of {health.duplicate_of[i]}")
    return [
        _kernel_picture(bank, i, limit),
        bank.labels[i],
        best.replace("_", " ") or "zeros",
        f"{bank.of(i, best):.3f}" if best else "-",
        f"{bank.p_best[i]:.3f}",
        words,
        brief(float(health.norm[i]), 3),
        ", ".join(remarks),
    ]


def _setting(value: Any) -> str:
    if isinstance(value, tuple):
        return " \u00d7 ".join(map(str, value))
    return brief(value, 3) if isinstance(value, float) else str(value)


def _kernel_picture(bank: FilterBank, i: int, limit: float) -> Html:
    """The slice of the channel with most energy."""
    one = bank.kernels.values[..., bank.labels[i]]
    channel = int(np.square(one).sum(axis=tuple(range(one.ndim - 1))).argmax())
    flat = flat_picture(one[..., channel])
    words = f"filter {bank.labels[i]}" + (f", input channel {channel}" if one.shape[-1] > 1 else "")
    if flat.size <= 49:
        words += ": " + "; ".join(" ".join(f"{v:.2f}" for v in row) for row in flat)
    return map_picture(flat, limit, WEIGHTS, words, 40)


def _health_words(health: KernelHealth) -> Html:
    copies, redundant = int((health.duplicate_of >= 0).sum()), int(health.redundant.sum())
    return paragraph(
        f"{len(health.norm)} filters: {int(health.dead.sum())} dead, {copies} duplicate, {redundant} that a "
        f"combination of the others could replace; rank {health.rank}, effective rank "
        f"{health.effective_rank:.1f}. A picture shows the input channel with most energy."
    )


def _history(m: Material, layer: str, name: str) -> Html:
    steps = some_steps(m.run.weight_steps(layer, name), _HISTORY_STEPS).tolist()
    found = filter_bank_history(m.run, layer, steps, name, samples=_SAMPLES)
    means = found.similarity.mean(axis=1)
    lines = [
        Line(f"{family.replace('_', ' ')} (random: {found.baseline[i]:.2f})", found.steps, means[:, i], i)
        for i, family in enumerate(found.families)
    ]
    return details(
        "Similarity over the training", line_chart(lines, f"Mean similarity of {layer} to each family")
    )


def curves_section(m: Material) -> Html:
    """Layers compared, and the learning curves of each."""
    names = list(m.layers)
    curves = [learning_curves(m.run, layer, m.layers[layer], m.steps_of(layer)) for layer in names]
    intro = paragraph(
        "How far the filters of a layer went from where they started. A filter has settled at the first step "
        "from which on it stays within 10 % of its largest distance from its last value. Directness is the "
        f"straight distance divided by the way that was walked.{m.which_steps()}"
    )
    return join([intro, _compared(m, names), tag("div", *_charts(curves), class_="charts")])


def _compared(m: Material, names: list[str]) -> Html:
    parts = [compare_layers(m.run, [layer], m.layers[layer], m.steps_of(layer)) for layer in names]
    columns = tuple(c.replace("_", " ") for c in parts[0].columns)
    return table(columns, [row for p in parts for row in p.cells()], "Layers compared", parts[0].is_numeric)


def _charts(curves: list[LearningCurves]) -> list[Html]:
    together = [
        Line(c.layer, c.steps, np.nanmedian(_relative(c.from_start, c), axis=1), i)
        for i, c in enumerate(curves)
    ]
    speeds = [
        Line(c.layer, c.steps[1:], _smooth(np.nanmedian(_relative(c.speed, c), axis=1)), i)
        for i, c in enumerate(curves)
    ]
    found = [
        line_chart(together, "Distance from the start, by the length at the start: median filter"),
        line_chart(speeds, "Distance per step, by the length at the start: median filter, smoothed"),
    ]
    return found + [_own_chart(c) for c in curves]


def _relative(values: np.ndarray, curves: LearningCurves) -> np.ndarray:
    size = np.where(curves.norm[0] > 0, curves.norm[0], np.nan)
    return values / size if np.isfinite(size).any() else values


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of a window of a fiftieth of the run."""
    width = max(1, len(values) // 50)
    return np.convolve(values, np.ones(width) / width, mode="same")


def _own_chart(curves: LearningCurves) -> Html:
    low, middle, high = np.percentile(curves.from_start, (25, 50, 75), axis=1)
    lines = [
        Line("quartiles", curves.steps, low, 0, is_thin=True),
        Line("", curves.steps, high, 0, is_thin=True),
        Line("median filter", curves.steps, middle, 0),
    ]
    settled = float(np.median(curves.settled))
    title = f"{curves.layer}: distance from the start; half of the filters settled by step {settled:.0f}"
    return line_chart(lines, title, marks=[settled])
