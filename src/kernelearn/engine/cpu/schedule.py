"""From a plan to memory and jobs, for one number of images: groups, lifetimes, addresses.

Consecutive calls that work image by image form a group: a thread does all of them on a few images while these
are in its cache. Buffers share memory if they are never needed at the same time; a buffer lives from the
first group that touches it to the last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.runtime import COUNTERS, GROUP, JOB
from kernelearn.engine.cpu.places import ALIGNMENT
from kernelearn.engine.cpu.plan import BYTES, Call, Fallback, Plan, has_images, is_number

# Addresses (start, end).
Range = tuple[int, int]
# At most this many images at once in a group.
MAX_CHUNK = 16
# Bytes of images with large products of their own that a thread works on at once: what a second cache holds.
CHUNK_BYTES = 2**20


@dataclass
class Group:
    """Calls over the same tasks.

    Attributes:
        image_bytes: what an image takes, where that limits how many are worked on at once; else 0.
    """

    calls: list[Call] = field(default_factory=list)
    image_bytes: int = 0

    def measure(self, plan: Plan) -> None:
        """Find `image_bytes`."""
        if {call.together for call in self.calls} >= {1} and not any(c.together > 1 for c in self.calls):
            names = {plan.root(n) for call in self.calls for n in call.roles.values() if not is_number(n)}
            held = [name for name in names if has_images(plan.shape(name))]
            self.image_bytes = sum(plan.numbers(name, 1) * BYTES[plan.dtype(name)] for name in held)

    def accepts(self, call: Call, plan: Plan) -> bool:
        """Whether a call can join: all image by image, and what it reads of this group has images."""
        if not self.calls or not call.by_image or not self.calls[0].by_image:
            return False
        if call.tasks != self.calls[0].tasks or call.guarded != self.calls[0].guarded:
            return False
        made = {plan.root(n) for c in self.calls for n in c.writes.values()}
        shared = made & {plan.root(n) for n in call.roles.values() if not is_number(n)}
        return all(has_images(plan.shape(name)) for name in shared)


@dataclass
class Stretch:
    """Groups that the native loop works through without a break."""

    groups: list[Group] = field(default_factory=list)

    def add(self, call: Call, plan: Plan) -> None:
        """Append a call, to the last group if that accepts it."""
        if self.groups and self.groups[-1].accepts(call, plan):
            self.groups[-1].calls.append(call)
        else:
            self.groups.append(Group([call]))


def stretches(
    steps: Sequence[Call | Fallback], plan: Plan, behind: Collection[int] = ()
) -> list[Stretch | Fallback]:
    """Steps in order: stretches of native calls, interrupted by operations of the reference engine.

    Args:
        behind: numbers of steps behind which a stretch ends, too.
    """
    result: list[Stretch | Fallback] = []
    for number, step in enumerate(steps):
        if isinstance(step, Fallback):
            result.append(step)
            continue
        if not result or isinstance(result[-1], Fallback) or number - 1 in behind:
            result.append(Stretch())
        last = result[-1]
        assert isinstance(last, Stretch)
        last.add(step, plan)
    for stretch in only_native(result):
        for group in stretch.groups:
            group.measure(plan)
    return result


def last_writers(
    steps: Sequence[Call | Fallback], plan: Plan, groups: Sequence[Collection[str]]
) -> list[int]:
    """For each group of buffers the number of the step behind which it and all groups before it are there."""
    written: dict[str, int] = {}
    for number, step in enumerate(steps):
        names = step.writes.values() if isinstance(step, Call) else step.operation.outputs
        written.update((plan.root(name), number) for name in names)
    latest = [max((written.get(plan.root(name), 0) for name in group), default=0) for group in groups]
    return [max(latest[: number + 1]) for number in range(len(latest))]


def part_behind(parts: Sequence[Stretch | Fallback], step: int) -> int:
    """Number of the stretch, or operation of the reference engine, that ends with a step."""
    count = 0
    for number, part in enumerate(parts):
        count += sum(len(group.calls) for group in part.groups) if isinstance(part, Stretch) else 1
        if count > step:
            return number
    return len(parts) - 1


def only_native(parts: Sequence[Stretch | Fallback]) -> list[Stretch]:
    """The stretches, without what the reference engine does."""
    return [part for part in parts if isinstance(part, Stretch)]


def are_few(images: int, count: int) -> bool:
    """Whether so many threads would lack images, so that these are split further."""
    return count > 1 and images < 2 * count


def touched(item: Group | Fallback, plan: Plan) -> tuple[set[str], set[str]]:
    """Roots of the buffers that are read and written."""
    if isinstance(item, Fallback):
        return {plan.root(n) for n in item.operation.inputs}, {plan.root(n) for n in item.operation.outputs}
    reads = {plan.root(n) for c in item.calls for n in c.reads.values() if not is_number(n)}
    return reads, {plan.root(n) for c in item.calls for n in c.writes.values()}


def lifetimes(items: Sequence[Group | Fallback], plan: Plan, kept: set[str]) -> dict[str, tuple[int, int]]:
    """Computed buffer -> (first, last) position; `kept` ones live to the end."""
    spans: dict[str, tuple[int, int]] = {}
    for time, item in enumerate(items):
        reads, writes = touched(item, plan)
        for name in reads | writes:
            if plan.buffers[name].role == "value":
                spans[name] = (spans.get(name, (time, time))[0], time)
    return {n: (first, len(items) if n in kept else last) for n, (first, last) in spans.items()}


def byte_size(plan: Plan, name: str, images: int) -> int:
    """Bytes of a buffer, and its vector-wide reserve at the end."""
    size = plan.numbers(name, images) * BYTES[plan.dtype(name)]
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(spans: dict[str, tuple[int, int]], sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Offsets such that buffers that live at the same time do not overlap; total bytes.

    Largest first, each at the lowest offset that is free during its life.
    """
    offsets: dict[str, int] = {}
    total = 0
    for name in sorted(spans, key=lambda n: (-sizes[n], n)):
        first, last = spans[name]
        taken = sorted(
            (offsets[other], offsets[other] + sizes[other])
            for other in offsets
            if spans[other][0] <= last and first <= spans[other][1]
        )
        offset = 0
        for start, end in taken:
            if offset + sizes[name] <= start:
                break
            offset = max(offset, end)
        offsets[name] = offset
        total = max(total, offset + sizes[name])
    return offsets, total


