"""Chains that end in a max pooling of 2 x 2: the full map stays in registers and is never written.

Whoever applies one has the four values of a window at once: a convolution whose tiles are as high and as wide
as windows, or a pass over memory window by window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain, External, make_chain
from kernelearn.engine.cpu.language.functions import take_larger
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan
from kernelearn.engine.program import Operation

# Pixels of a window, in the order in which the first of equals wins.
WINDOW = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Pooled:
    """A chain on each pixel, then the largest of a window.

    Attributes:
        chain: what is done with each pixel; it stores nothing.
        source: the value that is pooled.
        height, width, channels: of the full map.
        stores: (role, buffer) of the maxima and, if somebody reads them, of the winners' numbers.
    """

    chain: Chain
    source: str
    height: int
    width: int
    channels: int
    stores: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> str:
        """As that of the chain."""
        sizes = f"{self.height}x{self.width}x{self.channels}"
        return f"{self.chain.identity} pooled {sizes} {len(self.stores)}"

    @property
    def externals(self) -> tuple[External, ...]:
        return self.chain.externals

    @property
    def placed(self) -> list[External]:
        return self.chain.placed

    @property
    def reads(self) -> dict[str, str]:
        return self.chain.reads

    @property
    def writes(self) -> dict[str, str]:
        return dict(self.stores)

    def apply(
        self,
        k: Kernel,
        given: Sequence[Sequence[Value]],
        image: Index,
        row: Index,
        column: Index,
        channel: Index | int,
        mask: Value | None,
    ) -> None:
        """Emit the end of one window for one vector of channels.

        Args:
            given: values of `chain.given` for each pixel of the window.
            image: its number; row, column: of the window.
        """
        whole = k.vector.of("i32")
        best, winner = k.constant(-math.inf), k.constant(0, whole)
        corner = ((image * self.height + row * 2) * self.width + column * 2) * self.channels + channel
        for number, ((i, j), values) in enumerate(zip(WINDOW, given, strict=True)):
            at = corner + (i * self.width + j) * self.channels
            value = self.chain.values(k, values, at, channel, mask)[self.source]
            best, winner = take_larger(best, winner, value, k.constant(number, whole))
        area = (self.height // 2) * (self.width // 2)
        at = (image * area + row * (self.width // 2) + column) * self.channels + channel
        for (role, _), value in zip(self.stores, (best, winner)):
            k.store(value, role, at, mask)


def make_pooled(
    plan: Plan, body: Sequence[Operation], given: Sequence[str], wanted: Sequence[str]
) -> Pooled | None:
    """The chain and pooling of a body whose last operation is a max pooling; None if there is no code for it.

    Args:
        given: buffers whose values the surrounding kernel has in registers.
        wanted: buffers that are needed afterwards, all of them results of the pooling.
    """
    pool = body[-1]
    source = pool.inputs[0]
    shape = plan.shape(source)
    chain = make_chain(plan, body[:-1], given, shape, ())
    _, height, width, channels = shape
    if chain is None or not plan.is_float(pool.outputs[0]):
        return None
    assert height is not None and width is not None and channels is not None
    assert set(wanted) <= set(pool.outputs)
    names = pool.outputs if pool.outputs[1] in wanted else pool.outputs[:1]
    stores = tuple((f"o{i}", name) for i, name in enumerate(names))
    return Pooled(chain, source, height, width, channels, stores)


def lower_pooled(plan: Plan, op: Operation, body: Sequence[Operation]) -> bool:
    """A chain and pooling over memory."""
    pooled = make_pooled(plan, body, (), op.outputs)
    if pooled is None:
        return False
    numbers = pooled.height * pooled.width * pooled.channels
    plan.call(
        op,
        PooledPass(pooled),
        pooled.reads,
        pooled.writes,
        IMAGES,
        flops=(float(numbers * len(body)), 0.0),
        note=" + ".join(o.operator for o in body),
    )
    return True


@dataclass(frozen=True)
class PooledPass:
    """A chain and pooling over memory, window by window."""

    pooled: Pooled

    def emit(self, k: Kernel) -> None:
        rows, columns = self.pooled.height // 2, self.pooled.width // 2
        with k.loop(k.lo, k.hi) as image, k.loop(0, rows) as row, k.loop(0, columns) as column:
            lanes(
                k,
                self.pooled.channels,
                lambda c, mask: self.pooled.apply(k, ((),) * 4, image, row, column, c, mask),
            )
