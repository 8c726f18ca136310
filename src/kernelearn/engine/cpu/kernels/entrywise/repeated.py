"""Operators entry by entry of operands that are repeated along any axes: the general form.

Chains read rows of the last axis, `broadcast` one operand along neighbouring axes; what neither can is done
here: several small operands, or patterns such as (1, w, 1). Neighbouring axes that all operands pass through
alike are one loop, and lanes lie along the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.kernels.entrywise.emitters import EMITTERS, is_supported
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes
from kernelearn.engine.cpu.language.strides import dot, nest, strides_of
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes, per_image
from kernelearn.engine.program import Operation


@dataclass(frozen=True)
class Operand:
    """How an operand is passed through: numbers from image to image, and from index to index of each axis."""

    by_image: int
    steps: tuple[int, ...]


def find_operand(shape: tuple[int | None, ...], small: tuple[int | None, ...]) -> Operand | None:
    """How an operand of shape `small` is repeated to `shape`; None if it does not fit."""
    padded = (1,) * (len(shape) - len(small)) + tuple(small)
    if len(padded) != len(shape) or padded[0] not in (None, 1):
        return None
    if any(own not in (1, size) for own, size in zip(padded[1:], shape[1:])):
        return None
    sizes = image_sizes(padded[1:])
    steps = (0 if own == 1 else step for own, step in zip(sizes, strides_of(sizes)))
    return Operand(per_image(padded) if padded[0] is None else 0, tuple(steps))


def merge_axes(
    sizes: tuple[int, ...], operands: Mapping[str, Operand]
) -> tuple[tuple[int, ...], dict[str, Operand]]:
    """Sizes and operands on fewer axes: those of one index left out, neighbours joined where all go on."""
    counts: list[int] = []
    steps: dict[str, list[int]] = {role: [] for role in operands}
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        here = {role: operand.steps[axis] for role, operand in operands.items()}
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
    merged = {role: Operand(o.by_image, tuple(steps[role])) for role, o in operands.items()}
    return tuple(counts), merged


def lower_repeated(plan: Plan, op: Operation) -> bool:
    """By loops over all axes."""
    if not is_supported(op) or not plan.is_float(*op.inputs, *op.outputs):
        return False
    reads = {f"x{i}": name for i, name in enumerate(op.inputs)}
    return add_repeated(plan, op, op.operator, op.attrs, reads, op.outputs[0])


def add_repeated(
    plan: Plan,
    op: Operation,
    operator: str,
    attrs: Mapping[str, Any],
    reads: Mapping[str, str],
    target: str,
) -> bool:
    """A call that writes operator(*operands) entry by entry; False if an operand does not fit.

    Args:
        operator: one of `EMITTERS`.
        reads: role -> buffer of the operands, in order.
    """
    shape = plan.shape(target)
    found = {role: find_operand(shape, plan.shape(name)) for role, name in reads.items()}
    operands = {role: operand for role, operand in found.items() if operand is not None}
    if not has_images(shape) or len(operands) < len(found):
        return False
    counts, merged = merge_axes(image_sizes(shape), operands)
    plan.call(
        op,
        Repeated(operator, attrs, counts, tuple(merged.items())),
        dict(reads),
        {"y": target},
        flops=(float(per_image(shape)), 0.0),
    )
    return True


@dataclass(frozen=True)
class Repeated:
    """Operands that are each passed through in their own way.

    Attributes:
        counts: sizes of the axes; operands: (role, how it is passed through).
    """

    operator: str
    attrs: Mapping[str, Any]
    counts: tuple[int, ...]
    operands: tuple[tuple[str, Operand], ...]

    def emit(self, k: Kernel) -> None:
        operands = dict(self.operands)
        with k.loop(k.lo, k.hi) as image, nest(k, self.counts[:-1]) as places:
            starts = {role: dot(places, o.steps, image * o.by_image) for role, o in operands.items()}
            # What is the same for the whole row is read before it.
            held = {role: k.broadcast(role, starts[role]) for role, o in operands.items() if not o.steps[-1]}
            y = dot(places, strides_of(self.counts), image * math.prod(self.counts))

            def body(c: Index | int, mask: Value | None) -> None:
                values = [held[r] if r in held else k.load(r, starts[r] + c, mask) for r in operands]
                k.store(EMITTERS[self.operator](self.attrs, *values), "y", y + c, mask)

            lanes(k, self.counts[-1], body)
