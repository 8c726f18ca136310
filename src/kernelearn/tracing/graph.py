"""The program under construction: which one it is, constants in it, and the number of images.

The number of images is None in programs. Code that needs the number itself raises `BatchSizeNeeded`; whoever
builds the program then builds it again for this number (`ProgramBuilder.batch`). In such a program values of
images keep None as their first axis; `fixed` gives one with the number in its place, `opened` goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, KernelearnError, ShapeError, TracingError
from kernelearn.tracing.where import user_line

if TYPE_CHECKING:
    from kernelearn.tracing.value import Traced

_current: ContextVar[ProgramBuilder | None] = ContextVar("program", default=None)


class BatchSizeNeeded(KernelearnError):
    """Code that is traced needs the number of images itself; the program is built again for that number."""


def current() -> ProgramBuilder | None:
    """The program that code adds to at the moment; None outside of tracing."""
    return _current.get()


def active() -> bool:
    """Whether code is being traced."""
    return _current.get() is not None


@contextmanager
def tracing(graph: ProgramBuilder) -> Iterator[ProgramBuilder]:
    """Code inside adds to this program."""
    token = _current.set(graph)
    try:
        yield graph
    finally:
        _current.reset(token)


@contextmanager
def suspended() -> Iterator[None]:
    """Code inside computes on arrays."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def program_of(values: Iterable[Any]) -> ProgramBuilder | None:
    """The program that operations on these values belong to; None if they are all arrays and numbers.

    Raises: TracingError for values of two programs.
    """
    from kernelearn.tracing.value import Traced

    found = _current.get()
    is_traced = False
    for value in values:
        if isinstance(value, Traced):
            if found is not None and value.graph is not found:
                raise TracingError(
                    f"{user_line()} uses {value!r} outside of the call that made it. Do not keep traced "
                    "values in attributes or globals: return them, or use a weight with assign()."
                )
            found, is_traced = value.graph, True
        is_traced = is_traced or isinstance(value, Variable)
    return found if is_traced else None


def lifted(graph: ProgramBuilder, value: Any, dtype: str | None = None) -> Traced:
    """A value of this program: traced values as they are, weights by their buffers, anything else a constant.

    Args:
        dtype: of a constant; see `constant`.
    """
    from kernelearn.tracing.value import Traced

    if isinstance(value, Traced):
        return value
    if isinstance(value, Variable):
        return Traced(graph, using(graph, value))
    return constant(graph, value, dtype)


def using(graph: ProgramBuilder, variable: Variable) -> Buffer:
    """The buffer of a weight; what an update of the step under construction has assigned to it counts."""
    owner = getattr(variable, "owner", None)
    return owner.use(graph, variable) if owner is not None else graph.variable(variable, "state")


def constant(graph: ProgramBuilder, value: Any, dtype: str | None = None) -> Traced:
    """A constant of a program; the same numbers are one buffer.

    Args:
        dtype: None for the array's own, with floats in the float type of the program.
    Raises: ArgumentError for what is no array of numbers.
    """
    from kernelearn.tracing.value import Traced

    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(
            f"{user_line()}: expected an array of numbers, got {value!r} of type {type(value).__name__}."
        )
    kind = dtype or (graph.dtype if array.dtype.kind == "f" else array.dtype.name)
    array = np.ascontiguousarray(array.astype(kind)).reshape(array.shape)
    if array.ndim == 0:
        return Traced(graph, graph.add("fill", shape=(), value=float(array), dtype=kind))
    return Traced(graph, graph.constant(array))


def add(graph: ProgramBuilder, operator: str, *inputs: Any, **attrs: Any) -> Any:
    """Add an operation on traced values; gives a traced value, or a tuple of them.

    Where the number of images stands in the way and is known, the operation is on values with the number in
    its place.
    """
    from kernelearn.tracing.value import wrapped

    buffers = [value.buffer for value in inputs]
    try:
        specs = OPERATORS[operator].shape(*[b.spec for b in buffers], **attrs)
        is_open = all(None not in spec.shape[1:] for spec in specs)
    except (ShapeError, AssertionError):
        is_open = False
        if not any(b.shape[:1] == (None,) for b in buffers):
            graph.add(operator, *buffers, **attrs)  # raises, with the name of the layer
    if not is_open:
        buffers = [fixed(value).buffer for value in inputs]
    return wrapped(graph, graph.add(operator, *buffers, **attrs))


def fixed(value: Any) -> Any:
    """The value with the number of images as its first size; arrays, and values of no images, as they are.

    Raises: BatchSizeNeeded if the program is for any number of images.
    """
    from kernelearn.tracing.value import Traced

    if not isinstance(value, Traced) or value.buffer.shape[:1] != (None,):
        return value
    graph = value.graph
    if graph.batch is None:
        raise BatchSizeNeeded(
            f"{user_line()} needs the number of images itself, which is not known here: a program for any "
            "number of images cannot be made of it."
        )
    return Traced(graph, graph.add("fix_images", value.buffer, images=graph.batch))


def opened(value: Any) -> Any:
    """The value with None as its first size, where that is the number of images; the inverse of `fixed`."""
    from kernelearn.tracing.value import Traced

    if not isinstance(value, Traced) or not value.buffer.shape:
        return value
    if value.graph.batch is None or value.buffer.shape[0] != value.graph.batch:
        return value
    return Traced(value.graph, value.graph.add("open_images", value.buffer, images=value.graph.batch))
