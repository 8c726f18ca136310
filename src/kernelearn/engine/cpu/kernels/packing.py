"""Weights in the order in which the inner loops read them: blocks of a few vectors of output channels.

forward:   packed[group][block][row][c][tap][lane] = w[row][tap][c][group * filters + block * lanes + lane]
transposed (for input gradients, whose output channels are c):
           packed[group][block][row][f][tap][lane] = w[row][tap][block * lanes + lane][group * filters + f]

Where taps of a row lie side by side, a loop over the channels that uses all of them reads one stream; else a
row is a single tap. The last block of a group may be narrower; lanes without a channel hold zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.narrow import on_vectors
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import tiles, vectors_of
from kernelearn.engine.cpu.language.shuffles import gather, numbers, transpose
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


@dataclass(frozen=True)
class Order:
    """What packed weights hold, and in which order.

    Attributes:
        blocks: the output channels of a group.
        rows, taps: of the kernel: rows, and taps of a row that lie side by side.
        inner: channels that the inner loop runs over: a group's inputs forward, its filters transposed.
        groups: of channels.
    """

    blocks: Blocks
    rows: int
    taps: int
    inner: int
    groups: int

    @property
    def numbers(self) -> int:
        """Of a vector register's lanes, and zeros, all in all."""
        return self.groups * self.rows * self.taps * self.inner * self.blocks.padded

    @property
    def tasks(self) -> Tasks:
        """A block each."""
        return Tasks(fixed=self.groups * self.blocks.count)

    def start(self, group: Index, first: int, block: Index) -> Index:
        """Where a block begins; see `block_offset`."""
        return block_offset(self.blocks, self.rows * self.taps, self.inner, group, first, block)

    def line(self, row: Index, c: Index, tap: Index) -> Index:
        """Number of the line, of a block's lanes, that a tap of a channel has in its block."""
        return (row * self.inner + c) * self.taps + tap


def packed_weights(
    plan: Plan, op: Operation, weights: str, order: Order, transposed: bool, few: int = 0
) -> str:
    """Buffer with packed weights, made by a call that is added to the plan (once for all users).

    Args:
        few: output channels of a group, where a block holds several groups; 0 else.
    """
    blocks, is_sorted = order.blocks, order.taps == 1 or order.inner == 1
    if not transposed and is_sorted and order.groups == 1 and blocks.count == 1 and not blocks.tail_channels:
        return weights  # already in this order
    kind = PackedTransposed(order) if transposed else PackedWeights(order)
    code = on_vectors(PackedGroups(order, few) if transposed and few else kind, blocks.width, plan.target)
    packed = Buffer("packed", (order.numbers,), "float32")
    return packed_once(plan, op, weights, code, packed, order.tasks, "pack weights")


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
    """Lines of filters, copied block by block."""

    order: Order

    def emit(self, k: Kernel) -> None:
        o, blocks = self.order, self.order.blocks
        filters = o.groups * blocks.channels

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target, lanes = o.start(group, first, block), vectors * k.width
            column = group * blocks.channels + (block + first) * blocks.lanes
            with k.loop(0, o.rows) as row, k.loop(0, o.taps) as tap, k.loop(0, o.inner) as c:
                source = column + ((row * o.taps + tap) * o.inner + c) * filters
                place = target + o.line(row, c, tap) * lanes
                for v in range(vectors):
                    value = k.load("w", source + v * k.width, k.mask(channels - v * k.width))
                    k.store(value, "packed", place + v * k.width)

        each_block(k, blocks, o.groups, body)


@dataclass(frozen=True)
class PackedTransposed:
    """Squares of weights, transposed in registers."""

    order: Order

    def emit(self, k: Kernel) -> None:
        o, blocks, width = self.order, self.order.blocks, k.width
        filters = o.groups * o.inner

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target, lanes = o.start(group, first, block), vectors * width
            start = (block + first) * (blocks.lanes * filters) + group * o.inner
            with k.loop(0, o.rows) as row, k.loop(0, o.taps) as tap:
                source = start + (row * o.taps + tap) * (blocks.channels * filters)

                def square(f: Index, count: int) -> None:
                    for v, present in vectors_of(k, vectors, channels):
                        corner = source + f + v * (width * filters)
                        rows = [
                            k.load("w", corner + c * filters, k.mask(count)) if c < present else k.zero
                            for c in range(width)
                        ]
                        for i, column in enumerate(transpose(k, rows)[:count]):
                            k.store(column, "packed", target + o.line(row, f + i, tap) * lanes + v * width)

                for f, count in tiles(k, o.inner):
                    square(f, count)

        each_block(k, blocks, o.groups, body)


@dataclass(frozen=True)
class PackedGroups:
    """As `PackedTransposed`, where a vector holds the channels of several groups, `few` of each."""

    order: Order
    few: int

    def emit(self, k: Kernel) -> None:
        o, blocks, width = self.order, self.order.blocks, k.width
        filters = blocks.channels // self.few * o.inner
        places = numbers(k, (i % self.few * filters + i // self.few * o.inner for i in range(width)))

        def body(group: Index, first: int, block: Index, vectors: int, channels: int) -> None:
            target, lanes = o.start(group, first, block), vectors * width
            start = (block + first) * (blocks.lanes // self.few * o.inner)
            with k.loop(0, o.rows) as row, k.loop(0, o.taps) as tap, k.loop(0, o.inner) as f:
                source = start + (row * o.taps + tap) * (self.few * filters) + f
                place = target + o.line(row, f, tap) * lanes
                for v in range(vectors):
                    mask = k.mask(channels - v * width)
                    found = gather(k, source + v * (width // self.few * o.inner), places, mask, "w")
                    k.store(found, "packed", place + v * width)

        each_block(k, blocks, o.groups, body)
