"""Kernels of images for a fixed number of images, such as those of two batches joined: the same code, with
the number in place of the count of the run.

In a program the first size of images is None, and kernels count the images of the run. Code of the user's own
may join batches or spread images over the first axis; then that size is a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.plan import Call, Fallback, Plan, Tasks
from kernelearn.engine.program import Operation


@dataclass(frozen=True)
class _Images:
    """Which operands of an operator have images on their first axis.

    Attributes:
        inputs: numbers of the inputs; None for all that have the size.
        has_outputs: whether outputs have them too.
    """

    inputs: tuple[int, ...] | None = (0,)
    has_outputs: bool = True


_FIRST, _ALL, _PRODUCT = _Images(), _Images(None), _Images((0, 1), False)

_WINDOWS = ("max_pool", "max_pool_grad", "max_pool_take", "average_pool", "average_pool_grad")
_SIZES = ("upsample", "upsample_grad", "resize", "resize_grad", "dropout", "gaussian_noise")
_CHANGES = ("flip", "crop", "crop_grad", "contrast", "contrast_grad", "warp", "warp_grad")

OPERANDS: dict[str, _Images] = {
    **dict.fromkeys(("conv", "conv_grad_input", "conv_transpose", "dense", "dense_grad_input"), _FIRST),
    **dict.fromkeys(("conv_grad_kernel", "dense_grad_kernel", "batch_norm_sums"), _PRODUCT),
    **dict.fromkeys((*_WINDOWS, *_CHANGES), _ALL),
    **dict.fromkeys((*_SIZES, "normalize"), _FIRST),
    "normalize_grad": _Images((0, 1)),
    "batch_statistics": _Images((0,), False),
    "activity_penalty": _Images((0,), False),
    "activity_penalty_grad": _Images((1,)),
}


def fixed_images(plan: Plan, op: Operation) -> int | None:
    """The number of images of an operation on a fixed number of them; None for any other operation."""
    first = _parts(op)[0]
    if first.operator not in OPERANDS:
        return None
    known = OPERANDS[first.operator].inputs or (0,)
    shape = plan.shape(first.inputs[known[0]])
    return shape[0] if shape else None


@contextmanager
def as_images(plan: Plan, op: Operation, count: int) -> Iterator[None]:
    """Rules that are asked inside see images; the calls that they add are for this number of them."""
    before, steps, prologue = dict(plan.buffers), len(plan.steps), len(plan.prologue)
    for name in _names(plan, op, count):
        plan.buffers[name] = replace(plan.buffers[name], shape=(None, *plan.buffers[name].shape[1:]))
    try:
        yield
    finally:
        for name in [name for name in plan.buffers if name not in before]:
            _fix_scratch(plan, name, count)
        plan.buffers.update(before)
    plan.steps[steps:] = [_fixed(step, count) for step in plan.steps[steps:]]
    assert all(call.tasks.per_image == 0 for call in plan.prologue[prologue:])


def _parts(op: Operation) -> list[Operation]:
    return list(op.attrs["body"].operations) if op.operator == "fused" else [op]


def _names(plan: Plan, op: Operation, count: int) -> list[str]:
    """The buffers of an operation, and of the chain behind it, that have the images on their first axis."""
    first, *chain = _parts(op)
    operands = OPERANDS[first.operator]
    chosen = [first.inputs[i] for i in operands.inputs] if operands.inputs else list(first.inputs)
    if operands.has_outputs:
        chosen += _outputs(first)
    else:
        chain = []  # the update of weights
    rank = len(plan.shape(first.outputs[0]))
    behind = {name for part in chain for name in (*part.inputs, *part.outputs)} - set(first.inputs)
    chosen += [name for name in sorted(behind) if len(plan.shape(name)) == rank]
    return [name for name in dict.fromkeys(chosen) if plan.shape(name)[:1] == (count,)]


def _outputs(op: Operation) -> tuple[str, ...]:
    """Those that have images: not statistics over all of them."""
    is_over_images = op.operator.startswith("normalize") and 0 in op.attrs["axes"]
    return op.outputs[:1] if is_over_images else op.outputs


def _fix_scratch(plan: Plan, name: str, count: int) -> None:
    buffer = plan.buffers[name]
    if buffer.shape[:1] == (None,):
        size = -(-count // 2) if name in plan.halved else count
        plan.buffers[name] = replace(buffer, shape=(size, *buffer.shape[1:]))
        plan.halved.discard(name)


def _fixed(step: Call | Fallback, count: int) -> Call | Fallback:
    return step if isinstance(step, Fallback) else _fixed_call(step, count)


def _fixed_call(call: Call, count: int) -> Call:
    """The call with the number in place of the count of the run."""
    return replace(
        call,
        reads=_numbered(call.reads, count),
        tasks=Tasks(fixed=call.tasks.count(count)),
        by_image=False,
        flops=(0.0, call.flops[0] * count + call.flops[1]),
        alternative=None if call.alternative is None else _fixed_call(call.alternative, count),
    )


def _numbered(reads: Mapping[str, str], count: int) -> dict[str, str]:
    return {role: f"#{count}" if name == "#n" else name for role, name in reads.items()}
