"""How a product of matrices passes through its operands: sizes, and numbers from index to index.

    y[image, batch, i, j] = sum_k a[image, batch, i, k] * b[image, batch, k, j]

A transposed operand is the same memory with two steps exchanged, and so is one whose axes are taken in
another order. A product of which `j` has one index is
taken as its transpose, y' = b' a', so that lanes lie along the longer side; leading axes along which `b` is
the same matrix are more rows of `a`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.entrywise.places import merge_axes
from kernelearn.engine.cpu.language.strides import strides_of
from kernelearn.engine.cpu.plan import has_images, image_sizes

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Side:
    """An operand or the result.

    Attributes:
        image: numbers from image to image; 0 if all images have the same.
        steps: numbers from index to index of each leading axis.
        row, column: numbers between rows and between columns of a matrix.
    """

    image: int
    steps: tuple[int, ...]
    row: int
    column: int

    @property
    def transposed(self) -> Side:
        return replace(self, row=self.column, column=self.row)


@dataclass(frozen=True)
class Matrices:
    """A product: m x k times k x n for every index of the leading axes.

    Attributes:
        has_images: whether there are images, each with products of its own.
        counts: sizes of the leading axes without the images.
    """

    has_images: bool
    counts: tuple[int, ...]
    m: int
    k: int
    n: int
    a: Side
    b: Side
    y: Side

    @property
    def count(self) -> int:
        """Matrices of an image, or of all where there are no images."""
        return math.prod(self.counts)

    @property
    def flops(self) -> float:
        return 2.0 * self.count * self.m * self.k * self.n


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in memory, and the order in which its axes are taken; None: as they lie.

    >>> Stored((None, 5, 2, 8), (0, 2, 1, 3)).taken, Stored((None, 5, 2, 8), (0, 2, 1, 3)).steps
    ((None, 2, 5, 8), (80, 8, 16, 1))
    """

    shape: Shape
    order: tuple[int, ...] | None = None

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(len(self.shape))) if self.order is None else self.order

    @property
    def taken(self) -> Shape:
        """Sizes in that order."""
        return tuple(self.shape[axis] for axis in self.axes)

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers from index to index of each axis, in that order."""
        sizes = image_sizes(self.shape)
        steps = ([math.prod(sizes)] if has_images(self.shape) else []) + strides_of(sizes)
        return tuple(steps[axis] for axis in self.axes)


def find_matrices(
    a: Stored, b: Stored, y: Stored, transpose_a: bool = False, transpose_b: bool = False
) -> Matrices | None:
    """The product of these operands; None where an axis but the first is not known, or is empty."""
    first, second, shape = a.taken, b.taken, y.taken
    if any(None in sizes[1:] or 0 in sizes for sizes in (first, second, shape)) or shape[-2] is None:
        return None
    batch = shape[:-2]
    m, n, k = shape[-2], shape[-1], first[-2] if transpose_a else first[-1]
    assert n is not None and k is not None
    turns = ((a, transpose_a), (b, transpose_b), (y, False))
    sides = [_side(stored, batch, is_turned) for stored, is_turned in turns]
    found = Matrices(has_images(batch), image_sizes(batch), m, k, n, *sides)
    if n == 1:
        found = replace(found, m=1, n=m, a=found.b.transposed, b=found.a.transposed, y=found.y.transposed)
    return _merged(_more_rows(found))


def _side(stored: Stored, batch: Shape, transposed: bool) -> Side:
    """How a tensor is passed through along the leading axes of the result."""
    missing = len(batch) + 2 - len(stored.taken)
    sizes, steps = (1,) * missing + stored.taken, (0,) * missing + stored.steps
    lead = [0 if size == 1 else step for size, step in zip(sizes[:-2], steps)]
    image = lead.pop(0) if has_images(batch) else 0
    made = Side(image, tuple(lead), steps[-2], steps[-1])
    return made.transposed if transposed else made


def _more_rows(found: Matrices) -> Matrices:
    """With leading axes along which b is the same matrix, and rows of a and y go on, taken as rows."""
    counts, (a, b, y) = list(found.counts), (found.a, found.b, found.y)
    m = found.m
    while counts and b.steps[-1] == 0 and a.steps[-1] == m * a.row and y.steps[-1] == m * y.row:
        m *= counts.pop()
        a, b, y = (replace(side, steps=side.steps[:-1]) for side in (a, b, y))
    return replace(found, counts=tuple(counts), m=m, a=a, b=b, y=y)


def _merged(found: Matrices) -> Matrices:
    """With neighbouring leading axes that all go on alike joined into one."""
    sides = {"a": found.a, "b": found.b, "y": found.y}
    counts, merged = merge_axes(found.counts, {role: side.steps for role, side in sides.items()})
    a, b, y = (replace(side, steps=merged[role]) for role, side in sides.items())
    return replace(found, counts=counts, a=a, b=b, y=y)
