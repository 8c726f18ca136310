"""Transfer learning on the structure of a model: what is frozen, the part behind it, layers in front.

Nothing here copies a weight: what is made shares its layers with the model that it is made from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.core.calling import as_tuple, lower_node
from kernelearn.layers.core.own import is_own
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.layers.core.unknown_sizes import fits, has_unknown
from kernelearn.layers.merging import Input

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer
    from kernelearn.models.model import Model

_TRIED = (32, 64, 16, 8, 128, 256)  # sizes of images


def set_trainable(model: Model, value: bool, until: str | None) -> None:
    """Freeze or release layers: all, or in the order of their first use those up to and including `until`.

    Raises: UnknownNameError for a layer that is not there; nothing is changed then.
    """
    if until is None:
        model.trainable = value
        return
    _set_until(model, _last_of(model, until), value)


def _last_of(model: Model, name: str) -> Layer:
    """The layer of this name or path; of a part of a network from PyTorch ("layer1") its last layer."""
    inside = [layer for path, layer in model.descendants() if path.startswith(f"{name}.")]
    is_layer = any(name in (path, layer.name) for path, layer in model.descendants())
    return inside[-1] if inside and not is_layer else model.get_layer(name)


def _set_until(owner: Layer, last: Layer, value: bool) -> bool:
    """Set the layers below `owner` up to `last`; whether that was among them."""
    for _, layer in owner.sublayers():
        if last is not layer and any(part is last for _, part in layer.descendants()):
            return _set_until(layer, last, value)
        layer.trainable = value
        if layer is last:
            return True
    return False


def inputs_of(model: Model) -> Any:
    """The inputs as the model was given them."""
    return dict(zip(model.input_keys, model.inputs)) if model.input_keys else model.inputs


def recall(call: Node, tensors: Sequence[Tensor], layer: Layer | None = None) -> list[Tensor]:
    """The outputs of a call made again on other tensors, of the same layer or of another one."""
    layer = layer or call.layer
    inputs = list(tensors)
    plain: tuple[Any, dict[str, Any]] = ((inputs if len(inputs) > 1 else inputs[0],), {})
    args, keywords = call.given.filled(inputs) if call.given else plain
    layer(*args, training=call.training, **keywords)
    return list(layer.last_node().outputs)


# --- the part behind a frozen one


@dataclass(frozen=True)
class Split:
    """A model in two: `base` gives what `head` takes; both share their layers with the model.

    Attributes:
        names: of the tensors between them, the keys of `base`'s outputs and of `head`'s inputs.
    """

    base: Model
    head: Model
    names: list[str]


def split_at_frozen(model: Model) -> Split:
    """The part that training leaves as it is and that gives the same for the same picture, and the rest.

    Raises: ArgumentError, with the layer and the reason, where there is no such part or no rest.
    """
    from kernelearn.models.model import Model

    if is_own(type(model.need_shapes())):
        raise ArgumentError(f"Model {model.name!r} has a call of its own: where to divide it is not known.")
    known, reason = _unchanging(model)
    rest = [call for call in model.calls if id(call) not in known]
    if not known:
        raise ArgumentError(f"Nothing at the beginning of {model.name!r} is the same in every step: {reason}")
    if not rest or not any(call.layer.trainable_weights for call in rest):
        raise ArgumentError(f"Model {model.name!r} has nothing to train behind its frozen layers.")
    border = _border(model, rest)
    names = [_name_of(tensor, border) for tensor in border]
    starts = [Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in border]
    made = {id(tensor): start for tensor, start in zip(border, starts)}
    for call in rest:
        results = recall(call, [made[id(tensor)] for tensor in call.inputs])
        made.update((id(tensor), result) for tensor, result in zip(call.outputs, results))
    outputs: Any = [made[id(tensor)] for tensor in model.outputs]
    if model.output_keys:
        outputs = dict(zip(model.output_keys, outputs))
    base = Model(inputs_of(model), border, name=f"{model.name}_frozen")
    _check_no_masks(base)
    given: Any = dict(zip(names, starts)) if len(starts) > 1 else starts
    return Split(base, Model(given, outputs, name=model.name), names)


def _check_no_masks(base: Model) -> None:
    """Raise ArgumentError if a mask would get lost between the two parts."""

    def lower(graph: ProgramBuilder, inputs: list[Any]) -> Any:
        return as_tuple(base.lower(graph, *inputs))

    graph, results = _tried(lower, base.inputs, base, False)
    if any(buffer.name in graph.masks for buffer in results):
        raise ArgumentError(
            f"The frozen layers of {base.name!r} hand a mask on to those behind them, and stored features "
            "have none. Train without storing them."
        )


def _unchanging(model: Model) -> tuple[set[int], str]:
    """ids of the calls that give the same in every step, and why the first other one does not."""
    constant = {id(tensor) for tensor in model.inputs}
    known: set[int] = set()
    reason = ""
    for call in model.calls:
        why = why_changing(call)
        if why is None and all(id(tensor) in constant for tensor in call.inputs):
            known.add(id(call))
            constant.update(id(tensor) for tensor in call.outputs)
        reason = reason or (why or "")
    return known, reason


def why_changing(call: Node) -> str | None:
    """Why a call may give another result in the next step; None if it cannot."""
    layer = call.layer
    if any(part.trainable_weights and part.learning_rate_multiplier for part in layer.flat_layers()):
        return f"layer {layer.name!r} is trained. Freeze it: model.freeze(until={layer.name!r})."
    if _operations(call, True) == _operations(call, False):
        return None
    return (
        f"layer {layer.name!r} ({type(layer).__name__}) does something else in every step of training, such "
        "as changing images at random, and one stored answer for each picture would leave that out. Train "
        "without it, or do not store the features."
    )


def _operations(call: Node, training: bool) -> list[Any]:
    """What a call adds to a program."""

    def lower(graph: ProgramBuilder, inputs: list[Any]) -> Any:
        return lower_node(graph, call, inputs)

    return _tried(lower, call.inputs, call.layer, training)[0].operations


def _tried(
    lower: Callable[[ProgramBuilder, list[Any]], Any], tensors: Sequence[Tensor], layer: Layer, training: bool
) -> tuple[ProgramBuilder, Any]:
    """A program and what was added to it; sizes that are known only with a batch are tried.

    Raises: ArgumentError where no size fits.
    """
    for size in _TRIED if any(has_unknown(t.shape) for t in tensors) else _TRIED[:1]:
        graph = ProgramBuilder(training, layer.dtype)
        shapes = [(t.shape[0], *(size if s is None else s for s in t.shape[1:])) for t in tensors]
        inputs = [graph.input(f"x_{i}", s, t.dtype) for i, (s, t) in enumerate(zip(shapes, tensors))]
        with contextlib.suppress(ShapeError):
            return graph, lower(graph, inputs)
    raise ArgumentError(f"Layer {layer.name!r} takes none of the sizes {_TRIED}: fix the input shape.")


def _border(model: Model, rest: Sequence[Node]) -> list[Tensor]:
    """The tensors that the rest reads and does not make itself, in the order in which it reads them."""
    own = {id(tensor) for call in rest for tensor in call.outputs}
    read: Iterator[Tensor] = (t for call in rest for t in call.inputs)
    wanted = {id(t): t for t in read if id(t) not in own}
    wanted.update((id(t), t) for t in model.outputs if id(t) not in own)
    return list(wanted.values())


def _name_of(tensor: Tensor, border: Sequence[Tensor]) -> str:
    name = tensor.node.layer.name
    alike = [t for t in border if t.node.layer.name == name]
    return name if len(alike) == 1 else f"{name}_{alike.index(tensor)}"


# --- layers in front


def in_front(model: Model, layers: Sequence[Layer]) -> Model:
    """A model with layers between its input and what reads that; it shares all layers with this one.

    Raises: ArgumentError for several inputs, or a model with a call of its own.
    """
    from kernelearn.models.model import Model
    from kernelearn.models.sequential import Sequential

    if len(model.need_shapes().inputs) != 1 or is_own(type(model)):
        raise ArgumentError(
            f"A layer in front needs a model of joined layers with one input; {model.name!r} has "
            f"{len(model.inputs)} inputs" + (" and a call of its own." if is_own(type(model)) else ".")
        )
    old = model.inputs[0]
    start = Input(old.shape[1:], dtype=old.dtype, name=_new_name(old.node.layer.name, layers))
    if isinstance(model, Sequential):
        return Sequential([start, *layers, *model.layers], name=model.name)
    x: Any = start
    for layer in layers:
        x = layer(x)
    made = {id(old): x}
    for call in model.calls:
        results = recall(call, [made[id(tensor)] for tensor in call.inputs])
        made.update((id(tensor), result) for tensor, result in zip(call.outputs, results))
    outputs: Any = [made[id(tensor)] for tensor in model.outputs]
    if model.output_keys:
        outputs = dict(zip(model.output_keys, outputs))
    return Model({model.input_keys[0]: start} if model.input_keys else start, outputs, name=model.name)


def _new_name(name: str, layers: Sequence[Layer]) -> str:
    return name if all(layer.name != name for layer in layers) else f"{name}_0"


def with_input_shape(model: Model, shape: Sequence[int | None]) -> Model:
    """A copy of a model of one input that takes samples of this shape, with the same weights; not compiled.

    Raises: ShapeError where the shape does not fit what the layers were made for.
    """
    from kernelearn.initializers.from_layer import values_follow
    from kernelearn.layers.core.base import LAYERS

    own = model.need_shapes().inputs[0].shape[1:]
    if len(model.inputs) != 1 or is_own(type(model)) or not fits(tuple(shape), own):
        raise ShapeError(
            f"Model {model.name!r} takes inputs of shape {own}; {tuple(shape)} does not fit that."
        )
    config = LAYERS.serialize(model)
    assert config is not None  # a model has one
    values = config["config"]
    if "inputs" in values:
        values["inputs"][0]["shape"] = list(shape)
    else:
        values["input_shape"] = list(shape)
    with values_follow():
        made: Model = LAYERS.get(config)
    made.set_weights(model.get_weights())
    made.metadata = dict(model.metadata)
    return made
