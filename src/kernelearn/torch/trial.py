"""Whether an operator can join a region: alone, it is translated, with its backward pass, and lowered."""

from __future__ import annotations

import torch
from torch.fx import Node

from kernelearn.engine.cpu.cut import CutStep
from kernelearn.errors import KernelearnError
from kernelearn.torch.building import Parts, finish
from kernelearn.torch.inside import OperatorSupportBase
from kernelearn.torch.translation.region import Region, is_getitem, name_of
from kernelearn.torch.translation.table import RULES, CannotTranslate, reason_of


class Trials(OperatorSupportBase):  # type: ignore[misc]
    """What the partitioner asks, and the reasons of what stays with PyTorch.

    Attributes:
        reasons: node -> why it stays.
    """

    def __init__(self) -> None:
        self.reasons: dict[Node, str] = {}
        self._known: dict[Node, bool] = {}

    def is_node_supported(self, submodules: object, node: Node) -> bool:
        """Whether a node may join a region."""
        if node.op != "call_function":
            return False
        if node not in self._known:
            reason = why_not(node)
            self._known[node] = reason is None
            if reason is not None and isinstance(node.meta.get("val"), torch.Tensor | tuple | list):
                self.reasons[node] = reason
        return self._known[node]

    def leave(self, node: Node, reason: str) -> None:
        """A node stays with PyTorch, whatever its rule can do."""
        self._known[node], self.reasons[node] = False, reason


def why_not(node: Node) -> str | None:
    """Why a node stays with PyTorch; None if it may join a region."""
    if is_getitem(node):
        source = node.args[0]
        return why_not(source) if isinstance(source, Node) else "no operator"
    if node.target not in RULES:
        return f"{name_of(node)} has no translation"
    try:
        region = Region()
        region.translate(node)
        if not any(value.buffer.shape[:1] == (None,) for value in region.declared.values()):
            raise CannotTranslate("it has nothing to do with the images")
        CutStep(finish(region, Parts.of_one(node)).program)
    except KernelearnError as error:
        return reason_of(error)
    except Exception as error:  # arguments that nobody thought of: PyTorch has them
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None
