"""What the optimiser made of a weight's gradient, and of all of them, in the report."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.gradient.ledger_text import NOTE
from kernelearn.explain.update.histories import History, history
from kernelearn.explain.update.run_updates import RunUpdates
from kernelearn.view.families import WEIGHTS
from kernelearn.view.report.decimals import MINUS, brief, closing, column_for
from kernelearn.view.report.ledgers import adding_bars
from kernelearn.view.report.markup import Html, details, join, paragraph, table, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.svg import Line, line_chart


def update_part(m: Material, layer: str, name: str, index: tuple[int, ...], step: int) -> Html:
    """What the optimiser made of the gradient of a step, as a sum."""
    try:
        updates = RunUpdates(m.run, layer, name)
        split = updates.split(step)
    except KernelearnError as error:
        return paragraph(f"The update cannot be split: {error}", class_="missing")
    before, after = float(split.before[index]), float(split.after[index])
    values = split.at(index)
    update = values.pop("update")
    values.pop("residual")
    column = column_for([*values.values(), update])
    fall = waterfall(list(values.values()), update)
    rows = [
        [part.replace("_", " "), column.text(v, plus=True), _share(v, update), bar]
        for (part, v), bar in zip(values.items(), fall)
    ]
    left = closing(column, update, list(values.values()))
    if left:
        rows.append(["rounding", column.text(left, plus=True), "", ""])
    unit = f" (\u00d7 {column.unit})" if column.unit else ""
    foot = [[_difference("update", after, before), column.text(update, plus=True), "100 %", fall[-1]]]
    found = table(
        ["part", f"moved the weight by{unit}", "share", "one behind the other"],
        rows,
        f"Update {step} by {split.optimizer.removesuffix('_update')}: what the optimiser made of it",
        [False, True, True, False],
        foot,
    )
    return join([tag("h4", "Update"), tag("div", found, class_="update fall")])


def waterfall(parts: list[float], total: float) -> list[Html]:
    """A bar for each part of a sum, each beginning where the one before it ended, and one for the sum."""
    ends = [0.0]
    for part in parts:
        ends.append(ends[-1] + part)
    low, high = min(*ends, total), max(*ends, total)
    span = (high - low) or 1.0

    def bar(start: float, end: float, kind: str) -> Html:
        left, wide = 100 * (min(start, end) - low) / span, 100 * abs(end - start) / span
        piece = tag("i", class_=f"bar {kind}", style=f"left:{left:.1f}%;width:{max(wide, 0.6):.1f}%")
        return tag("div", piece, "\u00a0", class_="track")

    found = [bar(a, b, "pos" if b >= a else "neg") for a, b in pairwise(ends)]
    return [*found, bar(0.0, total, "all")]


def _difference(name: str, after: float, before: float) -> str:
    """update = 0.2 - (-0.1), with all digits of a float32."""
    first = brief(before, 9)
    return f"{name} = {brief(after, 9)} {MINUS} {f'({first})' if before < 0 else first}"


def _share(value: float, update: float) -> str:
    return f"{100 * value / update:z.1f} %".replace("-", MINUS) if update else "-"


def over_the_steps(m: Material, layer: str, name: str, index: tuple[int, ...]) -> Html:
    """The parts of all recorded updates, one line each; nothing where they cannot be split."""
    try:
        updates = RunUpdates(m.run, layer, name)
        steps = updates.steps()
    except KernelearnError:
        return Html("")
    if len(steps) < 3:
        return Html("")
    thin = steps if len(steps) <= 120 else [steps[i] for i in np.linspace(0, len(steps) - 1, 120).astype(int)]
    splits = [updates.split(step) for step in thin]
    names = list(dict.fromkeys(name for split in splits for name in split.parts))
    lines = [
        Line(
            name.replace("_", " "),
            thin,
            [float(s.parts[name][index]) if name in s.parts else 0 for s in splits],
            i,
        )
        for i, name in enumerate(names)
    ]
    lines.append(Line("update, their sum", thin, [float(s.update[index]) for s in splits], 6, dots=True))
    title = f"Parts of {len(thin)} of {len(steps)} recorded updates of this weight"
    return details("Updates over the training", line_chart(lines, title), is_open=False)


def history_part(m: Material, layer: str, name: str, index: tuple[int, ...]) -> Html:
    """What the change of a weight over the whole run is the sum of."""
    try:
        past = history(m.run, layer, (name, *index))
    except KernelearnError as error:
        return paragraph(f"The history cannot be told: {error}", class_="missing")
    column = column_for([*past.totals.values(), past.change])
    values = list(past.totals.values())
    rows = [
        [part.replace("_", " "), column.text(v, plus=True), _share(v, past.change)]
        for part, v in past.totals.items()
    ]
    rows.append(["rounding", column.text(closing(column, past.change, values), plus=True), ""])
    unit = f" (\u00d7 {column.unit})" if column.unit else ""
    foot = [[_difference("change", past.after, past.before), column.text(past.change, plus=True), "100 %"]]
    found = table(
        ["part", f"changed the weight by{unit}", "share"],
        rows,
        f"Updates {past.first:,} to {past.last:,}",
        [False, True, True],
        foot,
    )
    note = past.note().replace(f" {NOTE}", "")
    return details(
        "History: what made this weight what it is",
        found,
        tag("div", *_by_class(m, past), class_="charts"),
        paragraph(note, class_="note"),
    )


def _by_class(m: Material, past: History) -> list[Html]:
    try:
        sums = past.by_class()
    except ArgumentError:
        return []
    if not len(sums.keys):
        return []
    title = f"What each class changed, in the {len(past.ledger_steps)} steps with a ledger"
    labels = [f"class {m.class_name(key)}" for key in sums.keys]
    return [adding_bars(labels, sums.sums.tolist(), past.covered_change, title, WEIGHTS)]
