"""A module as an exported program: its operations and parameters, for any number of images."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.conversion.torch.attention_leaves import with_leaves
from kernelearn.errors import ArgumentError, ArgumentTypeError

# Operations whose result shares its numbers with what it is made of.
VIEWS = frozenset(
    [
        "view",
        "reshape",
        "transpose",
        "permute",
        "select",
        "slice",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
        "expand",
        "squeeze",
        "unsqueeze",
        "flatten",
        "unflatten",
        "t",
        "getitem",
        "detach",
        "alias",
        "tensor_split",
        "swapaxes",
        "movedim",
        "view_as",
        "reshape_as",
        "contiguous",
    ]
)


@dataclass(frozen=True)
class Exported:
    """What a reader walks over.

    Attributes:
        program: `torch.export.ExportedProgram`.
        modules: path -> module, where there are modules: not for a program from a file.
        attention: path -> attention module that is one operation of the program.
        examples: inputs that it was exported with; () for a program from a file.
        results: what the module makes of them.
    """

    program: Any
    modules: dict[str, Any] = field(default_factory=dict)
    attention: dict[str, Any] = field(default_factory=dict)
    examples: tuple[Any, ...] = ()
    results: Any = None


def exported(module: Any, example: Any) -> Exported:
    """Export a module in eval mode, for any number of images.

    Raises: ArgumentError with PyTorch's reason if it cannot be exported.
    """
    torch = require("torch", "reading modules of PyTorch")
    if not isinstance(module, torch.nn.Module):
        raise ArgumentTypeError(f"from_torch takes a torch.nn.Module, got {type(module).__name__}.")
    twin = copy.deepcopy(module).eval()
    if _dtype(module) in (torch.float16, torch.bfloat16):
        twin = twin.float()  # float32 holds every number of theirs
    inputs = tuple(_twice(value) for value in examples_of(example, torch, _dtype(twin)))
    modules = dict(twin.named_modules())
    with torch.no_grad():
        results = twin(*inputs)
    twin, attention = with_leaves(twin)
    program = _program(torch, twin, inputs)
    if writes_into_views(program.graph):
        program = program.run_decompositions({})
    return Exported(program, modules, attention, inputs, results)


def examples_of(example: Any, torch: Any, dtype: Any) -> tuple[Any, ...]:
    """Example inputs as tensors: one, a tuple of them, or shapes.

    Raises: ArgumentTypeError.
    """
    if _is_shape(example):
        return (torch.randn(tuple(example), dtype=dtype),)
    listed = example if isinstance(example, tuple | list) else (example,)
    found = []
    for value in listed:
        if _is_shape(value):
            value = torch.randn(tuple(value), dtype=dtype)
        elif isinstance(value, np.ndarray):
            value = torch.from_numpy(np.ascontiguousarray(value))
        if not isinstance(value, torch.Tensor) or value.ndim < 2:
            raise ArgumentTypeError(
                "example must be what the module takes, images first: a tensor or array such as (1, 3, "
                "32, 32), "
                f"its shape, or a tuple of them for several inputs; got {type(value).__name__} "
                f"{tuple(getattr(value, 'shape', ()))}."
            )
        found.append(value)
    return tuple(found)


def _dtype(module: Any) -> Any:
    """Type of the floats that the module takes: that of its parameters."""
    return next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), None)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) > 1 and all(isinstance(v, int) for v in value)


def _twice(value: Any) -> Any:
    """At least two images, as PyTorch takes a size of 1 for a constant; numbers that float32 holds."""
    torch = require("torch", "reading modules of PyTorch")
    value = value.float().double() if value.dtype == torch.float64 else value
    return value if value.shape[0] > 1 else torch.cat([value, value])


def _program(torch: Any, module: Any, inputs: Sequence[Any]) -> Any:
    """Exported as it is, or where PyTorch cannot, after a symbolic trace."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        try:
            return _export(torch, module, inputs)
        except Exception as first:
            try:
                return _export(torch, torch.fx.symbolic_trace(module), inputs)
            except Exception:
                raise _refusal(first) from first
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _export(torch: Any, module: Any, inputs: Sequence[Any]) -> Any:
    sizes: list[Any] = [{0: torch.export.Dim.DYNAMIC} for _ in inputs]
    named = list(inspect.signature(module.forward).parameters.values())
    listed = next((i for i, p in enumerate(named) if p.kind is p.VAR_POSITIONAL), None)
    if listed is not None:  # forward(x, *others)
        sizes[listed:] = [tuple(sizes[listed:])]
    return torch.export.export(module, tuple(inputs), dynamic_shapes=tuple(sizes), strict=False)


def _refusal(cause: Exception) -> ArgumentError:
    text = " ".join(str(cause).split())
    if "specialized" in text or "Constraints violated" in text:
        reason = "it computes with a fixed number of images"
        remedy = "Take the number from x.shape[0], or leave it as -1, instead of writing it down."
    elif "data-dependent" in text or "data dependent" in text or "bool(" in text:
        reason = "what it computes depends on the numbers of the input (an if, a loop, a selection)"
        remedy = "Use torch.where, or convert the parts that do not choose."
    else:
        reason, remedy = "PyTorch could not export it", "See torch.export for what a module may do."
    return ArgumentError(f"The module cannot be converted: {reason}. {remedy} PyTorch says: {text[:400]}")


def writes_into_views(graph: Any) -> bool:
    """Whether an operation in place changes a value that something else sees under another name."""
    nodes = list(graph.nodes)
    place = {node: i for i, node in enumerate(nodes)}
    return any(
        _seen_elsewhere(node, node.args[0], place)
        for node in nodes
        if is_in_place(node) and hasattr(node.args[0], "users")
    )


def is_in_place(node: Any) -> bool:
    """Whether an operation writes into its first argument."""
    return (
        node.op == "call_function"
        and operator_stem(node).endswith("_")
        and not operator_stem(node).startswith("_")
    )


def operator_stem(node: Any) -> str:
    """ "relu_" of aten.relu_.default, "getitem" of Python's."""
    text = str(node.target)
    return text.split(".")[1] if text.count(".") >= 2 else getattr(node.target, "__name__", text)


def _seen_elsewhere(writer: Any, written: Any, place: dict[Any, int]) -> bool:
    root = written
    while operator_stem(root) in VIEWS and root.op == "call_function" and hasattr(root.args[0], "users"):
        root = root.args[0]
    aliases, queue = set(), [root]
    while queue:
        node = queue.pop()
        aliases.add(node)
        queue += [user for user in node.users if operator_stem(user) in VIEWS and user not in aliases]
    return any(place[user] > place[writer] for node in aliases - {written} for user in node.users)
