"""A ledger in words: its formula with the numbers of the layer filled in, its largest terms as a table."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from kernelearn.explain.gradient.pairs import channels_of, operator_index
from kernelearn.explain.table import Table

if TYPE_CHECKING:
    from kernelearn.explain.gradient.ledgers import Ledger

NOTE = (
    "'Per image' means: entering at the positions of that image. Where BatchNormalization follows, the error "
    "of one image depends on all images of its batch."
)
_AXES = {1: "p", 2: "pq", 3: "pqr"}


def formula(book: Ledger) -> str:
    """dL/dW[...] = sum over ... of x[...] * delta[...], every index of this layer filled in.

    The first call of a shared layer stands for all.
    """
    assert book.factors is not None
    part = book.factors.parts[0]
    index = ", ".join(map(str, book.index))
    positions = part.x.shape[1:-1] if book.kind == "conv_transpose" else part.delta.shape[1:-1]
    letters = _AXES.get(len(positions), "pqrstu")[: len(positions)]
    over = f"{len(part.x)} images n"
    if letters:
        over += f" and {' x '.join(map(str, positions))} positions ({', '.join(letters)})"
    if len(book.factors.parts) > 1:
        over += f" and {len(book.factors.parts)} calls of the layer"
    return f"dL/d{book.weight}[{index}] = sum over {over} of {_product(book, letters)}"


def _product(book: Ledger, letters: str) -> str:
    """x[...] * delta[...], indices as they are for a term."""
    assert book.factors is not None
    part, kernel_shape = book.factors.parts[0], book.factors.kernel_shape
    plain = ["n", *letters]
    if book.kind == "bias":
        return f"delta[{', '.join([*plain, str(book.index[0])])}]"
    at = operator_index(book.index, book.factors.gradient.shape, kernel_shape)
    channel, output = channels_of(part, at, kernel_shape)
    read = plain
    if book.kind != "dense":
        axes = zip(letters, at, part.attrs["stride"], part.attrs["dilation"], part.attrs["padding"])
        read = ["n", *(_pixel(p, s, i * d - before) for p, i, s, d, (before, _) in axes)]
    at_x, at_delta = (plain, read) if book.kind == "conv_transpose" else (read, plain)
    return f"x[{', '.join([*at_x, str(channel)])}] * delta[{', '.join([*at_delta, str(output)])}]"


def _pixel(letter: str, stride: int, offset: int) -> str:
    """p*2 + 1, or p - 1, or p."""
    scaled = letter if stride == 1 else f"{letter}*{stride}"
    return scaled if offset == 0 else f"{scaled} {'+' if offset > 0 else '-'} {abs(offset)}"


def top_table(book: Ledger, k: int = 5) -> Table:
    """The largest terms as rows."""
    columns = ["image", "position", "input", "delta", "term", "share"]
    rows: list[list[Any]] = [
        [c.image, str(c.position), c.input, c.delta, c.term, f"{100 * c.share:+.1f} %"] for c in book.top(k)
    ]
    if book.labels is not None:
        columns.insert(1, "class")
        for row, c in zip(rows, book.top(k)):
            row.insert(1, c.label)
    return Table(tuple(columns), tuple(map(tuple, rows)), f"{min(k, len(book.terms))} largest terms")


def head_lines(book: Ledger) -> list[str]:
    """What the ledger is of, its formula and its sums."""
    terms = f"{len(book.terms)} terms, sum {book.total:.9g}"
    if book.penalty:
        terms += f", penalty on the weight {book.penalty:.9g}"
    return [
        f"Ledger of {book.layer or 'layer'}/{book.weight}{list(book.index)}, step {book.step}",
        formula(book),
        f"{terms}; gradient of the engine {book.gradient:.9g}; residual {book.residual:.2g} "
        f"({book.relative_residual:.1g} of the absolute terms)",
    ]


def as_text(book: Ledger) -> str:
    """A short report."""
    return "\n".join([*head_lines(book), str(top_table(book)), *_notes(book)])


def as_html(book: Ledger) -> str:
    """The same report for a notebook."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in (*head_lines(book), *_notes(book)))
    return f"<div>{lines}{top_table(book)._repr_html_()}</div>"


def _notes(book: Ledger) -> list[str]:
    return [] if book.mixes_images is False else [NOTE]
