"""Maps that the backward pass computes again where it needs them, instead of keeping them all the while.

    before  forward   a = relu(x * s + o), y = conv(a)
            backward  da = conv_grad_input(dy), masked by a; dw = conv_grad_kernel(a, dy); sums(da, x)
    after   backward  b = relu(x * s + o); da = ..., masked by b; dw = conv_grad_kernel(b, dy); sums(da, x)

A call entry by entry is done again in a group that has its large inputs in the cache anyway. Then a and b are
each made for one group alone, and never go to memory: see `gathering.keep_local`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kernelearn.engine.cpu.gathering import Group, Stretch, needed_outside, only_native, roots
from kernelearn.engine.cpu.kernels.entrywise.chain import ChainPass
from kernelearn.engine.cpu.plan import Call, Fallback, Plan, has_images
from kernelearn.engine.program import Operation

# What takes less than reading a number from memory.
LIGHT = {
    "affine",
    "add",
    "subtract",
    "multiply",
    "bias_add",
    "standardize",
    "scale",
    "maximum",
    "minimum",
    "fill",
}
KINDS = {"relu", "relu6", "leaky_relu", "linear"}
# Numbers of an image that are worth it.
WORTHWHILE = 4096


def compute_again(parts: Sequence[Stretch | Fallback], plan: Plan) -> None:
    """Give groups of the backward pass light calls of the forward pass, where all who need a result take one.

    Args:
        parts: all that a run does.
    """
    outside = needed_outside(parts, plan)
    groups = [group for stretch in only_native(parts) for group in stretch.groups]
    readers: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        for name in group.reads:
            readers[name].append(group)
    for group in groups:
        for call in group.calls:
            light = _light_result(call, plan)
            if light is None or light in outside:
                continue
            others = [other for other in readers[light] if other is not group]
            if others and all(_can_take(other, group, call, plan) for other in others):
                for other in others:
                    _take(other, call, light, plan)


def _light_result(call: Call, plan: Plan) -> str | None:
    """The map that a call of the forward pass makes entry by entry with little arithmetic, else None."""
    if call.operation.phase != "forward" or not call.by_image or not isinstance(call.code, ChainPass):
        return None
    reads, writes = roots(call, plan)
    if len(writes) != 1 or not all(map(_is_light, call.code.chain.body)):
        return None
    (name,) = writes
    is_large = has_images(plan.shape(name)) and plan.numbers(name, 1) >= WORTHWHILE
    # NOTE: what has no images is made in this run: a weight would be another one after its update.
    is_made = all(plan.buffers[n].role == "value" for n in (name, *reads))
    return name if is_large and is_made else None


def _is_light(op: Operation) -> bool:
    return op.operator in LIGHT or (op.operator == "activation" and op.attrs["kind"] in KINDS)


def _can_take(other: Group, group: Group, call: Call, plan: Plan) -> bool:
    """Whether a group can do a call again, and reads no more from memory for that."""
    if other.calls[0].operation.phase != "backward" or not other.image_bytes or not group.image_bytes:
        return False
    if other.calls[0].tasks != call.tasks or other.calls[0].guarded:
        return False
    reads, _ = roots(call, plan)
    large = {name for name in reads if has_images(plan.shape(name))}
    return len(large) == 1 or large <= other.reads | other.writes


def _take(group: Group, call: Call, name: str, plan: Plan) -> None:
    """Do a call again in a group, before those that read its result."""
    again = plan.scratch(f"{name}/again", plan.shape(name), plan.dtype(name))
    users = [i for i, other in enumerate(group.calls) if name in roots(other, plan)[0]]
    for place in users:
        user = group.calls[place]
        group.calls[place] = replace(user, reads=_renamed(user.reads.items(), name, again, plan))
    operation = replace(call.operation, phase=group.calls[0].operation.phase)
    copy = replace(call, operation=operation, writes=dict.fromkeys(call.writes, again), alternative=None)
    group.calls.insert(users[0], copy)
    group.reads -= {name}
    group.reads |= {*roots(copy, plan)[0], again}
    group.writes.add(again)


def _renamed(reads: Iterable[tuple[str, str]], old: str, new: str, plan: Plan) -> dict[str, str]:
    return {role: new if name in plan.buffers and plan.root(name) == old else name for role, name in reads}
