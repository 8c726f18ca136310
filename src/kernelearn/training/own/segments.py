"""From the operations of a step of one's own to the programs that are run one after another.

A program does its updates at its end. So what reads a weight behind its update goes into the next program; a
value that a later program reads leaves the one that makes it; and a weight that a later program wants as it
was before its update is copied in time. Most steps are one program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kernelearn.engine.program import PHASES, Buffer, Operation, Program, prune
from kernelearn.training.own.builder import StepBuilder, base_name, version_of

LOSS = "loss"
_CROSSING = "kept:"


@dataclass(frozen=True)
class Segment:
    """One of the programs.

    Attributes:
        program: what it does.
        takes: name of an input -> label under which an earlier program gave it.
        uses: numbers of the updates by optimisers that it does.
    """

    program: Program
    takes: Mapping[str, str]
    uses: tuple[int, ...]


def segments_of(builder: StepBuilder) -> list[Segment]:
    """The programs of a step; `builder.outputs` says what the whole gives back."""
    cut = _Cut(builder)
    return [cut.segment(number) for number in range(cut.count)]


class _Cut:
    """Which operation goes into which program."""

    def __init__(self, builder: StepBuilder) -> None:
        self.builder = builder
        self.operations = _needed(builder)
        self.weights = {
            name for name, buffer in builder.buffers.items() if buffer.role in ("parameter", "state")
        }
        self.place: dict[int, int] = {}
        self.made_at: dict[str, int] = {}
        self.changed_at: dict[tuple[str, int], int] = {}
        self._as_early_as_possible()
        self._as_late_as_possible()
        self.count = 1 + max(self.place.values(), default=0)
        self._copy_old_versions()

    # --- placing

    def _as_early_as_possible(self) -> None:
        not_before: dict[str, int] = {}
        for together in _groups(self.operations, self.builder):
            place = max(self._earliest(op, not_before) for op in together)
            for op in together:
                self._put(op, place)
                if op.phase != "update":
                    for name in self._late_reads(op):
                        not_before[base_name(name)] = max(not_before.get(base_name(name), 0), place)

    def _earliest(self, op: Operation, not_before: Mapping[str, int]) -> int:
        places = [self.made_at[name] for name in op.inputs if name in self.made_at]
        if op.phase == "update":
            return max([0, *places, *(not_before.get(name, 0) for name in op.outputs)])
        behind = [self.changed_at[base_name(name), version_of(name)] + 1 for name in self._late_reads(op)]
        return max([0, *places, *behind])

    def _late_reads(self, op: Operation) -> list[str]:
        """The weights that an operation reads as an update has left them."""
        return [name for name in op.inputs if name in self.weights and version_of(name)]

    def _put(self, op: Operation, place: int) -> None:
        self.place[id(op)] = place
        if op.phase != "update":
            self.made_at.update((name, place) for name in op.outputs)
            return
        for name in op.outputs:
            if name not in self.weights:
                self.made_at[name] = place
                continue
            number = 1 + sum(key == name for key, _ in self.changed_at)
            self.changed_at[name, number] = place

    def _as_late_as_possible(self) -> None:
        """What only a later program reads is made there: less has to be kept."""
        readers: dict[str, int] = {}
        for at, use in enumerate(self.builder.groups.uses):
            if use.loss:  # looked at before its update
                readers[use.loss] = min(readers.get(use.loss, self._at(at)), self._at(at))
        kept = set(self.builder.outputs.values())
        for op in reversed(self.operations):
            if op.phase != "update" and not kept.intersection(op.outputs):
                wanted = min((readers[name] for name in op.outputs if name in readers), default=0)
                limits = [self._last_place(name) for name in op.inputs if name in self.weights]
                place = max(self.place[id(op)], min([wanted, *limits]))
                self.place[id(op)] = place
                self.made_at.update((name, place) for name in op.outputs)
            for name in op.inputs:
                readers[name] = min(readers.get(name, self.place[id(op)]), self.place[id(op)])

    def _last_place(self, name: str) -> int:
        """The last program that sees this version of a weight."""
        return self.changed_at.get((base_name(name), version_of(name) + 1), 1_000_000)

    # --- old versions

    def _copy_old_versions(self) -> None:
        """Copy a weight that is wanted as it was before an update in an earlier program."""
        copies: dict[str, str] = {}
        changed: list[Operation] = []
        for op in self.operations:
            late = [] if op.phase == "update" else [n for n in op.inputs if self._is_gone(n, op)]
            if not late:
                changed.append(op)
                continue
            for name in late:
                if name not in copies:
                    copies[name] = self._copy(name, changed)
            moved = replace(op, inputs=tuple(copies.get(name, name) for name in op.inputs))
            self.place[id(moved)] = self.place[id(op)]
            changed.append(moved)
        self.operations = changed

    def _is_gone(self, name: str, op: Operation) -> bool:
        return name in self.weights and self.place[id(op)] > self._last_place(name)

    def _copy(self, name: str, operations: list[Operation]) -> str:
        """Add a copy of a weight to the last program that sees it; its name."""
        buffer, label = self.builder.buffers[name], f"{_CROSSING}{name}"
        self.builder.buffers[label] = Buffer(label, buffer.shape, buffer.dtype)
        copy = Operation("scale", (name,), (label,), {"factor": 1.0, "offset": 0.0})
        self.place[id(copy)] = self.made_at[label] = self._last_place(name)
        operations.append(copy)
        return label

    # --- the programs

    def segment(self, number: int) -> Segment:
        """The program of this number."""
        builder = self.builder
        own = [op for op in self.operations if self.place[id(op)] == number]
        names = {name for op in own for name in op.inputs}
        later = {n for op in self.operations if self.place[id(op)] > number for n in op.inputs}
        later |= {
            use.loss for at, use in enumerate(builder.groups.uses) if use.loss and self._at(at) > number
        }
        takes = {n: n for n in sorted(names) if self.made_at.get(n, number) < number}
        outputs = {
            label: name for label, name in builder.outputs.items() if self.made_at.get(name, 0) == number
        }
        outputs |= {n: n for n in later if self.made_at.get(n) == number}
        uses = sorted({use for op in own if (use := builder.groups.of.get(id(op))) is not None})
        buffers = dict(builder.buffers)
        for name in takes:
            buffers[name] = replace(buffers[name], role="input")
        losses = list(dict.fromkeys(loss for use in uses if (loss := builder.groups.uses[use].loss)))
        own = own + self._guard(losses, number, buffers, outputs, takes)
        ordered = sorted(own, key=lambda op: PHASES.index(op.phase))
        program = Program(buffers, tuple(ordered), outputs, dict(builder.gradients))
        return Segment(prune(_with_bases(program)), takes, tuple(uses))

    def _at(self, use: int) -> int:
        """The program that does an update by an optimiser."""
        of = self.builder.groups.of
        return next((self.place[id(op)] for op in self.operations if of.get(id(op)) == use), 0)

    def _guard(
        self,
        losses: list[str],
        number: int,
        buffers: dict[str, Buffer],
        outputs: dict[str, str],
        takes: dict[str, str],
    ) -> list[Operation]:
        """Label the loss that has to be finite for updates: the sum where there are several."""
        if not losses:
            return []
        for name in losses:
            if self.made_at.get(name, number) < number:
                takes[name] = name
                buffers[name] = replace(buffers[name], role="input")
        added, total = [], losses[0]
        for name in losses[1:]:
            label = f"{total}+{name}"
            buffers[label] = Buffer(label, (), buffers[name].dtype)
            added.append(Operation("add", (total, name), (label,), {}))
            total = label
        outputs[LOSS] = total
        return added


def _needed(builder: StepBuilder) -> list[Operation]:
    """The operations that something reads, in order."""
    wanted = set(builder.outputs.values()) | {use.loss for use in builder.groups.uses if use.loss}
    kept = []
    for op in reversed(builder.operations):
        if op.phase == "update" or wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def _groups(operations: list[Operation], builder: StepBuilder) -> list[list[Operation]]:
    """The operations in order, the updates of one use of an optimiser together."""
    found: list[list[Operation]] = []
    by_use: dict[int, list[Operation]] = {}
    for op in operations:
        use = builder.groups.of.get(id(op))
        if use is None:
            found.append([op])
        elif use in by_use:
            by_use[use].append(op)
        else:
            by_use[use] = [op]
            found.append(by_use[use])
    return found


def _with_bases(program: Program) -> Program:
    """Every weight under its own name, whichever version it is."""
    names = {
        name: base_name(name)
        for name, buffer in program.buffers.items()
        if buffer.role in ("parameter", "state") and base_name(name) != name
    }
    if not names:
        return program

    def renamed(op: Operation) -> Operation:
        return replace(op, inputs=tuple(names.get(n, n) for n in op.inputs))

    return replace(
        program,
        operations=tuple(map(renamed, program.operations)),
        outputs={label: names.get(name, name) for label, name in program.outputs.items()},
        gradients={names.get(n, n): g for n, g in program.gradients.items()},
    )
