"""Which operations need which others: what tells whether several can be done at one time, and their order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.reductions.reduced import is_reduction
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program
from kernelearn.errors import KernelearnError


class Ancestors:
    """For every operation all that have to be done before it, as bits of one whole number.

    Attributes:
        reductions: places of the operations that reduce.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._bits: list[int] = []
        for place, op in enumerate(graph.program.operations):
            bits = 1 << place
            for name in op.inputs:
                made = graph.place_of(name)
                bits |= self._bits[made] if 0 <= made < place else 0
            self._bits.append(bits)
        buffers = graph.program.buffers
        self.reductions = [i for i, op in enumerate(graph.program.operations) if is_reduction(op, buffers)]

    def reaches(self, name: str, members: Iterable[int]) -> bool:
        """Whether a buffer is made from results of some operations."""
        made = self._graph.place_of(name)
        return made >= 0 and any(self._bits[made] >> place & 1 for place in members)

    def needs(self, members: Iterable[int], place: int) -> bool:
        """Whether one of some operations is made from results of another."""
        return any(self._bits[member] >> place & 1 for member in members)

    def join(self, members: Sequence[int]) -> None:
        """These are one operation from now on: who needs one of them needs all, and what they need."""
        inside = sum(1 << place for place in members)
        needed = 0
        for place in members:
            needed |= self._bits[place]
        first = min(members)
        for place in range(first, len(self._bits)):
            if self._bits[place] & inside:
                self._bits[place] |= needed


def in_order_of_need(program: Program, changed: Mapping[int, Operation], dropped: Collection[int]) -> Program:
    """The program with other operations at some places, in an order in which each finds what it reads.

    An operation moves forward if one that stands before it needs it; else the order stays.

    Raises: KernelearnError if operations need each other in a circle: then a rewrite is wrong.
    """
    operations = [(i, changed.get(i, op)) for i, op in enumerate(program.operations) if i not in dropped]
    makers = {n: op for _, op in operations if op.phase != "update" for n in op.outputs}
    done: set[int] = set()
    begun: set[int] = set()
    result: list[Operation] = []
    for _, op in operations:
        waiting = [op]
        while waiting:
            last = waiting[-1]
            missing = [
                maker for n in last.inputs if (maker := makers.get(n)) is not None and id(maker) not in done
            ]
            if missing and id(last) not in done and last.phase != "update":
                if id(last) in begun:
                    raise KernelearnError(f"Operations need each other in a circle: {last}. This is a fault.")
                begun.add(id(last))
                waiting += [maker for maker in missing if maker is not last]
                continue
            waiting.pop()
            if id(last) not in done:
                done.add(id(last))
                result.append(last)
    return replace(program, operations=tuple(result))
