"""The ledger of one weight in the report: formula, largest terms, sums by image, position and class."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient.ledgers import Ledger
from kernelearn.view.families import ACTIVATIONS, ERRORS, Family
from kernelearn.view.report.decimals import Column, brief, closing, column_for
from kernelearn.view.report.markup import Html, figure, join, paragraph, scrolling, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import flat_picture, image_pixels, img, map_picture
from kernelearn.view.report.svg import bar_chart
from kernelearn.view.windows import cell_of, window_picture

_TERMS, _FEW_TERMS, _FEW_LAYERS = 10, 5, 6
_MOST_IMAGES = 12


def ledger_part(m: Material, book: Ledger) -> Html:
    """Formula, largest terms with their images, and sums by image, position and class."""
    count = _TERMS if len(m.layers) <= _FEW_LAYERS else _FEW_TERMS
    top = book.top(count, m.batch_image(book.step))
    column = column_for([*(one.term for one in top), book.total])
    return join(
        [
            tag("h4", f"Ledger of step {book.step}: {len(book.terms):,} terms"),
            tag("p", book.formula, class_="formula"),
            tag("p", _filled(book, top, column), class_="formula"),
            _terms_table(m, book, top, column),
            tag("div", *_sums(m, book), class_="charts"),
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
    return join([scrolling(content), paragraph(note, class_="note")])


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
    picture = map_picture(flat, limit, ACTIVATIONS, words, 44)
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
    side = 64 if max(whole.shape[:2]) <= 64 else 48
    picture = img(image_pixels(whole), f"image {one.image}", side)
    return tag("span", picture, _frame(whole.shape, spans), class_="framed")


def _sums(m: Material, book: Ledger) -> list[Html]:
    images = book.by_image()
    order = np.argsort(-np.abs(images.sums), kind="stable")
    shown, rest = order[:_MOST_IMAGES], order[_MOST_IMAGES:]
    labels = [f"image {images.keys[i]}" for i in shown]
    values = [float(images.sums[i]) for i in shown]
    if len(rest):
        labels.append(f"{len(rest)} others")
        values.append(float(images.sums[rest].sum()))
    found = [adding_bars(labels, values, book.total, "Sum over the terms of each image")]
    found += _position_map(book)
    if book.labels is not None:
        sums = book.by_class()
        labels = [f"class {m.class_name(key)}" for key in sums.keys]
        found.append(adding_bars(labels, sums.sums.tolist(), book.total, "Sum over the terms of each class"))
    return found


def adding_bars(
    names: list[str], values: list[float], total: float, title: str, family: Family = ERRORS
) -> Html:
    """Bars whose numbers share one unit, and their sum."""
    column = column_for([*values, total], 4)
    unit = f", \u00d7 {column.unit}" if column.unit else ""
    texts = [column.text(v) for v in values]
    chart = bar_chart(names, values, f"{title}{unit}; in all {column.text(total)}", texts, family)
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
    picture = map_picture(flat, limit, ERRORS, "sum of the terms at each position", 190)
    words = f"Sum over the images at each position. Strongest colour: \u00b1{brief(limit, 3)}; red adds."
    return [figure(tag("span", picture, class_="board"), words)]
