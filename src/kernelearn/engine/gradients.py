"""The backward pass: one walk over the operations in reverse, each giving only its own local gradient rule.

Only buffers that depend on a trainable parameter get a gradient: a frozen layer costs no gradient work of its
own, and the walk stops below the lowest trainable layer.
"""

from kernelearn.engine.operators.table import OPERATORS, Context
from kernelearn.engine.program import Buffer, Operation, ProgramBuilder
from kernelearn.errors import KernelearnError


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
    forward = list(builder.operations)
    dependent = _dependents(forward, wanted)
    builder.phase = "backward"
    parts: dict[str, list[Buffer]] = {}
    if loss.name in dependent:
        parts[loss.name] = [builder.add("fill", shape=(), value=1.0, dtype=loss.dtype)]
    for op in reversed(forward):
        if op.outputs and parts.get(op.outputs[0]):
            _step_back(builder, op, parts, dependent)
    grads = {name: _total(builder, name, parts) for name in sorted(wanted) if parts.get(name)}
    builder.phase, builder.layer = "forward", ""
    return grads


def _dependents(operations: list[Operation], wanted: set[str]) -> set[str]:
    """Names of all buffers that depend on a wanted one."""
    dependent = set(wanted)
    for op in operations:
        if dependent.intersection(op.inputs):
            dependent.update(op.outputs)
    return dependent


def _step_back(
    builder: ProgramBuilder, op: Operation, parts: dict[str, list[Buffer]], dependent: set[str]
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
    grad = _total(builder, op.outputs[0], parts)
    inputs = tuple(builder.buffers[n] for n in op.inputs)
    outputs = tuple(builder.buffers[n] for n in op.outputs)
    results = rule(Context(builder, inputs, outputs, dict(op.attrs), grad, needs))
    for name, need, result in zip(op.inputs, needs, results):
        if need and result is not None:
            parts.setdefault(name, []).append(result)


def _total(builder: ProgramBuilder, name: str, parts: dict[str, list[Buffer]]) -> Buffer:
    """The sum of all gradients that reached a buffer, in the order they came."""
    first, *rest = parts[name]
    for part in rest:
        first = builder.add("add", first, part)
    parts[name] = [first]
    builder.gradients[name] = first.name
    return first
