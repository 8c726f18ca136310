"""Convolution with windows of 3 x 3 in fewer multiplications: Winograd's minimal filtering F(2 x 2, 3 x 3).

Two neighbouring outputs of a window of three need four products instead of six (Winograd 1980; for
convolutional networks Lavin & Gray 2016, arXiv:1509.09308):

    y = A' [(G g) * (B' d)]     d: 4 inputs, g: 3 weights, y: 2 outputs, * entry by entry

In two dimensions a tile of 2 x 2 outputs takes 16 products instead of 36, and the sums over channels become
16 matrix products. B and A hold 0 and +-1 only, G halves. Each output still depends on the pixels of its own
window and no others, so zeros, NaN and borders stay where they belong; how rounding differs from a sum tap by
tap is measured in docs/cpu-engine.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kernelearn.engine.cpu.kernels.convolution.winograd.tiles import Span, Tiles, padded
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import each_vector
from kernelearn.engine.cpu.language.values import Value


def inputs_transform(d: Sequence[Value]) -> list[Value]:
    """B' d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def outputs_transform(m: Sequence[Value]) -> list[Value]:
    """A' m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def gradients_transform(g: Sequence[Value]) -> list[Value]:
    """A g: the transpose of `outputs_transform`."""
    return [g[0], g[0] + g[1], g[0] - g[1], g[1].kernel.nothing - g[1]]


def weights_transform(g: Sequence[Value]) -> list[Value]:
    """G g."""
    outer, middle = 0.5 * (g[0] + g[2]), 0.5 * g[1]
    return [g[0], outer + middle, outer - middle, g[2]]


def weights_gradient(u: Sequence[Value]) -> list[Value]:
    """G' u: the transpose of `weights_transform`."""
    total, difference = u[1] + u[2], u[1] - u[2]
    total = 0.5 * total
    return [u[0] + total, 0.5 * difference, total + u[3]]


Transform = Callable[[Sequence[Value]], list[Value]]


def both_axes(transform: Transform, square: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """A transform along the rows of a square of values, then along its columns."""
    along = [transform(row) for row in square]
    columns = [transform([row[i] for row in along]) for i in range(len(along[0]))]
    return [list(row) for row in zip(*columns)]


def each_span(k: Kernel, t: Tiles, row: Index) -> Iterator[tuple[Span, Span, Index]]:
    """(span of the row, span of the column, column) of every tile in a row of tiles known at run time."""
    for rows in t.row_spans:
        conditions = [k.compare("sge", row, rows.first)] if rows.first else []
        if rows.last < t.rows - 1:
            conditions.append(k.compare("sle", row, rows.last))
        with k.all_of(conditions):
            for columns in t.column_spans:
                with k.loop(columns.first, columns.last + 1) as column:
                    yield rows, columns, column


def store_inputs(
    k: Kernel, t: Tiles, name: str, image: Index, row: Index, tile: Index, stride: int, channels: int
) -> None:
    """B' d B of a row of tiles of "x".

    Args:
        name: the local array [point][tile][channel] that is written; channels padded to whole vectors.
        image: where the first of the `channels` that are wanted starts in the image.
        tile: number of the row's first tile in the array; stride: numbers between points.
    """
    _, width, step = t.x
    depth = padded(channels, k.width)
    for rows, columns, column in each_span(k, t, row):
        corner = image + (row * 2 + t.start[0]) * (width * step) + (column * 2 + t.start[1]) * step
        target = (tile + column) * depth
        inside = [[a and b for b in columns.inside] for a in rows.inside]
        for c, mask in each_vector(k, channels):
            square = _load_square(k, "x", corner + c, width * step, step, inside, mask)
            store_points(k, both_axes(inputs_transform, square), name, target + c, stride)


def store_gradients(
    k: Kernel, t: Tiles, name: str, image: Index, row: Index, tile: Index, stride: int, channels: int
) -> None:
    """A g A' of a row of tiles of "g"; arguments as of `store_inputs`."""
    _, width, step = t.y
    depth = padded(channels, k.width)
    for rows, columns, column in each_span(k, t, row):
        corner = image + row * (2 * width * step) + column * (2 * step)
        target = (tile + column) * depth
        kept = [[a and b for b in columns.kept[:2]] for a in rows.kept[:2]]
        for c, mask in each_vector(k, channels):
            square = _load_square(k, "g", corner + c, width * step, step, kept, mask)
            store_points(k, both_axes(gradients_transform, square), name, target + c, stride)


def _load_square(
    k: Kernel, name: str, corner: Index, row: int, column: int, exists: list[list[bool]], mask: Value | None
) -> list[list[Value]]:
    """Values of a tile; `row` and `column` are the steps from one to the next."""
    return [
        [
            k.load(name, corner + i * row + j * column, mask) if there else k.nothing
            for j, there in enumerate(line)
        ]
        for i, line in enumerate(exists)
    ]


def load_points(k: Kernel, name: str, at: Index, stride: int) -> list[list[Value]]:
    """The 16 values of a tile, one for each point."""
    return [[k.load(name, at + (4 * i + j) * stride) for j in range(4)] for i in range(4)]


def store_points(k: Kernel, square: Sequence[Sequence[Value]], name: str, at: Index, stride: int) -> None:
    """Write the 16 values of a tile, one for each point."""
    for point, value in enumerate(v for row in square for v in row):
        k.store(value, name, at + point * stride)
