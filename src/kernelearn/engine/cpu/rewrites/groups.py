"""Groups of operations that a chain does in one pass: what `chains` makes one operation of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from kernelearn.engine.cpu.kernels.entrywise.chain import PLACING, operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import has_code, read_inputs
from kernelearn.engine.cpu.kernels.fused import ANCHORS
from kernelearn.engine.cpu.kernels.normalization.images import takes_chain
from kernelearn.engine.cpu.kernels.reductions.reduced import FEW_ROWS, axes_of, is_reduction, rows_of_images
from kernelearn.engine.cpu.rewrites.ancestors import Ancestors
from kernelearn.engine.cpu.rewrites.pixels.places_of_steps import places_pixels, takes_places
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation

# Tensors and rows of weights that one kernel reads at most, behind a product and over memory; reductions that
# it does; operations, so that code stays small.
MAX_BEHIND, MAX_EXTERNALS, MAX_REDUCTIONS, MAX_OPERATIONS = 8, 12, 4, 64


def starts(graph: Graph, op: Operation) -> bool:
    """Whether an operation can be in a group."""
    if op.phase == "update":
        return False
    return is_anchor(graph, op) or is_entrywise(graph, op) or is_reduction(op, graph.program.buffers)


def is_anchor(graph: Graph, op: Operation) -> bool:
    """Whether an operation that is none entry by entry takes a chain for its results."""
    if op.operator != "normalize":
        return op.operator in ANCHORS
    statistics = op.outputs[1:]
    is_read = any(graph.is_kept(name) or graph.readers(name) for name in statistics)
    return takes_chain(op, graph.program.buffers) and not is_read


def is_entrywise(graph: Graph, op: Operation) -> bool:
    """Whether there is code for an operation entry by entry; constants are none of their own."""
    return op.operator != "fill" and has_code(op, graph.program.buffers)


def is_constant(graph: Graph, name: str) -> bool:
    """Whether a buffer is one known number."""
    made = graph.producer(name)
    if made is None or made.operator != "fill":
        return False
    buffer = graph.program.buffers[name]
    return all(size == 1 for size in buffer.shape) and has_code(made, graph.program.buffers)


class Group:
    """Operations that form a group with the one at `start`.

    Attributes:
        members: their places; reductions: of those that reduce.
        operations: in an order in which they can be done.
        shape: of the tensors; is_anchored: whether the first makes a product, or normalises.
    """

    def __init__(self, graph: Graph, ancestors: Ancestors, taken: set[int], start: int) -> None:
        self.graph, self.ancestors, self.taken = graph, ancestors, taken
        first = graph.program.operations[start]
        self.is_anchored = is_anchor(graph, first)
        self.most = MAX_BEHIND if self.is_anchored else MAX_EXTERNALS
        self.is_reduction = is_reduction(first, graph.program.buffers)
        shaped = first.inputs[0] if self.is_reduction else first.outputs[0]
        self.phase, self.shape = first.phase, graph.program.buffers[shaped].shape
        self.reductions: list[int] = []
        # NOTE: dictionaries keep an order; that of sets would depend on what layers are called.
        self.values: dict[str, None] = {}
        self.externals: dict[str, None] = {}
        self.members: list[int] = []
        if self.is_reduction:
            self._reduce(start)
        else:
            self._take(start, [] if self.is_anchored else self._outside(first))
            self._grow(start)
        if self.is_anchored:
            self._trim()
        else:
            self._add_reductions()
        # NOTE: what places a smaller map may stand before the product.
        places = sorted(self.members, key=lambda place: (self.is_anchored and place != start, place))
        operations = [graph.program.operations[place] for place in places]
        # The product first, reductions last: nothing of the group reads them.
        self.operations = sorted(operations, key=lambda op: is_reduction(op, graph.program.buffers))

    def _trim(self) -> None:
        """Leave to other passes what only they read, if that saves results that would have to be written."""
        first, *rest = self.members
        outputs = [place for place in self.members if self._is_written(place, self.members)]
        needed = [place for place in outputs if self._is_needed_whole(place)] or outputs[:1]
        kept = {first, *(p for p in rest if any(self.ancestors.needs((n,), p) for n in needed))}
        if len([p for p in kept if self._is_written(p, kept)]) < len(outputs):
            self.members = sorted(kept)

    def _is_written(self, place: int, members: Collection[int]) -> bool:
        """Whether others than the members read what an operation makes."""
        outputs = self.graph.program.operations[place].outputs
        readers = [self.graph.place(reader) for name in outputs for reader in self.graph.readers(name)]
        return any(map(self.graph.is_kept, outputs)) or any(reader not in members for reader in readers)

    def _is_needed_whole(self, place: int) -> bool:
        """Whether a result is read by others than chains and reductions, or given back."""
        outputs = self.graph.program.operations[place].outputs
        buffers = self.graph.program.buffers
        readers = [reader for name in outputs for reader in self.graph.readers(name)]
        return any(map(self.graph.is_kept, outputs)) or not all(
            reader.phase != "update" and (has_code(reader, buffers) or is_reduction(reader, buffers))
            for reader in readers
            if self.graph.place(reader) not in self.members
        )

    def _add_reductions(self) -> None:
        """Take reductions of what the group makes or reads whole, and of what a chain makes from that."""
        for name in (*self.values, *self.externals):
            for reader in self.graph.readers(name):
                self._try_reduction(reader)
        if self.reductions:
            for place in self.ancestors.reductions:
                if place > min(self.members):
                    self._try_reduction(self.graph.program.operations[place])

    def _try_reduction(self, op: Operation) -> None:
        place = self.graph.place(op)
        if place in self.taken or place in self.members or not self._can_reduce(op):
            return
        name = op.inputs[0]
        if self.ancestors.needs(self.members, place) or self.ancestors.reaches(name, self.reductions):
            return
        if name not in self.values and name not in self.externals:
            made = self.graph.producer(name)
            if made is None or not self._shares_a_tensor(made):
                return
            source = self.graph.place(made)
            if self.ancestors.needs(self.members, source):  # then it would need itself, by way of another
                return
            for _ in self._with_sources(source):
                pass
        if name in self.values or name in self.externals:
            self._reduce(place)

    def _shares_a_tensor(self, op: Operation) -> bool:
        """Whether an operation reads a whole tensor that the group reads, too, perhaps through others."""
        if not self._has_code(op):
            return False
        names = self._outside(op)
        if any(name in self.externals and self._is_whole(name) for name in names):
            return True
        makers = [self.graph.producer(name) for name in names if self.graph.only_reader(name) is op]
        return any(self._shares_a_tensor(made) for made in makers if made is not None)

    def _is_whole(self, name: str) -> bool:
        return self.graph.program.buffers[name].shape == self.shape

    def _can_reduce(self, op: Operation) -> bool:
        buffers = self.graph.program.buffers
        if op.phase != self.phase or not is_reduction(op, buffers) or len(self.reductions) >= MAX_REDUCTIONS:
            return False
        if buffers[op.inputs[0]].shape != self.shape or buffers[op.outputs[0]].shape == self.shape:
            return False
        axes = axes_of(op, self.shape)
        others = [axes_of(self.graph.program.operations[place], self.shape) for place in self.reductions]
        # NOTE: where an image has few rows, its parts would be as large as what is reduced.
        return all(axes == other for other in others) and rows_of_images(self.shape, axes) > FEW_ROWS

    def _reduce(self, place: int) -> None:
        op = self.graph.program.operations[place]
        self.members.append(place)
        self.reductions.append(place)
        self.externals.update(dict.fromkeys(n for n in op.inputs if n not in self.values))

    def _grow(self, start: int) -> None:
        frontier = self._readers(start)
        while frontier:
            place = min(frontier)
            frontier.remove(place)
            for joined in self._with_sources(place):
                frontier |= self._readers(joined)

    def _readers(self, place: int) -> set[int]:
        op = self.graph.program.operations[place]
        return {self.graph.place(reader) for name in op.outputs for reader in self.graph.readers(name)}

    def _with_sources(self, place: int) -> Iterator[int]:
        """Take an operation if it fits, and those that only it needs; the places taken."""
        op = self.graph.program.operations[place]
        if place in self.taken or place in self.members or len(self.members) >= MAX_OPERATIONS:
            return
        if not self._has_code(op):
            return
        outside = self._outside(op)
        if all(map(self._is_readable, outside)) and len({*self.externals, *outside}) <= self.most:
            self._take(place, outside)
            yield place
            for name in outside:
                yield from self._pulled_in(name)

    def _pulled_in(self, name: str) -> Iterator[int]:
        """Make an input of the group a value of it, if nothing but the group reads it."""
        made = self.graph.producer(name)
        if made is None or self.graph.is_kept(name) or not self._has_code(made):
            return
        place = self.graph.place(made)
        readers = {self.graph.place(reader) for reader in self.graph.readers(name)}
        outside = self._outside(made)
        count = len({*self.externals, *outside} - {name})
        if len(self.members) >= MAX_OPERATIONS:
            return
        if place in self.taken or not readers <= set(self.members) or count > self.most:
            return
        if made.operator == PLACING or all(map(self._is_readable, outside)):
            self.externals.pop(name, None)
            self._take(place, outside)
            yield place
            for source in outside:
                yield from self._pulled_in(source)

    def _has_code(self, op: Operation) -> bool:
        """Whether it can be done number by number on tensors of the group's shape."""
        buffers = self.graph.program.buffers
        if op.phase != self.phase or not (is_entrywise(self.graph, op) or self._is_placed(op)):
            return False
        made = [buffers[name] for name in op.outputs]
        return all(b.shape == self.shape and (b.dtype == "float32" or not self.is_anchored) for b in made)

    def _is_placed(self, op: Operation) -> bool:
        """Whether it places the pixels of a smaller map among zeros, for a product that reads such."""
        first = self.graph.program.operations[self.members[0]] if self.members else op
        return places_pixels(op) and takes_places(first, self.graph.program.buffers)

    def _outside(self, op: Operation) -> list[str]:
        """What an operation reads of others than the group, single known numbers left out."""
        names = dict.fromkeys(read_inputs(op))
        return [n for n in names if n not in self.values and not is_constant(self.graph, n)]

    def _is_readable(self, name: str) -> bool:
        """Whether the group can read a buffer, and no member is needed to make it."""
        buffer = self.graph.program.buffers[name]
        kind = operand_kind(buffer, self.shape, spreads=not self.is_anchored)
        return kind is not None and not self.ancestors.reaches(name, self.members)

    def _take(self, place: int, outside: Sequence[str]) -> None:
        self.members.append(place)
        self.values.update(dict.fromkeys(self.graph.program.operations[place].outputs))
        names = (*self.externals, *outside)
        self.externals = dict.fromkeys(name for name in names if name not in self.values)
