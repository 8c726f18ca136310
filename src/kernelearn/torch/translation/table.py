"""The table: which rule translates which operator of PyTorch, and what arguments it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from kernelearn.errors import KernelearnError
from kernelearn.torch.translation.values import Value

Rule = Callable[..., "Value | tuple[Value | None, ...]"]
R = TypeVar("R", bound=Rule)


@dataclass(frozen=True)
class Besides:
    """What the arguments of an operator may hold besides floats, by the numbers of the arguments.

    Attributes:
        whole_numbers: labels, places.
        conditions: booleans.
    """

    whole_numbers: tuple[int, ...]
    conditions: tuple[int, ...]


# Operator (an overload of torch.ops, or a function of `standins`) -> its rule, and what it takes.
RULES: dict[Any, Rule] = {}
BESIDES_FLOATS: dict[Any, Besides] = {}


class CannotTranslate(KernelearnError):
    """An operator, or one use of it, that is left to PyTorch; the message says why."""


def reason_of(error: BaseException) -> str:
    """Why something stays with PyTorch: the first line of an error, or its type where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def rule(
    *targets: Any, whole_numbers: tuple[int, ...] = (), conditions: tuple[int, ...] = ()
) -> Callable[[R], R]:
    """Enter a rule for operators of PyTorch.

    Args:
        targets: overloads, such as `torch.ops.aten.relu.default`.
        whole_numbers: numbers of the arguments that may be tensors of integers.
        conditions: numbers of those that may be tensors of booleans.
    """

    def enter(function: R) -> R:
        for target in targets:
            RULES[target] = function
            BESIDES_FLOATS[target] = Besides(whole_numbers, conditions)
        return function

    return enter


def arguments(node: torch.fx.Node) -> list[Any]:
    """All arguments of a node in the order of the operator's schema, those left out with their defaults."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:  # a function of our own: no argument of it has a default
        return [*node.args, *node.kwargs.values()]
    found = list(node.args)
    for argument in schema.arguments[len(found) :]:
        found.append(node.kwargs.get(argument.name, argument.default_value))
    return found
