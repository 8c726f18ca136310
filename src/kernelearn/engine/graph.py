"""A program as a graph: which operation makes a buffer, which ones read it, what a run gives back.

Rewrites look at it and say what stands in place of which operations; it is built once for each program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from kernelearn.engine.program import Buffer, Operation, Program


class Graph:
    """The operations of a program by the buffers that they touch.

    Args:
        program: what is looked at; it does not change.
    """

    # That of the program that was looked at last: most rewrites find nothing to change in it.
    _last: ClassVar[Graph | None] = None

    def __init__(self, program: Program) -> None:
        last = Graph._last
        if last is not None and last.program is program:
            vars(self).update(vars(last))
            return
        self._look_at(program)
        Graph._last = self

    def _look_at(self, program: Program) -> None:
        self.program = program
        self._kept = frozenset(program.outputs.values())
        self._producers: dict[str, Operation] = {}
        self._readers: dict[str, list[Operation]] = {}
        self._places = {id(op): place for place, op in enumerate(program.operations)}
        for op in program.operations:
            for name in dict.fromkeys(op.inputs):
                self._readers.setdefault(name, []).append(op)
            if op.phase != "update":
                self._producers.update((name, op) for name in op.outputs)

    def producer(self, name: str) -> Operation | None:
        """The operation that computes a buffer; None for inputs and weights."""
        return self._producers.get(name)

    def readers(self, name: str) -> Sequence[Operation]:
        """The operations that read a buffer, in order, each once."""
        return self._readers.get(name, ())

    def only_reader(self, name: str) -> Operation | None:
        """The operation that alone reads a buffer, if a run does not give it back either."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and not self.is_kept(name) else None

    def is_kept(self, name: str) -> bool:
        """Whether a run gives the buffer back."""
        return name in self._kept

    def place(self, op: Operation) -> int:
        """Number of an operation in the order of execution."""
        return self._places[id(op)]

    def place_of(self, name: str) -> int:
        """Number of the operation that computes a buffer; -1 for inputs and weights."""
        made = self.producer(name)
        return -1 if made is None else self.place(made)

    def replaced(
        self,
        changes: Iterable[tuple[Operation, Sequence[Operation]]],
        buffers: Mapping[str, Buffer] | None = None,
    ) -> Program:
        """The program with others in place of some operations.

        Args:
            changes: an operation, and what stands in its place: nothing to drop it.
            buffers: new ones, and those that have changed.
        """
        places = {self.place(op): new for op, new in changes}
        operations = [new for i, op in enumerate(self.program.operations) for new in places.get(i, (op,))]
        return replace(
            self.program,
            buffers={**self.program.buffers, **(buffers or {})},
            operations=tuple(operations),
        )
