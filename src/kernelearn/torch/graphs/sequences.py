"""Models whose first axis counts places and whose second one counts images, as with `batch_first=False`.

Regions want the axis of the images in front. Inputs are turned, which moves nothing; every operator that can
works on the turned tensor, and is followed by a turn back. Turns that meet are nothing: attention, which
turns by itself, takes such pairs away.

    before: y = linear(x); q = linear(y.transpose(0, 1))
    after:  t = x.transpose(0, 1); y = linear(t); q = linear(y)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from kernelearn.torch.graphs import noise
from kernelearn.torch.graphs.sizes import same_size
from kernelearn.torch.inside import memory_of, tree_leaves
from kernelearn.torch.telling import warn_once

aten = torch.ops.aten

Rule = Callable[["_Turning", Node], bool]

# What is said of a graph on which a rule failed: a mistake of ours, which costs speed alone.
UNTURNED = "kernelearn reads a graph as it is, with the axis of the images where it moves"

_ENTRYWISE = (
    "relu gelu tanh sigmoid silu mish elu selu celu leaky_relu softplus hardtanh hardswish relu6 exp sqrt "
    "neg abs clone"
)
_BINARY = "add.Tensor sub.Tensor mul.Tensor div.Tensor maximum minimum"
_OVER_AXES = "mean.dim sum.dim_IntList amax.default amin.default"
_VIEWS = (aten.view.default, aten._unsafe_view.default)
_ALONG_AXIS = "softmax.int log_softmax.int slice.Tensor cumsum.default"


def lying(x: torch.Tensor, steps: Sequence[int]) -> torch.Tensor:
    """A tensor with these strides; itself if it has them."""
    if x.stride() == tuple(steps):
        return x
    return torch.empty_strided(x.shape, steps, dtype=x.dtype).copy_(x)


def turned(module: GraphModule, data: Sequence[Node]) -> tuple[GraphModule, Any]:
    """A graph with as few turns as there may be, of inputs turned or as they are.

    Args:
        data: the inputs that are no weights and counters.
    Returns: the graph, and the number of images if it is the second size of inputs; else None.
    """
    best, images, count = module, None, _turns(module.graph)
    names = [node.name for node in data if _is_sequence(node)]
    sizes = [node.meta["val"].shape[1] for node in data if node.name in names]
    ways = [[], names] if sizes and all(same_size(size, sizes[0]) for size in sizes) else [[]]
    for way in ways:
        graph = _turned(module.graph, way) if count else None
        made = count if graph is None else _turns(graph) - len(way)
        if graph is not None and made < count:
            best, count, images = GraphModule(module, graph), made, sizes[0] if way else None
    return best, images


def _turned(source: Graph, names: Sequence[str]) -> Graph | None:
    """A copy of a graph, its inputs of these names turned; None where that cannot be."""
    graph, copied = Graph(), dict[Node, Node]()
    graph.output(graph.graph_copy(source, copied))
    turning = _Turning(graph)
    try:
        for node in source.find_nodes(op="placeholder"):
            if node.name in names:
                turning.turn_input(copied[node])
        turning.turn_all()
        is_kept = turning.keep_results(source.output_node())
    except Exception as error:  # a use that a rule did not think of: the graph is right as it is
        warn_once(f"{UNTURNED}: {type(error).__name__}: {error}")
        return None
    graph.eliminate_dead_code()
    return graph if is_kept else None


def _is_sequence(node: Node) -> bool:
    """Whether an input may hold places, images, and more; or numbers of words."""
    val = node.meta["val"]
    if not isinstance(val, torch.Tensor):
        return False
    is_words = val.dim() == 2 and all(user.target is aten.embedding.default for user in node.users)
    return val.dim() > 2 or (is_words and bool(node.users))


def _turns(graph: Graph) -> int:
    """How many nodes move the first axis away."""
    return sum(_is_move(node) and _axes(node)[0] != 0 for node in graph.nodes)


def _is_move(node: Node) -> bool:
    return node.target in (aten.transpose.int, aten.permute.default) and node.meta["val"].dim() > 1


def _axes(node: Node) -> list[int]:
    """Which axes of its input those of a transposition or permutation are."""
    rank, given = node.meta["val"].dim(), _args(node)[1:]
    if node.target is aten.permute.default:
        return [axis % rank for axis in given[0]]
    first, second = (axis % rank for axis in given)
    axes = list(range(rank))
    axes[first], axes[second] = second, first
    return axes


def _other(axis: int, rank: int) -> int:
    """Where an axis is when the first two have changed places."""
    axis %= rank
    return 1 - axis if axis < 2 else axis


class _Turning:
    """Walks over a graph.

    Attributes:
        turned: node -> one whose first two axes, exchanged, give it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.turned: dict[Any, Node] = {}
        self._inputs: set[Node] = set()
        self._gone: set[Node] = set()

    def turn_input(self, node: Node) -> None:
        """Behind all inputs: the turned one, and that turned back for whom it may concern."""
        users = list(node.users)
        first = next(n for n in self.graph.nodes if n.op != "placeholder")
        with self.graph.inserting_before(first):
            made = self.call(aten.transpose.int, node, 0, 1)
            back = self.call(aten.transpose.int, made, 0, 1)
        for user in users:
            user.replace_input_with(node, back)
        self.turned[back] = made
        self._inputs.add(made)

    def turn_all(self) -> None:
        """Every node that has a rule."""
        for node in list(self.graph.nodes):
            is_done = node in self.turned or node in self._inputs or node in self._gone
            if node.op != "call_function" or is_done:
                continue
            if _is_move(node) and _axes(node)[1] == 0 and node.args[0] not in self.turned:
                self._turn_back(node)
            elif node.target in RULES and any(n in self.turned for n in node.all_input_nodes):
                with self.graph.inserting_before(node):
                    RULES[node.target](self, node)

    def _turn_back(self, node: Node) -> None:
        """What moves the first axis to the second place is something else, turned."""
        source, (second, first, *rest) = _args(node)[0], _axes(node)
        axes = [first, second, *rest]
        if axes != sorted(axes):
            with self.graph.inserting_before(node):
                source = self.call(aten.permute.default, source, axes)
        self.turned[node] = source

    def keep_results(self, old: Node) -> bool:
        """Results lie in memory as they did; whether that can be."""
        output = self.graph.output_node()
        results: list[Any] = list(_args(output)[0])
        vals = [n.meta["val"] if isinstance(n, Node) else None for n in _args(old)[0]]
        tensors = [val for val in vals if isinstance(val, torch.Tensor)]
        if len(set(map(memory_of, tensors))) < len(tensors):
            return False  # some are views of others
        for number, (val, node) in enumerate(zip(vals, results)):
            if not isinstance(val, torch.Tensor):
                continue
            steps = val.stride()
            if not val.is_contiguous() and any(type(step) is not int for step in steps):
                return False
            with self.graph.inserting_before(output):
                results[number] = self.graph.call_function(
                    *((aten.contiguous.default, (node,)) if val.is_contiguous() else (lying, (node, steps)))
                )
            results[number].meta["val"] = val
        output.args = (results,)
        return True

    # ------------------------------------------------------------------ what rules ask for
    def call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        """A new node, with a tensor without memory."""
        node = self.graph.call_function(target, args, kwargs)
        given, named = map_arg((args, kwargs), lambda n: n.meta["val"])
        first = next(x for x in tree_leaves(given) if isinstance(x, torch.Tensor))
        with first.fake_mode, torch.no_grad():
            node.meta["val"] = target(*given, **named)
        return node

    def put(self, node: Node, made: Node) -> bool:
        """A node is another one, turned back."""
        back = self.call(aten.transpose.int, made, 0, 1)
        self.turned[back] = made
        return self.replace(node, back)

    def replace(self, node: Node, made: Node) -> bool:
        """A node is another one."""
        for user in node.users:  # its memory need not be such that there is a view
            user.target = aten.reshape.default if user.target in _VIEWS else user.target
        node.replace_all_uses_with(made)
        self.graph.erase_node(node)
        self._gone.add(node)
        return True

    def operand(self, node: Any, rank: int) -> Any:
        """An operand of an operator entry by entry, turned; None where it cannot be."""
        if not isinstance(node, Node) or not isinstance(node.meta["val"], torch.Tensor):
            return node
        own = node.meta["val"].dim()
        if node in self.turned:
            return self.turned[node] if own == rank else None
        if own < 2:
            return node
        if own < rank:
            return None
        return (
            self._turned_noise(node)
            if node.target is noise.draw
            else self.call(aten.transpose.int, node, 0, 1)
        )

    def _turned_noise(self, node: Node) -> Node | None:
        """What is drawn, with its axes in the other order: the same numbers, drawn in the same order."""
        if len(node.users) > 1:
            return None
        sizes, order, *rest = _args(node)
        rank = len(order)
        node.args = (
            [sizes[1], sizes[0], *sizes[2:]],
            tuple(_other(axis, rank) for axis in order),
            *rest,
        )
        node.meta["val"] = node.meta["val"].transpose(0, 1)
        return node


