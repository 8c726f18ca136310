"""From a plan to memory and jobs, for one number of images: lifetimes, addresses, how many images at once.

Buffers share memory if they are never needed at the same time; a buffer lives from the
first group that touches it to the last.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.cpu.gathering import Group, Stretch, items
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.runtime import COUNTERS, GROUP, JOB, LOCAL, MAX_PARTS, PLACE
from kernelearn.engine.cpu.places import ALIGNMENT, aligned
from kernelearn.engine.cpu.plan import BYTES, Fallback, Plan

# Number of a command of a group, of an argument of it, and the buffer that it is.
LocalPlace = tuple[int, int, str]
# Addresses (start, end).
Range = tuple[int, int]
# Up to so many tasks a thread are taken one by one: each may be long, and threads shall end together.
FEW_TASKS = 16
# At most this many images at once in a group.
MAX_CHUNK = 16
# Bytes of images that a thread works on at once where several calls follow each other: what a second cache
# holds. Where it does not hold them, so many times what is read again for each portion. An image that is too
# large for it alone still finds there what its last call made, which several images do not; so these are more
# only where they share more weights than an image has numbers.
CHUNK_BYTES, WEIGHT_SHARE, LARGE_WEIGHT_SHARE = 2**20, 4, 1


def are_few(images: int, count: int) -> bool:
    """Whether so many threads would lack images, so that these are split further."""
    return count > 1 and images < 2 * count


def touched(item: Group | Fallback, plan: Plan) -> tuple[set[str], set[str]]:
    """Roots of the buffers that are read and written."""
    if isinstance(item, Fallback):
        return {plan.root(n) for n in item.operation.inputs}, {plan.root(n) for n in item.operation.outputs}
    return item.reads, item.writes


def in_memory(item: Group | Fallback, plan: Plan) -> set[str]:
    """Roots of the buffers that are read or written, without those that a group has for itself alone."""
    reads, writes = touched(item, plan)
    return (reads | writes) - (item.local if isinstance(item, Group) else set())


def lifetimes(steps: Sequence[Group | Fallback], plan: Plan, kept: set[str]) -> dict[str, tuple[int, int]]:
    """Computed buffer -> (first, last) position; `kept` ones live to the end."""
    spans: dict[str, tuple[int, int]] = {}
    for time, item in enumerate(steps):
        for name in in_memory(item, plan):
            if plan.buffers[name].role == "value":
                spans[name] = (spans.get(name, (time, time))[0], time)
    return {n: (first, len(steps) if n in kept else last) for n, (first, last) in spans.items()}


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
    # (start, end, first, last) of those that have a place, by start.
    taken: list[tuple[int, int, int, int]] = []
    for name in sorted(spans, key=lambda n: (-sizes[n], n)):
        (first, last), size = spans[name], sizes[name]
        offset = 0
        for start, end, begin, finish in taken:
            if begin > last or first > finish:
                continue
            if offset + size <= start:
                break
            if end > offset:
                offset = end
        offsets[name] = offset
        insort(taken, (offset, offset + size, first, last))
        total = max(total, offset + size)
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
    kept = {plan.root(name) for name in plan.program.outputs.values()}
    spans = {n: span for n, span in lifetimes(items(parts), plan, kept).items() if n not in apart}
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
        # What a group has for itself alone is another memory for each worker, so its commands are others.
        copies = [threads if group.local else 1 for group in groups]
        self.calls = [call for group, count in zip(groups, copies) for call in group.calls * count]
        self.groups = np.zeros((len(groups), GROUP["words"]), np.int64)
        self.commands = np.zeros((len(self.calls), 2), np.int64)
        self.counters = np.zeros(len(groups) * COUNTERS["words"] + 8, np.int64)
        self.tables: list[np.ndarray] = []
        first = 0
        for row, group, count in zip(self.groups, groups, copies):
            tasks = group.calls[0].tasks.count(images)
            row[GROUP["tasks"]] = tasks
            row[GROUP["chunk"]] = chunk_size(tasks, threads, group)
            row[GROUP["first"]], row[GROUP["count"]] = first, len(group.calls)
            first += len(group.calls) * count
        for number, call in enumerate(self.calls):
            table = np.zeros(len(call.roles), np.int64)
            self.tables.append(table)
            self.commands[number] = functions[id(call)].address, table.ctypes.data
        self.description = np.zeros(JOB["words"], np.int64)
        self.threads = threads
        self._local: dict[int, np.ndarray] = {}

    def has_own_memory(self, number: int, sizes: Mapping[str, int], places: Sequence[LocalPlace]) -> None:
        """Let each worker have memory of its own for some buffers of a group, used again within the group.

        Args:
            number: of the group; sizes: buffer -> bytes of an image.
            places: where kernels look for the addresses of these buffers.
        """
        row, spans = self.groups[number], dict[str, tuple[int, int]]()
        for command, _, name in sorted(places):
            spans[name] = spans.get(name, (command, command))[0], command
        chunk = int(row[GROUP["chunk"]])
        rooms = {n: -(-(size * chunk + ALIGNMENT) // ALIGNMENT) * ALIGNMENT for n, size in sizes.items()}
        offsets, total = place(spans, rooms)
        words = np.zeros(LOCAL["places"] + PLACE["words"] * len(places), np.int64)
        words[LOCAL["workers"]], words[LOCAL["count"]] = self.threads, len(places)
        words[LOCAL["stride"]] = total
        table = words[LOCAL["places"] :].reshape(len(places), PLACE["words"])
        for entry, (command, argument, name) in zip(table, places):
            entry[:] = command, argument, offsets[name], sizes[name]
        row[GROUP["local"]] = words.ctypes.data
        self._local[number] = words

    def own_addresses(self, number: int, lo: int, worker: int = 0) -> list[tuple[int, int, int]]:
        """(command, argument, address) of a group's own buffers before a chunk that begins with task `lo`.

        What `runtime` works out before each chunk; for tests.
        """
        words = self._local.get(number)
        if words is None:
            return []
        start = int(words[LOCAL["memory"]] + worker * words[LOCAL["stride"]])
        places = words[LOCAL["places"] :].reshape(-1, PLACE["words"])
        return [(int(c), int(a), start + int(offset - lo * image)) for c, a, offset, image in places]

    def _take_memory(self) -> None:
        """One memory for all groups: a worker does one of them at a time."""
        stride = max((int(words[LOCAL["stride"]]) for words in self._local.values()), default=0)
        self.memory = aligned(stride * self.threads)
        for words in self._local.values():
            words[LOCAL["memory"]], words[LOCAL["stride"]] = self.memory.ctypes.data, stride

    def seal(self, yield_address: int) -> None:
        """Finish the description."""
        self._take_memory()
        counters = -(-self.counters.ctypes.data // ALIGNMENT) * ALIGNMENT
        words = {
            "groups": self.groups.ctypes.data,
            "commands": self.commands.ctypes.data,
            "counters": counters,
            "group_count": len(self.groups),
            "yield": yield_address,
            "parts": min(self.threads, MAX_PARTS),
        }
        for name, word in words.items():
            self.description[JOB[name]] = word
        self.address = int(self.description.ctypes.data)


def chunk_size(tasks: int, threads: int, group: Group) -> int:
    """How many tasks a thread takes at once: few enough to balance, and to stay in the cache."""
    share = -(-tasks // (4 * threads)) if threads > 1 else tasks
    if not group.calls[0].by_image:
        return max(1, share) if threads == 1 or tasks > FEW_TASKS * threads else 1
    # NOTE: dense layers work on eight rows at a time.
    most = max(1, min(max(share, 8), -(-tasks // threads), MAX_CHUNK))
    if not group.image_bytes:
        return most
    fitting = CHUNK_BYTES // group.image_bytes
    if fitting * group.image_bytes >= 2 * group.other_bytes and fitting:
        return min(most, fitting)
    # Weights go through the cache with each portion, and the portion does not stay there beside them.
    times = WEIGHT_SHARE if fitting else LARGE_WEIGHT_SHARE
    return max(1, min(most, -(-times * group.other_bytes // group.image_bytes)))


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
