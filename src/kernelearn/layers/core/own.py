"""Layers with a `call` of their own: how it runs while a program is made, and what is said if it fails.

`call` gets traced values. Whose call is running stands in a context variable, so that layers which are called
inside find their place.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.layers.core.structure import Given, Place, filled, with_places
from kernelearn.tracing import BatchSizeNeeded, Traced, lifted, opened, suspended, tracing, user_line
from kernelearn.tracing.where import line_of

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer


@dataclass(frozen=True)
class Frame:
    """A layer whose `call` is running.

    Attributes:
        paths: id of every layer below it -> path.
    """

    layer: Layer
    paths: dict[int, str]


_frames: ContextVar[tuple[Frame, ...]] = ContextVar("frames", default=())


def innermost() -> Frame | None:
    """The layer whose `call` is running."""
    frames = _frames.get()
    return frames[-1] if frames else None


@contextmanager
def outside() -> Iterator[None]:
    """Code inside runs as if nothing was traced: weights are made there."""
    token = _frames.set(())
    try:
        with suspended():
            yield
    finally:
        _frames.reset(token)


@contextmanager
def _inside(layer: Layer) -> Iterator[None]:
    paths = {id(part): path for path, part in layer.descendants()}
    token = _frames.set((*_frames.get(), Frame(layer, paths)))
    try:
        yield
    finally:
        _frames.reset(token)


def is_own(cls: type) -> bool:
    """Whether a class says what it computes by `call` and not by `lower`."""
    return _is_own(cls)


@functools.lru_cache(maxsize=1024)
def _is_own(cls: Any) -> bool:
    for base in cls.__mro__:
        if "lower" in base.__dict__:
            return False
        if "call" in base.__dict__:
            return True
    return False


@functools.lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # written in C
        return ()


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function or method names this argument."""
    return name in _parameters(getattr(function, "__func__", function))


def run_call(layer: Layer, graph: ProgramBuilder, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """What `layer.call` gives for traced values, as traced values.

    Raises: ArgumentError if it gives None; what it raises, with the layer, the line and the shapes.
    """
    for path, weight in layer.weight_paths().items():
        graph.name_variable(weight, f"{graph.layer}/{path}" if graph.layer else path)
    extra: dict[str, Any] = {"training": graph.training} if takes(layer.call, "training") else {}
    if takes(layer.call, "mask"):
        extra["mask"] = getattr(next(iter(args), None), "mask", None)
    try:
        with _inside(layer):
            result = layer.call(*args, **{**extra, **keywords})
    except BatchSizeNeeded:
        raise
    except Exception as error:
        if graph.batch is None and isinstance(error, TypeError) and "NoneType" in str(error):
            # NOTE: x.shape[0] is None in a program for any number of images, and a number in one for that.
            raise BatchSizeNeeded(f"{line_of(error.__traceback__)} needs the number of images.") from error
        raise _located(error, layer, (args, keywords)) from error
    if innermost() is None:
        for path, weight in layer.weight_paths().items():
            weight.path = f"{layer.name}/{path}"
    _check_result(layer, result)
    leaves: list[Any] = []
    form = with_places(result, lambda value: not isinstance(value, list | tuple | dict), leaves)
    return filled(form, [_value(layer, graph, leaf) for leaf in leaves])


def _value(layer: Layer, graph: ProgramBuilder, leaf: Any) -> Any:
    """A result as a traced value; arrays and numbers are constants, None stays None."""
    if leaf is None or isinstance(leaf, str):
        return leaf
    if isinstance(leaf, Traced) and leaf.graph is not graph:
        raise ArgumentError(
            f"{_described(layer)} gives a value that another call has made. Do not keep traced values in "
            "attributes: compute them in every call."
        )
    return lifted(graph, leaf)


def lower_call(layer: Layer, graph: ProgramBuilder, given: Given, inputs: Sequence[Buffer]) -> Any:
    """The buffers that `layer.call` gives: one, or a tuple; `layer.notes.form` says how they are arranged."""
    with tracing(graph):
        args, keywords = given.filled([Traced(graph, buffer) for buffer in inputs])
        result = run_call(layer, graph, args, keywords)
        leaves: list[Traced] = []
        layer.notes.form = with_places(result, lambda value: isinstance(value, Traced), leaves)
        buffers = tuple(opened(leaf).buffer for leaf in leaves)
    if not buffers:
        raise ArgumentError(f"{_described(layer)} gives no tensor but {result!r}.")
    return buffers if len(buffers) > 1 else buffers[0]


def usual_given(layer: Layer, count: int) -> Given:
    """How a call with so many inputs is written where nobody has written it: one by one, or as a list."""
    parameters = list(inspect.signature(layer.call).parameters.values())
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in plain if p.default is p.empty and p.name not in ("training", "mask")]
    is_open = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    places = [Place(i) for i in range(count)]
    one_by_one = count == 1 or is_open or len(required) >= count
    return Given(tuple(places)) if one_by_one else Given((places,))


# --- messages


def _described(layer: Layer) -> str:
    code = getattr(type(layer).call, "__code__", None)
    where = f" ({code.co_filename.rpartition('/')[2]}, line {code.co_firstlineno})" if code else ""
    return f"{type(layer).__name__}.call{where} of layer {layer.name!r}"


def _check_result(layer: Layer, result: Any) -> None:
    if result is None:
        raise ArgumentError(f"{_described(layer)} returns None: end it with `return` and the result.")


def _located(error: Exception, layer: Layer, given: Any) -> Exception:
    """The error with the layer, the line and the shapes, once."""
    if getattr(error, "is_located", False):
        return error
    line = line_of(error.__traceback__)
    shapes = ", ".join(_shapes(given)) or "nothing"
    text = f"Layer {layer.name!r} ({type(layer).__name__}), {line or 'in call'}, called with {shapes}"
    if isinstance(error, KernelearnError):
        located: Exception = type(error)(f"{text}: {error}")
    else:
        located = error
        located.add_note(f"{text}.")
    located.is_located = True  # type: ignore[attr-defined]
    return located


def _shapes(given: Any) -> Iterator[str]:
    """The shapes of the tensors in the arguments of a call."""
    leaves: list[Traced] = []
    with_places(given, lambda value: isinstance(value, Traced), leaves)
    for leaf in leaves:
        yield f"({', '.join('n' if size is None else str(size) for size in leaf.buffer.shape)})"


def check_made_outside(layer: Layer) -> None:
    """Raise ArgumentError for a layer with weights that was made inside of a `call`."""
    made = layer.notes.made_in_call
    if made is not None and layer.weights:
        owner, line = made
        raise ArgumentError(
            f"{line or 'The code'}: {owner}.call makes a {type(layer).__name__}, whose weights would be new "
            f"at every step. Make it once, in __init__ or build (self.layer = {type(layer).__name__}(...)), "
            "and call it here."
        )


def note_made() -> tuple[str, str] | None:
    """(class, line) of the `call` that is running, for a layer that is made in it; None outside of calls."""
    frame = innermost()
    return None if frame is None else (type(frame.layer).__name__, user_line())


def check_may_add_weight(layer: Layer, name: str) -> None:
    """Raise ArgumentError for a weight that is made in `call`, or after the layer was used."""
    frame = innermost()
    if frame is not None or layer.notes.is_traced:
        where = f"inside of {type(frame.layer).__name__}.call" if frame else "after the layer was called"
        raise ArgumentError(
            f"{user_line() or 'The code'}: layer {layer.name!r} makes the weight {name!r} {where}, where it "
            "would be new at every step or never be trained. Make it in __init__ or in build(self, "
            "input_shape)."
        )
