"""Tensors of several axes: strides, loops within each other, and copies of runs that are contiguous."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value, type_of

# Runs of at most this many vectors are copied without a loop.
SHORT = 4


def copy_run(
    k: Kernel,
    source: tuple[str, Index] | None,
    target: Index,
    length: int,
    filling: float = 0.0,
    element: str = "float",
) -> None:
    """Copy numbers that follow each other, from (role, offset) to "y"; without a source, write `filling`.

    Args:
        element: "float" for anything of four bytes, or "i8".
    """
    if element == "i8":
        with k.loop(0, length) as i:
            one = (
                k.constant(filling, type_of("i8"))
                if source is None
                else k.load_one(source[0], source[1] + i, "i8")
            )
            k.store_one(one, "y", target + i, "i8")
        return

    def body(at: Index | int, mask: Value | None) -> None:
        value = k.constant(filling) if source is None else k.load(source[0], source[1] + at, mask)
        k.store(value, "y", target + at, mask)

    if length > SHORT * k.width:
        emit_flat(k, k.const(0), k.const(length), body)
        return
    for done in range(0, length, k.width):
        body(done, k.mask(length - done))


def strides_of(sizes: Sequence[int]) -> list[int]:
    """Numbers between neighbours on each axis."""
    return [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]


@contextmanager
def nest(k: Kernel, counts: Sequence[int]) -> Iterator[list[Index]]:
    """Loops within each other."""
    with ExitStack() as stack:
        yield [stack.enter_context(k.loop(0, count)) for count in counts]


def dot(indices: Sequence[Index], strides: Sequence[int], start: Index) -> Index:
    for index, stride in zip(indices, strides):
        start = start + index * stride
    return start


def merged_axes(axes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(size, step in the input) of the output's axes, neighbours that stay neighbours joined into one."""
    result: list[tuple[int, int]] = []
    for size, step in axes:
        if size == 1:
            continue
        if result and result[-1][1] == size * step:
            result[-1] = (result[-1][0] * size, step)
        else:
            result.append((size, step))
    return result or [(1, 1)]
