"""How one function takes three kinds of arguments: arrays, symbolic tensors, traced values.

A function is written once, for arrays and traced values alike: `_run.values` and `_run.floats` bring its
arguments to one kind, `_run.emit` computes an operator on arrays or adds it to the program. The decorator
here gives it a public name and takes care of symbolic tensors: a call on one becomes a node of a functional
model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

from kernelearn.tracing import FUNCTIONS, Symbolic

F = TypeVar("F", bound=Callable[..., Any])


@overload
def operation(function: F, /) -> F: ...


@overload
def operation(*, name: str | None = None) -> Callable[[F], F]: ...


def operation(function: Any = None, /, *, name: str | None = None) -> Any:
    """Make a function of arrays and traced values one of symbolic tensors too.

    Args:
        name: public name, under which models are saved and Python's operators find it; that of the function
            if None.
    """
    if function is None:
        return lambda given: operation_named(given, name)
    return operation_named(function, name)


def operation_named(function: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    """The function under its public name."""
    public = name or function.__name__

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        symbol = next(_symbols((*args, *keywords.values())), None)
        if symbol is not None:
            return symbol.apply(public, args, keywords)
        return function(*args, **keywords)

    setattr(call, "operation_name", public)  # noqa: B010 - by which a config names it
    FUNCTIONS[public] = call
    return call


def _symbols(values: Any) -> Iterator[Symbolic]:
    """The symbolic tensors among arguments, in lists, tuples and dicts too."""
    for value in values:
        if isinstance(value, Symbolic):
            yield value
        elif isinstance(value, list | tuple):
            yield from _symbols(value)
        elif isinstance(value, dict):
            yield from _symbols(value.values())
