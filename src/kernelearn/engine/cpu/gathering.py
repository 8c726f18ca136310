"""Which calls a thread does one after the other on a few images, while these are in its cache: groups.

A call that works image by image joins the last group that touches images of its own, be that some groups
earlier: the sums of a normalisation follow what makes their tensor, not the kernel gradients that stand
between. Whatever a call needs besides (weights in another order, coefficients) goes before that group, if
it can. Else the order of the program stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kernelearn.engine.cpu.plan import BYTES, IMAGES, Call, Fallback, Plan, has_images, is_number

# Groups before the last one that a call may pass.
MOST_PASSED = 40
# Numbers of an image that are worth finding in the cache.
WORTHWHILE = 512
# Bytes of a dense layer's weights that a cache holds beside the images of a convolution.
SMALL_WEIGHTS = 2**17


@dataclass
class Group:
    """Calls over the same tasks.

    Attributes:
        reads, writes: roots of the buffers that they touch.
        image_bytes: what an image takes, where that limits how many are worked on at once; else 0.
        other_bytes: what is read for each image or few images again.
        local: what it makes for itself alone, which need not be in memory for all images at once.
    """

    calls: list[Call] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    image_bytes: int = 0
    other_bytes: int = 0
    local: frozenset[str] = frozenset()

    def append(self, call: Call, plan: Plan) -> None:
        """One more call, done after the others."""
        reads, writes = roots(call, plan)
        self.calls.append(call)
        self.reads |= reads
        self.writes |= writes

    def measure(self, plan: Plan) -> None:
        """Find `image_bytes` and `other_bytes`."""
        together = {call.together for call in self.calls if not _is_small_dense(call, plan)}
        if not self.calls[0].by_image or max(together, default=0) > 1:
            return
        if len(self.calls) == 1 and together <= {0}:
            return
        names = self.reads | self.writes
        held = {name for name in names if has_images(plan.shape(name))}
        self.image_bytes = sum(_image_bytes(plan, name) for name in held)
        self.other_bytes = sum(_image_bytes(plan, name) for name in names - held)

    def accepts(self, call: Call, plan: Plan) -> bool:
        """Whether a call can join: all image by image, and what one writes and another touches has images."""
        if not self.calls or not call.by_image or not self.calls[0].by_image:
            return False
        if call.tasks != self.calls[0].tasks or call.guarded != self.calls[0].guarded:
            return False
        reads, writes = roots(call, plan)
        shared = (self.writes & (reads | writes)) | (self.reads & writes)
        return all(has_images(plan.shape(name)) for name in shared)

    def is_needed_by(self, reads: set[str], writes: set[str]) -> bool:
        """Whether it has to be done before something that touches these buffers."""
        return not self.writes.isdisjoint(reads | writes) or not self.reads.isdisjoint(writes)

    def cached_for(self, call: Call, plan: Plan) -> int:
        """Numbers of an image that a call reads and finds in the cache if it joins; 0 if it cannot."""
        first = self.calls[0]
        if first.operation.phase != call.operation.phase or any(c.together > 1 for c in self.calls):
            return 0
        if not self.accepts(call, plan):
            return 0
        reads, _ = roots(call, plan)
        shared = reads & (self.reads | self.writes)
        return sum(plan.numbers(name, 1) for name in shared if has_images(plan.shape(name)))


@dataclass
class Stretch:
    """Groups that the native loop works through without a break."""

    groups: list[Group] = field(default_factory=list)

    def add(self, call: Call, plan: Plan) -> None:
        """Append a call to an earlier group, to the last one, or as a group of its own."""
        if call.by_image and call.tasks == IMAGES and call.together <= 1 and self._join_earlier(call, plan):
            return
        if not self.groups or not self.groups[-1].accepts(call, plan):
            self.groups.append(Group())
        self.groups[-1].append(call, plan)

    def _join_earlier(self, call: Call, plan: Plan) -> bool:
        """Add a call to the group that has most of what it reads in the cache, the first of these."""
        reads, writes = roots(call, plan)
        best, found, before = WORTHWHILE, -1, list[Group]()
        needed: list[Group] = []
        needed_reads: set[str] = set()
        needed_writes: set[str] = set()
        for place in reversed(range(max(len(self.groups) - 1 - MOST_PASSED, 0), len(self.groups))):
            group = self.groups[place]
            is_needed = group.is_needed_by(needed_reads, needed_writes)
            if not is_needed and (cached := group.cached_for(call, plan)) >= best:
                best, found, before = cached, place, list(needed)
            if is_needed or group.is_needed_by(reads, writes):
                if not _can_move(group, call):
                    break
                needed.append(group)
                needed_reads |= group.reads
                needed_writes |= group.writes
        if found < 0:
            return False
        self.groups[found].append(call, plan)
        moved = {id(group) for group in before}
        self.groups[found:] = [
            *reversed(before),
            *(group for group in self.groups[found:] if id(group) not in moved),
        ]
        return True


def _can_move(group: Group, call: Call) -> bool:
    """Whether a group is a small one that may be done earlier for the sake of a call."""
    return not any(c.by_image or c.guarded or c.operation.phase != call.operation.phase for c in group.calls)


def alone(call: Call, plan: Plan) -> Group:
    """A group of one call."""
    group = Group()
    group.append(call, plan)
    group.measure(plan)
    return group


def stretches(steps: Sequence[Call | Fallback], plan: Plan) -> list[Stretch | Fallback]:
    """Stretches of native calls, interrupted by operations of the reference engine."""
    result: list[Stretch | Fallback] = []
    for step in steps:
        if isinstance(step, Fallback):
            result.append(step)
            continue
        if not result or isinstance(result[-1], Fallback):
            result.append(Stretch())
        last = result[-1]
        assert isinstance(last, Stretch)
        last.add(step, plan)
    for stretch in only_native(result):
        for group in stretch.groups:
            group.measure(plan)
    return result


def keep_local(parts: Sequence[Stretch | Fallback], plan: Plan) -> None:
    """Find what groups make for themselves alone, among all the parts of a run."""
    outside = needed_outside(parts, plan)
    groups = [group for stretch in only_native(parts) for group in stretch.groups]
    users = Counter(name for group in groups for name in group.reads | group.writes)
    for group in groups:
        if group.image_bytes:
            group.local = frozenset(
                name
                for name in group.writes
                if users[name] == 1
                and name not in outside
                and name not in plan.halved
                and plan.buffers[name].role == "value"
                and has_images(plan.shape(name))
            )


def items(parts: Sequence[Stretch | Fallback]) -> list[Group | Fallback]:
    """The groups, and what the reference engine does, in order."""
    return [item for part in parts for item in (part.groups if isinstance(part, Stretch) else [part])]


def needed_outside(parts: Sequence[Stretch | Fallback], plan: Plan) -> set[str]:
    """Roots of buffers that others than groups need: outputs, and what the reference engine touches."""
    outside = set(map(plan.root, plan.program.outputs.values()))
    for part in parts:
        if isinstance(part, Fallback):
            outside.update(map(plan.root, (*part.operation.inputs, *part.operation.outputs)))
    return outside


def only_native(parts: Sequence[Stretch | Fallback]) -> list[Stretch]:
    """The stretches, without what the reference engine does."""
    return [part for part in parts if isinstance(part, Stretch)]


def roots(call: Call, plan: Plan) -> tuple[set[str], set[str]]:
    """Roots of the buffers that a call reads, and that it writes."""
    reads = {plan.root(name) for name in call.reads.values() if not is_number(name)}
    return reads, {plan.root(name) for name in call.writes.values()}


def _is_small_dense(call: Call, plan: Plan) -> bool:
    """Whether rows of a call are images, but its weights so few that each image may read them again."""
    if call.together <= 1:
        return False
    reads, writes = roots(call, plan)
    weights = sum(_image_bytes(plan, name) for name in reads | writes if not has_images(plan.shape(name)))
    return weights <= SMALL_WEIGHTS


def _image_bytes(plan: Plan, name: str) -> int:
    """Bytes for one image, or of all of a buffer that has no images."""
    return plan.numbers(name, 1) * BYTES[plan.dtype(name)]
