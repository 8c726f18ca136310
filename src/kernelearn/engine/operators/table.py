"""The operator table: what an operator is, and the registry of all of them.

An operator has a shape rule, a reference function (plain NumPy, from `engine.reference`) and a gradient rule,
which adds operations to the program under construction. Rules are local: the loop over a program is
`engine.gradients`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Spec(NamedTuple):
    """Shape (None = number of images) and dtype name of an array."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Operator:
    """One entry of the table.

    Attributes:
        name: how programs call it.
        shape: (*input Specs, **attrs) -> tuple of output Specs; raises ShapeError with a full message.
        run: reference function (*input arrays, **attrs) -> array or tuple of arrays.
        gradient: (Context) -> tuple with one Buffer or None per input; None for an operator without gradient.
        is_linear: linear in its first input, so that the adjoint identity holds (used by tests).
    """

    name: str
    shape: Callable[..., tuple[Spec, ...]]
    run: Callable[..., Any]
    gradient: Callable[["Context"], tuple] | None = None
    is_linear: bool = False


@dataclass(frozen=True)
class Context:
    """What a gradient rule sees.

    Attributes:
        builder: where to add operations (a ProgramBuilder).
        inputs, outputs: buffers of the operation.
        attrs: its attributes.
        grad: dL/d(first output); further outputs (masks, indices, statistics) carry no gradient.
        needs: for every input, whether its gradient is wanted.
    """

    builder: Any
    inputs: tuple
    outputs: tuple
    attrs: dict
    grad: Any
    needs: tuple[bool, ...]


OPERATORS: dict[str, Operator] = {}


def operator(name: str, shape, run, gradient=None, is_linear: bool = False) -> None:
    """Enter an operator into the table."""
    OPERATORS[name] = Operator(name, shape, run, gradient, is_linear)


def same_as_first(x: Spec, *others: Spec, **attrs) -> tuple[Spec, ...]:
    """Shape rule: one output like the first input."""
    return (x,)


def like(index: int) -> Callable[..., tuple[Spec, ...]]:
    """Shape rule: one output like input number `index`."""
    return lambda *inputs, **attrs: (inputs[index],)
