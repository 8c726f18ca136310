"""From Dynamo's graph to a functional one: ATen operators before autograd, nothing in place.

PyTorch's own functionalisation does it (`FunctionalTensorMode`), so views and writes through them mean what
they mean in eager mode. What the graph wrote into its inputs (moving averages, counters) becomes further
results.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from kernelearn.torch.graphs import noise, rows, sequences
from kernelearn.torch.graphs.rewriting import Rewriting, forget_double_turns
from kernelearn.torch.graphs.sizes import expression, same_size
from kernelearn.torch.graphs.standins import CARRYING, SINGLE, STANDINS, repeated
from kernelearn.torch.inside import (
    FunctionalTensor,
    FunctionalTensorMode,
    has_changed,
    make_fx,
    plain,
    source_of,
    tree_leaves,
)
from kernelearn.torch.translation.table import CannotTranslate

# What changes the meaning of the operators behind it, and is lost while a graph is traced.
SWITCHES = (
    "_set_grad_enabled",
    "_enter_autocast",
    "_exit_autocast",
    "_enter_inference_mode",
    "set_default_dtype",
)
# Where such functions come from: those of `torch.func`, and of hooks on what is saved.
_SWITCHING = ("torch._C._functorch", "torch._functorch", "torch._C._autograd")


aten = torch.ops.aten


class NothingGiven(CannotTranslate):
    """A graph that is given no tensor, such as one that a checkpoint leaves: nothing worth a word."""


@dataclass(frozen=True)
class Captured:
    """A functional graph.

    Attributes:
        module: gives a list: the results, then the new values of changed inputs.
        results: how many of them are results.
        changed: numbers of the inputs that have new values.
        counted: an input, and which of its axes counts images.
    """

    module: GraphModule
    results: int
    changed: tuple[int, ...]
    counted: tuple[int, int]

    @property
    def inputs(self) -> list[Node]:
        return [node for node in self.module.graph.nodes if node.op == "placeholder"]

    @property
    def outputs(self) -> list[Any]:
        """Nodes of the results and new values; None and numbers as they are."""
        found: list[Any] = self.module.graph.output_node().args[0]  # type: ignore[assignment]
        return found


def capture(gm: GraphModule) -> Captured:
    """The functional graph of a graph of Dynamo's, its nodes marked.

    Marks in `meta`: "val" (a tensor without memory), "batched" (its first axis counts images), "needs" (a
    gradient).

    Raises: CannotTranslate for a graph that cannot be told apart from its surroundings.
    """
    _refuse_switches(gm)
    placeholders = [node for node in gm.graph.nodes if node.op == "placeholder"]
    fakes = [node.meta["example_value"] for node in placeholders]
    data = [fake for node, fake in zip(placeholders, fakes) if not _is_of_module(node, fake)]
    images = _number_of_images(data)
    second = next((size for size in map(_open_second, data) if size is not None), None)
    if type(images) is int and second is not None:  # a graph of any number of images, if they come second
        found = _captured(gm, placeholders, [_with_sizes(fake, second) for fake in fakes], must_turn=True)
        if found is not None:
            return found
    # NOTE: programs are made for one size of maps. To ask for another open size is a guard: Dynamo
    # compiles again for others.
    found = _captured(gm, placeholders, [_with_sizes(fake, images) for fake in fakes])
    assert found is not None
    return found


def _open_second(fake: Any) -> Any:
    """The second size, if it alone is open."""
    is_open = isinstance(fake, torch.Tensor) and fake.dim() > 1 and type(fake.shape[1]) is not int
    return fake.shape[1] if is_open and type(fake.shape[0]) is int else None  # type: ignore[union-attr]


def _captured(
    gm: GraphModule, placeholders: Sequence[Node], fakes: Sequence[Any], must_turn: bool = False
) -> Captured | None:
    """As `capture`, for inputs of these sizes; None if images have to come second and do not."""
    module, results, changed = _traced(gm, fakes)
    inputs = list(module.graph.find_nodes(op="placeholder"))
    for node, source, fake in zip(inputs, placeholders, fakes):
        node.meta |= {"val": fake, "of_module": _is_of_module(source, fake)}
    _use_standins(module.graph)
    known = _name_sizes(module.graph)
    noise.draw_outside(module.graph, lambda size: size if type(size) is int else known.get(expression(size)))
    forget_double_turns(module.graph)  # behind the dropouts, which draw in the order of memory
    module.graph.eliminate_dead_code()
    data = [node for node in inputs if not node.meta["of_module"]]
    module, second = sequences.turned(module, data)
    if must_turn and second is None:
        return None
    rows.forget_rows(module.graph)
    images = second or _number_of_images([node.meta["val"] for node in data])
    _mark(module.graph, images)
    if _repeat_for_images(module.graph):
        _mark(module.graph, images)
    axis = 0 if second is None else 1
    counted = next(
        i for i, node in enumerate(inputs) if node in data and _counts(node.meta["val"], images, axis)
    )
    captured = Captured(module, results, changed, (counted, axis))
    _compare_needs(gm, captured)
    module.recompile()
    return captured


def target_name(node: Node) -> str:
    """The name of what a node calls."""
    return getattr(node.target, "__name__", str(node.target))


def changes_mode(node: Node) -> bool:
    """Whether a node switches something; run and not undone, it would outlast the graph."""
    module = str(getattr(node.target, "__module__", ""))
    return target_name(node) in SWITCHES or module.startswith(_SWITCHING)


def _refuse_switches(gm: GraphModule) -> None:
    for node in gm.graph.nodes:
        if changes_mode(node) or node.op == "get_attr":
            name = target_name(node)
            raise CannotTranslate(f"the graph switches modes or holds parts of its own ({name})")


def _with_sizes(fake: Any, images: Any) -> Any:
    if isinstance(fake, torch.SymInt):
        return fake if same_size(fake, images) else int(fake)
    if not isinstance(fake, torch.Tensor):
        return fake
    sizes = [size if same_size(size, images) else int(size) for size in fake.shape]
    steps = [
        int(step) if type(step) is torch.SymInt and not _has(step, images) else step for step in fake.stride()
    ]
    if all(map(operator.is_, (*sizes, *steps), (*fake.shape, *fake.stride()))):
        return fake
    with fake.fake_mode:  # type: ignore[attr-defined]
        made = torch.empty_strided(sizes, steps, dtype=fake.dtype, device=fake.device)
    return made.requires_grad_(fake.requires_grad)


def _has(size: Any, images: Any) -> bool:
    """Whether a number depends on how many images there are."""
    symbols: frozenset[Any] = getattr(expression(images), "free_symbols", frozenset())
    return bool(symbols & expression(size).free_symbols)


def _traced(gm: GraphModule, fakes: Sequence[Any]) -> tuple[GraphModule, int, tuple[int, ...]]:
    # NOTE: the tracing context has another mode of fake tensors than the graph's own values (torch 2.13).
    mode = next((f.fake_mode for f in fakes if hasattr(f, "fake_mode")), None)
    if mode is None:
        raise NothingGiven("the graph has no tensor among its inputs")
    seen: dict[str, Any] = {}

    def functional(*inputs: Any) -> list[Any]:
        # NOTE: `export` keeps convolutions, linear maps and the like whole; `pre_dispatch`: before autograd.
        with FunctionalTensorMode(pre_dispatch=True, export=True):
            wrapped = [_functional(x) for x in inputs]
            results = [plain(x) for x in tree_leaves(Rewriting(gm).run(*wrapped))]
            changed = [number for number, x in enumerate(wrapped) if has_changed(x)]
            seen.update(results=len(results), changed=tuple(changed))
            return [*results, *(plain(wrapped[number]) for number in changed)]

    # NOTE: hooks on saved tensors, such as a checkpoint's, are not told of what is saved while we trace.
    with mode, torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        module = make_fx(functional, pre_dispatch=True, _allow_non_fake_inputs=True)(*fakes)
    return module, seen["results"], seen["changed"]


def _functional(x: Any) -> Any:
    return FunctionalTensor.to_functional(x) if isinstance(x, torch.Tensor) else x


def _is_of_module(node: Node, fake: Any) -> bool:
    """Whether an input is a parameter or a buffer, and no data."""
    return isinstance(fake, torch.nn.Parameter) or comes_of_module(node)


def comes_of_module(node: Node) -> bool:
    """Whether Dynamo found an input in a module."""
    return "MODULE" in str(getattr(source_of(node), "guard_source", ""))


def _use_standins(graph: torch.fx.Graph) -> None:
    """Operators that autograd cannot pass in their functional form become stand-ins."""
    for node in list(graph.nodes):
        node.target = SINGLE.get(node.target, node.target)
        if node.target not in STANDINS:
            continue
        function, arguments = STANDINS[node.target]
        args, results = arguments(*node.args)
        with graph.inserting_before(node):
            made = graph.call_function(function, args)
        values = node.meta["val"]
        made.meta["val"] = tuple(values[old] for old in results)
        for user in list(node.users):
            user.args = (made, results[user.args[1]]) if user.args[1] in results else user.args
        if not node.users:
            graph.erase_node(node)


def _repeat_for_images(graph: torch.fx.Graph) -> bool:
    """What is expanded or repeated for all images is so by a stand-in, whose result has images.

    Returns: whether there was any.
    """
    found = False
    images = next((n for n in graph.find_nodes(op="placeholder") if n.meta["batched"]), None)
    for node in list(graph.nodes):
        if images is None or node.target not in (aten.expand.default, aten.repeat.default):
            continue
        source, sizes = node.args[:2]
        val, before = node.meta["val"], source.meta["val"].shape
        lead = val.dim() - len(before)
        is_one = bool(lead) or (type(before[0]) is int and before[0] == 1)
        is_plain = node.target is aten.expand.default or all(
            type(size) is int and size == 1 for size in sizes[1:]
        )
        counts = same_size(val.shape[0], images.meta["val"].shape[0])
        counts = counts and all(type(size) is int for size in val.shape[1:])
        if source.meta["of_images"] or not (is_one and is_plain and counts):
            continue
        with graph.inserting_before(node):
            made = graph.call_function(repeated, (source, images, tuple(val.shape[1:])))
        made.meta["val"] = val.clone()
        node.replace_all_uses_with(made)
        graph.erase_node(node)
        found = True
    return found


def _name_sizes(graph: torch.fx.Graph) -> dict[Any, Node]:
    """Sizes that are inputs themselves are taken from there, and not from a tensor in the middle.

    Returns: size -> the input.
    """
    known = {expression(node.meta["val"]): node for node in graph.find_nodes(op="placeholder")}
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.sym_size.int):
        named = known.get(expression(node.meta.get("val")))
        if named is not None:
            node.replace_all_uses_with(named)
    return known


def _mark(graph: torch.fx.Graph, images: Any) -> None:
    is_recorded = torch.is_grad_enabled()
    for node in graph.nodes:
        val = node.meta.get("val")
        if node.op == "placeholder":
            mine = not node.meta["of_module"]
            node.meta["needs"] = is_recorded and bool(getattr(val, "requires_grad", False))
        else:
            # NOTE: what comes from images may have their axis elsewhere for a while: attention turns it away.
            mine = _is_drawn(node, images) or any(n.meta["of_images"] for n in node.all_input_nodes)
            node.meta["needs"] = node.target is not torch.ops.aten.detach.default and any(
                n.meta.get("needs") for n in node.all_input_nodes
            )
        node.meta["needs"] &= not isinstance(val, torch.Tensor) or val.is_floating_point() or val.is_complex()
        node.meta["of_images"], node.meta["batched"] = mine, mine and _counts(val, images)
        _mark_results(node, images)


def _is_drawn(node: Node, images: Any) -> bool:
    """Whether a tensor that is made of no other one has something for each image: dropped paths, noise."""
    if node.target is noise.draw:
        return True
    given = [n.meta.get("val") for n in node.all_input_nodes]
    val = node.meta.get("val")
    is_new = node.op == "call_function" and not any(isinstance(value, torch.Tensor) for value in given)
    return is_new and isinstance(val, torch.Tensor) and val.dim() > 1 and _counts(val, images)


def _mark_results(node: Node, images: Any) -> None:
    """An operator of several results has images where one of them has; what takes one says it for itself."""
    val = node.meta.get("val")
    if isinstance(val, tuple | list) and node.meta["of_images"]:
        node.meta["batched"] = any(_counts(each, images) for each in val)
    if node.target is operator.getitem:
        if node.args[1] >= CARRYING.get(node.args[0].target, node.args[1] + 1):
            node.meta |= {"needs": False, "of_images": False}  # moving averages
        node.meta["batched"] = node.meta["of_images"] and _counts(val, images)


def _counts(val: Any, images: Any, axis: int = 0) -> bool:
    return isinstance(val, torch.Tensor) and val.dim() > axis and same_size(val.shape[axis], images)


def _number_of_images(data: Sequence[Any]) -> Any:
    """The first size of the first tensor of data, an open one if there is any."""
    tensors = sorted((x for x in data if isinstance(x, torch.Tensor) and x.dim()), key=lambda x: x.dim() < 2)
    firsts = [x.shape[0] for x in tensors]
    return next((size for size in firsts if type(size) is not int), firsts[0] if firsts else None)


def _compare_needs(gm: GraphModule, captured: Captured) -> None:
    """What Dynamo says of its results is what we work out: nothing has cut the gradient's way unseen."""
    output = gm.graph.output_node()
    said = [n.meta.get("example_value") for n in tree_leaves(output.args) if isinstance(n, Node)]
    found = [n for n in captured.outputs[: captured.results] if isinstance(n, Node)]
    for value, node in zip(said, found):
        if isinstance(value, torch.Tensor) and value.requires_grad != node.meta["needs"]:
            raise CannotTranslate(f"only one of two graphs gives a result that carries a gradient ({node})")
