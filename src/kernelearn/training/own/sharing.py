"""A step of one's own whose batch is cut into shards: each runs the code on its rows, updates are done once.

    shard    the code up to an update, and on from there, on the rows of the shard, with a seed of its own
    tree     what an update reads, gradients and losses, is the mean over shards by their shares of the rows
    rest     clipping, the optimiser, constraints: from the means, on every process the same

A step is several programs where weights are read again behind an update (`segments`); each is cut like that.
Metrics are updated shard by shard, in order, on every process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelearn.engine.backends import Executable, prepare
from kernelearn.engine.program import Operation, Program, prune
from kernelearn.errors import ArgumentError
from kernelearn.parallel.tree import Node, cover, rows_of, share_of, value_of
from kernelearn.training.own.afterwards import Output
from kernelearn.training.own.builder import StepBuilder
from kernelearn.training.own.forms import put_together, taken_apart
from kernelearn.training.own.functions import SIGNATURES_KEPT, OwnFunction
from kernelearn.training.own.segments import LOSS, Segment
from kernelearn.training.own.step import OwnStep, argument_name, images_of, plain
from kernelearn.training.steps.cutting import CUT, cut_step
from kernelearn.training.steps.shard_run import Shards, seed_of_shard
from kernelearn.training.steps.shard_sums import Layout, Vectors
from kernelearn.training.steps.synchronizing import synchronized

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """A program that shards run, and what is made of all that they give.

    Attributes:
        executable: of a shard.
        means: label -> buffer, of what is averaged over the shards behind it.
        names: label -> name under which later programs find the mean.
    """

    executable: Executable
    means: Layout
    names: Mapping[str, str]


@dataclass(frozen=True)
class CutSegment:
    """A program of the step, cut.

    Attributes:
        parts: that shards run, in order.
        rest: done once, with the means; unless the loss is not finite: then `still`, without updates.
    """

    segment: Segment
    parts: Sequence[Part]
    rest: Executable
    still: Executable


def cut_segments(step: OwnStep, shards: Shards) -> list[CutSegment]:
    """The programs of a step for shards of one size, each cut before what reads whole gradients.

    Raises: ArgumentError for an update that reads single images, or numbers that have no mean.
    """
    return [_cut(step, segment, shards) for segment in step.segments]


def _cut(step: OwnStep, segment: Segment, shards: Shards) -> CutSegment:
    program, known = segment.program, step.builder.variables
    found = synchronized(program, shards.moving_means, known)
    cut = cut_step(found.program, found.exchanged, _totals(step.builder, program))
    parts = []
    for stage in cut.stages:
        means = {name: found.program.buffers[name] for name in stage.exchanged}
        names = dict(stage.exchanged)
        if stage is cut.stages[-1]:
            names = {CUT + value.name: value.name for value in cut.values}
            means = {CUT + value.name: value for value in cut.values}
            means |= {LOSS: program.buffers[program.outputs[LOSS]]} if LOSS in program.outputs else {}
        parts.append(Part(prepare(stage.program, known, step.engine), Layout.of(means), names))
    late = _late_outputs(program, [part.executable.program for part in parts])
    asked = {name: program.buffers[name] for name in late.values()}
    rest = replace(cut.rest, outputs=late, buffers={**asked, **cut.rest.buffers})
    still = prune(replace(rest, operations=tuple(op for op in rest.operations if op.phase != "update")))
    return CutSegment(segment, parts, prepare(rest, known, step.engine), prepare(still, known, step.engine))


def _late_outputs(program: Program, early: Sequence[Program]) -> dict[str, str]:
    """Label -> buffer of the outputs that are made from whole gradients."""
    made = {label for one in early for label in one.outputs}
    outputs = {label: name for label, name in program.outputs.items() if label not in made}
    return {label: name for label, name in outputs.items() if program.buffers[name].role == "value"}


def _totals(builder: StepBuilder, program: Program) -> set[str]:
    """Names of the gradients that have to be whole before the code reads them.

    A gradient by weights from which something for each image is computed, as a step inside of a loss, is that
    of the shard. What an optimiser is given is whole in itself, unless it is made from gradients that are.
    """
    asked = {name for name in builder.weight_gradients if not _reaches_images(program, {name})}
    return asked | (builder.applied - _readers(program, asked)[1])


def _reaches_images(program: Program, names: set[str]) -> bool:
    """Whether something with a row an image is computed from these buffers."""
    operations, _ = _readers(program, names)
    read = {name for op in operations for name in (*op.inputs, *op.outputs)}
    return any(program.buffers[name].shape[:1] == (None,) for name in read)


def _readers(program: Program, names: set[str]) -> tuple[list[Operation], set[str]]:
    """The operations that depend on these buffers, and the names of what they make."""
    operations: list[Operation] = []
    made: set[str] = set()
    for op in program.operations:
        if not (names | made).isdisjoint(op.inputs):
            operations.append(op)
            made.update(op.outputs)
    return operations, made


class InShards:
    """Runs the step of a function in shards.

    Args:
        function: what is traced, for each number of rows that a shard has.
        shards: how a batch is shared out.
    """

    def __init__(self, function: OwnFunction, shards: Shards) -> None:
        self.function, self.shards = function, shards
        self._cuts: OrderedDict[int, tuple[OwnStep, list[CutSegment]]] = OrderedDict()

    def run(self, args: tuple[Any, ...], seed: int, number: int) -> Any:
        """What the function gives for a batch: means of numbers, and the rows of all shards in order.

        Args:
            args: of the function; every process gives the same.
            seed, number: of random numbers.
        Raises: ArgumentError where shards do not have the same in common, see `cut_segments`.
        """
        run = _Run(self, args, seed, number)
        for at in range(len(run.like)):
            run.segment(at)
        return run.result()

    def cut(self, step: OwnStep) -> list[CutSegment]:
        """A step's programs, cut; each is cut once."""
        if id(step) not in self._cuts:
            self._cuts[id(step)] = step, cut_segments(step, self.shards)
            while len(self._cuts) > SIGNATURES_KEPT:
                self._cuts.popitem(last=False)
        self._cuts.move_to_end(id(step))
        return self._cuts[id(step)][1]


