"""What happens when a layer is called: on symbolic tensors, on arrays, and inside of code that is traced.

Tensor  -> a node of a functional model, with output tensors of the shapes that lowering finds
Traced  -> the layer's operations in the program under construction
array   -> a program of this layer alone, which is run
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelearn import config
from kernelearn.engine.backends import prepare
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentTypeError, ShapeError
from kernelearn.layers.core import own
from kernelearn.layers.core.masks import pass_masks
from kernelearn.layers.core.structure import Given, Place, filled, taken_apart
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.layers.core.unknown_sizes import as_declared, as_noted, inferred
from kernelearn.regularizers import activity_penalty
from kernelearn.tracing import BatchSizeNeeded, Traced, active, current, lifted, opened, unwrapped, wrapped

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer

Shape = tuple[int | None, ...]
Specs = list[tuple[Shape, str]]
# Whether a model is being called on arrays without `training=`, so that augmentation is to be seen.
shown: ContextVar[bool] = ContextVar("shown", default=False)
# Numbers of images that show which sizes depend on them.
_TRIED = (8, 16)


def call(layer: Layer, args: tuple[Any, ...], keywords: dict[str, Any], training: bool | None) -> Any:
    """What a layer gives for arguments of one of the three kinds."""
    if active():
        return _traced(layer, args, keywords, training)
    given, leaves = taken_apart(args, keywords, _is_tensor)
    if leaves:
        return _symbolic(layer, given, leaves, training)
    return _on_arrays(layer, args, keywords, training)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def has_tensors(args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    """Whether a call is one on symbolic tensors."""
    return bool(taken_apart(args, keywords, _is_tensor)[1])


def is_array(value: Any) -> bool:
    """Whether an argument holds numbers: of NumPy, a weight, or of another library."""
    return isinstance(value, Variable | np.generic) or (
        hasattr(value, "__array__") and hasattr(value, "shape")
    )


def _is_value(value: Any) -> bool:
    return isinstance(value, Traced) or is_array(value)


def _one_structure(layer: Layer, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """The inputs of a layer of the library: one, or a list of them.

    Raises: ArgumentTypeError for other arguments.
    """
    unknown = [name for name, value in keywords.items() if value is not None and name != "inputs"]
    inputs = (*args, *(keywords[name] for name in ("inputs",) if name in keywords))
    if unknown or len(inputs) != 1:
        what = f"the argument {unknown[0]!r}" if unknown else f"{len(inputs)} arguments"
        raise ArgumentTypeError(
            f"{type(layer).__name__} {layer.name!r} is called with its input, or a list of its inputs, and "
            f"training=; got {what}."
        )
    return tuple(inputs[0]) if isinstance(inputs[0], list | tuple) else (inputs[0],)


# --- symbolic tensors


def _symbolic(layer: Layer, given: Given, tensors: list[Any], training: bool | None) -> Any:
    if not own.is_own(type(layer)):
        inputs = _one_structure(layer, *given.filled(tensors))
        if not all(isinstance(t, Tensor) for t in inputs):
            raise ArgumentTypeError(
                f"{type(layer).__name__} {layer.name!r} takes symbolic tensors or arrays, not both; got "
                f"{inputs}."
            )
        given, tensors = Given((tuple(Place(i) for i in range(len(inputs))),)), list(inputs)
    build(layer, given, [t.shape for t in tensors])
    specs = layer.infer_specs([(t.shape, t.dtype) for t in tensors], given)
    own.check_made_outside(layer)
    node = Node(layer, tuple(tensors), training=None if training is None else bool(training))
    node.outputs = tuple(Tensor(shape, dtype, node, i) for i, (shape, dtype) in enumerate(specs))
    if own.is_own(type(layer)):
        node.given, node.form = given, layer.notes.form
    layer.add_node(node)
    layer.notes.shapes = tuple(tensor.shape for tensor in node.outputs)
    return filled(node.form, node.outputs) if node.form is not None else one_or_list(node.outputs)


def build(layer: Layer, given: Given, shapes: Sequence[Shape]) -> None:
    """Make the weights of a layer that has none yet, for inputs of these shapes at the places of a call."""
    if not own.is_own(type(layer)):
        layer.ensure_built(shapes)
        return
    if layer.built:
        return
    args, named = given.filled([as_declared(shape) for shape in shapes])
    parameters = list(inspect.signature(layer.build).parameters.values())
    by_name = _shapes_by_name(layer, args, named)
    first = [p.name for p in parameters if p.default is p.empty] or [p.name for p in parameters[:1]]
    if all(name in by_name for name in first):
        found = (by_name.get(p.name) for p in parameters)
        layer.ensure_built(list(takewhile(lambda shape: shape is not None, found)))
        return
    is_open = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    count = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    layer.ensure_built(args if is_open else args[:count])


def _shapes_by_name(layer: Layer, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """ "x_shape" -> shape, for every argument x of `call` that was given."""
    bound = inspect.signature(layer.call).bind_partial(*args, **named)
    return {f"{name}_shape": value for name, value in bound.arguments.items()}


def infer(layer: Layer, specs: Specs, given: Given | None) -> Specs:
    """(shape, type) of each output; None for sizes that follow from sizes which are not known yet."""
    return inferred(lambda known: _for_any_number(layer, known, given), list(specs))


def _for_any_number(layer: Layer, specs: Specs, given: Given | None) -> Specs:
    """The same where all sizes but the number of images are known."""
    try:
        return _specs(layer, specs, given, None)
    except BatchSizeNeeded:
        few, many = (_specs(layer, specs, given, images) for images in _TRIED)
        return [(_common(x, y), dtype) for (x, dtype), (y, _) in zip(few, many)]


def _common(x: Shape, y: Shape) -> Shape:
    """The sizes that two shapes agree in, None elsewhere."""
    return tuple(a if a == b else None for a, b in zip(x, y))


def _specs(layer: Layer, specs: Specs, given: Given | None, images: int | None) -> Specs:
    graph = ProgramBuilder(dtype=layer.dtype, batch=images)
    with graph.scope(layer.name):
        inputs = [graph.input(f"input_{i}", *spec) for i, spec in enumerate(specs)]
        shapes = [(b.shape, b.dtype) for b in as_tuple(layer.lower_given(graph, given, inputs))]
    return [((images, *shape[1:]) if shape[:1] == (None,) else shape, dtype) for shape, dtype in shapes]


# --- inside of a program


def _traced(layer: Layer, args: tuple[Any, ...], keywords: dict[str, Any], training: bool | None) -> Any:
    graph = current()
    assert graph is not None
    if not own.is_own(type(layer)):
        args, keywords = (list(_one_structure(layer, args, keywords)),), {}
    given, leaves = taken_apart(args, keywords, _is_value)
    values = [lifted(graph, leaf) for leaf in leaves]
    if not own.is_own(type(layer)):
        values = given.filled(values)[0][0]
    with own.outside():
        build(layer, given, [(None, *value.buffer.shape[1:]) for value in values])
    own_call = own.is_own(type(layer))
    frame = own.innermost()
    name = frame.paths.get(id(layer), layer.name) if frame else layer.name
    with graph.scope(name), mode(graph, layer, training):
        result = _result(layer, graph, given, values)
        results = [value.buffer for value in taken_apart((result,), {}, _is_value)[1]]
        pass_masks(layer, graph, _first_of(given.filled(values) if own_call else ((values,), {})), results)
        add_activity_penalties(graph, layer, results)
        graph.note_result(layer, results[0])
    own.check_made_outside(layer)
    layer.notes.shapes = as_noted(layer.notes.shapes, tuple(buffer.shape for buffer in results))
    return result


def _result(layer: Layer, graph: ProgramBuilder, given: Given, values: list[Traced]) -> Any:
    if own.is_own(type(layer)):
        args, keywords = given.filled(values)
        result = own.run_call(layer, graph, args, keywords)
        layer.notes.is_traced = True
        return result
    floats = [value if value.dtype.startswith("float") else value.astype(graph.dtype) for value in values]
    made = layer.lower(graph, *unwrapped([opened(value) for value in floats]))
    return wrapped(graph, list(made) if isinstance(made, tuple) else made)


def _first_of(arguments: tuple[Any, dict[str, Any]]) -> Any:
    """The first argument of a call; one in a list of its own is taken out of it."""
    args, named = arguments
    first = next(iter((*args, *named.values())), None)
    return first[0] if isinstance(first, list | tuple) and len(first) == 1 else first


@contextmanager
def mode(graph: ProgramBuilder, layer: Layer, training: bool | None) -> Iterator[None]:
    """A layer lowered inside follows what its call asked for; else what the program is for."""
    before = graph.training
    if training is not None:
        graph.training = bool(training)
    elif layer.called_training and shown.get():
        graph.training = True
    try:
        yield
    finally:
        graph.training = before


def add_activity_penalties(graph: ProgramBuilder, layer: Layer, results: Sequence[Buffer]) -> None:
    """The penalties on what a layer gives."""
    rule = layer.activity_regularizer
    if rule is not None:
        graph.penalties += [activity_penalty(graph, rule, buffer) for buffer in results]


def lower_node(graph: ProgramBuilder, node: Node, inputs: Sequence[Buffer]) -> tuple[Buffer, ...]:
    """One call of a functional model, with the buffers of its inputs; the buffers of its outputs."""
    layer = node.layer
    with graph.scope(layer.name), mode(graph, layer, node.training):
        results = as_tuple(layer.lower_given(graph, node.given, inputs))
        values = [Traced(graph, buffer) for buffer in inputs]
        pass_masks(
            layer, graph, _first_of(node.given.filled(values) if node.given else ((values,), {})), results
        )
        add_activity_penalties(graph, layer, results)
        graph.note_result(layer, results[0])
    return results


# --- arrays


def _on_arrays(layer: Layer, args: tuple[Any, ...], keywords: dict[str, Any], training: bool | None) -> Any:
    if not own.is_own(type(layer)):
        arrays = [np.asarray(part) for part in _one_structure(layer, args, keywords)]
        return layer.run_on_arrays(arrays, training)
    given, leaves = taken_apart(args, keywords, is_array)
    arrays = [np.asarray(leaf) for leaf in leaves]
    build(layer, given, [_open_shape(layer, array, arrays[0]) for array in arrays])
    results = run_alone(layer, arrays, training, given)
    own.check_made_outside(layer)
    return filled(layer.notes.form, results)


def _open_shape(layer: Layer, array: NDArray[Any], first: NDArray[Any]) -> Shape:
    """The shape of an input: None for its first size where that is the number of images.

    A layer of the library has images in all inputs.
    """
    if own.is_own(type(layer)) and array.shape[:1] != first.shape[:1]:
        return array.shape
    return (None, *array.shape[1:]) if array.ndim else ()


def run_alone(
    layer: Layer, arrays: list[NDArray[Any]], training: bool | None, given: Given | None = None
) -> list[Any]:
    """The outputs of a program of this layer alone."""
    is_training = layer.called_training if training is None else bool(training)
    try:
        graph = _alone(layer, arrays, is_training, given, None)
    except BatchSizeNeeded:
        graph = _alone(layer, arrays, is_training, given, len(arrays[0]))
    program = graph.build()
    feed: dict[str, Any] = {f"input_{i}": array for i, array in enumerate(arrays)}
    feed = {name: array for name, array in feed.items() if name in program.buffers}
    if "seed" in program.buffers:
        feed |= {"seed": config.next_seed(), "step": 0}
    results = prepare(program, graph.variables).run(feed)
    layer.notes.losses = [float(results[label]) for label in graph.outputs if label.startswith("loss_")]
    return [results[label] for label in graph.outputs if not label.startswith("loss_")]


def _alone(
    layer: Layer, arrays: list[NDArray[Any]], training: bool, given: Given | None, images: int | None
) -> ProgramBuilder:
    """The layer lowered for arrays of these shapes; outputs are labelled by their numbers."""
    graph = ProgramBuilder(training, dtype=layer.dtype, batch=images)
    inputs = [
        graph.input(f"input_{i}", _open_shape(layer, a, arrays[0]), _input_type(layer, a))
        for i, a in enumerate(arrays)
    ]
    with graph.scope(layer.name):
        outputs = as_tuple(layer.lower_given(graph, given, inputs))
    graph.outputs = {str(i): b.name for i, b in enumerate(outputs)}
    graph.outputs.update({f"loss_{i}": b.name for i, b in enumerate(graph.penalties)})
    return graph


def _input_type(layer: Layer, array: NDArray[Any]) -> str:
    """Floats in the layer's type; whole numbers stay what they are where the user's own code takes them."""
    return array.dtype.name if own.is_own(type(layer)) and array.dtype.kind in "iub" else layer.dtype


def check_count(layer: Layer, given: int) -> None:
    """Raise ShapeError unless `lower` takes this many inputs."""
    parameters = list(inspect.signature(layer.lower).parameters.values())[1:]
    positional = [p for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    if len(positional) == len(parameters) and given != len(positional):
        raise ShapeError(
            f"{type(layer).__name__} {layer.name!r} takes {len(positional)} input(s), got {given}. A "
            "list or tuple counts as several inputs: give one array, np.asarray(...), for one."
        )


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Outputs as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def one_or_list(values: Sequence[Any]) -> Any:
    """One output alone, several as a list."""
    return values[0] if len(values) == 1 else list(values)
