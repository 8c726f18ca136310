"""Sums over the batch in parts, added in a fixed order: so they do not depend on the number of threads.

The parts are a fixed number of shards of the batch; or single images, where the sums are so small beside what
is summed that it pays to do it while an image lies in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK, Lanes, block_count, emit_flat
from kernelearn.engine.cpu.language.reduce import fold_rows
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images
from kernelearn.engine.program import Operation

# (value, offset, mask): writes a vector of the result.
Put = Callable[[Value, Index, Value | None], None]

# What is summed of an image is at least so many times as large as the sums, where images are the parts.
IMAGE_SHARE = 3
# Vectors of sums that a task adds up over all images.
TILE = 4


@dataclass(frozen=True)
class Parts:
    """How the work is divided.

    Attributes:
        shards: of the batch; 0 if the parts are images.
        units: pieces of the sums, each with all images of a part.
        are_tasks: whether units of an image are tasks; a shard's always are.
    """

    shards: int
    units: int
    are_tasks: bool = True

    @property
    def tasks(self) -> Tasks:
        """Of a kernel that goes through them by `each`."""
        if self.shards:
            return Tasks(fixed=self.shards * self.units)
        return Tasks(per_image=self.units) if self.are_tasks else IMAGES

    @property
    def finer(self) -> Parts:
        """The same in more tasks."""
        return replace(self, are_tasks=True)

    @property
    def note(self) -> str:
        return f"{self.shards} shards" if self.shards else "image by image"

    @contextmanager
    def each(self, k: Kernel, images: Index) -> Iterator[tuple[Index, Index, Index, Index]]:
        """(number of the part, its first image, the one behind its last, number of the unit)."""
        if not self.shards and not self.are_tasks:
            with k.loop(k.lo, k.hi) as image, k.loop(0, self.units) as unit:
                yield image, image, image + 1, unit
            return
        with k.loop(k.lo, k.hi) as task:
            part, unit = task // self.units, task % self.units
            if self.shards:
                yield part, (images * part) // self.shards, (images * (part + 1)) // self.shards, unit
            else:
                yield part, part, part + 1, unit


def divided(plan: Plan, op: Operation, shards: int, units: int, size: int) -> Parts:
    """Parts of a kernel gradient of so many numbers: images if that is worthwhile, else so many shards."""
    numbers = sum(plan.numbers(name, 1) for name in op.inputs[:2])
    is_small = has_images(plan.shape(op.inputs[0])) and size * IMAGE_SHARE <= numbers
    return Parts(0 if is_small else shards, units, not is_small)


@contextmanager
def sum_of_parts(plan: Plan, op: Operation, parts: Parts, size: int) -> Iterator[str]:
    """The buffer for partial results (parts, size), whose sum is the result.

    The call that writes it is added inside. A single shard is the result itself.
    """
    if parts.shards == 1:
        yield op.outputs[0]
        return
    sums = plan.scratch(f"{op.outputs[0]}/parts", (parts.shards or None, size))
    yield sums
    code: SumOfShards | SumOfImages = SumOfShards(parts.shards) if parts.shards else SumOfImages()
    tasks = -(-size // BLOCK) if parts.shards else block_count(plan.target.width, size, TILE)
    plan.call(
        op,
        code,
        {"parts": sums, "size": f"#{size}"} | ({} if parts.shards else {"n": "#n"}),
        {"total": op.outputs[0]},
        Tasks(fixed=tasks),
        flops=(0.0, float(size * parts.shards)) if parts.shards else (float(size), 0.0),
        note="sum of shards" if parts.shards else "sum of images",
    )


def adder(k: Kernel, target: str) -> Put:
    """What adds a shard's share of a value to a sum over shards: (value, offset, mask) -> None.

    The arguments `share` and `keeps` say how much, and whether there is something to add to: memory that
    nobody has written may hold anything.
    """
    share = k.broadcast("share")
    is_kept = k.mask_below(Index(k, k.load_one("keeps", 0, "i64")) * k.width)

    def add(value: Value, at: Index, mask: Value | None) -> None:
        before = k.load(target, at, is_kept if mask is None else is_kept & mask)
        k.store(before + value * share, target, at, mask)

    return add


def putter(k: Kernel, target: str, adds_share: bool) -> Put:
    """What writes a value, or adds a share of it."""
    if adds_share:
        return adder(k, target)
    return lambda value, at, mask: k.store(value, target, at, mask)


@dataclass(frozen=True)
class SumOfImages:
    """One after another, in float64; `adds_share`: see `adder`."""

    adds_share: bool = False

    def emit(self, k: Kernel) -> None:
        put, size, wide = putter(k, "total", self.adds_share), k.scalar("size"), k.width * TILE
        with k.loop(k.lo, k.hi) as task:
            first, rest = task * wide, size - task * wide
            with k.when(k.compare("sge", rest, wide)):
                self._add(k, put, size, first, [(c, None) for c in range(0, wide, k.width)])
            # The last task may have fewer vectors.
            with k.loop(0, k.either(k.compare("slt", rest, wide), rest, k.const(0)), k.width) as c:
                self._add(k, put, size, first + c, [(0, k.mask_below(rest - c))])

    @staticmethod
    def _add(k: Kernel, put: Put, size: Index, first: Index, tile: list[Lanes]) -> None:
        def step(image: Index, vector: Lanes, sums: Sequence[Value]) -> list[Value]:
            c, mask = vector
            return [sums[0] + k.load("parts", image * size + first + c, mask).widened()]

        start = k.zero_of(k.vector.of("double"))
        for (c, mask), (total,) in zip(tile, fold_rows(k, k.scalar("n"), [start], tile, step, unroll=1)):
            put(total.narrowed(), first + c, mask)


@dataclass(frozen=True)
class SumOfShards:
    """Pairwise; `adds_share`: see `adder`."""

    shards: int
    adds_share: bool = False

    def emit(self, k: Kernel) -> None:
        put, size = putter(k, "total", self.adds_share), k.scalar("size")

        def body(at: Index, mask: Value | None) -> None:
            values = [k.load("parts", at + size * s, mask) for s in range(self.shards)]
            while len(values) > 1:
                pairs = [a + b for a, b in zip(values[::2], values[1::2])]
                values = pairs + ([values[-1]] if len(values) % 2 else [])
            put(values[0], at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, size), body)
