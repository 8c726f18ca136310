"""Arguments and results in lists, tuples and dicts: taken apart into leaves, and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# A form is hashable: a leaf is None, anything else (kind, keys, forms of the parts).
Form = Any


def taken_apart(value: Any) -> tuple[list[Any], Form]:
    """The leaves of a structure, in order, and its form."""
    leaves: list[Any] = []
    return leaves, _form(value, leaves)


def _form(value: Any, leaves: list[Any]) -> Form:
    if isinstance(value, dict):
        return "dict", tuple(value), tuple(_form(part, leaves) for part in value.values())
    if isinstance(value, tuple | list):
        kind = "list" if isinstance(value, list) else "tuple"
        return kind, (), tuple(_form(part, leaves) for part in value)
    leaves.append(value)
    return None


def put_together(leaves: Sequence[Any], form: Form) -> Any:
    """The structure of a form with these leaves."""
    return _filled(iter(leaves), form)


def _filled(leaves: Iterator[Any], form: Form) -> Any:
    if form is None:
        return next(leaves)
    kind, keys, parts = form
    filled = [_filled(leaves, part) for part in parts]
    if kind == "dict":
        return dict(zip(keys, filled))
    return filled if kind == "list" else tuple(filled)
