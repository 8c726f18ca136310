"""Tensors that a program is given: where it finds their bytes, and copies of those that lie otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.cpu.cut import CutStep, Frame
from kernelearn.torch.building import strides_of
from kernelearn.torch.translation.region import Region, lies_in
from kernelearn.torch.translation.values import Order


@dataclass(frozen=True)
class Given:
    """A tensor that a program is given.

    Attributes:
        position: among the arguments.
        strides: of a tensor whose memory lies as the program reads it.
        number: of its address; None if no part reads it.
        is_later: whether the backward part reads it, or a copy of it.
    """

    position: int
    order: Order
    strides: tuple[int, ...]
    number: int | None
    dtype: torch.dtype
    is_later: bool = False

    def lies(self, x: torch.Tensor) -> bool:
        """Whether a program can read, and write, this tensor where it is."""
        return x.stride() == self.strides and x.dtype is self.dtype


def given_of(
    step: CutStep, region: Region, inputs: Sequence[Node], read: Collection[str] = ()
) -> list[Given]:
    """What a program is given; autograd keeps what the backward part reads, or reads a copy of.

    Args:
        read: names of buffers that the backward part reads, itself or turned.
    """
    found = []
    for position, node in enumerate(inputs):
        value = region.declared.get(node)
        if value is not None:
            tensor = node.meta["val"]
            number = step.number(value.buffer.name)
            dtype = torch.float32 if tensor.dtype.is_floating_point else tensor.dtype
            strides = strides_in(tensor, value.order)
            is_later = number in step.read_later or value.buffer.name in read
            found.append(Given(position, value.order, strides, number, dtype, is_later))
    return found


def point(addresses: Any, inputs: Any, given: Sequence[Given]) -> list[torch.Tensor]:
    """Tell a frame where tensors lie; copies of those that do not lie as the program reads them."""
    copies = []
    for each in given:
        if each.number is None:
            continue
        x = inputs[each.position]
        if not each.lies(x):
            x = in_order(x, each.order, each.dtype)
            copies.append(x)
        addresses[each.number] = x.data_ptr()
    return copies


class Standing:
    """What a program is given at every call: parameters and averages, most often where they were.

    To look whether that is so takes a third of the time of telling a frame where each of them lies.
    """

    def __init__(self, given: Sequence[Given]) -> None:
        self._given = [each for each in given if each.number is not None]
        self._positions = [each.position for each in self._given]
        self._strides = [each.strides for each in self._given]
        self._dtypes = [each.dtype for each in self._given]
        self._numbers = np.array([each.number for each in self._given], np.int64)

    def of(self, inputs: Any) -> list[torch.Tensor]:
        """The tensors among all that is given."""
        return [inputs[position] for position in self._positions]

    def point(self, frame: Frame, tensors: Sequence[torch.Tensor]) -> tuple[list[int], list[torch.Tensor]]:
        """Tell a frame where they lie.

        Returns: their addresses, and copies of those that do not lie as it reads them.
        """
        places = list(map(_place, tensors))
        lie = list(map(_strides, tensors)) == self._strides and [x.dtype for x in tensors] == self._dtypes
        if lie and frame.standing.get(self) == places:
            return places, []
        read, copies = list(places), []
        for number, (each, x) in enumerate(zip(self._given, tensors)):
            if not each.lies(x):
                x = in_order(x, each.order, each.dtype)
                copies.append(x)
                read[number] = x.data_ptr()
        if (frame.addresses[self._numbers] != read).any():
            frame.standing.clear()
            frame.addresses[self._numbers] = read
        if not copies:
            frame.standing[self] = places
        return places, copies


_place, _strides = torch.Tensor.data_ptr, torch.Tensor.stride


def in_order(x: torch.Tensor, order: Order, dtype: torch.dtype) -> torch.Tensor:
    """A copy whose bytes lie as the program reads them."""
    return (
        x.detach()
        .to(torch.float32 if dtype.is_floating_point else dtype)
        .permute(order)
        .contiguous()
        .permute(inverse_order(order))
    )


def strides_in(tensor: torch.Tensor, order: Order) -> tuple[int, ...]:
    """The strides of a tensor that lies in this order: its own if it does."""
    steps = tensor.stride()
    if lies_in(tensor, order) and all(type(step) is int for step in steps):
        return tuple(steps)
    return strides_of(tuple(tensor.shape), order)
