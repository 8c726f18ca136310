"""A graph with something in it that has to stay as it is: the parts around that.

Dynamo keeps an `autograd.Function` of the user's as graphs within the graph, and leaves marks where gradients
are switched off and on inside of a model. The function, and what lies between two switches, stay in PyTorch;
what lies before and behind is compiled as if each were a graph by itself. A checkpoint splits a graph, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from kernelearn.torch.graphs.capture import changes_mode, target_name
from kernelearn.torch.graphs.checkpoints import Checkpointed
from kernelearn.torch.inside import source_of, split_module, tell_source

Compiled = Callable[..., Any]

_GRADIENTS = "_set_grad_enabled"


def has_parts(gm: GraphModule) -> bool:
    """Whether a graph has such a function or switches, and nothing that is lost where a graph is split."""
    switches = {target_name(node) for node in gm.graph.nodes if changes_mode(node)}
    is_split = _GRADIENTS in switches or any(map(_is_own, gm.graph.nodes))
    return is_split and switches <= {_GRADIENTS}


def _is_own(node: Node) -> bool:
    """Whether it is the call of such a function, or takes a result of it."""
    if node.op != "call_function":
        return False
    if isinstance(node.target, Checkpointed) or target_name(node) == "autograd_function_apply":
        return True
    source = node.args[0] if target_name(node) == "getitem" else None
    return isinstance(source, Node) and _is_own(source)


def compile_parts(gm: GraphModule, compile_one: Callable[[GraphModule], Compiled]) -> Compiled:
    """A function like `gm.forward`, of which each part without a function of the user's own is compiled."""
    numbers, kept = _numbered(gm)
    split = split_module(gm, None, lambda node: numbers[node], keep_original_order=True)  # type: ignore[arg-type]
    sources = {n.name: source_of(n) for n in gm.graph.find_nodes(op="placeholder")}
    for name, part in list(_parts(split)):
        if int(name.rpartition("_")[2]) in kept:
            continue
        for node in part.graph.find_nodes(op="placeholder"):
            if sources.get(node.name) is not None:
                tell_source(node, sources[node.name])
        _drop_switches(part)
        compiled = compile_one(part)
        delattr(split, name)
        object.__setattr__(split, name, _of_one(compiled) if _gives_one(part) else compiled)
    return split.forward  # type: ignore[no-any-return]


def _drop_switches(part: GraphModule) -> None:
    """`split_module` repeats the last switch in front of every part behind it, where all is as outside."""
    for node in list(part.graph.nodes):
        if target_name(node) == _GRADIENTS:
            part.graph.erase_node(node)
    part.recompile()


def _gives_one(part: GraphModule) -> bool:
    return isinstance(part.graph.output_node().args[0], Node)


def _of_one(compiled: Compiled) -> Compiled:
    """A graph of Dynamo's gives a tuple; a part with one result gives that."""

    def run(*inputs: Any) -> Any:
        found = compiled(*inputs)
        return found[0] if isinstance(found, tuple | list) else found

    return run


def _parts(split: GraphModule) -> Iterator[tuple[str, GraphModule]]:
    for name, part in split.named_children():
        if isinstance(part, GraphModule) and name.startswith("submod_"):
            yield name, part


def _numbered(gm: GraphModule) -> tuple[dict[Node, int], set[int]]:
    """The number of each node's part, and the numbers of those that stay as they are."""
    numbers: dict[Node, int] = {}
    kept: set[int] = set()
    number, switched = 0, _Switched()
    for node in gm.graph.nodes:
        stays = switched.has(node) or node.op == "get_attr" or _is_own(node)
        if stays != (number in kept):
            number += 1
        if stays:
            kept.add(number)
        numbers[node] = number
    return numbers, kept


class _Switched:
    """Whether the nodes of a graph, in their order, lie where gradients are not kept as outside."""

    def __init__(self) -> None:
        self._now = self._usual = torch.is_grad_enabled()

    def has(self, node: Node) -> bool:
        """The next node; a switch itself belongs to what it switches."""
        is_switch = node.op == "call_function" and target_name(node) == _GRADIENTS
        if is_switch:
            self._now = bool(node.args[0])
        return is_switch or self._now != self._usual
