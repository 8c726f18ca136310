"""Symbolic tensors: what a layer gives back when it is called on an `Input`, before any number exists.

A `Node` is one call of a layer; tensors point to the node that makes them. A `Model` is found by walking back
from its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernelearn.layers.base import Layer


@dataclass(eq=False)
class Node:
    """One call of a layer: which tensors went in and came out.

    Attributes:
        training: the mode that the call asked for, whatever the model does; None to follow the model.
    """

    layer: Layer
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    training: bool | None = None


@dataclass(eq=False)
class Tensor:
    """A placeholder with a shape.

    Attributes:
        shape: sizes; the first is None, the number of images.
        dtype: NumPy dtype name.
        node: the call that makes it, and `index` among that call's outputs.
    """

    shape: tuple[int | None, ...]
    dtype: str
    node: Node = field(repr=False)
    index: int = 0

    def __add__(self, other: Tensor) -> Tensor:
        return _merge("Add", self, other)

    def __sub__(self, other: Tensor) -> Tensor:
        return _merge("Subtract", self, other)

    def __mul__(self, other: Tensor) -> Tensor:
        return _merge("Multiply", self, other)


def _merge(kind: str, *tensors: Tensor) -> Tensor:
    from kernelearn.layers import merging

    return getattr(merging, kind)()(list(tensors))
