"""Sums of shards: partial results of the same shape, added in a fixed order.

A sum over the batch is cut into a fixed number of shards, so that it does not depend on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK, emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation


@contextmanager
def sum_of_shards(plan: Plan, op: Operation, shards: int, size: int) -> Iterator[str]:
    """The buffer for partial results (shards, size), whose sum is the result: pairwise, in a fixed order.

    The call that writes it is added inside. A single shard is the result itself.
    """
    if shards == 1:
        yield op.outputs[0]
        return
    parts = plan.scratch(f"{op.outputs[0]}/shards", (shards, size))
    yield parts
    plan.call(
        op,
        SumOfShards(shards, size),
        {"parts": parts},
        {"total": op.outputs[0]},
        Tasks(fixed=-(-size // BLOCK)),
        flops=(0.0, float(size * shards)),
        note="sum of shards",
    )


@dataclass(frozen=True)
class SumOfShards:
    """Pairwise."""

    shards: int
    size: int

    def emit(self, k: Kernel) -> None:
        def body(at: Index, mask: Value | None) -> None:
            values = [k.load("parts", at + s * self.size, mask) for s in range(self.shards)]
            while len(values) > 1:
                pairs = [a + b for a, b in zip(values[::2], values[1::2])]
                values = pairs + ([values[-1]] if len(values) % 2 else [])
            k.store(values[0], "total", at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, self.size), body)
