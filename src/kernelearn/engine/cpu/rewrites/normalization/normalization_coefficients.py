"""A rewrite that makes standardize, and an affine behind it, one multiplication and addition per number.

The factor and offset of each channel are computed once: by a run in training, by a change of the weights in
inference.

    before  y = standardize(x, mean, variance);  z = affine(y, gamma, beta)
    after   factor, offset = affine_coefficients(mean, variance, gamma, beta);  z = affine(x, factor, offset)

Without an affine that alone reads it, y itself becomes affine(x, factor, offset).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Buffer, Operation, Program


def use_coefficients(program: Program) -> Program:
    """Every standardize of channels by a factor and an offset for each."""
    graph = Graph(program)
    buffers: dict[str, Buffer] = {}
    first: list[Operation] = []
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for op in program.operations:
        if op.operator != "standardize" or not _is_by_channel(op, program):
            continue
        scale = _scale(graph, op)
        rows = tuple(f"{op.outputs[0]}/{part}" for part in ("factor", "offset"))
        buffers.update((n, replace(program.buffers[op.inputs[1]], name=n, role="value")) for n in rows)
        coefficients, applied = _rewritten(op, scale, rows)
        # NOTE: rows that depend on weights only come first, so that a convolution can take the affine along.
        are_weights = all(program.buffers[n].role in ("parameter", "state") for n in coefficients.inputs)
        first += [coefficients] if are_weights else []
        changes.append((op, [applied] if are_weights else [coefficients, applied]))
        changes += [] if scale is None else [(scale, [])]
    rewritten = graph.replaced(changes, buffers)
    return replace(rewritten, operations=(*first, *rewritten.operations))


def _is_by_channel(op: Operation, program: Program) -> bool:
    """Whether the mean is a number for each channel."""
    return program.buffers[op.inputs[1]].shape == program.buffers[op.inputs[0]].shape[-1:]


def _scale(graph: Graph, op: Operation) -> Operation | None:
    """The affine that alone reads the standardised values."""
    reader = graph.only_reader(op.outputs[0])
    if reader is None or reader.operator != "affine" or reader.phase != op.phase:
        return None
    return reader if reader.inputs[0] == op.outputs[0] else None


def _rewritten(op: Operation, scale: Operation | None, rows: tuple[str, ...]) -> tuple[Operation, Operation]:
    x, mean, variance = op.inputs
    has_scale = scale is not None
    attrs = {"epsilon": op.attrs["epsilon"], "has_gamma": has_scale, "has_beta": has_scale}
    sources = (mean, variance, *(scale.inputs[1:] if scale is not None else ()))
    outputs = op.outputs if scale is None else scale.outputs
    return (
        replace(op, operator="affine_coefficients", inputs=sources, outputs=rows, attrs=attrs),
        replace(op, operator="affine", inputs=(x, *rows), outputs=outputs, attrs={}),
    )
