"""The traced value: a buffer of the program under construction that behaves like an array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import TracingError
from kernelearn.tracing import graph as graphs
from kernelearn.tracing.operators import Operators, function, functions
from kernelearn.tracing.where import user_line


class Traced(Operators):
    """A value of the program under construction.

    Attributes:
        graph: the program.
        buffer: its buffer there.
    """

    __slots__ = ("buffer", "graph")
    called = "a traced value"

    def __init__(self, graph: ProgramBuilder, buffer: Buffer) -> None:
        self.graph = graph
        self.buffer = buffer

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes; the first is None for the number of images, where the program is for any number of them."""
        shape = self.buffer.shape
        return (self.graph.batch, *shape[1:]) if shape[:1] == (None,) else shape

    @property
    def dtype(self) -> str:
        """Name of the type, such as "float32"."""
        return self.buffer.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.buffer.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        size = 1
        for axis in graphs.fixed(self).buffer.shape:
            size *= int(axis or 0)
        return size

    @property
    def mask(self) -> Any:
        """Which steps of it count, as a traced value; None: all do. See `layers.Layer.compute_mask`."""
        mask = self.graph.masks.get(self.buffer.name)
        return None if mask is None else Traced(self.graph, mask)

    @property
    def T(self) -> Any:
        """The value with its axes in reverse."""
        return function("transpose")(self)

    def astype(self, dtype: Any) -> Any:
        """The value in another type."""
        return function("cast")(self, dtype)

    def __len__(self) -> int:
        if not self.buffer.shape:
            raise TracingError(f"{user_line()} takes len() of a single number.")
        return int(graphs.fixed(self).buffer.shape[0] or 0)

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __eq__(self, other: object) -> Any:
        return function("equal")(self, other)

    def __ne__(self, other: object) -> Any:
        return function("not_equal")(self, other)

    def __hash__(self) -> int:
        return id(self)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TracingError(
            f"{user_line()} writes into {self._shown()}, which cannot be changed. Make a new one: "
            "ops.where(condition, a, b), ops.slice_update or ops.scatter_update."
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        hint = f"; use ops.{name}(x, ...)" if name in functions() else ""
        raise AttributeError(f"{user_line()}: a traced value has no attribute {name!r}{hint}.")

    def _shown(self) -> str:
        sizes = ", ".join("n" if s is None else str(s) for s in self.buffer.shape)
        return f"a traced value of shape ({sizes}) and type {self.dtype}"

    def __repr__(self) -> str:
        return f"<Traced {self.buffer}>"


def wrapped(graph: ProgramBuilder, value: Any) -> Any:
    """Buffers as traced values, inside tuples, lists and dicts too."""
    if isinstance(value, Buffer):
        return Traced(graph, value)
    if isinstance(value, tuple | list):
        return type(value)(wrapped(graph, part) for part in value)
    if isinstance(value, dict):
        return {key: wrapped(graph, part) for key, part in value.items()}
    return value


def unwrapped(value: Any) -> Any:
    """Traced values as their buffers, inside tuples, lists and dicts too."""
    if isinstance(value, Traced):
        return value.buffer
    if isinstance(value, tuple | list):
        return type(value)(unwrapped(part) for part in value)
    if isinstance(value, dict):
        return {key: unwrapped(part) for key, part in value.items()}
    return value
