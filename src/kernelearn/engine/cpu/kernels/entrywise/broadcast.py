"""Operators entry by entry of which one operand is smaller than the result and is repeated along some axes.

Such as a gate (n, 1, 1, c) of a squeeze-and-excitation block, a mask of whole feature maps, or a weight for
every pixel. Operands that chains can read by themselves (a row of the last axis, a single number) stay there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.kernels.entrywise.emitters import EMITTERS, is_supported
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Row
from kernelearn.engine.cpu.language.values import Value, float_text
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes, per_image
from kernelearn.engine.program import Operation


@dataclass(frozen=True)
class Repetition:
    """An image as (outer, shared, inner), along `shared` of which an operand is repeated.

    has_images: whether the operand has numbers of its own for every image.
    """

    outer: int
    shared: int
    inner: int
    has_images: bool


def shared_axes(sizes: Sequence[int], small: Sequence[int | None]) -> tuple[int, int, int] | None:
    """The (outer, shared, inner) of an image for an operand of these sizes; None if it is not so."""
    outer = 0
    while outer < len(sizes) and sizes[outer] == small[outer]:
        outer += 1
    inner = outer
    while inner < len(sizes) and small[inner] == 1:
        inner += 1
    if tuple(sizes[inner:]) != tuple(small[inner:]):
        return None
    return math.prod(sizes[:outer]), math.prod(sizes[outer:inner]), math.prod(sizes[inner:])


def find_repetition(shape: tuple[int | None, ...], small: tuple[int | None, ...]) -> Repetition | None:
    """How an operand is repeated to the shape of the result, which has images."""
    padded = (1,) * (len(shape) - len(small)) + tuple(small)
    if len(padded) != len(shape) or padded[0] not in (None, 1):
        return None
    found = shared_axes(image_sizes(shape), padded[1:])
    if found is None:
        return None
    outer, shared, inner = found
    if shared == 1:
        outer, inner = 1, outer * inner
    return Repetition(outer, shared, inner, padded[0] is None)


def lower_broadcast(plan: Plan, op: Operation) -> bool:
    """Image by image, one operand repeated along neighbouring axes."""
    shape = plan.shape(op.outputs[0])
    small = [i for i, name in enumerate(op.inputs) if plan.shape(name) != shape]
    if not has_images(shape) or len(small) != 1 or not is_supported(op):
        return False
    if not plan.is_float(*op.inputs, *op.outputs):
        return False
    view = find_repetition(shape, plan.shape(op.inputs[small[0]]))
    if view is None:
        return False
    plan.call(
        op,
        OneRepeated(op.operator, op.attrs, len(op.inputs), small[0], view),
        {f"x{i}": name for i, name in enumerate(op.inputs)},
        {"y": op.outputs[0]},
        flops=(float(per_image(shape)), 0.0),
    )
    return True


@dataclass(frozen=True)
class OneRepeated:
    """y[a, b, c] = operator(x[a, b, c], small[a, c]), image by image.

    Attributes:
        count: operands, in roles x0, x1 ...; small: number of the repeated one.
    """

    operator: str
    attrs: Mapping[str, Any]
    count: int
    small: int
    view: Repetition

    def emit(self, k: Kernel) -> None:
        view, small = self.view, f"x{self.small}"
        with k.loop(k.lo, k.hi) as image:
            first = image * (view.outer * view.shared * view.inner)
            own = image * (view.outer * view.inner) if view.has_images else k.const(0)
            with k.loop(0, view.outer) as a:
                at, place = first + a * (view.shared * view.inner), own + a * view.inner
                if view.inner == 1:
                    self._emit_row(k, view.shared, at, place, k.broadcast(small, place))
                else:
                    with k.loop(0, view.shared) as b:
                        self._emit_row(k, view.inner, at + b * view.inner, place, None)

    def _emit_row(self, k: Kernel, size: int, at: Index, place: Index, one: Value | None) -> None:
        """A row of the result; `one` is the number of the small operand for all of it, or None."""
        small = f"x{self.small}"
        roles = [f"x{i}" for i in range(self.count)]

        def body(c: Index | int, mask: Value | None, held: Value | None) -> None:
            values = {role: k.load(role, at + c, mask) for role in roles if role != small}
            values[small] = one or k.load(small, place + c, mask)
            k.store(EMITTERS[self.operator](self.attrs, *[values[role] for role in roles]), "y", at + c, mask)

        Row(k, size).each(body)


# Channels whose factors are constants in the code; more are left to the reference engine.
MAX_CONSTANTS = 64


def lower_scale(plan: Plan, op: Operation) -> bool:
    """x * factor + offset with a number for every channel."""
    shape = plan.shape(op.inputs[0])
    channels = int(shape[-1] or 0) if len(shape) > 1 else 0
    factors, offsets = (_per_channel(op.attrs[name], channels) for name in ("factor", "offset"))
    fits = has_images(shape) and plan.is_float(op.inputs[0]) and 0 < channels <= MAX_CONSTANTS
    if not fits or factors is None or offsets is None:
        return False
    rows = per_image(shape) // channels
    plan.call(
        op,
        ChannelScale(factors, offsets, rows),
        {"x": op.inputs[0]},
        {"y": op.outputs[0]},
    )
    return True


def _per_channel(given: Any, channels: int) -> tuple[float, ...] | None:
    """One number for every channel; None if there are as many as neither one nor the channels."""
    values = (float(given),) if isinstance(given, int | float) else tuple(float(v) for v in given)
    if len(values) == 1:
        return values * channels
    return values if len(values) == channels else None


@dataclass(frozen=True)
class ChannelScale:
    """x * factor + offset, with constants for every channel; rows: pixels of an image."""

    factors: tuple[float, ...]
    offsets: tuple[float, ...]
    rows: int

    def emit(self, k: Kernel) -> None:
        channels = len(self.factors)
        with k.loop(k.lo * self.rows, k.hi * self.rows) as row:
            for c in range(0, channels, k.width):
                mask = k.mask(channels - c)
                factor, offset = (
                    _lanes(k, values[c : c + k.width]) for values in (self.factors, self.offsets)
                )
                at = row * channels + c
                k.store(k.load("x", at, mask) * factor + offset, "y", at, mask)


def _lanes(k: Kernel, values: tuple[float, ...]) -> Value:
    """Constants in the lanes, zeros behind them."""
    filled = (*values, *(0.0,) * (k.width - len(values)))
    return k.named("<" + ", ".join(f"float {float_text(v)}" for v in filled) + ">", k.vector)
