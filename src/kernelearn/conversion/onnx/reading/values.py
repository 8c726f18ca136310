"""What a name of an ONNX graph stands for while it is read: numbers, or a tensor of our model and its axes.

`Followed` keeps our tensor as it is, images first and channels last, and remembers which of its axes stands
at which axis of the ONNX value; so a Transpose costs nothing, and a Flatten of channels-first maps becomes
our Flatten with the numbers of its row in another order, which the next Dense layer undoes in its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import FormatError


class Unsupported(FormatError):
    """A node that has no counterpart here; the message names operator and node."""


@dataclass(frozen=True, eq=False)
class Images:
    """The number of images, or a multiple of it, in a computed shape."""

    factor: int = 1

    def __mul__(self, other: Any) -> Images:
        if isinstance(other, Images):
            raise Unsupported("a shape is computed from the square of the number of images.")
        return Images(self.factor * int(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, Images):
            return self.factor // other.factor
        if self.factor % int(other):
            raise Unsupported(f"a shape is computed from {self} // {other}.")
        return Images(self.factor // int(other))

    __truediv__ = __floordiv__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Images) and other.factor == self.factor

    def __hash__(self) -> int:
        return hash(self.factor)

    def __repr__(self) -> str:
        return "n" if self.factor == 1 else f"{self.factor} n"

    def _refused(self, other: Any = None) -> Any:
        raise Unsupported(
            f"a shape is computed from the number of images in a way that is not followed ({other})."
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __rfloordiv__ = __mod__ = __neg__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __index__ = _refused


@dataclass(frozen=True, eq=False)
class Known:
    """Numbers that do not depend on the input.

    Attributes:
        array: of dtype object where it holds `Images`.
        name: of the initializer that they come from; "" for constants.
        is_weight: whether they are an initializer of floats, in whatever shape: what training may change.
    """

    array: np.ndarray
    name: str = ""
    is_weight: bool = False

    def like(self, array: Any) -> Known:
        """Other numbers of the same origin."""
        return Known(np.asarray(array), self.name, self.is_weight)


@dataclass(frozen=True, eq=False)
class Followed:
    """A tensor of the model that is being made.

    Attributes:
        tensor: images first.
        order: order[i] is our axis that stands at axis i of the ONNX value.
        row: for a flattened map: entry j of the ONNX row is entry row[j] of ours; None where they agree.
        dtype: of the ONNX value.
    """

    tensor: Any
    order: tuple[int, ...]
    row: np.ndarray | None = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sizes as the ONNX value has them, `Images` for the number of images, None for an unknown one."""
        return tuple(Images() if axis == 0 else self.tensor.shape[axis] for axis in self.order)

    @property
    def rank(self) -> int:
        return len(self.order)

    @property
    def dtype(self) -> str:
        return str(self.tensor.dtype)


Value = Known | Followed


def plain(rank: int) -> tuple[int, ...]:
    """The order of axes in which an ONNX value is ours."""
    return tuple(range(rank))


def images_like(rank: int) -> tuple[int, ...]:
    """The order of a channels-first value whose tensor is channels last: (0, 3, 1, 2)."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 2 else plain(rank)
