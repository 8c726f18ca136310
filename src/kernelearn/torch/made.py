"""Tensors that a region makes: results and gradients, of the sizes, types and strides of PyTorch's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.fx import Node

from kernelearn.engine.cpu.cut import CutStep
from kernelearn.torch.building import Finished, Result
from kernelearn.torch.memory import strides_in
from kernelearn.torch.translation.region import Region, lies_in
from kernelearn.torch.translation.values import Order, Value


@dataclass(frozen=True)
class Made:
    """A tensor that a region makes: a result, or the gradient of what it is given.

    Attributes:
        shape: without the number of images, if it has images.
        restrided: strides that PyTorch's would have, where no order of axes gives them.
        target: position of the argument that it overwrites; None for a tensor of its own.
        sources: of a gradient: numbers of the results by which it comes.
    """

    number: int | None
    shape: tuple[int, ...]
    order: Order
    strides: tuple[int, ...]
    has_images: bool
    dtype: torch.dtype
    restrided: tuple[int, ...] | None = None
    target: int | None = None
    is_later: bool = False
    tangent: int | None = None
    sources: frozenset[int] = frozenset()

    def empty(self, images: int) -> torch.Tensor:
        """Memory for it."""
        shape = (images, *self.shape) if self.has_images else self.shape
        stored = torch.bool if self.dtype is torch.bool else torch.float32
        return torch.empty_strided(shape, self.strides, dtype=stored)


def as_said(made: Made, buffer: torch.Tensor) -> torch.Tensor | None:
    """A result of the type and strides that PyTorch's would have; None for what was overwritten."""
    if made.target is not None:
        return None
    if made.restrided is not None:
        return torch.empty_strided(buffer.shape, made.restrided, dtype=made.dtype).copy_(buffer)
    return typed(made, buffer)


def typed(made: Made, buffer: torch.Tensor) -> torch.Tensor:
    """A tensor of the type that PyTorch's would have: most often itself, and that is soon said."""
    return buffer if buffer.dtype is made.dtype else buffer.to(made.dtype)


def made_of(
    step: CutStep, result: Result, tangent: str | None, target: int | None, later: frozenset[int]
) -> Made:
    """A result of a region.

    Args:
        tangent: name of the input that brings its gradient.
        target: position of the argument that it overwrites; later: numbers that the backward part reads.
    """
    tensor = result.node.meta["val"]
    made = _tensor_of(step, tensor, result.value)
    is_odd = not lies_in(tensor, result.value.order) and all(type(s) is int for s in tensor.stride())
    return replace(
        made,
        restrided=tensor.stride() if is_odd else None,
        target=target,
        is_later=made.number in later,
        tangent=None if tangent is None else step.number(tangent),
    )


def gradients_of(
    step: CutStep, finished: Finished, region: Region, inputs: Sequence[Node]
) -> list[tuple[int, Made]]:
    """(position of an argument, its gradient) for those that have one."""
    buffers = [(position, node, finished.gradients.get(node)) for position, node in enumerate(inputs)]
    return [
        (
            position,
            replace(
                _tensor_of(step, node.meta["val"], Value(buffer, region.declared[node].order)),
                sources=finished.sources[node],
            ),
        )
        for position, node, buffer in buffers
        if buffer is not None
    ]


def _tensor_of(step: CutStep, tensor: torch.Tensor, value: Value) -> Made:
    """Memory for a value of the sizes and type of a tensor."""
    has_images, shape = value.buffer.shape[:1] == (None,), tuple(tensor.shape)
    return Made(
        step.number(value.buffer.name),
        shape[1:] if has_images else shape,
        value.order,
        strides_in(tensor, value.order),
        has_images,
        tensor.dtype,
    )
