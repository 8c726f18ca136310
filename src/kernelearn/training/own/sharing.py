"""A step of one's own whose batch is cut into shards: each runs the code on its rows, updates are done once.

    shard    the code up to an update, and on from there, on the rows of the shard, with a seed of its own
    tree     what an update reads, gradients and losses, is the mean over shards by their shares of the rows
    rest     clipping, the optimiser, constraints: from the means, on every process the same

A step is several programs where weights are read again behind an update (`segments`); each is cut like that.
Metrics are updated shard by shard, in order, on every process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.parallel.tree import Node, cover, rows_of, share_of, value_of
from kernelearn.training.methods import alike
from kernelearn.training.own.afterwards import Output
from kernelearn.training.own.forms import put_together, taken_apart
from kernelearn.training.own.functions import SIGNATURES_KEPT, OwnFunction
from kernelearn.training.own.parting import CutSegment, cut_segments
from kernelearn.training.own.segments import LOSS
from kernelearn.training.own.step import OwnStep, argument_name, images_of, plain
from kernelearn.training.steps.cutting import CUT
from kernelearn.training.steps.shard_run import Shards, seed_of_shard
from kernelearn.training.steps.shard_sums import Vectors

Arrays = dict[str, np.ndarray]


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
        run.check_alike((seed, number))
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
        self.given, self.rows = given, _rows(given, owner.function.name)
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

    def check_alike(self, clock: tuple[int, int]) -> None:
        """Make sure that all processes run the same step on the same.

        Raises: ArgumentError on every process.
        """
        exchange = self.shards.exchange
        if exchange.size > 1:
            arrays = [leaf for leaf in self.given if isinstance(leaf, np.ndarray)]
            clocks = [self.first.clock(cut.segment) for cut in self.like]
            programs = [str(self.shards.count), *(cut.digest for cut in self.like)]
            alike.agree(exchange, alike.about_own_step(arrays, [clock, clocks], programs))

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
        share: float = (taken.stop - taken.start) / self.rows
        return share

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
