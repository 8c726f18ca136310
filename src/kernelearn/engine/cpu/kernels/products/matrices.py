"""How a product of matrices passes through its operands: sizes, and numbers from index to index.

    y[image, batch, i, j] = sum_k a[image, batch, i, k] * b[image, batch, k, j]

A transposed operand is the same memory with two steps exchanged. A product of which `j` has one index is
taken as its transpose, y' = b' a', so that lanes lie along the longer side; leading axes along which `b` is
the same matrix are more rows of `a`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.entrywise.repeated import Operand, merge_axes
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


def find_matrices(
    a: Shape, b: Shape, y: Shape, transpose_a: bool = False, transpose_b: bool = False
) -> Matrices | None:
    """The product of operands of these shapes; None where an axis but the first is not known, or is empty."""
    if any(None in shape[1:] or 0 in shape for shape in (a, b, y)) or y[-2] is None:
        return None
    images = has_images(y)
    batch = y[:-2]
    sizes = image_sizes(batch)
    m, n = y[-2], y[-1]
    k = a[-2] if transpose_a else a[-1]
    assert n is not None and k is not None
    sides = [
        _side(shape, batch, turned) for shape, turned in ((a, transpose_a), (b, transpose_b), (y, False))
    ]
    found = Matrices(images, sizes, m, k, n, *sides)
    if n == 1:
        found = replace(found, m=1, n=m, a=found.b.transposed, b=found.a.transposed, y=found.y.transposed)
    return _merged(_more_rows(found))


def _side(shape: Shape, batch: Shape, transposed: bool) -> Side:
    """How a tensor is passed through along the leading axes of the result."""
    padded = (1,) * (len(batch) + 2 - len(shape)) + tuple(shape)
    own = image_sizes(padded[:-2])
    rows, columns = padded[-2:]
    assert rows is not None and columns is not None
    size = rows * columns
    steps = tuple(0 if s == 1 else step * size for s, step in zip(own, strides_of(own)))
    has_own = has_images(padded)
    if has_images(batch) and not has_own:
        steps = steps[1:]
    made = Side(math.prod(own) * size if has_own else 0, steps, columns, 1)
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
    operands = {role: Operand(side.image, side.steps) for role, side in sides.items()}
    counts, merged = merge_axes(found.counts, operands)
    a, b, y = (replace(side, steps=merged[role].steps) for role, side in sides.items())
    return replace(found, counts=counts, a=a, b=b, y=y)
