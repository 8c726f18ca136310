"""Whether an operator can join a region: alone, it is translated, with its backward pass, and lowered."""

from __future__ import annotations

import torch
from torch.fx import Node
from torch.fx.passes.operator_support import OperatorSupportBase

from kernelearn.engine.cpu.cut import CutStep
from kernelearn.errors import KernelearnError
from kernelearn.torch.building import Parts, finish
from kernelearn.torch.translation.region import FLOATS, Region, is_getitem, name_of
from kernelearn.torch.translation.table import RULES, TYPES_OF, CannotTranslate, arguments


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
        _check_given(node)
        region = Region()
        region.translate(node)
        _check_results(region, node)
        if not any(value.buffer.shape[:1] == (None,) for value in region.declared.values()):
            raise CannotTranslate("it has nothing to do with the images")
        CutStep(finish(region, Parts.of_one(node)).program)
    except KernelearnError as error:
        return str(error).splitlines()[0]
    except Exception as error:  # arguments that nobody thought of: PyTorch has them
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _check_results(region: Region, node: Node) -> None:
    """Whether all results that somebody reads are computed, and have a type that the engine has."""
    if isinstance(node.meta["val"], torch.Tensor):
        _check_type(node.meta["val"])
        return
    read = [user.args[1] for user in node.users if is_getitem(user)]
    for number, value in enumerate(node.meta["val"]):
        if region.picked(node, number) is not None:
            _check_type(value)
        elif number in read:
            raise CannotTranslate(f"result {number} of {name_of(node)} is not computed")


def _check_given(node: Node) -> None:
    whole = {id(n) for i in TYPES_OF[node.target] for n in _nodes(arguments(node)[i])}
    for source in node.all_input_nodes:
        value = source.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        if id(source) in whole and value.dtype in (torch.int64, torch.int32):
            continue
        _check_type(value)
        if value.dtype != torch.float32 and source.meta.get("of_module"):
            raise CannotTranslate(f"weights of type {value.dtype}")


def _check_type(value: torch.Tensor) -> None:
    allowed = FLOATS if torch.is_autocast_enabled("cpu") else FLOATS[:1]
    if value.dtype not in allowed or value.device.type != "cpu" or value.layout != torch.strided:
        raise CannotTranslate(f"a tensor of {value.dtype} on {value.device}")


def _nodes(argument: object) -> list[Node]:
    if isinstance(argument, Node):
        return [argument]
    return [n for n in argument if isinstance(n, Node)] if isinstance(argument, tuple | list) else []
