"""Tensors of several axes: strides, loops within each other, and copies of runs that are contiguous."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value

# Runs of at most this many vectors are copied without a loop.
SHORT = 4


def copy_run(k: Kernel, source: tuple[str, Index] | None, target: Index, length: int) -> None:
    """Copy numbers that follow each other, from (role, offset) to "y"; without a source, write zeros."""

    def body(at: Index | int, mask: Value | None) -> None:
        value = k.zero if source is None else k.load(source[0], source[1] + at, mask)
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


def merged_axes(sizes: Sequence[int], order: Sequence[int]) -> list[tuple[int, int]]:
    """(size, step in the input) of the output's axes, neighbours that stay neighbours joined into one."""
    strides = strides_of(sizes)
    result: list[tuple[int, int]] = []
    for axis in order:
        size, stride = sizes[axis], strides[axis]
        if size == 1:
            continue
        if result and result[-1][1] == size * stride:
            result[-1] = (result[-1][0] * size, stride)
        else:
            result.append((size, stride))
    return result or [(1, 1)]
