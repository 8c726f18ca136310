"""Fused operations: a convolution, dense layer or normalisation with a chain at its end, or a chain alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernelearn.engine.cpu.kernels.convolution.filtered_rows.forward import lower_filtered_rows
from kernelearn.engine.cpu.kernels.convolution.separable import lower_separable
from kernelearn.engine.cpu.kernels.convolution.taps.lowering import lower_taps
from kernelearn.engine.cpu.kernels.convolution.winograd.forward import lower_winograd
from kernelearn.engine.cpu.kernels.dense import lower_product
from kernelearn.engine.cpu.kernels.entrywise.chain import lower_chain, make_chain
from kernelearn.engine.cpu.kernels.entrywise.pooled import lower_pooled, make_pooled
from kernelearn.engine.cpu.kernels.matrix_tiles import weight_gradient
from kernelearn.engine.cpu.kernels.matrix_tiles.lowering import (
    lower_tile_conv,
    lower_tile_pooled,
    lower_tile_product,
)
from kernelearn.engine.cpu.kernels.normalization.images import lower_image_normalize
from kernelearn.engine.cpu.kernels.products import weight_panels
from kernelearn.engine.cpu.kernels.products.product import lower_as_dense, lower_matmul
from kernelearn.engine.cpu.kernels.reductions.kinds import KINDS
from kernelearn.engine.cpu.kernels.reductions.reduced import lower_reduced
from kernelearn.engine.cpu.kernels.updates import find_step
from kernelearn.engine.cpu.plan import Plan
from kernelearn.engine.program import Operation
from kernelearn.engine.updates import UPDATES

# Operator -> rules that also take a chain for their results and the operation that the calls are said to do.
ANCHORS: dict[str, tuple[Callable[..., bool], ...]] = {
    "conv": (lower_tile_conv, lower_winograd, lower_filtered_rows, lower_taps),
    "conv_grad_input": (lower_tile_conv, lower_winograd, lower_filtered_rows, lower_taps),
    "conv_transpose": (lower_tile_conv, lower_winograd, lower_filtered_rows, lower_taps),
    "dense": (lower_tile_product, lower_product),
    "dense_grad_input": (lower_tile_product, lower_product),
    "matmul": (lower_as_dense, lower_matmul),
    "turned_matmul": (lower_matmul,),
    "normalize": (lower_image_normalize,),
}
# Whether a kernel gradient of a dense layer is for it, and what makes it with the update; the best first.
WITH_STEP = ((weight_gradient.fits, weight_gradient.lower), (weight_panels.fits, weight_panels.lower))


def lower_fused(plan: Plan, op: Operation) -> bool:
    """In one pass if there is a kernel for that."""
    body = op.attrs["body"].operations
    first = body[0]
    if body[-1].operator in UPDATES:
        return _lower_with_step(plan, op, *body)
    reductions = [part for part in body if part.operator in KINDS]
    if reductions:
        chain_body = [part for part in body if part.operator not in KINDS]
        made = {name for part in reductions for name in part.outputs}
        return lower_reduced(plan, op, chain_body, reductions, [n for n in op.outputs if n not in made])
    if body[-1].operator == "max_pool":
        return _lower_with_pooling(plan, op, body)
    if sum(part.operator == "conv" for part in body) > 1:
        return lower_separable(plan, op, body)
    shape = plan.shape(first.outputs[0])
    if first.operator not in ANCHORS:
        return lower_chain(plan, op, body, op.outputs, plan.shape(op.outputs[0]))
    chain = make_chain(plan, body[1:], first.outputs[:1], shape, op.outputs)
    return chain is not None and any(rule(plan, first, chain, op) for rule in ANCHORS[first.operator])


def _lower_with_step(plan: Plan, op: Operation, gradient: Operation, update: Operation) -> bool:
    """A kernel gradient and the update of the weights, its only reader."""
    if gradient.operator != "dense_grad_kernel":
        return False
    lower = next((lower for fits, lower in WITH_STEP if fits(plan, gradient)), None)
    if lower is None or (found := find_step(plan, update)) is None:
        return False
    step, reads, writes = found
    return lower(plan, op, gradient, reads, writes, step)


def _lower_with_pooling(plan: Plan, op: Operation, body: Sequence[Operation]) -> bool:
    if body[0].operator != "conv":
        return lower_pooled(plan, op, body)
    if lower_tile_pooled(plan, op, body):
        return True
    pooled = make_pooled(plan, body[1:], body[0].outputs[:1], op.outputs)
    return pooled is not None and any(rule(plan, body[0], pooled, op) for rule in ANCHORS["conv"])
