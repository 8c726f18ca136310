"""Reductions over any axes, alone or at the end of a chain: how the tensor is passed through, in which steps.

Where the first axis is reduced, the images (or shards of the axis) give parts, which are joined in order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain, make_chain
from kernelearn.engine.cpu.kernels.entrywise.places import find_steps, merge_axes
from kernelearn.engine.cpu.kernels.reductions.joined import join_rows
from kernelearn.engine.cpu.kernels.reductions.kinds import KINDS, TYPES, Reduction
from kernelearn.engine.cpu.kernels.reductions.passes import RESULT, WHOLE, Axis, ReducedPass, Target, Walk
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images, image_sizes, per_image
from kernelearn.engine.program import Buffer, Operation

Shape = tuple[int | None, ...]
# Images of at most this many rows are joined without parts of their own.
FEW_ROWS = 4
# A first axis that is reduced is divided into so many parts at most, of so many numbers at least.
SHARDS, SHARD = 32, 8192


def axes_of(op: Operation, shape: Shape) -> tuple[int, ...]:
    """The axes that a reduction of a tensor of this shape reduces."""
    if op.operator == "bias_grad":
        return tuple(range(len(shape) - 1))
    return tuple(sorted(axis % len(shape) for axis in op.attrs["axes"]))


def is_reduction(op: Operation, buffers: Mapping[str, Buffer]) -> bool:
    """Whether there is code for it."""
    if op.operator not in KINDS:
        return False
    source = buffers[op.inputs[0]]
    return bool(source.shape) and source.dtype in TYPES[KINDS[op.operator]]


def rows_of_images(shape: Shape, axes: tuple[int, ...]) -> float:
    """Where images are reduced and the last axes kept: rows of an image that are joined; else infinity."""
    kept = [i for i in range(1, len(shape)) if i not in axes and shape[i] != 1]
    if not has_images(shape) or 0 not in axes or kept != [*range(len(shape) - len(kept), len(shape))]:
        return math.inf
    return math.prod(s for i, s in enumerate(shape) if i in axes and s is not None)


def lower_reduction(plan: Plan, op: Operation) -> bool:
    """A reduction by itself."""
    return is_reduction(op, plan.buffers) and lower_reduced(plan, op, (), (op,), ())


def lower_reduced(
    plan: Plan,
    op: Operation,
    body: Sequence[Operation],
    reductions: Sequence[Operation],
    wanted: Sequence[str],
) -> bool:
    """Reductions, all over the same axes, of what they read or a chain makes.

    Args:
        body: the chain; wanted: its results that are needed besides.
    """
    shape = plan.shape(reductions[0].inputs[0])
    axes = axes_of(reductions[0], shape)
    reads = [r.inputs[0] for r in reductions]
    chain = make_chain(plan, body, (), shape, wanted, spreads=True, also=reads)
    found = None if chain is None else _Layout.of(plan, chain, shape, axes)
    if chain is None or found is None:
        return False
    if not body and len(reductions) == 1 and rows_of_images(shape, axes) <= FEW_ROWS:
        _join_at_once(plan, op, reductions[0], found)
    else:
        _call(plan, op, chain, reductions, found)
    return True


@dataclass(frozen=True)
class _Layout:
    """How a tensor is passed through.

    Attributes:
        shape, axes: of the tensor, and the reduced ones.
        is_joined: whether parts have to be joined: the first axis is reduced, by images or in shards.
    """

    shape: Shape
    axes: tuple[int, ...]
    walk: Walk
    is_joined: bool

    @property
    def images(self) -> bool:
        return has_images(self.shape)

    @property
    def width(self) -> int:
        """Results of a part."""
        return math.prod(s for i, s in enumerate(self.shape) if i not in self.axes and s is not None)

    @property
    def count(self) -> int:
        """Numbers that a result joins, of an image if images are reduced."""
        return math.prod(s for i, s in enumerate(self.shape) if i in self.axes and s is not None)

    @classmethod
    def of(cls, plan: Plan, chain: Chain, shape: Shape, axes: tuple[int, ...]) -> _Layout | None:
        kept = tuple(1 if i in axes else s for i, s in enumerate(shape))
        shapes = {WHOLE: shape, RESULT: kept, **{e.role: plan.shape(e.name) for e in chain.externals}}
        found = {role: find_steps(shape, small) for role, small in shapes.items()}
        steps = {role: taken for role, taken in found.items() if taken is not None}
        if len(steps) < len(found) or None in shape[1:]:
            return None
        if not has_images(shape):
            return cls._fixed(shape, axes, _axes(image_sizes(shape), steps))
        inner = _axes(image_sizes(shape[1:]), {role: taken[1:] for role, taken in steps.items()})
        first = {role: taken[0] for role, taken in steps.items()}
        if 0 in axes:
            first[RESULT] = math.prod(axis.size for axis in inner if not axis.is_reduced)
        return cls(shape, axes, Walk(Axis(0, tuple(first.items())), inner), 0 in axes)

    @classmethod
    def _fixed(cls, shape: Shape, axes: tuple[int, ...], inner: tuple[Axis, ...]) -> _Layout:
        """Without images: an index of the first axis a task, or a shard of it if it is reduced."""
        if not inner[0].is_reduced:
            lead = inner[0] if len(inner) > 1 else None
            return cls(shape, axes, Walk(lead, inner[1:] if lead else inner), False)
        total = math.prod(axis.size for axis in inner)
        shards = min(inner[0].size, SHARDS, max(total // SHARD, 1))
        return cls(shape, axes, Walk(None, inner, shards if shards > 1 else 0), shards > 1)


def _axes(sizes: Sequence[int], steps: dict[str, tuple[int, ...]]) -> tuple[Axis, ...]:
    counts, merged = merge_axes(sizes, steps)
    return tuple(
        Axis(count, tuple((role, taken[i]) for role, taken in merged.items()))
        for i, count in enumerate(counts)
    )


def _join_at_once(plan: Plan, op: Operation, reduction: Operation, found: _Layout) -> None:
    """The rows of all images, without parts of images before."""
    source, target = reduction.inputs[0], reduction.outputs[0]
    how = Reduction(KINDS[reduction.operator], plan.dtype(source))
    join_rows(plan, op, how, source, target, found.count, found.width, found.count)


def _call(plan: Plan, op: Operation, chain: Chain, reductions: Sequence[Operation], found: _Layout) -> None:
    """The pass over memory, and the joining of its parts."""
    targets, writes, later = [], dict(chain.writes), []
    for number, reduction in enumerate(reductions):
        source, target = reduction.inputs[0], reduction.outputs[0]
        how = Reduction(KINDS[reduction.operator], plan.dtype(source))
        divisor = found.count if how.kind == "mean" and not found.is_joined else 0
        targets.append(Target(source, how, f"r{number}", divisor))
        part = target
        if found.is_joined:
            rows = None if found.images else found.walk.shards
            part = plan.scratch(f"{target}/parts", (rows, found.width), plan.dtype(source))
            later.append((how, part, target))
        writes[f"r{number}"] = part
    size = float(per_image(found.shape) * (len(chain.body) + len(reductions)))
    plan.call(
        op,
        ReducedPass(chain, found.walk, tuple(targets)),
        chain.reads,
        writes,
        IMAGES if found.images else Tasks(fixed=_tasks(found.walk)),
        flops=(size, 0.0) if found.images else (0.0, size),
        note=" + ".join(o.operator for o in (*chain.body, *reductions)),
    )
    shards = None if found.images else found.walk.shards
    for how, part, target in later:
        join_rows(plan, op, how, part, target, 1, found.width, found.count, shards)


def _tasks(walk: Walk) -> int:
    if walk.shards:
        return walk.shards
    return walk.lead.size if walk.lead else 1
