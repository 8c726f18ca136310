"""Rewrites from Program to Program before code is made: what can be done in one pass over memory.

Each is a function of its own, with a test that runs the program before and after on the reference engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from kernelearn.engine.cpu import batchnorm_rewrites, crop_rewrites, pooling_rewrites
from kernelearn.engine.cpu.kernels.entrywise.chain import operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import is_supported
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program, prune

# Operators whose results are in registers when they are stored, so that a chain can follow at no cost.
ANCHORS = ("conv", "conv_grad_input", "conv_transpose", "dense", "dense_grad_input")
# Tensors and rows of weights that one kernel reads at most.
MAX_EXTERNALS = 8

Rewrite = Callable[[Program], Program]


def relu_gradient_from_output(program: Program) -> Program:
    """Let the gradient of a plain ReLU read its output: y > 0 where x > 0, so x need not be kept."""

    def changed(op: Operation) -> Operation:
        if op.operator != "activation_grad" or op.attrs["kind"] != "relu":
            return op
        plain = not any(op.attrs[a] for a in ("negative_slope", "threshold", "max_value"))
        return replace(op, inputs=(op.inputs[0], op.inputs[2], op.inputs[2])) if plain else op

    return prune(replace(program, operations=tuple(changed(op) for op in program.operations)))


def gradients_before_pooling(program: Program) -> Program:
    """Take the gradient of a ReLU that stands before a max pooling, and the bias gradient, before unpooling.

    The gradient of a window goes to its largest pixel y, which equals the pooled p; so y > 0 where p > 0.
    And the sum over all pixels is the sum over all windows. Both are done on the smaller tensor.
    """
    pools = {op.outputs[1]: op for op in program.operations if op.operator == "max_pool"}
    unpooled = {
        op.outputs[0]: op
        for op in program.operations
        if op.operator == "max_pool_grad" and op.inputs[1] in pools
    }
    uses: dict[str, int] = defaultdict(int)
    for op in program.operations:
        for name in op.inputs:
            uses[name] += 1
    kept = set(program.outputs.values())
    buffers = dict(program.buffers)
    masked: dict[str, Operation] = {}
    result: list[Operation] = []
    for op in program.operations:
        source = unpooled.get(op.inputs[0]) if op.inputs else None
        if source is not None and _is_relu_mask(op, pools[source.inputs[1]]) and uses[op.inputs[0]] == 1:
            if op.inputs[0] in kept:
                result.append(op)
                continue
            gradient, where = source.inputs
            pooled = pools[where].outputs[0]
            small = f"{op.outputs[0]}/pooled"
            buffers[small] = replace(buffers[gradient], name=small)
            result = [r for r in result if r is not source]
            result.append(replace(op, inputs=(gradient, pooled, pooled), outputs=(small,)))
            moved = replace(source, inputs=(small, where), outputs=op.outputs)
            masked[op.outputs[0]] = moved
            result.append(moved)
        elif op.operator == "bias_grad" and (source := masked.get(op.inputs[0]) or source) is not None:
            result.append(replace(op, inputs=source.inputs[:1]))
        else:
            result.append(op)
    return prune(replace(program, buffers=buffers, operations=tuple(result)))


def _is_relu_mask(op: Operation, pool: Operation) -> bool:
    """Whether an operation is the gradient of a plain ReLU whose output `pool` reads."""
    return (
        op.operator == "activation_grad"
        and op.attrs["kind"] == "relu"
        and op.inputs[1] == op.inputs[2] == pool.inputs[0]
    )


def normalize_by_coefficients(program: Program) -> Program:
    """Make standardize, and an affine or its parts behind it, one multiplication and addition per number.

    The factor and offset of each channel are computed once: by a run in training, by a change of the weights
    in inference.
    """
    readers = program.readers()
    kept = set(program.outputs.values())
    buffers = dict(program.buffers)
    first: list[Operation] = []
    result: list[Operation] = []
    replaced: set[int] = set()
    for op in program.operations:
        if id(op) in replaced:
            continue
        if op.operator != "standardize" or buffers[op.inputs[1]].shape != buffers[op.inputs[0]].shape[-1:]:
            result.append(op)
            continue
        x, mean, variance = op.inputs
        following = readers.get(op.outputs[0], [])
        scaled = (
            len(following) == 1
            and following[0].operator == "affine"
            and following[0].inputs[0] == op.outputs[0]
            and op.outputs[0] not in kept
            and following[0].phase == op.phase
        )
        last = following[0] if scaled else op
        rows = tuple(f"{op.outputs[0]}/{part}" for part in ("factor", "offset"))
        for name in rows:
            buffers[name] = replace(buffers[mean], name=name, role="value")
        attrs = {"epsilon": op.attrs["epsilon"], "has_gamma": scaled, "has_beta": scaled}
        sources = (mean, variance, *(last.inputs[1:] if scaled else ()))
        coefficients = replace(op, operator="affine_coefficients", inputs=sources, outputs=rows, attrs=attrs)
        # NOTE: rows that depend on weights only come first, so that a convolution can take the affine along.
        are_weights = all(buffers[n].role in ("parameter", "state") for n in sources)
        (first if are_weights else result).append(coefficients)
        result.append(replace(op, operator="affine", inputs=(x, *rows), outputs=last.outputs, attrs={}))
        replaced.add(id(last))
    return replace(program, buffers=buffers, operations=(*first, *result))


def fuse_chains(program: Program) -> Program:
    """Join every convolution, dense layer and entrywise operation with the entrywise ones that follow it.

    An operation joins if all that it reads besides results of the group exists before the group runs.
    """
    operations = program.operations
    made_at = {name: i for i, op in enumerate(operations) for name in op.outputs if op.phase != "update"}
    users: dict[str, list[int]] = defaultdict(list)
    for i, op in enumerate(operations):
        for name in set(op.inputs):
            users[name].append(i)
    taken: set[int] = set()
    result: list[Operation] = []
    for i, op in enumerate(operations):
        if i in taken:
            continue
        if not _starts(op, program):
            result.append(op)
            continue
        members = _members(program, i, made_at, users, taken)
        taken.update(members)
        result.append(op if len(members) == 1 else _fuse(program, members, users))
    return replace(program, operations=tuple(result))


def _starts(op: Operation, program: Program) -> bool:
    if op.phase == "update" or any(program.buffers[n].dtype != "float32" for n in op.outputs):
        return False
    return op.operator in ANCHORS or is_supported(op)


def _members(program: Program, start: int, made_at, users, taken) -> list[int]:
    """Indices of the operations that form a group with operation `start`."""
    operations = program.operations
    shape = program.buffers[operations[start].outputs[0]].shape
    members, values = [start], set(operations[start].outputs)
    externals: set[str] = set()
    frontier = sorted({u for n in values for u in users[n]})
    while frontier:
        j = frontier.pop(0)
        op = operations[j]
        if j in taken or j in members or op.phase == "update" or not is_supported(op):
            continue
        outside = {n for n in op.inputs if n not in values}
        fits = (
            all(
                program.buffers[n].shape == shape and program.buffers[n].dtype == "float32"
                for n in op.outputs
            )
            and all(made_at.get(n, -1) < start for n in outside)
            and all(operand_kind(program, n, shape) for n in outside)
            and len(externals | outside) <= MAX_EXTERNALS
        )
        if fits:
            members.append(j)
            values.update(op.outputs)
            externals |= outside
            frontier = sorted({*frontier, *(u for n in op.outputs for u in users[n])})
    return sorted(members)


def _fuse(program: Program, members: list[int], users) -> Operation:
    body = tuple(program.operations[i] for i in members)
    made = [name for op in body for name in op.outputs]
    inside = set(members)
    kept = set(program.outputs.values())
    outputs = tuple(n for n in made if n in kept or any(u not in inside for u in users[n]))
    inputs = tuple(dict.fromkeys(n for op in body for n in op.inputs if n not in made))
    specs = tuple(program.buffers[n].spec for n in outputs)
    layers = dict.fromkeys(op.layer for op in body)
    return Operation(
        "fused",
        inputs,
        outputs,
        {"body": Body(body, inputs, outputs, specs)},
        next(iter(layers)),
        body[0].phase,
    )


def update_early(program: Program) -> Program:
    """Update every weight as soon as nothing reads its old value any more: its gradient need not be kept.

    An update still runs only if the loss is finite, so none comes before the loss. Updates of one weight, and
    what follows them, keep their order.
    """
    operations = program.operations
    loss = program.outputs.get("loss")
    shown = set(program.outputs.values())
    earliest = next((i for i, op in enumerate(operations) if loss in op.outputs), len(operations) - 1)
    after: dict[int, list[Operation]] = defaultdict(list)
    last_touch: dict[str, int] = {}
    for i, op in enumerate(operations):
        if op.phase != "update":
            last_touch.update((name, i) for name in (*op.inputs, *op.outputs))
    for op in operations:
        if op.phase == "update":
            place = max([earliest, *(last_touch.get(n, -1) for n in (*op.inputs, *op.outputs))])
            if shown.intersection(op.outputs):
                place = len(operations) - 1
            after[place].append(op)
            last_touch.update((name, place) for name in op.outputs)
    result = []
    for i, op in enumerate(operations):
        result += [*([op] if op.phase != "update" else []), *after[i]]
    return replace(program, operations=tuple(result))


REWRITES: list[Rewrite] = [
    relu_gradient_from_output,
    gradients_before_pooling,
    *crop_rewrites.REWRITES,
    *batchnorm_rewrites.REWRITES,
    normalize_by_coefficients,
    fuse_chains,
    *pooling_rewrites.REWRITES,
    update_early,
]


def optimise(program: Program) -> Program:
    """All rewrites in their order."""
    for rewrite in REWRITES:
        program = rewrite(program)
    return program
