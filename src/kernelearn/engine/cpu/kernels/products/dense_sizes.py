"""The sizes of the three products of a dense layer: its own, that of its input and that of its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes
from kernelearn.engine.program import Operation


@dataclass(frozen=True)
class DenseSizes:
    """A product of images of rows.

    Attributes:
        rows: of an image.
        inner, outer: channels of the first operand, and of the result.
    """

    rows: int
    inner: int
    outer: int


def dense_sizes(plan: Plan, op: Operation) -> DenseSizes | None:
    """Of an operation in float32 on images of one size; None for others, which no kernel here is for."""
    shape = plan.shape(op.inputs[0])
    if not plan.is_float(*op.inputs, *op.outputs) or not has_images(shape) or None in shape[1:]:
        return None
    *positions, inner = image_sizes(shape)
    return DenseSizes(math.prod(positions), inner, image_sizes(plan.shape(op.outputs[0]))[-1])
