"""The backward pass: one walk over the operations in reverse, each giving only its own local gradient rule.

Only buffers that depend on a trainable parameter get a gradient: a frozen layer costs no gradient work of its
own, and the walk stops below the lowest trainable layer.
"""

import re
from collections.abc import Collection, Sequence

from kernelearn.engine.operators.table import OPERATORS, Context
from kernelearn.engine.program import Buffer, Operation, ProgramBuilder
from kernelearn.errors import KernelearnError

_NUMBER = re.compile(r"\d+")


def add_gradients(builder: ProgramBuilder, loss: Buffer, also: tuple[Buffer, ...] = ()) -> dict[str, Buffer]:
    """Append the backward pass of the scalar `loss`.

    Args:
        builder: holds the forward operations; receives the backward ones.
        loss: shape ().
        also: buffers besides the trainable parameters whose gradient is wanted (for example the images).
    Returns: name of parameter or buffer -> its gradient's buffer. Also entered into `builder.gradients`, for
        every buffer on the way.
    Raises: KernelearnError if a gradient is needed through an operator that has none.
    """
    wanted = builder.trainable | {b.name for b in also}
    builder.phase = "backward"
    grads = _walk(builder, [(loss, None)], wanted, builder.gradients)
    builder.phase, builder.layer = "forward", ""
    return grads


def add_gradients_of_many(
    builder: ProgramBuilder, seeds: Sequence[tuple[Buffer, Buffer]], wanted: Collection[str]
) -> dict[str, Buffer]:
    """Append the backward pass of several values whose gradients are known: given, in the end, by others.

    Args:
        seeds: (value, dL/d(value), of its shape).
        wanted: names of buffers.
    Returns: name of a wanted buffer -> its gradient's buffer; buffers that no value depends on are left out.
    Raises: KernelearnError if a gradient is needed through an operator that has none.
    """
    builder.phase = "backward"
    try:
        return _walk(builder, seeds, wanted, builder.gradients)
    finally:
        builder.phase, builder.layer = "forward", ""


def gradients_of(
    builder: ProgramBuilder,
    value: Buffer,
    wanted: Collection[str],
    seed: Buffer | None = None,
    gradients: dict[str, str] | None = None,
) -> dict[str, Buffer]:
    """Append the gradient of `value` as operations like any other: they belong to the phase that is being
    built, can be computed with, and can be differentiated again.

    Args:
        wanted: names of buffers.
        seed: dL/d(value), of its shape; None for a scalar, whose gradient begins with 1.
        gradients: takes the name of the gradient of every buffer on the way.
    Returns: name of a wanted buffer -> its gradient's buffer; buffers that `value` does not depend on are
        left out.
    Raises: KernelearnError if a gradient is needed through an operator that has none.
    """
    layer = builder.layer
    try:
        return _walk(builder, [(value, seed)], wanted, {} if gradients is None else gradients)
    finally:
        builder.layer = layer


def _walk(
    builder: ProgramBuilder,
    seeds: Sequence[tuple[Buffer, Buffer | None]],
    wanted: Collection[str],
    found: dict[str, str],
) -> dict[str, Buffer]:
    """The gradients of wanted buffers; `found` takes the names of all gradients on the way."""
    forward = [op for op in builder.operations if op.phase != "update"]
    dependent = _dependents(forward, wanted)
    parts: dict[str, list[Buffer]] = {}
    for value, seed in seeds:
        if value.name in dependent:
            one = seed or builder.add("fill", shape=(), value=1.0, dtype=value.dtype)
            parts.setdefault(value.name, []).append(one)
    for op in reversed(forward):
        if any(parts.get(name) for name in op.outputs):
            _step_back(builder, op, parts, dependent, found)
    return {n: _total(builder, n, parts, found) for n in sorted(wanted, key=by_number) if parts.get(n)}


def by_number(name: str) -> list[tuple[str, int]]:
    """Sorts names by their numbers: conv2d_9 before conv2d_10, as conv2d_1 before conv2d_2.

    Else the order of gradients, in which norms are added, would depend on how many layers were made before:
    another process of one training may have made more.
    """
    texts, numbers = _NUMBER.split(name), _NUMBER.findall(name)
    return list(zip(texts, [*map(int, numbers), -1]))


def _dependents(operations: list[Operation], wanted: Collection[str]) -> set[str]:
    """Names of all buffers through which a gradient can reach a wanted one."""
    dependent = set(wanted)
    for op in operations:
        if dependent.intersection(op.inputs):
            dependent.update(op.outputs[: OPERATORS[op.operator].carrying])
    return dependent


def _step_back(
    builder: ProgramBuilder,
    op: Operation,
    parts: dict[str, list[Buffer]],
    dependent: set[str],
    found: dict[str, str],
) -> None:
    """Add the gradients of one operation's inputs to `parts`."""
    builder.layer = op.layer
    rule = OPERATORS[op.operator].gradient
    needs = tuple(name in dependent for name in op.inputs)
    if not any(needs):
        return
    if rule is None:
        raise KernelearnError(
            f"Operator {op.operator!r} of layer {op.layer!r} has no gradient, but one is needed below it."
        )
    grads = tuple(_total(builder, n, parts, found) if parts.get(n) else None for n in op.outputs)
    inputs = tuple(builder.buffers[n] for n in op.inputs)
    outputs = tuple(builder.buffers[n] for n in op.outputs)
    results = rule(Context(builder, inputs, outputs, dict(op.attrs), grads[0], needs, grads))
    for name, need, result in zip(op.inputs, needs, results):
        if need and result is not None:
            parts.setdefault(name, []).append(result)


def _total(
    builder: ProgramBuilder, name: str, parts: dict[str, list[Buffer]], found: dict[str, str]
) -> Buffer:
    """The sum of all gradients that reached a buffer, in the order they came."""
    first, *rest = parts[name]
    for part in rest:
        first = builder.add("add", first, part)
    parts[name] = [first]
    found[name] = first.name
    return first
