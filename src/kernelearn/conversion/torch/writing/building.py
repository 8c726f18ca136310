"""`to_torch`: the module that a plan says, made of torch.nn's own parts."""

from __future__ import annotations

import operator
from collections import OrderedDict
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.conversion.torch.importing import outputs_of
from kernelearn.conversion.torch.writing.plan import Plan, Ref, Step
from kernelearn.conversion.torch.writing.planning import plan_of
from kernelearn.engine.arrays import inverse_order
from kernelearn.errors import ArgumentError, ArgumentTypeError
from kernelearn.models import Model

_BOUND = {"float32": 1e-3, "float64": 1e-9}


def to_torch(model: Model, check: bool = True) -> Any:
    """A `torch.nn.Module` that computes what a model computes, and needs no kernelearn.

    It takes and gives images as PyTorch does, (n, c, height, width), whatever the model takes; other axes are
    as in the model, but for series (n, c, steps) of a model that convolves along them. Its parts are
    those of `torch.nn` under the names of the layers, so that "conv1" has "conv1.weight" in the state dict:
    an `nn.Sequential` where one follows the other, else a `torch.fx.GraphModule`, whose `.code` can be read.
    It is in eval mode, can be saved by `torch.save`, exported and trained.

    Args:
        model: built.
        check: compare one prediction of the module with the model's.
    Raises: ArgumentError naming the layer that cannot be written exactly; MissingDependencyError without
        PyTorch.
    """
    torch = require("torch", "writing modules of PyTorch")
    if not isinstance(model, Model):
        raise ArgumentTypeError(f"to_torch takes a kernelearn model, got {type(model).__name__}.")
    plan = plan_of(model)
    module = _module(torch, plan, model.name).eval()
    if check:
        _compare(torch, plan, model, module)
    plan.warn()
    return module


def _module(torch: Any, plan: Plan, name: str) -> Any:
    parts: dict[str, Any] = {}
    for step in plan.steps:
        if step.kind != "function" and step.name not in parts:  # later calls share it
            parts[step.name] = _made(torch, plan, step)
    names = [step.name for step in plan.steps]
    if _is_chain(plan) and len(set(names)) == len(names) and not any("." in n for n in names) and names:
        return torch.nn.Sequential(OrderedDict((n, parts[n]) for n in names))
    root = torch.nn.Module()
    for path, part in parts.items():
        _put(torch, root, path, part)
    graph = _graph(torch, plan)
    made = torch.fx.GraphModule(root, graph, class_name=_class_name(name))
    made.graph.lint()
    _leave_out_constants(plan, made)
    return made


def _leave_out_constants(plan: Plan, module: Any) -> None:
    """Buffers that are no part of the state dict. NOTE: GraphModule makes all of them a part of it."""
    for step in plan.steps:
        if step.kind == "state" and step.states and not step.states[""].is_kept:
            owner, _, name = step.name.rpartition(".")
            part = module.get_submodule(owner)
            tensor = getattr(part, name)
            delattr(part, name)
            part.register_buffer(name, tensor, persistent=False)


def _class_name(name: str) -> str:
    found = "".join(letter for letter in name.title() if letter.isalnum())
    return found if found[:1].isalpha() else f"Model{found}"


def _is_chain(plan: Plan) -> bool:
    """Whether every part takes what the one before it gives."""
    if len(plan.inputs) != 1 or len(plan.outputs) != 1 or plan.output_keys:
        return False
    before = plan.inputs[0]
    for i, step in enumerate(plan.steps):
        if step.kind != "module" or step.inputs != (before,):
            return False
        before = plan.result_of(i)
    return plan.outputs[0] == before


def _made(torch: Any, plan: Plan, step: Step) -> Any:
    """The module, parameter or buffer of a step, with its values."""
    if step.kind == "state":
        state = step.states[""]
        tensor = torch.from_numpy(np.array(state.to_torch()))
        return tensor if state.is_buffer else torch.nn.Parameter(tensor, requires_grad=state.is_trained)
    module = getattr(torch.nn, step.target)(*step.args, **step.keywords)
    if plan.dtype == "float64":
        module = module.double()
    with torch.no_grad():
        for key, state in step.states.items():
            _fill(torch, module, key, state)
    return module


