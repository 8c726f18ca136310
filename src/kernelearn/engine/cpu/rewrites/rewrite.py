"""What a rewrite is, and the check of their order."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from kernelearn.engine.program import Program


@dataclass(frozen=True)
class Rewrite:
    """A way to compute the same step differently.

    Attributes:
        name: for people; new operations say it in `Operation.made_by`.
        function: gives the rewritten program.
        after: names of the rewrites that have to come before, because this one works on what they make.
    """

    name: str
    function: Callable[[Program], Program]
    after: tuple[str, ...] = ()

    def __call__(self, program: Program) -> Program:
        """The rewritten program; operations that are new in it tell which rewrite made them."""
        rewritten = self.function(program)
        if _are_same(rewritten, program):
            return program
        known = set(map(id, program.operations))
        operations = tuple(
            op if id(op) in known else replace(op, made_by=(*op.made_by, self.name))
            for op in rewritten.operations
        )
        return replace(rewritten, operations=operations)


def _are_same(first: Program, second: Program) -> bool:
    """Whether two programs hold the very same objects."""
    if first.outputs != second.outputs or first.gradients != second.gradients:
        return False
    pairs = ((first.operations, second.operations), (first.buffers.values(), second.buffers.values()))
    return all(len(a) == len(b) and all(map(operator.is_, a, b)) for a, b in pairs)


def in_order(*rewrites: Rewrite) -> tuple[Rewrite, ...]:
    """The rewrites as a list.

    Raises: ValueError if one has a name twice, or stands before another that it comes after.
    """
    seen: set[str] = set()
    for rewrite in rewrites:
        missing = [name for name in rewrite.after if name not in seen]
        if missing or rewrite.name in seen:
            why = f"comes after {missing}, which are not before it" if missing else "is there twice"
            raise ValueError(f"The rewrite {rewrite.name!r} {why}.")
        seen.add(rewrite.name)
    return rewrites
