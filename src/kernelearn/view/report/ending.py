"""The last sections: experiments that were given, and how to get the same again."""

from __future__ import annotations

import json
from typing import Any

from kernelearn import __version__
from kernelearn.view.report.decimals import MINUS, brief
from kernelearn.view.report.markup import Html, details, join, paragraph, table, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.svg import Line, line_chart


def experiments(m: Material) -> Html:
    """A table, its answer and the curves of every experiment."""
    intro = paragraph(
        "Every condition trains on the same images in the same order, for the same number of updates, in "
        "several seeds. A difference is called one only if the 95 % interval of the paired differences "
        "leaves out 0."
    )
    return join([intro, *(_experiment(result) for result in m.experiments)])


def _experiment(result: Any) -> Html:
    rows = [_condition(result, row) for row in result.rows]
    columns = (
        "condition",
        "test accuracy",
        "95 % interval",
        "minus baseline, points",
        "trained weights",
        "seconds",
    )
    budget = result.budget
    caption = (
        f"{result.data.get('name')}: {result.data.get('images'):,} images to train on, "
        f"{result.data.get('test_images'):,} to test on; {len(result.seeds)} seeds, "
        f"{budget.get('updates'):,} updates each. Baseline: {result.baseline}."
    )
    lines = []
    for number, row in enumerate(result.rows):
        means = [100 * sum(values) / len(values) for values in zip(*row.curves)]
        lines.append(Line(row.name, range(1, len(means) + 1), means, number, dots=True))
    chart = line_chart(lines, "Test accuracy in %, mean of the seeds", "epoch")
    notes = [paragraph(note, class_="note") for note in result.notes]
    return join(
        [
            tag("h3", f"{result.experiment.capitalize()}: {result.question}"),
            tag("p", tag("strong", "Answer. "), result.answer),
            table(columns, rows, caption, (False, True, True, True, True, True)),
            chart,
            *notes,
        ]
    )


def _condition(result: Any, row: Any) -> list[Any]:
    summary, against = row.summary(), result.compare(row.name)
    difference = "baseline" if row.name == result.baseline else _gap(against.difference)
    spread = f"{100 * summary.low:.1f} to {100 * summary.high:.1f}"
    return [
        row.name,
        f"{100 * summary.mean:.1f} %",
        spread if summary.low == summary.low else "-",
        difference,
        f"{row.trained:,}",
        brief(row.typical_seconds, 3),
    ]


def _gap(difference: Any) -> str:
    """+1.2 (-0.3 to +2.7), in points."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    text = f"{mean:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if low == low else "")
    return text.replace("-", MINUS)


def reproduce(m: Material) -> Html:
    """Command, versions, seed, data, optimiser, network."""
    parts: list[Any] = []
    command = m.about.get("command")
    if command:
        parts += [
            paragraph("The command that trained this network:"),
            tag("pre", " ".join(map(str, command)), tabindex="0"),
        ]
    arguments = m.about.get("arguments", {})
    facts = {
        "seed": arguments.get("seed"),
        "division of the data": arguments.get("split_seed"),
        "fingerprint of the data": m.run.about.metadata.get("fingerprint"),
        "engine": m.run.about.engine,
        **{f"version of {name}": value for name, value in m.about.get("versions", {}).items()},
        "report written by kernelearn": __version__,
        "recorded steps": f"{len(m.run.steps):,} of {m.run.last_step + 1:,}",
        "steps with a ledger": len(m.run.ledger_steps),
    }
    rows = [(name, value) for name, value in facts.items() if value is not None]
    parts.append(table(("what", "value"), rows))
    parts += [_config("Options of the training", arguments), *_optimizers(m)]
    parts.append(_config("Network", m.run.about.model))
    parts.append(
        paragraph(
            "With the same versions, data and seed a training gives the same numbers, bit for bit. What this "
            "report shows can be computed from the run with kernelearn.recording.Run and kernelearn.explain."
        )
    )
    return join(parts)


def _optimizers(m: Material) -> list[Html]:
    """The optimiser of every fit that had one of its own."""
    found = m.run.optimizers
    if len(found) < 2:
        return [_config("Optimiser", m.run.optimizer)]
    return [_config(f"Optimiser from update {first:,} on", own) for first, own in found.items()]


def _config(title: str, values: Any) -> Html:
    if not values:
        return Html("")
    text = json.dumps(values, indent=1, default=str)
    return details(title, tag("pre", text, tabindex="0"))
