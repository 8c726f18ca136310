"""Weights in the order in which the inner loops read them: blocks of a few vectors of output channels.

forward:   packed[group][block][tap][c][lane] = w[tap][c][group * filters + block * lanes + lane]
transposed (for input gradients, whose output channels are c):
           packed[group][block][tap][f][lane] = w[tap][block * lanes + lane][group * filters + f]

The last block of a group may be narrower; lanes without a channel hold zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.plan import Code, Plan, Tasks, identity
from kernelearn.engine.program import Buffer, Operation

# (group, first block of the kind, number of the block from there on, vectors, channels)
Body = Callable[[Index, int, Index, int, int], None]


@dataclass(frozen=True)
class Blocks:
    """Output channels of one group cut into blocks of `vectors` registers; the last may have fewer.

    Attributes:
        channels: output channels of a group.
        width: lanes of a register.
        vectors: registers of a full block.
    """

    channels: int
    width: int
    vectors: int

    @property
    def lanes(self) -> int:
        return self.vectors * self.width

    @property
    def full(self) -> int:
        """Number of full blocks; a block whose last register is partly used is not full."""
        return self.channels // self.lanes

    @property
    def tail_channels(self) -> int:
        return self.channels - self.full * self.lanes

    @property
    def tail_vectors(self) -> int:
        return -(-self.tail_channels // self.width)

    @property
    def count(self) -> int:
        return self.full + (self.tail_channels > 0)

    @property
    def padded(self) -> int:
        """Channels with the empty lanes of the tail."""
        return self.full * self.lanes + self.tail_vectors * self.width

    def kinds(self) -> list[tuple[int, int, int, int]]:
        """(first block, number of blocks, vectors, channels) of the full blocks and of the tail."""
        result = [(0, self.full, self.vectors, self.lanes)] if self.full else []
        if self.tail_channels:
            result.append((self.full, 1, self.tail_vectors, self.tail_channels))
        return result


def packed_weights(
    plan: Plan,
    op: Operation,
    weights: str,
    blocks: Blocks,
    taps: int,
    inner: int,
    groups: int,
    transposed: bool,
) -> str:
    """Buffer with packed weights, made by a call that is added to the plan (once for all users).

    Args:
        inner: channels that the inner loop runs over: a group's inputs forward, its filters transposed.
    """
    if not transposed and groups == 1 and blocks.count == 1 and not blocks.tail_channels:
        return weights  # already in this order
    packed = Buffer("packed", (groups * taps * inner * blocks.padded,), "float32")
    kind = PackedTransposed if transposed else PackedWeights
    tasks = Tasks(fixed=groups * blocks.count)
    return packed_once(plan, op, weights, kind(blocks, taps, inner, groups), packed, tasks, "pack weights")


def packed_once(
    plan: Plan,
    op: Operation,
    weights: str,
    code: Code,
    packed: Buffer,
    tasks: Tasks,
    note: str,
) -> str:
    """The buffer that a packing call writes; the call is added for the first user only.

    Args:
        packed: last part of the buffer's name, shape and type.
    """
    version = f"{plan.root(weights)} {identity(code)} {op.phase == 'update'}"
    if version not in plan.shared:
        target = plan.scratch(f"{weights}/{packed.name}", packed.shape, packed.dtype)
        plan.call(op, code, {"w": weights}, {"packed": target}, tasks, note=note)
        plan.shared[version] = target
    return plan.shared[version]


def block_offset(
    blocks: Blocks, taps: int, inner: int, group: Index | int, first: int, block: Index
) -> Index:
    """Where the weights of a block start: `block` counts from `first`, the first of its kind."""
    start = first * taps * inner * blocks.lanes
    kind_lanes = blocks.lanes if first < blocks.full else blocks.tail_vectors * blocks.width
    before = group * (taps * inner * blocks.padded)
    return before + block * (taps * inner * kind_lanes) + start


def each_block(k: Kernel, blocks: Blocks, groups: int, body: Body) -> None:
    """body(group, first, block, vectors, channels) for the tasks [lo, hi), a task a block."""
    with k.loop(k.lo, k.hi) as task:
        one_block(k, blocks, groups, task, body)


def one_block(k: Kernel, blocks: Blocks, groups: int, unit: Index, body: Body) -> None:
    """body(group, first, block, vectors, channels) for block number `unit`, counted through all groups."""
    group = unit // blocks.count if groups > 1 else k.const(0)
    block = unit % blocks.count if groups > 1 else unit
    for first, count, vectors, channels in blocks.kinds():
        is_kind = k.compare("slt" if first == 0 and count == blocks.full else "sge", block, blocks.full)
        with k.when(is_kind):
            body(group, first, block - first, vectors, channels)


@dataclass(frozen=True)
class PackedWeights:
    """Rows of filters, copied block by block."""

    blocks: Blocks
    taps: int
    inner: int
    groups: int

    def emit(self, k: Kernel) -> None:
        filters = self.groups * self.blocks.channels

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target = block_offset(self.blocks, self.taps, self.inner, group, first, block)
            source = group * self.blocks.channels + (block + first) * self.blocks.lanes
            with k.loop(0, self.taps * self.inner) as row:
                for v in range(vectors):
                    mask = k.mask(channels - v * k.width)
                    value = k.load("w", source + row * filters + v * k.width, mask)
                    k.store(value, "packed", target + row * (vectors * k.width) + v * k.width)

        each_block(k, self.blocks, self.groups, body)


@dataclass(frozen=True)
class PackedTransposed:
    """Squares of weights, transposed in registers."""

    blocks: Blocks
    taps: int
    inner: int
    groups: int

    def emit(self, k: Kernel) -> None:
        filters = self.groups * self.inner
        width = k.width

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target = block_offset(self.blocks, self.taps, self.inner, group, first, block)
            start = (block + first) * (self.blocks.lanes * filters) + group * self.inner
            with k.loop(0, self.taps) as tap:
                source = start + tap * (self.blocks.channels * filters)
                place = target + tap * (self.inner * vectors * width)

                def square(f: Index, lanes: int) -> None:
                    for v in range(vectors):
                        rows = [
                            k.load("w", source + f + c * filters, k.mask(lanes)) if c < channels else k.zero
                            for c in range(v * width, (v + 1) * width)
                        ]
                        for i, column in enumerate(transpose(k, rows)[:lanes]):
                            k.store(column, "packed", place + (f + i) * (vectors * width) + v * width)

                full = self.inner // width * width
                with k.loop(0, full, width) as f:
                    square(f, width)
                if full < self.inner:
                    square(k.const(full), self.inner - full)

        each_block(k, self.blocks, self.groups, body)
