"""What objects show of themselves in a notebook: small tables for `_repr_html_`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_MOST_ROWS = 12
_LEFT = "style='text-align:left'"


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()
) -> str:
    """A titled table with notes below it; every text in it is escaped.

    >>> table("Weights", ["name"], [["a<b"]])
    "<div><b>Weights</b><table><thead><tr><th style='text-align:left'>name</th></tr></thead>\
<tbody><tr><td style='text-align:left'>a&lt;b</td></tr></tbody></table></div>"
    """
    head = "".join(f"<th {_LEFT}>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td {_LEFT}>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    below = "<br>".join(html.escape(note) for note in notes)
    heading = f"<b>{html.escape(title)}</b>"
    return f"<div>{heading}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"


def shortened(rows: Sequence[Sequence[object]], most: int = _MOST_ROWS) -> list[Sequence[object]]:
    """The rows; of many the first and the last, with a row of dots between."""
    if len(rows) <= most:
        return list(rows)
    half = most // 2
    return [*rows[:half], ["..."] * len(rows[0]), *rows[-half:]]


def number(value: object) -> str:
    """Four digits of a number, the text of anything else."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
