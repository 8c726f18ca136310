"""What a program is made for, where the model leaves it open: the sizes that a batch brings.

A model of `Input((None, None, 3))` gets a program for each size it meets. `Signature` says for which, and
is the key under which `programs` keeps it. A model whose sizes are all known has one signature, `ANY`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kernelearn.errors import ShapeError
from kernelearn.layers.core.unknown_sizes import fits, has_unknown
from kernelearn.training.steps.step import Batch, Given, input_name

if TYPE_CHECKING:
    from kernelearn.layers.core.tensor import Tensor

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """The key of a program.

    Attributes:
        shapes: of every input, batch first, whole numbers but for the number of images; () where the model
            knows them all.
        rows: the number of images, where the program needs it; None for any number.
        targets: the shape of every output's targets, batch first, where a loss takes any; () elsewhere. None
            for an output that is given none.
        given: what a batch brings, for a `compute_loss` of the model's own.
    """

    shapes: tuple[Shape, ...] = ()
    rows: int | None = None
    targets: tuple[Shape | None, ...] = ()
    given: Given | None = None

    def input_shapes(self, tensors: Sequence[Tensor]) -> list[Shape]:
        """The shape of every input of the program."""
        return list(self.shapes) or [tensor.shape for tensor in tensors]

    def with_targets(self, batch: Batch, outputs: int) -> Signature:
        """The same for targets of the shapes that a batch has."""
        arrays = (batch.target(index) for index in range(outputs))
        return replace(self, targets=tuple(None if a is None else (None, *a.shape[1:]) for a in arrays))

    def __str__(self) -> str:
        sizes = (" x ".join(str(size) for size in shape[1:]) for shape in self.shapes)
        return ", ".join(sizes)


ANY = Signature()


def is_open(tensors: Sequence[Tensor]) -> bool:
    """Whether a size of these inputs is known only when a batch comes."""
    return any(has_unknown(tensor.shape) for tensor in tensors)


def of_batch(batch: Batch, tensors: Sequence[Tensor]) -> Signature:
    """The signature of a batch that fits these inputs."""
    if not is_open(tensors):
        return ANY
    arrays = (batch.arrays[input_name(i)] for i in range(len(tensors)))
    return Signature(tuple((None, *array.shape[1:]) for array in arrays))


def of_shapes(shapes: Sequence[Sequence[int]], tensors: Sequence[Tensor]) -> Signature:
    """The signature of samples of these shapes, given without the batch.

    Raises: ShapeError if they do not fit the inputs.
    """
    given = tuple((None, *(int(size) for size in shape)) for shape in shapes)
    if len(given) != len(tensors) or not all(fits(s, t.shape) for s, t in zip(given, tensors)):
        wanted = ", ".join(str(tensor.shape[1:]) for tensor in tensors)
        raise ShapeError(f"The model takes samples of shape {wanted}; got {', '.join(map(str, shapes))}.")
    return Signature(given) if is_open(tensors) else ANY