# ------------------------------------------------------------------ rules
def _args(node: Node) -> list[Any]:
    return list(node.args)


def _entrywise(walk: _Turning, node: Node) -> bool:
    x, *rest = _args(node)
    return x in walk.turned and walk.put(node, walk.call(node.target, walk.turned[x], *rest, **node.kwargs))


def _binary(walk: _Turning, node: Node) -> bool:
    rank = node.meta["val"].dim()
    operands = [walk.operand(x, rank) for x in _args(node)]
    if rank < 2 or any(x is None for x in operands):
        return False
    return walk.put(node, walk.call(node.target, *operands, **node.kwargs))


def _of_last_axes(walk: _Turning, node: Node) -> bool:
    """Linear layers and normalisations of what is behind the first two axes."""
    x, second = _args(node)[:2]
    count = len(second) if node.target is aten.layer_norm.default else 1
    if x not in walk.turned or x.meta["val"].dim() - count < 2:
        return False
    if any(n in walk.turned for n in node.all_input_nodes if n is not x):
        return False
    return _entrywise(walk, node)


def _embedding(walk: _Turning, node: Node) -> bool:
    weight, places, *rest = _args(node)
    if places not in walk.turned:
        return False
    return walk.put(node, walk.call(node.target, weight, walk.turned[places], *rest))


