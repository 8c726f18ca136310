"""From output tensors back to inputs: the calls of a functional model in the order in which they can run."""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.errors import ArgumentError
from kernelearn.layers.core.base import Layer
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.layers.merging import InputLayer


def calls_between(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Node]:
    """The calls needed to get from `inputs` to `outputs`, each after those it depends on.

    Raises: ArgumentError if an output depends on an `Input` that is not among `inputs`.
    """
    known = {id(t) for t in inputs}
    done: set[int] = set()
    order: list[Node] = []
    stack = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, is_ready = stack.pop()
        node = tensor.node
        if id(tensor) in known or id(node) in done:
            continue
        if isinstance(node.layer, InputLayer):
            raise ArgumentError(
                f"An output depends on Input {node.layer.name!r}, which is not among the inputs of the model."
            )
        if is_ready:
            done.add(id(node))
            order.append(node)
        else:
            stack.append((tensor, True))
            stack += [(t, False) for t in reversed(node.inputs)]
    return order


def unique_layers(inputs: Sequence[Tensor], calls: Sequence[Node]) -> list[Layer]:
    """Layers in order of first use, input layers first.

    Raises: ArgumentError if two different layers have the same name.
    """
    starts = [t.node.layer for t in inputs if isinstance(t.node.layer, InputLayer)]
    layers: dict[int, Layer] = {id(layer): layer for layer in (*starts, *(c.layer for c in calls))}
    names = [layer.name for layer in layers.values()]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ArgumentError(f"Layer names must be unique in a model; {twice} are used more than once.")
    return list(layers.values())
