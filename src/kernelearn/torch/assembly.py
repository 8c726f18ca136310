"""From a functional graph to what runs: regions on the engine, the rest in PyTorch, writes at the end."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from kernelearn.errors import KernelearnError
from kernelearn.torch.graphs.capture import Captured
from kernelearn.torch.inside import CapabilityBasedPartitioner, add_to_each, memory_of
from kernelearn.torch.passes import RegionCall
from kernelearn.torch.translation.region import is_getitem, lies_in, name_of
from kernelearn.torch.translation.table import CannotTranslate, arguments, reason_of
from kernelearn.torch.trial import Trials

aten = torch.ops.aten
_WRITING = (aten.copy_.default, add_to_each)
# What makes a region worth the way into it: one of these operators of the engine.
WORTH = frozenset(
    {
        "average_pool",
        "conv",
        "conv_grad_input",
        "conv_transpose",
        "dense",
        "loss",
        "matmul",
        "max_pool",
        "normalize",
        "standardize",
    }
)


@dataclass
class Assembled:
    """What runs in place of a graph.

    Attributes:
        module: the graph with regions in it.
        regions: in the order of the graph.
        reasons: operator and why it stays with PyTorch, in the order of the graph.
    """

    module: GraphModule
    regions: list[RegionCall] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)


def assemble(captured: Captured, every: bool = False, is_measured: bool = False) -> Assembled:
    """Regions as large as they can be.

    Args:
        every: also those that are not worth the way into them.
        is_measured: whether PyTorch takes regions over in which it is faster.
    Raises: CannotTranslate if what runs would not do what the graph does.
    """
    trials = Trials()
    _leave_views(captured, trials)
    order = [node for node in captured.module.graph.nodes if _is_random(node)]
    partitioner = CapabilityBasedPartitioner(captured.module, trials, allows_single_node_partition=True)
    partitions = partitioner.propose_partitions()
    names = {node.name: reason for node, reason in trials.reasons.items()}
    fused = partitioner.fuse_partitions(partitions)
    if [n.name for n in order] != [n.name for n in fused.graph.nodes if _is_random(n)]:
        raise CannotTranslate("random numbers would be drawn in another order")
    done = Assembled(fused)
    writes = _take_writes(fused.graph, captured)
    for node in [n for n in fused.graph.nodes if n.op == "call_module"]:
        _place_region(done, node, writes, every, is_measured)
    done.reasons += [(str(node.target), names[node.name]) for node in fused.graph.nodes if node.name in names]
    _write(fused.graph, writes)
    fused.graph.eliminate_dead_code(lambda node: node.is_impure() or node.target in _WRITING)
    fused.recompile()
    return done


def _is_random(node: Node) -> bool:
    """Whether an operator draws numbers; some that may do so only while training, or with dropout."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    schema = getattr(node.target, "_schema", None)
    given = dict(zip((argument.name for argument in schema.arguments), arguments(node))) if schema else {}
    return all(bool(given.get(name, True)) for name in ("dropout_p", "train", "training"))


def calls(graph: Graph) -> list[Node]:
    """The nodes that compute something."""
    return [node for node in graph.nodes if node.op == "call_function"]


def _leave_views(captured: Captured, trials: Trials) -> None:
    """Results that share memory with an input, or with another result, do so afterwards too."""
    given = {_storage(node) for node in captured.inputs} - {None}
    results = [_storage(node) for node in captured.outputs[: captured.results] if isinstance(node, Node)]
    shared = {place for place in results if place is not None and results.count(place) > 1}
    for node in calls(captured.module.graph):
        place = _storage(node)
        if place in given:
            trials.leave(node, "a view of an input")
        elif place in shared and any(_storage(n) == place for n in node.all_input_nodes):
            trials.leave(node, "a result that is a view of another")


def _storage(node: Any) -> Any:
    """What tells the memory of a tensor from others."""
    val = getattr(node, "meta", {}).get("val")
    return memory_of(val) if isinstance(val, torch.Tensor) else None


@dataclass
class _Write:
    """A new value of an input."""

    target: Node
    value: Node


def _take_writes(graph: Graph, captured: Captured) -> list[_Write]:
    """Take the new values of inputs off the results.

    Raises: CannotTranslate where autograd would see the write.
    """
    output = graph.output_node()
    values: Sequence[Any] = output.args[0]  # type: ignore[assignment]
    placeholders = list(graph.find_nodes(op="placeholder"))
    output.args = (tuple(values[: captured.results]),)
    writes = []
    for number, value in zip(captured.changed, values[captured.results :]):
        target = placeholders[number]
        if target.meta["needs"] or value.meta["needs"] or _storage(value) == _storage(target):
            raise CannotTranslate(f"the graph changes an input that carries gradients ({target})")
        writes.append(_Write(target, value))
    return writes


def _place_region(done: Assembled, node: Node, writes: list[_Write], every: bool, is_measured: bool) -> None:
    """Put a region in place of its nodes, or leave them to PyTorch."""
    module = getattr(done.module, str(node.target))
    in_place = _in_place(node, module, writes)
    try:
        targets = {number: position for number, (position, _) in in_place.items()}
        region = RegionCall(module, targets, is_measured)
    except KernelearnError as error:
        done.reasons.append((_names(module), reason_of(error)))
        return
    if not every and WORTH.isdisjoint(op.operator for op in region.program.operations):
        done.reasons.append((_names(module), "too little work for a region"))
        return
    graph = done.module.graph
    with graph.inserting_before(node):
        made = graph.call_function(region, node.args)
    made.meta = node.meta
    node.replace_all_uses_with(made)
    graph.erase_node(node)
    for _, write in in_place.values():
        writes.remove(write)
    done.regions.append(region)


def _names(module: GraphModule) -> str:
    return ", ".join(name_of(n) for n in calls(module.graph) if not is_getitem(n))


def _in_place(node: Node, module: GraphModule, writes: list[_Write]) -> dict[int, tuple[int, _Write]]:
    """Results that only overwrite an input of a region: number -> (position of the input, the write)."""
    found = {}
    picked = {user.args[1]: user for user in node.users if user.target is operator.getitem}
    for write in writes:
        for number, user in picked.items():
            alone = user is write.value and not user.users and len(write.target.users) == 1
            if alone and write.target in node.args and _is_row(write.target.meta["val"]):
                found[number] = (node.args.index(write.target), write)
    return found


def _is_row(tensor: torch.Tensor) -> bool:
    """Whether the numbers of a program's row can lie where those of a tensor do."""
    return tensor.dim() == 1 and tensor.dtype == torch.float32 and lies_in(tensor, (0,))


def _write(graph: Graph, writes: list[_Write]) -> None:
    """The new values of inputs, behind all that reads the old ones; counters in one call.

    Counters that nothing else reads come first: a checkpoint's second forward pass may end early.
    """
    counters = defaultdict(list)
    with graph.inserting_before(graph.output_node()):
        for write in writes:
            value, target = write.value, write.target
            is_sum = value.target is aten.add.Tensor and value.args[0] is target and not value.kwargs
            if is_sum and isinstance(value.args[1], int) and not value.users and len(target.users) == 1:
                counters[value.args[1]].append(target)
            else:
                graph.call_function(aten.copy_.default, (target, value))
    if counters:
        with graph.inserting_before(calls(graph)[0]):
            for step, targets in counters.items():
                graph.call_function(add_to_each, (targets, step))
