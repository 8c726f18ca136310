"""Constant arrays."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.elements import ELEMENTS, lanes_of, store
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.plan import Plan, Tasks, has_images, per_image
from kernelearn.engine.program import Operation


def lower_fill(plan: Plan, op: Operation) -> bool:
    """A constant array; written once."""
    shape = plan.shape(op.outputs[0])
    dtype = plan.dtype(op.outputs[0])
    if has_images(shape) or dtype not in ELEMENTS:
        return False
    code = Fill(float(op.attrs["value"]), per_image(shape), dtype)
    plan.call(op, code, {}, {"out": op.outputs[0]}, Tasks(fixed=1))
    return True


@dataclass(frozen=True)
class Fill:
    """The same value so many times."""

    value: float
    size: int
    dtype: str

    def emit(self, k: Kernel) -> None:
        value = k.constant(self.value, lanes_of(k, self.dtype))
        emit_flat(k, k.const(0), k.const(self.size), lambda at, mask: store(k, value, "out", at, mask))
