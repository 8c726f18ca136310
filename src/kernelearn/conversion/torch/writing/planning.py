"""The walk over a model, call after call, inner models included, that gives the plan of its module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kernelearn.conversion.torch.placed import Placed, channels_first
from kernelearn.conversion.torch.writing import (  # noqa: F401 - each enters its writers
    activations,
    convolution,
    functions,
    normalization,
    shaping,
)
from kernelearn.conversion.torch.writing.plan import Plan, Ref, Site, sizes_known
from kernelearn.conversion.torch.writing.table import WRITERS
from kernelearn.engine.arrays import inverse_order
from kernelearn.errors import ArgumentError
from kernelearn.models import Model

# Layers along the steps of (n, steps, c): with one of them, inputs of three axes have channels second there.
_ALONG_STEPS = re.compile(
    r"((Depthwise|Separable)?Conv|MaxPooling|AveragePooling|UpSampling|ZeroPadding|Cropping)1D"
)
_IN_TRAINING = re.compile("Dropout|BatchNormalization|Noise")


def plan_of(model: Model, is_whole: bool = True) -> Plan:
    """The plan of a model's module.

    Args:
        is_whole: False where only the weights are asked for: layers without weights that PyTorch does not
            have pass then.
    Raises: ArgumentError naming the layer that cannot be written; NotBuiltError before shapes are known.
    """
    model.need_shapes()
    types = {layer.dtype for layer in model.flat_layers()}
    plan = Plan("float64" if "float64" in types else "float32", is_whole)
    origin = model.metadata.get("from_torch", {})
    for name in ("shapes", "buffers", "flattened"):
        setattr(plan, name, dict(origin.get(name, {})))
    orders = origin.get("inputs", {})
    values = {id(t): _input(plan, model, t, orders.get(t.node.layer.name)) for t in model.inputs}
    _walk(plan, model, values, "")
    outputs = [values[id(t)] for t in model.outputs]
    wanted = origin.get("outputs", [])
    wanted = wanted if len(wanted) == len(outputs) else [None] * len(outputs)
    plan.outputs = [_output(plan, model, *pair) for pair in zip(outputs, wanted)]
    plan.output_keys = list(model.output_keys) if model.output_keys else None
    _apart(plan)
    return plan


def _input(plan: Plan, model: Model, tensor: Any, order_there: Sequence[int] | None) -> Placed:
    """An input, in the order of axes that it had where it came from PyTorch, else with channels second."""
    at = Site(tensor.node.layer, tensor.node.layer.name, tensor.node, ())
    shape = sizes_known(at, tensor.shape)
    rank = len(shape)
    moves = rank > 3 or (rank == 3 and _has_steps(model))
    ref = Ref(f"input_{len(plan.inputs)}")
    order = channels_first(rank) if moves else tuple(range(rank))
    if order_there is not None and len(order_there) == rank:
        order = inverse_order(order_there)
    plan.inputs.append(ref)
    plan.orders.append(order)
    return Placed(ref, shape, order)


def _has_steps(model: Model) -> bool:
    return any(_ALONG_STEPS.match(type(layer).__name__) for layer in model.flat_layers())


def _output(plan: Plan, model: Model, x: Placed, order_there: Sequence[int] | None) -> Ref:
    at = Site(model, "output", None, ())
    x = plan.in_order(at, x)
    if order_there is not None and len(order_there) == x.rank:
        x = plan.ordered(at, x, inverse_order(order_there))
    elif x.rank > 3:
        x = plan.images(at, x)
    elif x.rank < 3:
        x = plan.plain(at, x)
    plan.output_orders.append(x.order)
    return x.tensor


def _walk(plan: Plan, model: Model, values: dict[int, Placed], prefix: str) -> None:
    for call in model.calls:
        given = [values[id(t)] for t in call.inputs]
        results = _called(plan, call, given, prefix)
        values.update((id(t), x) for t, x in zip(call.outputs, results))


def _called(plan: Plan, call: Any, given: Sequence[Placed], prefix: str) -> list[Placed]:
    layer, name = call.layer, f"{prefix}{call.layer.name}"
    if isinstance(layer, Model) and layer.calls:
        inner = {id(t): x for t, x in zip(layer.inputs, given)}
        _walk(plan, layer, inner, f"{name}.")
        return [inner[id(t)] for t in layer.outputs]
    at = Site(layer, name, call, ())
    at = replace(at, shapes=tuple(sizes_known(at, t.shape) for t in call.outputs))
    kind = next((cls.__name__ for cls in type(layer).__mro__ if cls.__name__ in WRITERS), "")
    try:
        if kind != type(layer).__name__:
            at.refuse(
                "cannot be written as a module of PyTorch", "Replace it, or convert the parts around it."
            )
        _check_mode(plan, at)
        made = WRITERS[kind](plan, at, _as_called(call, given))
    except ArgumentError:
        if plan.is_whole or layer.weights:
            raise
        return [_unknown(shape) for shape in at.shapes]
    return list(made) if isinstance(made, list | tuple) else [made]


def _unknown(shape: tuple[int, ...]) -> Placed:
    """A value of a layer that is not written: axes as PyTorch would have them."""
    rank = len(shape)
    return Placed(Ref(""), shape, channels_first(rank) if rank > 3 else tuple(range(rank)))


def _as_called(call: Any, values: Sequence[Placed]) -> list[Placed]:
    """The values in the order of the call's arguments, as often as they stand there."""
    if call.given is None:
        return list(values)
    args, _ = call.given.filled(list(values))
    flat = [part for arg in args for part in (arg if isinstance(arg, list | tuple) else [arg])]
    return [value for value in flat if isinstance(value, Placed)]


def _check_mode(plan: Plan, at: Site) -> None:
    if at.node.training is None or not _IN_TRAINING.search(type(at.layer).__name__):
        return
    if at.node.training:
        at.refuse("is called with training=True", "A module has one mode for all of its parts.")
    plan.note(f"{at.name} is called with training=False; in PyTorch call .eval() on it.")


def _apart(plan: Plan) -> None:
    """No module within another one that is no container: "conv.pad" beside "conv" becomes "conv_pad"."""
    taken = {step.name for step in plan.steps if step.kind != "function"}
    renamed = {name: _beside(name, taken) for name in taken}
    clashes = [name for name, new in renamed.items() if new != name and new in taken]
    if clashes:
        raise ArgumentError(f"Layers {clashes} would have the names of others; give them other names.")
    plan.steps = [replace(step, name=renamed.get(step.name, step.name)) for step in plan.steps]


def _beside(name: str, taken: set[str]) -> str:
    parts = name.split(".")
    made = parts[0]
    for i, part in enumerate(parts[1:], start=1):
        made += ("_" if ".".join(parts[:i]) in taken else ".") + part
    return made
