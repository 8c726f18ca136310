"""Sums over whole tensors, of absolute values and of squares: what norms and penalties are made of.

A sum over a tensor is taken block by block in float64, and the blocks are added in order: so it does not
depend on who did which block. Kernels take the size of the tensor as a number; one serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.reduce import WideSum
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, per_image
from kernelearn.engine.program import Operation

# Numbers per task.
BLOCK = 16384
# Sums that go on at the same time, so that an addition need not wait for the one before.
CHAINS = 4


def blocks(size: int) -> int:
    return max(-(-size // BLOCK), 1)


def emit_blocks(k: Kernel, body: Callable[[Index, Value | None], None]) -> None:
    """body(offset, mask) over the numbers of the kernel's blocks; `size` of them in all."""
    end = k.minimum(k.hi * BLOCK, k.scalar("size"))
    emit_flat(k, k.lo * BLOCK, end, body)


def wide_terms(x: Value, l1: float, l2: float) -> Value:
    """l1 |x| + l2 x^2 as a vector of float64."""
    wide = x.widened()
    result = wide * wide if l2 else x.kernel.zero_of(wide.type)
    if l2 not in (0.0, 1.0):
        result = result * l2
    if l1:
        size = fn.absolute(x).widened()
        result = result + size * l1
    return result


def emit_sum(k: Kernel, role: str, lo: Index, hi: Index, l1: float, l2: float) -> Value:
    """The sum of l1 |x| + l2 x^2 over a range, a float64."""
    totals = [WideSum(k, vectors=True) for _ in range(CHAINS)]
    for total in totals:
        total.reset()
    turn = iter(range(10**9))

    def one(at: Index, mask: Value | None) -> None:
        # NOTE: masked lanes hold 0, whose term is 0.
        total = totals[next(turn) % CHAINS]
        total.add_lanes(wide_terms(k.load(role, at, mask), l1, l2))

    emit_flat(k, lo, hi, one)
    first, *rest = [total.total() for total in totals]
    for other in rest:
        first = first + other
    return first


def add_sums(plan: Plan, op: Operation, name: str, l1: float = 0.0, l2: float = 1.0) -> tuple[str, int]:
    """A call that sums l1 |x| + l2 x^2 over every block: the buffer of these sums, and their number."""
    size = per_image(plan.shape(name))
    count = blocks(size)
    sums = plan.scratch("sums", (count,), "float64")

    plan.call(
        op,
        BlockSums(l1, l2),
        {"x": name, "size": f"#{size}"},
        {"sums": sums},
        Tasks(fixed=count),
    )
    return sums, count


@dataclass(frozen=True)
class BlockSums:
    """The sum of l1 |x| + l2 x^2 of every block."""

    l1: float
    l2: float

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as block:
            end = k.minimum((block + 1) * BLOCK, k.scalar("size"))
            total = emit_sum(k, "x", block * BLOCK, end, self.l1, self.l2)
            k.store_one(total, "sums", block, "double")


def total_of(k: Kernel, role: str, count: Index) -> Value:
    """Float64 numbers added in order."""
    total = WideSum(k)
    total.reset()
    with k.loop(0, count) as number:
        total.add(k.load_one(role, number, "double"))
    return total.total()
