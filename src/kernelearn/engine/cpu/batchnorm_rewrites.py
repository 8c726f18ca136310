"""Rewrites that split a batch normalisation into what needs a pass of its own and what any pass can do.

Forward, only the statistics need one: normalising is entry by entry, and fuses with what follows. Backward,
the two sums over each channel need one (they are the gradients of beta and gamma); the gradient of the input
is then entry by entry. The normalised values are not kept: the backward pass works them out from x again.

    before  y, mean, variance = normalize(x)
            z = affine(y, gamma, beta)
            e = multiply(d, gamma);  p = multiply(d, y);  dgamma = sum_to(p);  dbeta = sum_to(d)
            dx = normalize_grad(e, y, variance)
    after   mean, variance = batch_statistics(x)
            y = standardize(x, mean, variance);  z = affine(y, gamma, beta)
            dbeta, dgamma = batch_norm_sums(d, x, mean, variance)
            f, s, o = batch_norm_coefficients(x, variance, dbeta, dgamma, gamma)
            dx = batch_norm_grad_input(d, x, mean, f, s, o)

Gamma or beta may be missing or frozen; x may need no gradient. What a run gives back is still computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from kernelearn.engine.program import Buffer, Operation, Program, prune


def split_batch_normalization(program: Program) -> Program:
    """Statistics in one operation, normalising in another."""
    if not any(_is_batch_normalize(op, program) for op in program.operations):
        return program
    parts = (_split(op) if _is_batch_normalize(op, program) else (op,) for op in program.operations)
    return replace(program, operations=tuple(op for part in parts for op in part))


def _is_batch_normalize(op: Operation, program: Program) -> bool:
    """Whether an operation normalises channels over images and positions."""
    if op.operator != "normalize":
        return False
    shape = program.buffers[op.inputs[0]].shape
    return shape[0] is None and _is_over_all_but_last(op, shape)


def _is_over_all_but_last(op: Operation, shape: Sequence[int | None]) -> bool:
    axes = sorted(a % len(shape) for a in op.attrs["axes"])
    return axes == list(range(len(shape) - 1))


def _split(op: Operation) -> tuple[Operation, Operation]:
    (x,), (y, mean, variance) = op.inputs, op.outputs
    axes, epsilon = op.attrs["axes"], op.attrs["epsilon"]
    return (
        replace(op, operator="batch_statistics", outputs=(mean, variance), attrs={"axes": axes}),
        replace(
            op,
            operator="standardize",
            inputs=(x, mean, variance),
            outputs=(y,),
            attrs={"epsilon": epsilon},
        ),
    )


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


def split_batch_normalization_gradient(program: Program) -> Program:
    """Sums of channels in one operation, the gradient of the input entry by entry. After the one above."""
    taken: set[int] = set()
    found = [b for forward in _split_ones(program) for b in _backward_parts(program, forward, taken)]
    if not found:
        return program
    buffers = dict(program.buffers)
    first: dict[int, _Backward] = {}
    dropped: set[int] = set()
    for part in found:
        order = [i for i, op in enumerate(program.operations) if any(op is r for r in part.replaced)]
        first[order[0]] = part
        dropped.update(order)
    operations: list[Operation] = []
    for i, op in enumerate(program.operations):
        if i in first:
            operations += _rewritten(first[i], buffers)
        if i not in dropped:
            operations.append(op)
    return prune(replace(program, buffers=buffers, operations=tuple(operations)))


def _split_ones(program: Program) -> Iterator[Operation]:
    """The `standardize` of every batch normalisation that was split."""
    made = {name: op for op in program.operations for name in op.outputs}
    for op in program.operations:
        source = made.get(op.inputs[1]) if op.operator == "standardize" else None
        if source is not None and source.operator == "batch_statistics":
            yield op


def _backward_parts(program: Program, forward: Operation, taken: set[int]) -> list[_Backward]:
    """The gradients that reach a normalisation, each with all that is made of it.

    Args:
        taken: ids of sums that another normalisation has; where two of them are added, both get the same d.
    """
    made = {name: op for op in program.operations for name in op.outputs}
    users: dict[str, list[Operation]] = defaultdict(list)
    for op in program.operations:
        for name in set(op.inputs):
            users[name].append(op)
    (y,) = forward.outputs
    parts: dict[str, _Backward] = {}
    for op in users[y]:
        if op.operator == "normalize_grad" and op.inputs[1] == y and op.attrs["epsilon"] == _epsilon(forward):
            grad, gamma = _unscaled(op.inputs[0], made, program)
            part = parts.setdefault(grad, _Backward(forward, grad))
            if part.input_grad is None:
                part.input_grad, part.gamma = op, gamma
                part.replaced.append(op)
    for op in users[y]:
        if op.operator != "multiply" or op.phase != "backward" or len(set(op.inputs)) != 2:
            continue
        (grad,) = set(op.inputs) - {y}
        sums = [s for s in users[op.outputs[0]] if _is_channel_sum(s, program)]
        if sums and program.buffers[grad].shape == program.buffers[y].shape:
            part = parts.setdefault(grad, _Backward(forward, grad))
            part.along = sums[0]
            part.replaced.append(sums[0])
    for part in parts.values():
        sums = [op for op in users[part.grad] if _is_channel_sum(op, program) and id(op) not in taken]
        own = [op for op in sums if op.layer == forward.layer]
        if sums:
            part.total = (own or sums)[0]
            part.replaced.append(part.total)
            taken.add(id(part.total))
    return [part for part in parts.values() if part.replaced]


def _epsilon(op: Operation) -> float:
    return op.attrs["epsilon"]


def _unscaled(name: str, made: dict[str, Operation], program: Program) -> tuple[str, str | None]:
    """(d, gamma) if a gradient is d times a row of weights, else the gradient itself and None."""
    op = made.get(name)
    if op is None or op.operator != "multiply":
        return name, None
    shape = program.buffers[name].shape
    grad, gamma = op.inputs
    if program.buffers[grad].shape == shape and program.buffers[gamma].shape == shape[-1:]:
        return grad, gamma
    return name, None


def _is_channel_sum(op: Operation, program: Program) -> bool:
    """Whether an operation sums over all axes but the last."""
    if op.operator != "sum_to":
        return False
    shape = program.buffers[op.inputs[0]].shape
    return _is_over_all_but_last(op, shape) and program.buffers[op.outputs[0]].shape == shape[-1:]


def _rewritten(part: _Backward, buffers: dict[str, Buffer]) -> list[Operation]:
    """What replaces the operations of a part; new buffers are entered."""
    x, mean, variance = part.forward.inputs
    epsilon = _epsilon(part.forward)

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
        {"epsilon": epsilon},
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


REWRITES = (split_batch_normalization, split_batch_normalization_gradient)
