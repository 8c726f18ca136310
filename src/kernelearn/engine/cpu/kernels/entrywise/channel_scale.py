"""Scaling by a number for every channel, where the numbers are constants of the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value, float_text
from kernelearn.engine.cpu.plan import Plan, has_images, per_image
from kernelearn.engine.program import Operation

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
    return k.named("<" + ", ".join(f"{k.float} {float_text(v, k.float)}" for v in filled) + ">", k.vector)
