"""A value on its way between two orders of axes: which axis of the origin stands where.

PyTorch's images are (n, c, h, w), ours (n, h, w, c). Nothing is moved until something needs it: permuting is
book-keeping, flattening keeps the numbers where they are and remembers their places, and a dense layer
behind it takes its rows in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Stands for the number of images in shapes of the origin: a prime that no real size reaches or is a
# multiple of.
IMAGES = 2_147_483_647


@dataclass(frozen=True)
class Placed:
    """A tensor with the places of its axes.

    Attributes:
        tensor: of the target, the images first.
        shape: sizes in the order of the origin; `IMAGES` for the number of images.
        order: order[i] is the axis of the origin that stands at axis i of the tensor.
        places: for (n, features) that were flattened out of order: places[j] is the place in the origin's
            order of what stands at j in the tensor. None: the same order.
    """

    tensor: Any
    shape: tuple[int, ...]
    order: tuple[int, ...]
    places: NDArray[np.intp] | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def axis(self, of_origin: int) -> int:
        """Where an axis of the origin stands in the tensor."""
        return self.order.index(of_origin % self.rank)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes in the order of the tensor, without the images."""
        return tuple(self.shape[axis] for axis in self.order[1:])

    @property
    def images_axis(self) -> int:
        """Where the images stand in the origin."""
        return self.order[0]


def channels_last(rank: int) -> tuple[int, ...]:
    """The order of images here, of axes as PyTorch counts them.

    >>> channels_last(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank), 1)


def channels_first(rank: int) -> tuple[int, ...]:
    """The order of images in PyTorch, of axes as we count them.

    >>> channels_first(4)
    (0, 3, 1, 2)
    """
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True)
class Segment:
    """Neighbouring axes of a shape that together become neighbouring axes of another one."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def segments(before: Sequence[int], after: Sequence[int]) -> list[Segment]:
    """The smallest parts into which a change of shape falls.

    >>> segments((8, 3, 4, 5), (8, 12, 5))
    [Segment(before=(0,), after=(0,)), Segment(before=(1, 2), after=(1,)), Segment(before=(3,), after=(2,))]
    """
    found, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        first, start = i, j
        left, right = 1, 1
        if i < len(before):
            left, i = before[i], i + 1
        if j < len(after):
            right, j = after[j], j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        found.append(Segment(tuple(range(first, i)), tuple(range(start, j))))
    return found


@dataclass(frozen=True)
class Reshaped:
    """How a change of shape is made on the tensor.

    Attributes:
        sizes: of the new tensor, without the images.
        order: of the new tensor.
        places: see `Placed`.
    """

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    places: NDArray[np.intp] | None = None


def reshaped(x: Placed, shape: Sequence[int]) -> Reshaped | None:
    """How to change the origin's shape without moving numbers; None if they have to move."""
    parts = segments(x.shape, shape)
    pieces = [_Piece(part, x, shape) for part in parts]
    if any(piece.mixes_images for piece in pieces):
        return None
    if not all(piece.is_in_order for piece in pieces):
        return _flattened(x, shape)
    pieces.sort(key=lambda piece: piece.first)
    order = tuple(axis for piece in pieces for axis in piece.after)
    return Reshaped(tuple(shape[axis] for axis in order[1:]), order) if shape[order[0]] == IMAGES else None


class _Piece:
    """One segment, seen from the tensor."""

    def __init__(self, part: Segment, x: Placed, shape: Sequence[int]) -> None:
        real = [axis for axis in part.before if x.shape[axis] != 1]
        stands = [x.order.index(axis) for axis in real]
        between = [axis for axis in x.order[min(stands) : max(stands) + 1]] if stands else []
        self.is_in_order = [axis for axis in between if x.shape[axis] != 1] == real
        self.mixes_images = math.prod(x.shape[a] for a in real) % IMAGES == 0 and len(real) > 1
        ones = [axis for axis in part.after if shape[axis] == 1]
        others = [axis for axis in part.after if shape[axis] != 1]
        is_images = any(shape[axis] == IMAGES for axis in others)
        self.mixes_images |= is_images and len(others) > 1
        self.after = [*others, *ones] if is_images else list(part.after)
        self.first = (
            min(stands) if stands else min((x.order.index(a) for a in part.before), default=len(x.order))
        )


def _flattened(x: Placed, shape: Sequence[int]) -> Reshaped | None:
    """All axes but the images as one, with the places of what stands there."""
    if len(shape) != 2 or shape[0] != IMAGES or x.order[0] != 0 or x.places is not None:
        return None
    logical = np.arange(shape[1]).reshape(x.shape[1:])
    return Reshaped((shape[1],), (0, 1), logical.transpose([axis - 1 for axis in x.order[1:]]).ravel())


def unflattened(x: Placed, shape: Sequence[int]) -> Reshaped | None:
    """(n, features) that were flattened out of an image, as this image again; None if they were not."""
    if x.places is None or len(shape) < 3 or shape[0] != IMAGES:
        return None
    for order in (channels_last(len(shape)), channels_first(len(shape))):
        logical = np.arange(len(x.places)).reshape(tuple(shape[1:]))
        if np.array_equal(logical.transpose([axis - 1 for axis in order[1:]]).ravel(), x.places):
            return Reshaped(tuple(shape[axis] for axis in order[1:]), order)
    return None


def aligned_array(value: NDArray[Any], x: Placed) -> NDArray[Any]:
    """An array that PyTorch would broadcast to a value, with its axes where those of the value stand."""
    if value.ndim > x.rank:
        raise ValueError(f"an array of {value.ndim} axes for a value of {x.rank}")
    whole = value.reshape((1,) * (x.rank - value.ndim) + value.shape).transpose(x.order)
    if x.places is not None and whole.shape[-1] > 1:
        whole = whole[..., x.places]
    return whole