@dataclass(frozen=True)
class Layout:
    """Where computed values lie in the arena, for one number of images.

    Attributes:
        offsets, sizes: root buffer -> bytes from the start, and of its own.
        nbytes: of the arena that it needs.
    """

    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    nbytes: int


def layout(
    parts: Sequence[Stretch | Fallback], plan: Plan, images: int, apart: Collection[str] = ()
) -> Layout:
    """Lay out what is computed for so many images.

    Args:
        apart: root buffers that lie somewhere else.
    """
    items = [item for part in parts for item in (part.groups if isinstance(part, Stretch) else [part])]
    kept = {plan.root(name) for name in plan.program.outputs.values()}
    spans = {n: span for n, span in lifetimes(items, plan, kept).items() if n not in apart}
    sizes = {name: byte_size(plan, name, images) for name in spans}
    offsets, total = place(spans, sizes)
    return Layout(offsets, sizes, total)


class Job:
    """The native description of a stretch: what `runtime` works through.

    Attributes:
        address: of the description, once it is sealed.
    """

    def __init__(
        self, groups: Sequence[Group], functions: Mapping[int, Function], images: int, threads: int
    ) -> None:
        self.calls = [call for group in groups for call in group.calls]
        self.groups = np.zeros((len(groups), GROUP["words"]), np.int64)
        self.commands = np.zeros((len(self.calls), 2), np.int64)
        self.counters = np.zeros(max(len(groups), 1) * COUNTERS["words"] + 8, np.int64)
        self.tables: list[np.ndarray] = []
        first = 0
        for row, group in zip(self.groups, groups):
            tasks = group.calls[0].tasks.count(images)
            row[GROUP["tasks"]] = tasks
            row[GROUP["chunk"]] = chunk_size(tasks, threads, group.calls[0].by_image, group.image_bytes)
            row[GROUP["first"]], row[GROUP["count"]] = first, len(group.calls)
            first += len(group.calls)
        for number, call in enumerate(self.calls):
            table = np.zeros(len(call.roles), np.int64)
            self.tables.append(table)
            self.commands[number] = functions[id(call)].address, table.ctypes.data
        self.description = np.zeros(JOB["words"], np.int64)

    def seal(self, yield_address: int) -> None:
        """Finish the description."""
        counters = -(-self.counters.ctypes.data // ALIGNMENT) * ALIGNMENT
        words = {
            "groups": self.groups.ctypes.data,
            "commands": self.commands.ctypes.data,
            "counters": counters,
            "group_count": len(self.groups),
            "yield": yield_address,
        }
        for name, word in words.items():
            self.description[JOB[name]] = word
        self.address = int(self.description.ctypes.data)


def chunk_size(tasks: int, threads: int, by_image: bool, image_bytes: int = 0) -> int:
    """How many tasks a thread takes at once: few enough to balance, and to stay in the cache."""
    if image_bytes:
        return max(1, min(-(-tasks // (2 * threads)), MAX_CHUNK, CHUNK_BYTES // image_bytes))
    share = -(-tasks // (4 * threads)) if threads > 1 else tasks
    if by_image:
        # NOTE: dense layers work on eight rows at a time.
        return max(1, min(max(share, 8), -(-tasks // threads), MAX_CHUNK))
    return max(1, share)


def waits(accesses: list[tuple[list[Range], list[Range]]]) -> list[tuple[int, int]]:
    """For every group the earlier groups that have to be done first, as a range.

    Args:
        accesses: per group the memory ranges (start, end) that it reads, and that it writes.
    """
    result = []
    done = 0
    for number, (reads, writes) in enumerate(accesses):
        needed = done
        for earlier in range(number - 1, done - 1, -1):
            old_reads, old_writes = accesses[earlier]
            if _overlap(reads + writes, old_writes) or _overlap(writes, old_reads):
                needed = earlier + 1
                break
        result.append((done, needed))
        done = needed
    return result


def _overlap(first: list[Range], second: list[Range]) -> bool:
    return any(a < d and c < b for a, b in first for c, d in second)
