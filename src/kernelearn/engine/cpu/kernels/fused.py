"""Fused operations: a convolution or dense layer with a chain at its end, or a chain alone."""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.engine.cpu.kernels.chain import lower_chain, make_chain
from kernelearn.engine.cpu.kernels.conv import lower_taps
from kernelearn.engine.cpu.kernels.gemm import lower_product
from kernelearn.engine.cpu.kernels.pooled import lower_pooled, make_pooled
from kernelearn.engine.cpu.lowering import Plan, lower_operation, rule
from kernelearn.engine.program import Operation

LOWERINGS = {
    "conv": lower_taps,
    "conv_grad_input": lower_taps,
    "conv_transpose": lower_taps,
    "dense": lower_product,
    "dense_grad_input": lower_product,
}


@rule("fused")
def lower_fused(plan: Plan, op: Operation) -> bool:
    """In one pass if there is a kernel for that, else one operation after another."""
    body = op.attrs["body"].operations
    first = body[0]
    if body[-1].operator == "max_pool":
        done = _lower_with_pooling(plan, op, body)
        return done or _lower_parts(plan, body)
    shape = plan.shape(first.outputs[0])
    lowering = LOWERINGS.get(first.operator)
    if lowering is None:
        done = lower_chain(plan, op, body, op.outputs, shape)
    else:
        chain = make_chain(plan, body[1:], first.outputs[:1], shape, op.outputs)
        done = chain is not None and lowering(plan, first, chain, op)
    return done or _lower_parts(plan, body)


def _lower_with_pooling(plan: Plan, op: Operation, body: Sequence[Operation]) -> bool:
    if body[0].operator != "conv":
        return lower_pooled(plan, op, body)
    pooled = make_pooled(plan, body[1:], body[0].outputs[:1], op.outputs)
    return pooled is not None and lower_taps(plan, body[0], pooled, op)


def _lower_parts(plan: Plan, body: Sequence[Operation]) -> bool:
    for part in body:
        lower_operation(plan, part)
    return True
