"""Rows of coefficients of normalisations: a factor and an offset per channel."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.language.functions import sqrt
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK, emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation


def lower_coefficients(plan: Plan, op: Operation) -> bool:
    """One pass over the channels."""
    if not plan.is_float(*op.inputs, *op.outputs):
        return False
    size = plan.shape(op.inputs[0])[0]
    assert size is not None
    epsilon, has_gamma, has_beta = (op.attrs[a] for a in ("epsilon", "has_gamma", "has_beta"))
    roles = ["mean", "variance", *(["gamma"] if has_gamma else []), *(["beta"] if has_beta else [])]
    plan.call(
        op,
        Coefficients(epsilon, has_gamma, has_beta),
        {**dict(zip(roles, op.inputs)), "size": f"#{size}"},
        dict(zip(("factor", "offset"), op.outputs)),
        Tasks(fixed=-(-size // BLOCK)),
        note="coefficients",
    )
    return True


@dataclass(frozen=True)
class Coefficients:
    """Factor and offset of every channel."""

    epsilon: float
    has_gamma: bool
    has_beta: bool

    def emit(self, k: Kernel) -> None:
        def body(at: Index, mask: Value | None) -> None:
            variance = k.load("variance", at, mask)
            deviation = sqrt(variance + self.epsilon)
            top = k.load("gamma", at, mask) if self.has_gamma else k.constant(1.0)
            factor = top / deviation
            shift = k.load("mean", at, mask) * factor
            start = k.load("beta", at, mask) if self.has_beta else k.zero
            k.store(factor, "factor", at, mask)
            k.store(start - shift, "offset", at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, k.scalar("size")), body)
