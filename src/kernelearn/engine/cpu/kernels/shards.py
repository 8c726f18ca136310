"""Sums over the batch in parts, added in a fixed order: so they do not depend on the number of threads.

The parts are a fixed number of shards of the batch; or single images, where the sums are so small beside what
is summed that it pays to do it while an image lies in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK, Lanes, block_count, emit_flat, task_blocks
from kernelearn.engine.cpu.language.reduce import fold_rows
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images
from kernelearn.engine.program import Operation

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
    code: SumOfShards | SumOfImages = SumOfShards(parts.shards) if parts.shards else SumOfImages(size)
    tasks = -(-size // BLOCK) if parts.shards else block_count(plan.target.width, size, TILE)
    plan.call(
        op,
        code,
        {"parts": sums, "size": f"#{size}"} if parts.shards else {"parts": sums, "n": "#n"},
        {"total": op.outputs[0]},
        Tasks(fixed=tasks),
        flops=(0.0, float(size * parts.shards)) if parts.shards else (float(size), 0.0),
        note="sum of shards" if parts.shards else "sum of images",
    )


@dataclass(frozen=True)
class SumOfImages:
    """One after another, in float64."""

    size: int

    def emit(self, k: Kernel) -> None:
        count, wide = k.scalar("n"), k.zero_of(k.vector.of("double"))
        for first, tile in task_blocks(k, self.size, TILE):

            def step(image: Index, vector: Lanes, sums: Sequence[Value], first: Index = first) -> list[Value]:
                c, mask = vector
                return [sums[0] + k.load("parts", image * self.size + first + c, mask).widened()]

            for (c, mask), (total,) in zip(tile, fold_rows(k, count, [wide], tile, step, unroll=1)):
                k.store(total.narrowed(), "total", first + c, mask)


@dataclass(frozen=True)
class SumOfShards:
    """Pairwise."""

    shards: int

    def emit(self, k: Kernel) -> None:
        size = k.scalar("size")

        def body(at: Index, mask: Value | None) -> None:
            values = [k.load("parts", at + size * s, mask) for s in range(self.shards)]
            while len(values) > 1:
                pairs = [a + b for a, b in zip(values[::2], values[1::2])]
                values = pairs + ([values[-1]] if len(values) % 2 else [])
            k.store(values[0], "total", at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, size), body)
