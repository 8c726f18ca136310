"""Checkpoints inside of a model: what they compute again is a graph within the graph, and compiled as one.

Dynamo keeps `torch.utils.checkpoint` as an operator, which runs its graph without keeping the state of random
numbers, and with weights and counters among what has to stay as it is (a compiler is to see to all that).
Here the user's own checkpoint stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import GraphModule, Node
from torch.utils.checkpoint import checkpoint

from kernelearn.torch.graphs.capture import comes_of_module
from kernelearn.torch.inside import source_of, tell_source

Compiled = Callable[..., Any]

_OPERATOR = "tag_activation_checkpoint"
# Where Dynamo keeps what a checkpoint was told to save all the same; it looks at PyTorch's operators.
_CONTEXTS = "_checkpoint_context_fn"


class Checkpointed:
    """A checkpoint as a function of what its graph is given.

    Args:
        body: what is computed again in the backward pass.
        options: those of `torch.utils.checkpoint.checkpoint`.
        data: which of the inputs are no weights and counters of a module.
    """

    def __init__(self, body: Compiled, options: dict[str, Any], data: Sequence[bool]) -> None:
        self.body, self.data, self.__name__ = body, data, "checkpoint"
        # NOTE: the other kind needs inputs that carry gradients; Dynamo takes this one for it, too.
        self.options = {**options, "use_reentrant": False}

    def __call__(self, *inputs: Any) -> Any:
        given = [x for x, is_data in zip(inputs, self.data) if is_data]

        def compute(*given: Any) -> Any:
            each = iter(given)
            return self.body(*(next(each) if is_data else x for x, is_data in zip(inputs, self.data)))

        return checkpoint(compute, *given, **self.options)


def keep_checkpoints(gm: GraphModule, compile_one: Callable[[GraphModule], Compiled]) -> None:
    """Put `Checkpointed` in place of the checkpoints of a graph."""
    for node in list(gm.graph.nodes):
        if getattr(node.target, "__name__", "") != _OPERATOR:
            continue
        source, *given = node.args
        body = getattr(gm, str(source.target))
        options = dict(node.kwargs)
        if _CONTEXTS in body.meta:
            options["context_fn"], compiled = body.meta[_CONTEXTS], body.forward
        else:
            _tell_sources(body, given)
            compiled = compile_one(body)
        data = [not (isinstance(each, Node) and comes_of_module(each)) for each in given]
        node.target, node.args, node.kwargs = Checkpointed(compiled, options, data), tuple(given), {}
        if not source.users:
            gm.graph.erase_node(source)
    gm.recompile()


def _tell_sources(body: GraphModule, given: Sequence[Any]) -> None:
    """What a graph is given is of a module, or data, as what the graph around it is given."""
    for inner, outer in zip(body.graph.find_nodes(op="placeholder"), given):
        source = source_of(outer)
        if source is not None:
            tell_source(inner, source)
