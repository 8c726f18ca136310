"""How tensors that are repeated along any axes are passed through next to a larger one.

Neighbouring axes that all of them pass through alike are one loop, and lanes lie along the last. The first
axes are divided among the tasks: the images, or, where there are none, as many axes as make tasks small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK
from kernelearn.engine.cpu.language.strides import dot, nest, strides_of
from kernelearn.engine.cpu.plan import has_images

Shape = tuple[int | None, ...]
Steps = tuple[int, ...]


def find_steps(shape: Shape, small: Shape) -> Steps | None:
    """Numbers between neighbours along each axis of a larger shape, 0 where it is repeated; None: no fit."""
    padded = (1,) * (len(shape) - len(small)) + tuple(small)
    if len(padded) != len(shape) or any(own not in (1, size) for own, size in zip(padded, shape)):
        return None
    strides = strides_of([1 if own is None else own for own in padded])
    return tuple(0 if own == 1 else step for own, step in zip(padded, strides))


def merge_axes(
    sizes: Sequence[int], operands: Mapping[str, Steps]
) -> tuple[tuple[int, ...], dict[str, Steps]]:
    """Sizes and steps on fewer axes: those of one index left out, neighbours joined where all go on."""
    counts: list[int] = []
    steps: dict[str, list[int]] = {role: [] for role in operands}
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        here = {role: operand[axis] for role, operand in operands.items()}
        if counts and all(steps[role][-1] == step * size for role, step in here.items()):
            counts[-1] *= size
        else:
            counts.append(size)
            for taken in steps.values():
                taken.append(0)
        for role, step in here.items():
            steps[role][-1] = step
    if not counts:
        counts, steps = [1], {role: [0] for role in operands}
    return tuple(counts), {role: tuple(taken) for role, taken in steps.items()}


@dataclass(frozen=True)
class Spread:
    """Tensors that are passed through together.

    Attributes:
        lead: sizes of the axes that are divided among the tasks; () where tasks are images.
        counts: sizes of the axes within a task.
        operands: (role, steps along `lead` or from image to image, steps along `counts`).
    """

    lead: tuple[int, ...]
    counts: tuple[int, ...]
    operands: tuple[tuple[str, Steps, Steps], ...]

    @property
    def tasks(self) -> int:
        """How many there are, unless they are images."""
        return math.prod(self.lead)

    def is_constant(self, role: str) -> bool:
        """Whether an operand is one number for a whole row."""
        return next(not inner[-1] for name, _, inner in self.operands if name == role)

    def rows(self, k: Kernel) -> Iterator[tuple[dict[str, Index], Index]]:
        """For every row of the kernel's tasks: where it starts in the operands, and in the result."""
        size = math.prod(self.counts)
        with k.loop(k.lo, k.hi) as task, nest(k, self.counts[:-1]) as places:
            first = _digits(task, self.lead)
            starts = {
                role: dot(places, inner, dot(first, outer, k.const(0)))
                for role, outer, inner in self.operands
            }
            yield starts, dot(places, strides_of(self.counts), task * size)


def _digits(number: Index, sizes: Sequence[int]) -> list[Index]:
    """A number as places along axes of these sizes; without sizes, itself."""
    digits: list[Index] = []
    for size in reversed(sizes[1:]):
        digits.insert(0, number % size)
        number = number // size
    return [number, *digits]


def find_spread(shape: Shape, operands: Mapping[str, Shape]) -> Spread | None:
    """How operands of these shapes are passed through next to a tensor; None if one does not fit."""
    found = {role: find_steps(shape, small) for role, small in operands.items()}
    steps = {role: taken for role, taken in found.items() if taken is not None}
    if len(steps) < len(found) or not shape or None in shape[1:]:
        return None
    if has_images(shape):
        counts, inner = merge_axes(_known(shape[1:]), {role: taken[1:] for role, taken in steps.items()})
        outer = {role: taken[:1] for role, taken in steps.items()}
        return Spread((), counts, tuple((role, outer[role], inner[role]) for role in steps))
    counts, merged = merge_axes(_known(shape), steps)
    cut = _cut(counts)
    return Spread(
        counts[:cut],
        counts[cut:],
        tuple((role, taken[:cut], taken[cut:]) for role, taken in merged.items()),
    )


def _known(shape: Shape) -> tuple[int, ...]:
    return tuple(size for size in shape if size is not None)


def _cut(counts: Sequence[int]) -> int:
    """How many axes are divided among tasks: all but the last at most."""
    for cut in range(len(counts) - 1):
        if math.prod(counts[cut:]) <= BLOCK:
            return cut
    return len(counts) - 1
