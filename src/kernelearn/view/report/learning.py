"""The head of the report and its first section: what was trained, and how loss and metrics went."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from kernelearn.explain.findings import Hint, hints
from kernelearn.view.report.decimals import brief
from kernelearn.view.report.markup import Html, join, paragraph, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.svg import OF_LOSS, Line, line_chart

_COUNTS = ("epoch", "batch", "iteration", "learning_rate")


def overview(m: Material) -> Html:
    """A few numbers: data, network, updates, results."""
    run, data = m.run, {**m.run.about.metadata, **m.about.get("data", {})}
    shape = " \u00d7 ".join(map(str, data.get("input_shape") or ()))
    facts: list[tuple[str, Any]] = [("Data", data.get("name")), ("Images", shape or None)]
    facts += [("Classes", data.get("classes")), ("Updates", f"{run.last_step:,}")]
    facts += [("Recorded weights", f"{_count(m):,}" if run.about.weights else None)]
    for name, value in (m.about.get("results", {}).get("test") or {}).items():
        facts.append((f"Test {name.replace('_', ' ')}", _metric(name, value)))
    cells = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value is not None]
    return tag("dl", *cells, class_="facts")


def _count(m: Material) -> int:
    return sum(prod(m.run.shape_of(layer, w)) for layer in m.run.layers for w in m.run.weights(layer))


def _metric(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if "acc" in name else brief(value)


def learning(m: Material) -> Html:
    """Loss, metrics and learning rate over the steps."""
    names = m.run.scalar_names
    charts = [_chart(m, "loss", is_log=_spans_decades(m, "loss"))]
    charts += [_chart(m, n) for n in names if n not in (*_COUNTS, "loss") and not n.startswith("val_")]
    if "learning_rate" in names:
        charts.append(line_chart([Line("", *m.run.scalars("learning_rate"))], "Learning rate"))
    return join(
        [
            paragraph(
                "Each point is one update. The loss is that of the batch of the update alone, which is why "
                "it jumps; metrics are means over the epoch so far. Validation is measured after each epoch, "
                "on images that no update has seen."
            ),
            _hints(m),
            tag("div", *charts, class_="charts"),
        ]
    )


# What a hint's command looks at -> the section of the report that shows it.
_PLACES = {
    "update": "weights",
    "curves": "curves",
    "filters": "filters",
    "activation": "forward-and-back",
}


def _hints(m: Material) -> Html:
    """What the numbers say is wrong, each linked to where its number stands."""
    found = hints(m.run)
    if not found:
        return paragraph(
            "Nothing stands out: the loss stayed finite and ended near its best, no layer stood still, no "
            "update was large for its weights, and hardly any channel is dead or repeats another."
        )
    return join([tag("h3", "What stands out"), tag("ul", *map(_hint, found), class_="hints")])


def _hint(hint: Hint) -> Html:
    command = hint.look.split()[0]
    place = "learning" if not hint.layer and command == "curves" else _PLACES.get(command, "learning")
    link = tag("a", "see", href=f"#{place}")
    return tag(
        "li",
        tag("b", f"{hint.kind.capitalize()}. "),
        hint.text,
        " ",
        link,
        ", or ",
        tag("code", f"kernelearn explain {hint.look}"),
    )


def _spans_decades(m: Material, name: str) -> bool:
    """Whether a logarithmic axis shows more: all positive, the largest over 30 times the smallest."""
    values = m.run.scalars(name)[1]
    return bool(len(values) and values.min() > 0 and values.max() > 30 * values.min())


def _chart(m: Material, name: str, is_log: bool = False) -> Html:
    steps, values = m.run.scalars(name)
    look = OF_LOSS if name == "loss" else 0
    lines = [
        Line("each update" if name == "loss" else "training", steps, values, look, is_thin=name == "loss")
    ]
    if name == "loss":
        lines.append(Line("mean of the epoch", *_epoch_means(m, steps, values), look))
    if f"val_{name}" in m.run.scalar_names:
        at, measured = m.run.scalars(f"val_{name}")
        lines.append(Line("validation", at, measured, 1))
    title = name.replace("_", " ").capitalize() + (" (logarithmic)" if is_log else "")
    return line_chart(lines, title, is_log=is_log)


def _epoch_means(m: Material, steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(last step, mean loss) of every epoch."""
    if "epoch" not in m.run.scalar_names:
        return steps, values
    epochs = np.asarray(m.run.scalars("epoch")[1]).astype(np.int64)
    _, place = np.unique(epochs, return_inverse=True)
    counts = np.bincount(place)
    last = np.maximum.reduceat(steps, np.concatenate([[0], np.cumsum(counts)[:-1]]))
    return last, np.bincount(place, values) / counts
