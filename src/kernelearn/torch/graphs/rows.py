"""Cross-entropies of rows, where the places of all images are joined to one axis: as losses of maps.

Regions want an axis that counts images. A sum, or a mean, over rows is the same over images and their places.

    before: loss = cross_entropy(scores.view(-1, classes), labels.view(-1))
    after:  loss = cross_entropy(scores.permute(0, 2, 1), labels)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Graph, Node

from kernelearn.torch.graphs.sizes import same_size

aten = torch.ops.aten

_VIEWS = (aten.view.default, aten._unsafe_view.default, aten.reshape.default)


def forget_rows(graph: Graph) -> None:
    """Losses of rows become losses of maps."""
    for node in list(graph.find_nodes(op="call_function", target=aten.cross_entropy_loss.default)):
        scores, labels = (_joined(each) for each in node.args[:2])
        reduction = node.args[3] if len(node.args) > 3 else 1
        if scores is None or labels is None or not reduction or not _agree(scores, labels, node):
            continue
        with graph.inserting_before(node):
            if _is_turned(scores):  # its images are in front before it is turned
                scores, labels = scores.args[0], _call(graph, aten.transpose.int, labels, 0, 1)  # type: ignore[assignment]
            rank = scores.meta["val"].dim()  # type: ignore[union-attr]
            maps = _call(graph, aten.permute.default, scores, [0, rank - 1, *range(1, rank - 1)])
        node.args = (maps, labels, *node.args[2:])
    graph.eliminate_dead_code()


def _joined(node: Any) -> Node | None:
    """What a view joins the first axes of."""
    is_view = isinstance(node, Node) and node.op == "call_function" and node.target in _VIEWS
    return node.args[0] if is_view else None  # type: ignore[return-value]


def _agree(scores: Node, labels: Node, loss: Node) -> bool:
    """Whether both have the same axes but for the last one of the scores, which counts classes."""
    given, wanted = scores.meta["val"].shape, labels.meta["val"].shape
    rows, numbers = (each.meta["val"] for each in loss.args[:2])  # type: ignore[union-attr]
    if rows.dim() != 2 or numbers.dim() != 1 or len(given) < 3 or len(wanted) != len(given) - 1:
        return False
    return same_size(given[-1], rows.shape[1]) and all(map(same_size, given[:-1], wanted))


def _is_turned(node: Node) -> bool:
    is_exchange = node.op == "call_function" and node.target is aten.transpose.int
    return is_exchange and {*node.args[1:3]} == {0, 1}


def _call(graph: Graph, target: Any, node: Any, *rest: Any) -> Node:
    made = graph.call_function(target, (node, *rest))
    val = node.meta["val"]
    with val.fake_mode, torch.no_grad():
        made.meta["val"] = target(val, *rest)
    return made
