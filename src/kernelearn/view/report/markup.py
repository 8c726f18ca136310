"""HTML in small pieces: everything that is text is escaped here, and nowhere else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# The sign of a number, which has a character of its own; dashes in words stay.
_NEGATIVE = re.compile(r"(?<![\w.)\]])-(?=\.?\d)")


@dataclass(frozen=True)
class Html:
    """A piece of HTML that is safe already; a plain `str` is escaped when it is put into another piece."""

    text: str

    def __str__(self) -> str:
        return self.text


def escaped(value: Any) -> str:
    """Text of a page: an `Html` as it is, anything else escaped."""
    return value.text if isinstance(value, Html) else html.escape(str(value))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """<name attribute="value">content</name>; `class_` is class, `data_x` is data-x, None leaves one out.

    >>> print(tag("p", "1 < 2", class_="note"))
    <p class="note">1 &lt; 2</p>
    """
    given = {key.rstrip("_").replace("_", "-"): v for key, v in attributes.items() if v is not None}
    written = "".join(f' {key}="{html.escape(str(value))}"' for key, value in given.items())
    if name in ("img", "br", "input", "meta", "source"):
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def join(pieces: Iterable[Any], between: str = "") -> Html:
    """Pieces one after another."""
    return Html(between.join(map(escaped, pieces)))


def paragraph(*content: Any, class_: str | None = None) -> Html:
    """A paragraph of text."""
    return tag("p", *content, class_=class_)


def figure(content: Any, caption: Any) -> Html:
    """A picture with its caption."""
    return tag("figure", content, tag("figcaption", caption))


def table(
    columns: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    caption: Any = None,
    numeric: Sequence[bool] | None = None,
    foot: Iterable[Sequence[Any]] = (),
) -> Html:
    """A table that scrolls sideways by itself where a screen is too narrow.

    Args:
        numeric: which columns stand right.
        foot: rows set apart at the end.
    """
    right = list(numeric or [False] * len(columns))
    head = tag("thead", tag("tr", *(_cell("th", c, r, scope="col") for c, r in zip(columns, right))))
    body = tag("tbody", *(tag("tr", *(_cell("td", c, r) for c, r in zip(row, right))) for row in rows))
    ends = [tag("tr", *(_cell("td", c, r) for c, r in zip(row, right))) for row in foot]
    parts = [tag("caption", caption)] if caption else []
    parts += [head, body] + ([tag("tfoot", *ends)] if ends else [])
    return scrolling(tag("table", *parts))


def scrolling(content: Any) -> Html:
    """Something wide that scrolls by itself, also with the keyboard."""
    return tag("div", content, class_="scroll", tabindex="0", role="group", aria_label="table")


def _cell(name: str, content: Any, is_numeric: bool, scope: str | None = None) -> Html:
    return tag(name, content, class_="n" if is_numeric else None, scope=scope)


def table_of(found: Any, title: str | None = None) -> Html:
    """An `explain.Table` as HTML."""
    return table(
        [name.replace("_", " ") for name in found.columns],
        [[_NEGATIVE.sub("\u2212", str(cell)) for cell in row] for row in found.cells()],
        found.title if title is None else title,
        found.is_numeric,
    )


def details(summary: Any, *content: Any, is_open: bool = False, class_: str | None = None) -> Html:
    """A part that opens and closes."""
    return tag("details", tag("summary", summary), *content, open="" if is_open else None, class_=class_)
