"""One run of a sharded step on one process: its shards, from exchange to exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelearn.engine.variable import Variable
from kernelearn.parallel.exchange import Exchange
from kernelearn.parallel.rounding import BFLOAT16
from kernelearn.parallel.sending import Sending
from kernelearn.parallel.tree import Node, cover, rows_of, share_of
from kernelearn.training.steps.shard_sums import Layout, Piece, Vectors
from kernelearn.training.steps.shard_tree import TreeSums
from kernelearn.training.steps.step import Arrays, Batch, Clock, weight_name

if TYPE_CHECKING:
    from kernelearn.training.steps.sharded import Parts

# Added to the seed for every shard: random numbers belong to images, not to processes.
_SEED_STEP = 0x9E3779B9


def seed_of_shard(seed: int, number: int) -> int:
    """The seed of a shard, from that of the step."""
    return (seed + number * _SEED_STEP) & 0x7FFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Shards:
    """How a batch is shared out.

    Attributes:
        count: shards of a batch, on all processes together.
        exchange: with the other processes.
        is_sum: numbers of the outputs whose loss is a sum over images and no mean.
        moving_means: of the normalisations that want statistics of the whole batch.
        transport: type to which gradients are rounded wherever they are summed.
    """

    count: int
    exchange: Exchange
    is_sum: tuple[int, ...] = ()
    moving_means: tuple[Variable, ...] = ()
    transport: str = "float32"

    def sizes(self, rows: int) -> set[int]:
        """Numbers of images that shards of a batch have."""
        parts = (rows_of(number, self.count, rows) for number in range(self.count))
        return {part.stop - part.start for part in parts} - {0}


@dataclass
class Running:
    """A run.

    Attributes:
        parts, shards: what is run, and how it is shared out.
        batch, clock: what it is run on.
    """

    parts: Parts
    shards: Shards
    batch: Batch
    clock: Clock
    _rows: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _kept: dict[int, Arrays] = field(default_factory=dict)  # of a shard, what later stages read
    _of_all: Arrays = field(default_factory=dict)
    _lent: list[tuple[Layout, str, np.ndarray]] = field(default_factory=list)

    def means(self) -> Arrays:
        """Label -> mean over all images of all processes, of what has one: there until `end`."""
        for number, layout in enumerate(self.parts.on_the_way):
            names = self.parts.cut.stages[number].exchanged
            found = self._combined(number, layout)
            self._of_all.update((names[name], array) for name, array in found.items())
        return self._combined(len(self.parts.on_the_way), self.parts.means)

    def end(self) -> None:
        """Nobody looks at the means any more."""
        for layout, kind, vector in self._lent:
            self.parts.lender.give_back(layout, kind, vector)
        self._lent.clear()

    def rows(self) -> Arrays:
        """Label -> array of the outputs with a row an image, of all processes, and of inputs."""
        whole = {}
        for label in self.parts.by_row:
            found = self._rows.get(label)
            array = np.concatenate(found) if found else self.parts.no_rows(label)
            whole[label] = self.shards.exchange.in_order(array, self._rows_of_all())
        whole.update((label, self._input(name)) for label, name in self.parts.inputs.items())
        return whole

    def _rows_of_all(self) -> list[int]:
        """Rows of the batch that each process computes."""
        size, count, rows = self.shards.exchange.size, self.shards.count, self.batch.rows
        bounds = [rows_of(share_of(rank, size, count)[0], count, rows).start for rank in range(size)]
        found: list[int] = np.diff([*bounds, rows]).tolist()
        return found

    def _input(self, name: str) -> np.ndarray:
        """An input of the step, with the rows that other processes have."""
        batch = self.batch
        if name not in batch.arrays:
            return self.clock.arrays()[name]
        is_part = batch.held is not None and name in batch.inputs()
        return self.shards.exchange.in_order(batch.arrays[name]) if is_part else batch.arrays[name]

    def _combined(self, stage: int, layout: Layout) -> Arrays:
        """Run a stage of all shards of this process; the means of what it has to give."""
        count, exchange = self.shards.count, self.shards.exchange
        sums = TreeSums(self, stage, layout)
        own = list(cover((0, count), share_of(exchange.rank, exchange.size, count)))
        seconds: dict[Node, Vectors] = {}
        pieces = self.parts.pieces if stage == len(self.parts.on_the_way) else []
        if pieces:
            nodes, sent = self._sent(own, sums, pieces)
        else:
            nodes, sent = {}, {}
            for node in own:
                nodes[node], second = sums.halves(node)
                if second is not None:
                    seconds[node] = second

        def of_all(kind: str) -> np.ndarray:
            if kind in sent:
                return sent[kind].finish()
            held = {node: None if vectors is None else vectors[kind] for node, vectors in nodes.items()}
            behind = {node: vectors[kind] for node, vectors in seconds.items()}
            # NOTE: nothing is combined between the last of all and the update that reads it.
            stays = stage < len(self.parts.on_the_way) or kind != layout.by_length()[-1]
            into = self.lend(layout, kind)
            return exchange.combine(count, held, into, self.has_images, kind == BFLOAT16, stays, behind)

        return layout.arrays(of_all)

    def _sent(
        self, own: Sequence[Node], sums: TreeSums, pieces: Sequence[Piece]
    ) -> tuple[dict[Node, Vectors | None], dict[str, Sending]]:
        """Run a stage of all shards, and send pieces of its longest vector while the last one is computed.

        Returns: the sums of the nodes of this process, and kind -> what is on its way.
        """
        kind, last = pieces[0].kind, own[-1]
        nodes = {node: sums.node(node) for node in own[:-1]}
        into, cuts = self.lend(sums.layout, kind), [piece.cut for piece in pieces]
        exchange = self.shards.exchange
        sending = exchange.sending(self.shards.count, into, cuts, self.has_images, kind == BFLOAT16)

        def post(piece: Piece, made: Vectors | None) -> None:
            every = {**nodes, last: made}
            sending.post({node: None if v is None else v[kind][piece.cut] for node, v in every.items()})

        nodes[last] = sums.ending(last, pieces, post)
        return nodes, {kind: sending}

    def has_images(self, node: Node) -> bool:
        """Whether any shard of a node has images."""
        count, rows = self.shards.count, self.batch.rows
        return bool(rows_of(node[0], count, rows).start < rows_of(node[1] - 1, count, rows).stop)

    def lend(self, layout: Layout, kind: str) -> np.ndarray:
        """A vector until the end of the run."""
        vector = self.parts.lender.take(layout, kind)
        self._lent.append((layout, kind, vector))
        return vector

    def give_back(self, layout: Layout, vectors: Vectors) -> None:
        """These vectors are no longer needed."""
        for kind, vector in vectors.items():
            self._lent = [one for one in self._lent if one[2] is not vector]
            self.parts.lender.give_back(layout, kind, vector)

    def taken(self, number: int) -> slice:
        """The rows of a shard."""
        return rows_of(number, self.shards.count, self.batch.rows)

    def inputs(self, number: int) -> Arrays:
        """The inputs of a shard."""
        taken = self.taken(number)
        arrays, share = self.batch.taken(taken), (taken.stop - taken.start) / self.batch.rows
        for index in self.shards.is_sum:
            name = weight_name(index)
            arrays[name] = arrays[name] / arrays[name].dtype.type(share)
        seed = seed_of_shard(self.clock.seed, number)
        return {**arrays, **replace(self.clock, seed=seed).arrays(), **self._of_all}

    def kept(self, number: int, is_last: bool) -> Arrays:
        """What a shard has kept for later stages, to be filled in by all but the last."""
        return self._kept.pop(number, {}) if is_last else self._kept.setdefault(number, {})

    def note_rows(self, found: Arrays, share: float) -> None:
        """Copy those outputs of a shard that have a row an image."""
        for label in found.keys() & self.parts.by_row.keys():
            array = found[label]
            own = array * array.dtype.type(share) if self.parts.by_row[label] else array.copy()
            self._rows.setdefault(label, []).append(own)
