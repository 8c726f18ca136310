"""A rewrite that splits the gradient of a batch normalisation: two sums, and the rest entry by entry.

The two sums over each channel need a pass of their own; they are the gradients of beta and gamma. All else is
entry by entry then. The normalised values are not kept: they are worked out from x again.

    before  y = standardize(x, mean, variance);  z = affine(y, gamma, beta)
            e = multiply(d, gamma);  p = multiply(d, y);  dgamma = sum_to(p);  dbeta = sum_to(d)
            dx = normalize_grad(e, y, variance)
    after   y = standardize(x, mean, variance);  z = affine(y, gamma, beta)
            dbeta, dgamma = batch_norm_sums(d, x, mean, variance)
            f, s, o = batch_norm_coefficients(x, variance, dbeta, dgamma, gamma)
            dx = batch_norm_grad_input(d, x, mean, f, s, o)

Gamma or beta may be missing or frozen; x may need no gradient. What a run gives back is still computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from kernelearn.engine.cpu.rewrites.normalization.batchnorm_statistics import is_over_all_but_last
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Buffer, Operation, Program, prune


@dataclass
class _Backward:
    """What the backward pass does with one gradient d that reaches a normalisation.

    Attributes:
        grad: dL/d of the scaled output.
        total, along: the operations that give the gradients of beta and gamma, if there are any.
        input_grad: the `normalize_grad`, if x needs a gradient; gamma: what d is multiplied with before it.
    """

    forward: Operation
    grad: str
    total: Operation | None = None
    along: Operation | None = None
    input_grad: Operation | None = None
    gamma: str | None = None
    replaced: list[Operation] = field(default_factory=list)


def split_gradient(program: Program) -> Program:
    """Sums of channels in one operation, the gradient of the input entry by entry."""
    graph, taken = Graph(program), set[int]()
    parts = [part for forward in _split_ones(graph) for part in _backward_parts(graph, forward, taken)]
    if not parts:
        return program
    buffers = dict(program.buffers)
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    # In the order of the program: new buffers are entered as their operations come.
    for part in sorted(parts, key=lambda p: min(map(graph.place, p.replaced))):
        first, *others = sorted(part.replaced, key=graph.place)
        changes += [(first, _rewritten(part, buffers)), *((op, ()) for op in others)]
    return prune(graph.replaced(changes, buffers))


def _split_ones(graph: Graph) -> Iterator[Operation]:
    """The `standardize` of every batch normalisation that was split."""
    for op in graph.program.operations:
        source = graph.producer(op.inputs[1]) if op.operator == "standardize" else None
        if source is not None and source.operator == "batch_statistics":
            yield op


def _backward_parts(graph: Graph, forward: Operation, taken: set[int]) -> list[_Backward]:
    """The gradients that reach a normalisation, each with all that is made of it.

    Args:
        taken: places of sums that another normalisation has; where two are added, both get the same d.
    """
    (y,) = forward.outputs
    parts: dict[str, _Backward] = {}
    for op in graph.readers(y):
        if op.operator == "normalize_grad" and op.inputs[1] == y and _same_epsilon(op, forward):
            grad, gamma = _unscaled(graph, op.inputs[0])
            part = parts.setdefault(grad, _Backward(forward, grad))
            if part.input_grad is None:
                part.input_grad, part.gamma = op, gamma
                part.replaced.append(op)
    for op in graph.readers(y):
        if op.operator != "multiply" or op.phase != "backward" or len(set(op.inputs)) != 2:
            continue
        (grad,) = set(op.inputs) - {y}
        sums = [s for s in graph.readers(op.outputs[0]) if _is_channel_sum(s, graph.program)]
        if sums and graph.program.buffers[grad].shape == graph.program.buffers[y].shape:
            part = parts.setdefault(grad, _Backward(forward, grad))
            part.along = sums[0]
            part.replaced.append(sums[0])
    for part in parts.values():
        _take_total(graph, part, taken)
    return [part for part in parts.values() if part.replaced]


def _same_epsilon(op: Operation, other: Operation) -> bool:
    return bool(op.attrs["epsilon"] == other.attrs["epsilon"])


def _take_total(graph: Graph, part: _Backward, taken: set[int]) -> None:
    """Find the sum of d over each channel: the layer's own, if there are several."""
    readers = graph.readers(part.grad)
    sums = [op for op in readers if _is_channel_sum(op, graph.program) and graph.place(op) not in taken]
    if sums:
        own = [op for op in sums if op.layer == part.forward.layer]
        part.total = (own or sums)[0]
        part.replaced.append(part.total)
        taken.add(graph.place(part.total))


def _unscaled(graph: Graph, name: str) -> tuple[str, str | None]:
    """(d, gamma) if a gradient is d times a row of weights, else the gradient itself and None."""
    op, buffers = graph.producer(name), graph.program.buffers
    if op is None or op.operator != "multiply":
        return name, None
    shape = buffers[name].shape
    grad, gamma = op.inputs
    if buffers[grad].shape == shape and buffers[gamma].shape == shape[-1:]:
        return grad, gamma
    return name, None


def _is_channel_sum(op: Operation, program: Program) -> bool:
    """Whether an operation sums over all axes but the last."""
    if op.operator != "sum_to":
        return False
    shape = program.buffers[op.inputs[0]].shape
    return is_over_all_but_last(op, shape) and program.buffers[op.outputs[0]].shape == shape[-1:]


def _rewritten(part: _Backward, buffers: dict[str, Buffer]) -> list[Operation]:
    """What replaces the operations of a part; new buffers are entered."""
    x, mean, variance = part.forward.inputs

    def row(given: Operation | None, stem: str) -> str:
        """The buffer that the replaced operation wrote, or a new one."""
        if given is not None:
            return given.outputs[0]
        name = f"{part.grad}/{stem} of {part.forward.outputs[0]}"
        buffers[name] = replace(buffers[mean], name=name, role="value")
        return name

    total, along = row(part.total, "sum"), row(part.along, "sum along")
    like = part.replaced[0]
    sums = Operation(
        "batch_norm_sums",
        (part.grad, x, mean, variance),
        (total, along),
        {"epsilon": part.forward.attrs["epsilon"]},
        like.layer,
        like.phase,
    )
    if part.input_grad is None:
        return [sums]
    coefficients = tuple(row(None, stem) for stem in ("factor", "slope", "offset"))
    scale = () if part.gamma is None else (part.gamma,)
    return [
        sums,
        replace(
            sums,
            operator="batch_norm_coefficients",
            inputs=(x, variance, total, along, *scale),
            outputs=coefficients,
        ),
        replace(
            sums,
            operator="batch_norm_grad_input",
            inputs=(part.grad, x, mean, *coefficients),
            outputs=part.input_grad.outputs,
            attrs={},
        ),
    ]
