"""Fused operations: a convolution or dense layer with a chain at its end, or a chain alone."""

from __future__ import annotations

from kernelearn.engine.cpu.kernels.chain import lower_chain, make_chain
from kernelearn.engine.cpu.kernels.conv import lower_taps
from kernelearn.engine.cpu.kernels.gemm import lower_product
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
    shape = plan.shape(first.outputs[0])
    lowering = LOWERINGS.get(first.operator)
    if lowering is None:
        done = lower_chain(plan, op, body, op.outputs, shape)
    else:
        chain = make_chain(plan, body[1:], first.outputs[:1], shape, op.outputs)
        done = chain is not None and lowering(plan, first, chain, op)
    if not done:
        for part in body:
            lower_operation(plan, part)
    return True
