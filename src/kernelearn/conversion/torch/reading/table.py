"""The table of operators that can be read, and what a reader is given: one operation, all arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from kernelearn.conversion.torch.placed import Placed
from kernelearn.errors import ArgumentError


@dataclass(frozen=True)
class Call:
    """One operation of an exported program.

    Attributes:
        operator: as PyTorch writes it, "aten.conv2d.default".
        node: its name in the exported program.
        path: of the module that it belongs to; "" for the whole one.
        name: for the layer that it becomes.
        arguments: every argument of the operator by name, defaults included.
        kind: class name of the module, where it is one of torch.nn's.
        shapes: of the results, `IMAGES` for the number of images.
    """

    operator: str
    node: str
    path: str
    name: str
    arguments: dict[str, Any]
    kind: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]

    def get(self, argument: str, default: Any = None) -> Any:
        """An argument that not all forms of the operator have."""
        return self.arguments.get(argument, default)

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        """Raise ArgumentError that names the operator and its place."""
        where = f"module {self.path!r}" if self.path else "the module itself"
        raise ArgumentError(f"{self.operator} (node {self.node!r} of {where}) {reason}. {remedy}")

    def placed(self, argument: str) -> Placed:
        """An argument that follows from the input."""
        value = self[argument]
        if isinstance(value, Missing):
            self.refuse(f"uses {value.what}, which are not computed here", value.remedy)
        if not isinstance(value, Placed):
            self.refuse(
                f"is given {type(value).__name__} as {argument!r}, where a value that follows from the input "
                "is expected",
                "Compute what does not depend on the input when the module is made.",
            )
        return value


Reader = Callable[[Any, Call], Any]
READERS: dict[str, Reader] = {}


def reads(*operators: str) -> Callable[[Reader], Reader]:
    """Enter a function as the reader of operators: "conv2d.default" without "aten."."""

    def enter(function: Reader) -> Reader:
        READERS.update(dict.fromkeys(operators, function))
        return function

    return enter


def pair(value: Any, rank: int) -> tuple[int, ...]:
    """An int for all axes, or one for each."""
    values = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return tuple(values * rank if len(values) == 1 else values)


@dataclass(frozen=True)
class Missing:
    """A result of an operation that is not there; refused where it is used.

    Attributes:
        what: it would be.
        remedy: what to do.
    """

    what: str
    remedy: str