def _fill(torch: Any, module: Any, key: str, state: Any) -> None:
    owner, _, name = key.rpartition(".")
    tensor = getattr(module.get_submodule(owner), name)
    array = np.array(state.to_torch())
    if tuple(tensor.shape) != array.shape:
        raise ArgumentError(f"{key!r} has shape {array.shape}, where PyTorch's has {tuple(tensor.shape)}.")
    tensor.copy_(torch.from_numpy(array))
    if not state.is_buffer:
        tensor.requires_grad_(state.is_trained)


def _put(torch: Any, root: Any, path: str, part: Any) -> None:
    """Set a part at its path; what is missing on the way is made."""
    *above, name = path.split(".")
    for step in above:
        if not hasattr(root, step):
            root.add_module(step, torch.nn.Module())
        root = getattr(root, step)
    if isinstance(part, torch.nn.Module):
        root.add_module(name, part)
    elif isinstance(part, torch.nn.Parameter):
        root.register_parameter(name, part)
    else:
        root.register_buffer(name, part)


def _graph(torch: Any, plan: Plan) -> Any:
    graph = torch.fx.Graph()
    values: dict[str, Any] = {ref.name: graph.placeholder(ref.name) for ref in plan.inputs}

    def filled(value: Any) -> Any:
        if isinstance(value, Ref):
            return values[value.name]
        if isinstance(value, list | tuple):
            return type(value)(filled(part) for part in value)
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else value

    for i, step in enumerate(plan.steps):
        if step.kind == "module":
            args = step.inputs[0] if isinstance(step.inputs[0], tuple) else step.inputs
            node = graph.call_module(step.name, tuple(filled(list(args))))
        elif step.kind == "state":
            node = graph.get_attr(step.name)
        elif step.target.startswith("torch.Tensor."):
            node = graph.call_method(
                step.target.rpartition(".")[2], filled(step.args), filled(dict(step.keywords))
            )
        else:
            node = graph.call_function(
                _function(torch, step.target), filled(step.args), filled(dict(step.keywords))
            )
        values[plan.result_of(i).name] = node
    graph.output(_arranged(plan, [values[ref.name] for ref in plan.outputs]))
    return graph


def _arranged(plan: Plan, outputs: list[Any]) -> Any:
    if plan.output_keys:
        return dict(zip(plan.output_keys, outputs))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _function(torch: Any, target: str) -> Any:
    found: Any = {"torch": torch, "operator": operator}[target.partition(".")[0]]
    for name in target.split(".")[1:]:
        found = getattr(found, name)
    return found


def _compare(torch: Any, plan: Plan, model: Model, module: Any) -> None:
    """Raise ArgumentError if the module does not predict what the model predicts for random numbers."""
    rng = np.random.default_rng(0)
    given = [_example(rng, t) for t in model.inputs]
    ours = model.predict(given if len(given) > 1 else given[0], verbose=0)
    turned = [torch.from_numpy(x.transpose(order)) for x, order in zip(given, plan.orders)]
    with torch.no_grad():
        theirs = outputs_of(module(*turned), model.output_keys)
    listed = outputs_of(ours, model.output_keys)
    for i, (a, b, order) in enumerate(zip(listed, theirs, plan.output_orders)):
        b = b.numpy().transpose(inverse_order(order))
        size = float(np.abs(a).max(initial=0)) + 1e-6
        difference = float(np.abs(a - b).max(initial=0)) / size
        if not difference <= _BOUND.get(str(a.dtype), 1e-3):
            raise ArgumentError(
                f"Output {i} of the module differs from the model's by {difference:.1e} of its largest "
                "number: the "
                "conversion is wrong, please report the model. With check=False you get the module as it is."
            )


def _example(rng: np.random.Generator, tensor: Any) -> np.ndarray:
    """Two images for an input: whole numbers that stand in every table, or floats."""
    shape = (2, *(int(size) for size in tensor.shape[1:]))
    if tensor.dtype.startswith(("int", "uint")):
        return np.zeros(shape, tensor.dtype)
    return rng.normal(size=shape).astype(tensor.dtype)
