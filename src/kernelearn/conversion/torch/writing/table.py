"""The table of layers that can be written: class name -> the function that adds its parts to a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Writer = Callable[[Any, Any, list[Any]], Any]
WRITERS: dict[str, Writer] = {}
# The functions of `kernelearn.ops` that can be written, by name.
FUNCTIONS: dict[str, Callable[..., Any]] = {}


def writes(*kinds: str) -> Callable[[Writer], Writer]:
    """Enter a function as the writer of layers of these classes: of (plan, site, values)."""

    def enter(function: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(kinds, function))
        return function

    return enter


def writes_function(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function as the writer of functions of `kernelearn.ops`: of (plan, site, *args, **keywords)."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return enter


def by_rank(kinds: str) -> list[str]:
    """ "Conv*D" for one, two and three axes."""
    return [kinds.replace("*", str(rank)) for rank in (1, 2, 3)]
