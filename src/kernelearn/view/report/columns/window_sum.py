"""One window as a sum, as it stands in the page: input x weight = product, the sum, bias, z and behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.view.report.decimals import brief, closing, column_for
from kernelearn.view.report.markup import Html, tag

if TYPE_CHECKING:
    from kernelearn.view.report.bench import Chosen

# Products that have a row each; the script has the same number.
ROWS = 12


def window_sum(one: Chosen) -> Html:
    """The table of one number of a map, whose column of products adds up as it is shown."""
    rows = _products(one)
    z = one.value("v", "z")
    shown = [product for *_, product in rows]
    column = column_for([*shown, one.bias, z], 4)
    left = closing(column, z, [*shown, one.bias])
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", brief(x, 4), class_="n a"),
            tag("td", brief(w, 4), class_="n w"),
            tag("td", column.text(product, plus=True), class_="n"),
        )
        for name, x, w, product in rows
    ]
    unit = f"product, \u00d7 {column.unit}" if column.unit else "product"
    foot = [_foot("bias b", column.text(one.bias, plus=True))] if one.bias else []
    if left or len(rows) < _count(one):
        foot.append(_foot(_rest_words(one, len(rows)), column.text(left, plus=True)))
    foot.append(_foot("z, their sum", column.text(z, plus=True), "total"))
    foot += [_foot(name, brief(value, 4)) for name, value in _behind(one)]
    caption = tag("caption", _title(one))
    heads = [("input", None), ("x", "n"), ("W", "n"), (unit, "n")]
    head = tag("tr", *(tag("th", words, scope="col", class_=kind) for words, kind in heads))
    return tag("table", caption, tag("thead", head), tag("tbody", *body), tag("tfoot", *foot), class_="sum")


def _foot(name: str, text: str, kind: str | None = None) -> Html:
    return tag("tr", tag("th", name, scope="row", colspan=3), tag("td", text, class_="n"), data_row=kind)


def _title(one: Chosen) -> str:
    p = one.panel
    at = f" at ({', '.join(map(str, one.position))})" if one.position else ""
    return f"The neuron of {'unit' if p.is_dense else 'filter'} {p.filters[one.filter]}{at}"


def _count(one: Chosen) -> int:
    return int(np.prod(one.panel.taps)) * (1 if one.panel.is_dense else one.panel.total.channels)


def _products(one: Chosen) -> list[tuple[str, float, float, float]]:
    """(name, input, weight, product) of the largest products of the slices that are shown, in their order."""
    found = []
    weights = one.weights()
    for s in one.shown:
        window = one.window(s)
        for tap in np.ndindex(*one.panel.taps):
            found.append((_named(one, s, tap), float(window[tap]), float(weights[s][tap])))
    with_products = [(name, x, w, x * w) for name, x, w in found]
    order = sorted(range(len(found)), key=lambda i: -abs(with_products[i][3]))[:ROWS]
    return [with_products[i] for i in sorted(order)]


def _named(one: Chosen, slice_number: int, tap: tuple[int, ...]) -> str:
    if one.panel.is_dense:
        return f"x[{one.panel.inputs[tap[0]]}]"
    channel = f", {one.slices[slice_number]}" if one.panel.total.channels > 1 else ""
    place = one.pixel(tap, one.position)
    if place is None:
        return "padding" if one.panel.kind == "conv" else "between"
    origin = [0] * len(place) if one.panel.origin is None else one.panel.origin["x"]
    return f"x[{', '.join(str(i + o) for i, o in zip(place, origin))}{channel}]"


def _rest_words(one: Chosen, rows: int) -> str:
    rest = _count(one) - rows
    return f"{rest:,} other products" if rest else "rounding"


def _behind(one: Chosen) -> list[tuple[str, float]]:
    """(name, value) of the columns behind z; of a pooling what its window gives."""
    return [(_word(c), one.value("v", c["key"])) for c in one.panel.columns[1:]]


def _word(column: dict[str, Any]) -> str:
    names = {"p": "pooled", "n": "normalised", "s": "sum of branches", "d": "behind dropout"}
    return names.get(column["key"]) or column["kind"] or column["operator"].replace("_", " ")
