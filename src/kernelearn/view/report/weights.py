"""Chosen weights followed from the terms of one gradient to the update, and over the whole training."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.choices import moved_most
from kernelearn.explain.contributions import History, history
from kernelearn.explain.ledger import Ledger, ledger
from kernelearn.explain.ledger_text import NOTE
from kernelearn.explain.run_updates import RunUpdates
from kernelearn.view.report.decimals import MINUS, Column, brief, closing, column_for
from kernelearn.view.report.markup import Html, details, figure, join, paragraph, table, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import flat_picture, image_pixels, img, signed_pixels
from kernelearn.view.report.svg import Line, bar_chart, line_chart
from kernelearn.view.windows import cell_of, window_picture

_TERMS, _FEW_TERMS, _FEW_LAYERS = 10, 5, 6
_MOST_IMAGES = 12


def section(m: Material) -> Html:
    """The ledger, update and history of the weights that moved most."""
    chosen = _chosen(m)
    if not chosen:
        return paragraph(
            "No ledger is recorded in this run. Record one with kernelearn train --record, or "
            "Recorder(..., ledger_every=100).",
            class_="missing",
        )
    intro = paragraph(
        "The gradient of one weight is a sum: what the weight read, times the error that came back, for "
        "every image of the batch and, in a convolution, for every position. The ledger lists these terms. "
        "The optimiser turns their sum into an update, and the updates add up to the trained weight. For "
        "each layer this is the weight that moved farthest, at the recorded step that moved it most."
    )
    dense = paragraph(
        "A dense layer's ledger has one term per image where a convolution's has one per image ",
        tag("em", "and position"),
        ": that sum is the whole difference between the two.",
    )
    note = [] if _mixes_no_images(m) else [paragraph(NOTE, class_="note")]
    return join([intro, dense, *note, *(_weight(m, layer, name) for layer, name in chosen.items())])


def _chosen(m: Material) -> dict[str, str]:
    """Every convolution with a ledger, and the last of the other layers."""
    if not len(m.run.ledger_steps):
        return {}
    step = int(m.run.ledger_steps[0])
    known = {layer: name for layer, name in m.layers.items() if _has_ledger(m, layer, name, step)}
    dense = [layer for layer in known if layer not in m.convolutions][-1:]
    return {layer: name for layer, name in known.items() if layer in m.convolutions or layer in dense}


def _has_ledger(m: Material, layer: str, name: str, step: int) -> bool:
    try:
        m.run.ledger(layer, step, name)
    except KernelearnError:
        return False
    return True


def _mixes_no_images(m: Material) -> bool:
    layer, name = next(iter(m.layers.items()))
    index = (0,) * m.run.kernels(layer, int(m.run.steps[0]), name).ndim
    return ledger(m.run, layer, int(m.run.ledger_steps[0]), (name, *index)).mixes_images is False


def _weight(m: Material, layer: str, name: str) -> Html:
    (index,) = moved_most(m.run, layer, 1, name)
    step = _step_that_moved_most(m, layer, name, index)
    book = ledger(m.run, layer, step, (name, *index))
    steps, values = m.run.trace(layer, index, name)
    title = f"{layer} \u00b7 {name}[{', '.join(map(str, index))}]"
    moved = f"It went from {brief(float(values[0]))} to {brief(float(values[-1]))}."
    words = " ".join(filter(None, [_in_words(m, layer, index), moved]))
    path = line_chart(
        [Line("", steps, values)], f"{title} after each step; the line marks step {step}", marks=[step]
    )
    return tag(
        "article",
        tag("h3", title),
        paragraph(words),
        path,
        _ledger_part(m, book),
        _update_part(m, layer, name, index, step),
        _history_part(m, layer, name, index),
        class_="weight",
        data_layer=layer,
    )


def _in_words(m: Material, layer: str, index: tuple[int, ...]) -> str:
    """Row 1, column 2, input channel 0, filter 5; nothing where the axes mean something else."""
    kind = m.run.ledger(layer, int(m.run.ledger_steps[0]), m.layers[layer]).kind
    if kind == "conv" and m.layers[layer] == "kernel" and len(index) == 4:
        i, j, c, f = index
        return f"Row {i}, column {j} of the kernel's slice for input channel {c}, in filter {f}."
    if kind == "dense" and len(index) == 2:
        return f"From input {index[0]} to unit {index[1]}."
    return ""


def _step_that_moved_most(m: Material, layer: str, name: str, index: tuple[int, ...]) -> int:
    """The step with a ledger whose update of the weight was largest."""
    steps, values = m.run.trace(layer, index, name)
    known = dict(zip(steps.tolist(), values.astype(np.float64).tolist()))
    ledgers = [int(k) for k in m.run.ledger_steps if k in known and k - 1 in known]
    return max(ledgers, key=lambda k: abs(known[k] - known[k - 1]), default=int(m.run.ledger_steps[-1]))


# --- the ledger


def _ledger_part(m: Material, book: Ledger) -> Html:
    count = _TERMS if len(m.layers) <= _FEW_LAYERS else _FEW_TERMS
    top = book.top(count, m.batch_image(book.step))
    column = column_for([*(one.term for one in top), book.total])
    names = [str(one.image) for one in top]
    return join(
        [
            tag("h4", f"Ledger of step {book.step}: {len(book.terms):,} terms"),
            tag("p", book.formula, class_="formula"),
            tag("p", _filled(book, top, column), class_="formula"),
            _terms_table(m, book, top, column),
            tag("div", *_sums(m, book, names), class_="charts"),
        ]
    )


def _filled(book: Ledger, top: list[Any], column: Column) -> str:
    """The sum with the numbers of its first terms."""
    first = " + ".join(f"({brief(one.input)} \u00d7 {brief(one.delta)})" for one in top[:3])
    rest = len(book.terms) - min(3, len(top))
    more = f" + \u2026 {rest:,} terms more" if rest else ""
    unit = f" \u00d7 {column.unit}" if column.unit else ""
    return f"= {first}{more} = {column.text(book.total)}{unit}"


def _terms_table(m: Material, book: Ledger, top: list[Any], column: Column) -> Html:
    rest = len(book.terms) - len(top)
    unit = f"term, \u00d7 {column.unit}" if column.unit else "term"
    head = ["seen", "read", "image", "class", "position", "input", "error", unit]
    limit = max((float(np.abs(window_picture(book, one)).max()) for one in top), default=1.0)
    rows = [_term_row(m, book, one, column, limit) for one in top]
    shown = [one.term for one in top]
    foot = []
    left = closing(column, book.total, shown)
    if rest or left:
        words = f"the other {rest:,} terms" if rest else "rounding of the terms above"
        foot.append(_foot_row(words, column.text(left), "rest"))
    foot.append(_foot_row("sum of all terms", column.text(book.total), "total"))
    if book.penalty:
        foot.append(_foot_row("penalty on the weight", column.text(book.penalty), "penalty"))
    foot.append(_foot_row("gradient of the engine", column.text(book.gradient), "gradient"))
    right = [False, False, True, True, False, True, True, True]
    body = [tag("tr", *(tag("td", c, class_="n" if r else None) for c, r in zip(row, right))) for row in rows]
    content = tag(
        "table",
        tag("caption", f"The {len(top)} largest terms: input \u00d7 error = term"),
        tag(
            "thead",
            tag("tr", *(tag("th", h, scope="col", class_="n" if r else None) for h, r in zip(head, right))),
        ),
        tag("tbody", *body),
        tag("tfoot", *foot),
        class_="ledger",
    )
    note = (
        f"Residual (sum minus the engine's gradient{' without the penalty' if book.penalty else ''}): "
        f"{brief(book.residual, 2)}, rounding of the engine's float32 sum. The row of the other terms is "
        "rounded so that the column adds up as shown. Seen: the image as the network got it, with what the "
        "unit sees of it. Read: what the kernel read of this weight's channel; the frame is the input."
    )
    return join([tag("div", content, class_="scroll", tabindex="0"), paragraph(note, class_="note")])


def _foot_row(what: str, number: str, kind: str) -> Html:
    return tag("tr", tag("th", what, colspan=7, scope="row"), tag("td", number, class_="n"), data_row=kind)


def _term_row(m: Material, book: Ledger, one: Any, column: Column, limit: float) -> list[Any]:
    label = "-" if one.label is None else m.class_name(one.label)
    position = ", ".join(map(str, one.position)) or "-"
    text = tag("span", column.text(one.term), class_="term")
    return [
        _seen(m, book.step, one),
        _read(book, one, limit),
        one.image,
        label,
        position,
        brief(one.input, 6),
        brief(one.delta, 6),
        text,
    ]


def _read(book: Ledger, one: Any, limit: float) -> Html:
    """What the kernel read, with a frame around the number that the weight was multiplied by."""
    flat = window_picture(book, one)
    words = "what the kernel read there"
    if flat.size <= 49:
        words = "read: " + "; ".join(" ".join(brief(v, 3) for v in row) for row in flat)
    picture = img(signed_pixels(flat, limit), words, 44)
    cell = cell_of(book, flat)
    if cell is None:
        return tag("span", picture, class_="board")
    spans = ((cell[0], cell[0] + 1), (cell[1], cell[1] + 1))
    return tag("span", picture, _frame(flat.shape, spans), class_="framed board")


def _frame(shape: tuple[int, ...], spans: tuple[Any, ...]) -> Html:
    """A frame around some rows and columns of a picture."""
    (top, bottom), (left, right) = spans
    height, width = shape[:2]
    place = (
        f"left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;"
        f"width:{100 * (right - left) / width:.2f}%;height:{100 * (bottom - top) / height:.2f}%"
    )
    return tag("i", class_="window", style=place)


def _seen(m: Material, step: int, one: Any) -> Html:
    """The image of the step with a frame around what the unit sees, or a dash."""
    if one.crop is None:
        return Html("-")
    find = m.batch_image(step)
    whole = None if find is None else np.asarray(find(one.image))
    if whole is None or whole.ndim != 3 or len(one.crop_window) != 2:
        return img(image_pixels(one.crop), f"part of image {one.image}", 44)
    spans = tuple((s.start, s.stop) for s in one.crop_window)
    picture = img(image_pixels(whole), f"image {one.image}", 64)
    return tag("span", picture, _frame(whole.shape, spans), class_="framed")


def _sums(m: Material, book: Ledger, names: list[str]) -> list[Html]:
    images = book.by_image()
    order = np.argsort(-np.abs(images.sums), kind="stable")
    shown, rest = order[:_MOST_IMAGES], order[_MOST_IMAGES:]
    labels = [f"image {images.keys[i]}" for i in shown]
    values = [float(images.sums[i]) for i in shown]
    if len(rest):
        labels.append(f"{len(rest)} others")
        values.append(float(images.sums[rest].sum()))
    found = [_adding_bars(labels, values, book.total, "Sum over the terms of each image")]
    found += _position_map(book)
    if book.labels is not None:
        sums = book.by_class()
        labels = [f"class {m.class_name(key)}" for key in sums.keys]
        found.append(_adding_bars(labels, sums.sums.tolist(), book.total, "Sum over the terms of each class"))
    return found


def _adding_bars(names: list[str], values: list[float], total: float, title: str) -> Html:
    """Bars whose numbers share one unit, and their sum."""
    column = column_for([*values, total], 4)
    unit = f", \u00d7 {column.unit}" if column.unit else ""
    texts = [column.text(v) for v in values]
    chart = bar_chart(names, values, f"{title}{unit}; in all {column.text(total)}", texts)
    return tag("figure", chart)


def _position_map(book: Ledger) -> list[Html]:
    try:
        sums = book.by_position()
    except ArgumentError:
        return []
    if not sums.ndim:
        return []
    flat = flat_picture(sums)
    limit = float(np.abs(flat).max())
    picture = img(signed_pixels(flat, limit), "sum of the terms at each position", 190)
    words = f"Sum over the images at each position. Strongest colour: \u00b1{brief(limit, 3)}; red adds."
    return [figure(tag("span", picture, class_="board"), words)]


# --- the update


def _update_part(m: Material, layer: str, name: str, index: tuple[int, ...], step: int) -> Html:
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
    rows = [
        [part.replace("_", " "), column.text(v, plus=True), _share(v, update)] for part, v in values.items()
    ]
    left = closing(column, update, list(values.values()))
    if left:
        rows.append(["rounding", column.text(left, plus=True), ""])
    unit = f" (\u00d7 {column.unit})" if column.unit else ""
    foot = [[_difference("update", after, before), column.text(update, plus=True), "100 %"]]
    found = table(
        ["part", f"moved the weight by{unit}", "share"],
        rows,
        f"Update {step} by {split.optimizer.removesuffix('_update')}: what the optimiser made of it",
        [False, True, True],
        foot,
    )
    return join([tag("h4", "Update"), tag("div", found, class_="update"), _over_the_steps(updates, index)])


def _difference(name: str, after: float, before: float) -> str:
    """update = 0.2 - (-0.1), with all digits of a float32."""
    first = brief(before, 9)
    return f"{name} = {brief(after, 9)} {MINUS} {f'({first})' if before < 0 else first}"


def _share(value: float, update: float) -> str:
    return f"{100 * value / update:z.1f} %".replace("-", MINUS) if update else "-"


def _over_the_steps(updates: RunUpdates, index: tuple[int, ...]) -> Html:
    """The parts of all recorded updates, one line each."""
    steps = updates.steps()
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


# --- the history


def _history_part(m: Material, layer: str, name: str, index: tuple[int, ...]) -> Html:
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
    return [_adding_bars(labels, sums.sums.tolist(), past.covered_change, title)]
