"""Symbolic tensors: what a layer gives back when it is called on an `Input`, before any number exists.

A `Node` is one call of a layer; tensors point to the node that makes them. A `Model` is found by walking back
from its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelearn.tracing import Symbolic

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer
    from kernelearn.layers.core.structure import Given


@dataclass(eq=False)
class Node:
    """One call of a layer: which tensors went in and came out.

    Attributes:
        training: the mode that the call asked for, whatever the model does; None to follow the model.
        given, form: how a layer with a `call` of its own was given its inputs and arranged its outputs.
    """

    layer: Layer
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    training: bool | None = None
    given: Given | None = None
    form: Any = None


@dataclass(eq=False)
class Tensor(Symbolic):
    """A placeholder with a shape. Operators, indexing and functions of `ops` add nodes to the model.

    Attributes:
        shape: sizes; the first is None, the number of images.
        dtype: NumPy dtype name.
        node: the call that makes it, and `index` among that call's outputs.
    """

    shape: tuple[int | None, ...]
    dtype: str
    node: Node = field(repr=False)
    index: int = 0

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def apply(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        from kernelearn.layers.core.operation import applied

        return applied(name, args, keywords)

    def _shown(self) -> str:
        return f"the symbolic tensor of shape {self.shape}, the output of layer {self.node.layer.name!r}"