class _Run:
    """One run: the values of this process's shards, and what all have in common.

    Attributes:
        like: the programs of the first shard that has rows, which tell the form of what is exchanged.
    """

    def __init__(self, owner: InShards, args: tuple[Any, ...], seed: int, number: int) -> None:
        self.owner, self.shards = owner, owner.shards
        given, form = taken_apart(args)
        self.rows = _rows(given, owner.function.name)
        count, exchange = self.shards.count, self.shards.exchange
        self.filled = [one for one in range(count) if self._taken(one).stop > self._taken(one).start]
        self.own = share_of(exchange.rank, exchange.size, count)
        # NOTE: all are traced on every process: metrics hear of each shard as its code says it.
        self.steps: dict[int, OwnStep] = {}
        self.values: dict[int, Arrays] = {}
        for shard in self.filled:
            part = [_part(leaf, self.rows, self._taken(shard)) for leaf in given]
            self.steps[shard], arrays = owner.function.step_of(*put_together(part, form))
            if self.own[0] <= shard < self.own[1]:
                self.values[shard] = {argument_name(i): array for i, array in enumerate(arrays)}
                self.values[shard]["seed"] = np.asarray(seed_of_shard(seed, shard), np.int64)
        self.common: Arrays = {"step": np.asarray(number, np.int64)}
        self.first = self.steps[self.filled[0]]
        self.like = owner.cut(self.first)
        for step in {id(self.steps[shard]): self.steps[shard] for shard in self.values}.values():
            self._check_like_first(owner.cut(step))

    def _taken(self, shard: int) -> slice:
        return rows_of(shard, self.shards.count, self.rows)

    def _check_like_first(self, cut: Sequence[CutSegment]) -> None:
        forms = [[[part.means for part in one.parts] for one in several] for several in (cut, self.like)]
        if forms[0] != forms[1]:
            raise ArgumentError(
                f"{self.owner.function.name} computes something else for another number of rows, so that "
                "shards of one batch cannot be added. Give a number of shards that divides every batch, or "
                "train without shards."
            )

    def segment(self, at: int) -> None:
        """Run one of the programs: all shards, and what is done once."""
        cut = self.like[at]
        self.common.update(self.first.clock(cut.segment))
        means: Arrays = {}
        for number, part in enumerate(cut.parts):
            means = self._means(at, number)
            self.common.update((part.names[label], a) for label, a in means.items() if label in part.names)
        is_finite = bool(np.isfinite(means.get(LOSS, 0.0)))
        executable = cut.rest if is_finite else cut.still
        self.common.update(executable.run({b.name: self.common[b.name] for b in executable.program.inputs()}))
        if is_finite:
            self.first.count_updates(cut.segment)

    def _means(self, at: int, number: int) -> Arrays:
        """Run a part on the shards of this process; label -> mean over those of all."""
        layout = self.like[at].parts[number].means
        pieces, count = layout.whole(), self.shards.count

        def leaf(shard: int) -> Vectors | None:
            if shard not in self.values:
                return None
            vectors: Vectors = {kind: layout.vector(kind) for kind in layout.places}
            found = self._compute(at, number, shard)
            for piece in pieces:
                piece.store(found, self._share(shard), vectors)
            return vectors

        def add(first: Vectors, second: Vectors) -> Vectors:
            for piece in pieces:
                piece.join(first, second)
            return first

        with np.errstate(over="ignore", invalid="ignore"):
            nodes = {node: value_of(node, leaf, add) for node in cover((0, count), self.own)}

            def of_all(kind: str) -> np.ndarray:
                held = {node: None if one is None else one[kind] for node, one in nodes.items()}
                return self.shards.exchange.combine(count, held, layout.vector(kind), self._has_images)

            return layout.arrays(of_all)

    def _compute(self, at: int, number: int, shard: int) -> Arrays:
        """Run a part on a shard; what it gives to the means."""
        cut, values = self.owner.cut(self.steps[shard])[at], self.values[shard]
        executable, program = cut.parts[number].executable, cut.segment.program
        known = {**self.common, **values}
        results = executable.run({b.name: known[b.name] for b in executable.program.inputs()})
        is_last = number == len(cut.parts) - 1
        values.update((n, array) for n, array in results.items() if not (is_last and n.startswith(CUT)))
        loss = program.outputs.get(LOSS)
        if loss is not None and program.buffers[loss].role == "input":  # an earlier program made it
            results[LOSS] = known[loss]
        return {**values, **results}

    def _share(self, shard: int) -> float:
        taken = self._taken(shard)
        return (taken.stop - taken.start) / self.rows

    def _has_images(self, node: Node) -> bool:
        return any(node[0] <= shard < node[1] for shard in self.filled)

    def result(self) -> Any:
        """Update the metrics; what the function gave, of all shards."""
        wanted = {output.label for output in self.first.outputs} | {
            output.label for action in self.first.afterwards for output in action.outputs
        }
        labels = sorted(label for label in wanted if label is not None)
        own = [self._said(shard, labels) for shard in self.filled if shard in self.values]
        found = [arrays for part in self.shards.exchange.all_say(own) for arrays in part]
        for shard, arrays in zip(self.filled, found):
            for action in self.steps[shard].afterwards:
                action.do(arrays)
        outputs = [plain(self._whole(output, found)) for output in self.first.outputs]
        return put_together(outputs, self.first.form)

    def _said(self, shard: int, labels: Sequence[str]) -> Arrays:
        known = {**self.common, **self.values[shard]}
        return {label: known[label] for label in labels}

    def _whole(self, output: Output, found: Sequence[Arrays]) -> Any:
        """A result of the function, from those of all shards."""
        if output.label is None:
            return output.of({})
        parts, builder = [arrays[output.label] for arrays in found], self.first.builder
        if builder.buffers[builder.outputs[output.label]].shape[:1] == (None,):
            return np.concatenate(parts)
        if all(part.tobytes() == parts[0].tobytes() for part in parts):
            return parts[0]
        if parts[0].dtype.kind != "f":
            raise ArgumentError(
                f"{self.owner.function.name} gives whole numbers that differ between shards, which have no "
                "mean. Give them as floats, or per image, or train without shards."
            )
        shares = [self._share(shard) for shard in self.filled]
        total = np.sum([share * part.astype(np.float64) for share, part in zip(shares, parts)], axis=0)
        return np.asarray(total, parts[0].dtype)


def _rows(given: Sequence[Any], name: str) -> int:
    """The number of rows of a batch."""
    rows = images_of(given)
    if not rows:
        raise ArgumentError(f"{name} was given no batch of images, so there is nothing to cut into shards.")
    return rows


def _part(leaf: Any, rows: int, taken: slice) -> Any:
    """A shard's rows of an argument; anything else as it is."""
    has_rows = isinstance(leaf, np.ndarray) and leaf.ndim and len(leaf) == rows
    return np.ascontiguousarray(leaf[taken]) if has_rows else leaf
