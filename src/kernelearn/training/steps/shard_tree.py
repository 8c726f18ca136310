"""The sums over the shards of one process: what the nodes of the tree are made of, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kernelearn.parallel.tree import Node, before_last, halves, value_of
from kernelearn.training.steps.adding import sums_in
from kernelearn.training.steps.shard_sums import Layout, Piece, Vectors
from kernelearn.training.steps.step import Arrays

if TYPE_CHECKING:
    from kernelearn.training.steps.shard_run import Running


@dataclass
class TreeSums:
    """The sums of one stage: what the tree is made of."""

    run: Running
    stage: int
    layout: Layout

    def node(self, node: Node) -> Vectors | None:
        """The sum of a node; None without images."""
        return value_of(node, self._of, self._joined, self._with_one)

    def halves(self, node: Node) -> tuple[Vectors | None, Vectors | None]:
        """The sum of a node, or of its two halves where these are still to be added: that is done where the
        sum is read anyway.
        """
        if node[1] - node[0] == 1 or (parts := halves(node))[1][1] - parts[1][0] == 1:
            return self.node(node), None
        first, second = (self.node(part) for part in parts)
        return (second, None) if first is None else (first, second)

    def ending(self, node: Node, pieces: Sequence[Piece], post: _Post) -> Vectors | None:
        """The sum of a node, whose pieces are posted while its last shard is computed.

        Args:
            pieces: of one kind, in the order in which they come.
            post: told of each piece, with the sum as far as it is there.
        """
        before = [found for part in before_last(node) if (found := self.node(part)) is not None]
        number, sums = node[1] - 1, before or [self._lent()]

        def behind(piece: Piece) -> None:
            self._fold(piece, sums)
            if piece in pieces:
                post(piece, sums[0])

        if self.run.has_images((number, number + 1)):
            rest = [piece for piece in self.layout.whole() if piece.kind != pieces[0].kind]
            self._compute(number, sums[-1], bool(before), rest, pieces, behind)
        else:
            for piece in self.layout.whole():
                self._fold(piece, sums)
            for piece in pieces:
                post(piece, sums[0] if before else None)
        return sums[0] if before or self.run.has_images(node) else None

    def _fold(self, piece: Piece, sums: Sequence[Vectors]) -> None:
        """n0 + (n1 + ...) into the first."""
        with _quietly():
            for first, second in reversed(list(pairwise(sums))):
                piece.join(first, second)

    def _lent(self) -> Vectors:
        return {kind: self.run.lend(self.layout, kind) for kind in self.layout.places}

    def _of(self, number: int) -> Vectors | None:
        """What a shard adds to the means; None for one without images."""
        if not self.run.has_images((number, number + 1)):
            return None
        vectors = self._lent()
        self._compute(number, vectors, keeps=False)
        return vectors

    def _with_one(self, first: Vectors, number: int) -> Vectors:
        """A sum with one more shard."""
        if self.run.has_images((number, number + 1)):
            self._compute(number, first, keeps=True)
        return first

    def _joined(self, first: Vectors, second: Vectors) -> Vectors:
        """Of two sums."""
        with _quietly():
            for piece in self.layout.whole():
                piece.join(first, second)
        self.run.give_back(self.layout, second)
        return first

    def _compute(
        self,
        number: int,
        sums: Vectors,
        keeps: bool,
        at_end: Sequence[Piece] | None = None,
        on_the_way: Sequence[Piece] = (),
        behind: Callable[[Piece], None] = lambda piece: None,
    ) -> None:
        """Run the stage on one shard, and add its pieces to sums.

        Args:
            keeps: whether there is something in the sums.
            at_end: pieces that are added when it is done, all of them by default.
            on_the_way: those that are as soon as they are there.
            behind: called when a piece is added.
        """
        run, taken = self.run, self.run.taken(number)
        images = taken.stop - taken.start
        share, is_last = images / run.batch.rows, self.stage == len(run.parts.on_the_way)
        kept = run.kept(number, is_last)

        def put(piece: Piece, found: Arrays) -> None:
            (piece.add if keeps else piece.store)({**kept, **found}, share, sums)
            behind(piece)

        def reached(group: int, found: Arrays) -> None:
            put(on_the_way[group], found)

        def use(found: Arrays) -> None:
            run.note_rows(found, share)
            for piece in self.layout.whole() if at_end is None else at_end:
                put(piece, found)
            if not is_last:
                names = found.keys() - run.parts.by_row.keys()
                kept.update((name, found[name].copy()) for name in names)

        inputs = {**run.inputs(number), **kept}
        if added := [place for place in self.layout.places.get("float32", ()) if place.is_added]:
            inputs |= sums_in(added, sums, share, keeps)
        with _quietly():
            run.parts.stages(images)[self.stage].visit(inputs, use, reached if on_the_way else None)


def _quietly() -> np.errstate:
    """What overflows is reported by the check of the loss, not by a shower of warnings."""
    return np.errstate(over="ignore", invalid="ignore")


class _Post(Protocol):
    def __call__(self, piece: Piece, made: Vectors | None, /) -> None: ...