def _over_axes(walk: _Turning, node: Node) -> bool:
    """Reductions; the axes that are gone change no order of the others."""
    x, axes, *rest = _args(node)
    if x not in walk.turned or not axes:
        return False
    rank = x.meta["val"].dim()
    named = [axes] if isinstance(axes, int) else axes
    others = [_other(axis, rank) for axis in named]
    made = walk.call(node.target, walk.turned[x], others, *rest, **node.kwargs)
    keeps = bool(rest and rest[0]) or {0, 1}.isdisjoint(others)
    return walk.put(node, made) if keeps else walk.replace(node, made)


def _along_axis(walk: _Turning, node: Node) -> bool:
    x, axis, *rest = _args(node)
    if x not in walk.turned:
        return False
    other = _other(axis, x.meta["val"].dim())
    return walk.put(node, walk.call(node.target, walk.turned[x], other, *rest, **node.kwargs))


def _select(walk: _Turning, node: Node) -> bool:
    x, axis, place = _args(node)
    if x not in walk.turned:
        return False
    other = _other(axis, x.meta["val"].dim())
    made = walk.call(node.target, walk.turned[x], other, place)
    return walk.replace(node, made) if other < 2 else walk.put(node, made)


def _unbound(walk: _Turning, node: Node) -> bool:
    """One of the first two axes taken apart; what takes a part follows."""
    x, *axis = _args(node)
    parts = list(node.users)
    other = _other(axis[0] if axis else 0, x.meta["val"].dim())
    if x not in walk.turned or other > 1:
        return False
    for part in parts:
        made = walk.call(aten.select.int, walk.turned[x], other, _args(part)[1])
        walk.replace(part, made)
    return True


def _moved(walk: _Turning, node: Node) -> bool:
    """A permutation of what is turned is another permutation of what it was turned from."""
    x = _args(node)[0]
    if x not in walk.turned:
        return False
    axes = [_other(axis, node.meta["val"].dim()) for axis in _axes(node)]
    source = walk.turned[x]
    return walk.replace(
        node, source if axes == sorted(axes) else walk.call(aten.permute.default, source, axes)
    )


def _joined(walk: _Turning, node: Node) -> bool:
    tensors, *rest = _args(node)
    if not all(x in walk.turned for x in tensors):
        return False
    axis = _other(rest[0] if rest else 0, node.meta["val"].dim())
    return walk.put(node, walk.call(node.target, [walk.turned[x] for x in tensors], axis))


def _broadcast(walk: _Turning, node: Node) -> bool:
    """Several tensors made as large as each other; what takes one of them follows."""
    parts = list(node.users)
    rank = max(val.dim() for val in node.meta["val"])
    operands = [walk.operand(x, rank) for x in _args(node)[0]]
    if rank < 2 or any(x is None for x in operands):
        return False
    made = walk.call(node.target, operands)
    return all(walk.put(part, walk.call(operator.getitem, made, _args(part)[1])) for part in parts)


def _loss(walk: _Turning, node: Node) -> bool:
    """Losses entry by entry: summed, or each by itself."""
    (x, target), rest = node.args[:2], node.args[2:]
    rank = max(each.meta["val"].dim() for each in (x, target))  # type: ignore[union-attr]
    operands = [walk.operand(each, rank) for each in (x, target)]
    if any(each is None for each in operands):
        return False
    made = walk.call(node.target, *operands, *rest, **node.kwargs)
    return walk.put(node, made) if node.meta["val"].dim() else walk.replace(node, made)


def _overloads(names: str, rule: Rule) -> dict[Any, Rule]:
    found = {}
    for name in names.split():
        operator, _, overload = name.partition(".")
        found[getattr(getattr(aten, operator), overload or "default")] = rule
    return found


# Operator -> how it works on turned tensors. Whatever is not here gets tensors that are turned back.
RULES: dict[Any, Rule] = {
    **_overloads(_ENTRYWISE, _entrywise),
    **_overloads(_BINARY, _binary),
    **_overloads("linear layer_norm", _of_last_axes),
    **_overloads("embedding", _embedding),
    **_overloads(_OVER_AXES, _over_axes),
    **_overloads(_ALONG_AXIS, _along_axis),
    **_overloads("select.int", _select),
    **_overloads("unbind.int", _unbound),
    **_overloads("transpose.int permute", _moved),
    **_overloads("cat", _joined),
    **_overloads("broadcast_tensors", _broadcast),
    **_overloads("mse_loss l1_loss smooth_l1_loss huber_loss", _loss),
}
