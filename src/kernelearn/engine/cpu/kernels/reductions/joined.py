"""Parts of a reduction, one row for every image or shard, joined in their order: sums in float64.

So results do not depend on who did which part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.elements import load, store
from kernelearn.engine.cpu.kernels.reductions.kinds import Reduction
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Lanes, block_count, task_blocks
from kernelearn.engine.cpu.language.reduce import fold_rows
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation

# Vectors per task.
JOINED = 2


def join_rows(
    plan: Plan,
    op: Operation,
    reduction: Reduction,
    source: str,
    target: str,
    rows: int,
    width: int,
    divisor: int,
    count: int | None = None,
) -> None:
    """A call that reduces `rows` rows of `width` numbers for each image, or for each of `count` shards.

    Args:
        divisor: of a mean: numbers of an image that a result joins, or of all shards.
    """
    is_mean = reduction.kind == "mean"
    plan.call(
        op,
        Joined(width, rows, reduction, divisor if is_mean else 0, count is None),
        {"x": source, "n": "#n" if count is None else f"#{count}"},
        {"y": target},
        Tasks(fixed=block_count(plan.target.width, width, JOINED)),
        flops=(float(width * rows), 0.0),
        note=f"{reduction.kind} over {'images' if count is None else 'shards'}",
    )


@dataclass(frozen=True)
class Joined:
    """A task has a block of columns.

    Attributes:
        divisor: of a mean, zero for none; by_count: whether it is one for each of the rows.
    """

    width: int
    rows: int
    reduction: Reduction
    divisor: int
    by_count: bool

    def emit(self, k: Kernel) -> None:
        count, reduction = k.scalar("n"), self.reduction
        is_wide = reduction.kind in ("sum", "mean") and reduction.dtype == "float32"
        start = k.zero_of(k.vector.of("double")) if is_wide else reduction.start(k)
        for first, tile in task_blocks(k, self.width, JOINED):

            def step(row: Index, vector: Lanes, parts: Sequence[Value], first: Index = first) -> list[Value]:
                column, mask = vector
                value = load(k, "x", row * self.width + first + column, mask, reduction.dtype)
                part = value.widened() if is_wide else reduction.taken(value)
                return [reduction.join(parts[0], part)]

            totals = fold_rows(k, count * self.rows, [start], tile, step, reduction.join, unroll=2)
            for (column, mask), (total,) in zip(tile, totals):
                store(k, self._result(k, total, count), "y", first + column, mask)

    def _result(self, k: Kernel, total: Value, count: Index) -> Value:
        if self.divisor:
            divisor = count * self.divisor if self.by_count else k.const(self.divisor)
            total = total / divisor.to_float("double").splat()
        return total.narrowed() if total.type.element == "double" else self.reduction.given(total)
