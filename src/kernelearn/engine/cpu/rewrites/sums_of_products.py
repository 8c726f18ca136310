"""A rewrite that takes out of sums and means what is the same for all that they add.

    before  p = multiply(g, gamma);  t = sum_to(p)                    gamma: one number per channel
    after   s = sum_to(g);  t = multiply(s, gamma)

    before  d = add(multiply(g, r), multiply(x, c));  t = sum_to(d)   c: from another sum over the same axes
    after   t = r sum_to(g) + c sum_to(x)

Sums of the same numbers then are one, and sums that waited for others are done in one pass with them: so the
gradient of a normalisation needs one pass for its sums and one for its result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.reductions.reduced import axes_of
from kernelearn.engine.cpu.rewrites.ancestors import Ancestors
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Buffer, Operation, Program

SUMS = ("sum_to", "reduce_mean")
# Sums that stand in place of one, at most.
MAX_TERMS = 4


@dataclass(frozen=True)
class Term:
    """factor * (product of small) / (product of below) * (product of whole); only `whole` are large."""

    whole: tuple[str, ...]
    small: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    factor: float = 1.0

    def times(self, other: Term) -> Term:
        return Term(
            self.whole + other.whole,
            self.small + other.small,
            self.below + other.below,
            self.factor * other.factor,
        )


def take_out_factors(program: Program) -> Program:
    """Every sum and mean that has something to take out, replaced."""
    graph = Graph(program)
    ancestors = Ancestors(graph)
    buffers: dict[str, Buffer] = {}
    changes = []
    for op in program.operations:
        if op.operator in SUMS and program.buffers[op.inputs[0]].dtype == "float32" and op.phase != "update":
            terms = _Terms(graph, ancestors, op).found
            written = None if terms is None else _Writer(program, op, buffers).written(terms)
            if written is not None:
                changes.append((op, written))
    return graph.replaced(changes, buffers)


class _Terms:
    """What a sum adds, as terms; `found` is None where the sum stays as it is."""

    def __init__(self, graph: Graph, ancestors: Ancestors, op: Operation) -> None:
        self.graph, self.op = graph, op
        self.buffers = graph.program.buffers
        self.shape = self.buffers[op.inputs[0]].shape
        self.axes = axes_of(op, self.shape)
        terms = self._terms(op.inputs[0])
        plain = len(terms) == 1 and not (terms[0].small or terms[0].below or terms[0].factor != 1.0)
        waits = len(terms) == 1 or any(
            self._is_from_a_sum(name, ancestors) for term in terms for name in (*term.small, *term.below)
        )
        is_long = len(terms) > MAX_TERMS or any(len(term.whole) > 2 for term in terms)
        self.found = None if plain or is_long or not waits else terms

    def _is_small(self, name: str) -> bool:
        """Whether a buffer is the same along the axes that are summed."""
        small = self.buffers[name].shape
        if self.buffers[name].dtype != "float32" or len(small) > len(self.shape):
            return False
        padded = (1,) * (len(self.shape) - len(small)) + tuple(small)
        return all(padded[axis] == 1 for axis in self.axes)

    def _is_from_a_sum(self, name: str, ancestors: Ancestors) -> bool:
        """Whether a buffer is made from a sum of the same phase over the same axes."""
        operations, last = self.graph.program.operations, self.graph.place(self.op)
        sums = [(place, operations[place]) for place in ancestors.reductions if place < last]
        return any(
            ancestors.reaches(name, (place,))
            for place, op in sums
            if op.operator in SUMS
            and op.phase == self.op.phase
            and self.buffers[op.inputs[0]].shape == self.shape
            and axes_of(op, self.shape) == self.axes
        )

    def _terms(self, name: str) -> list[Term]:
        """Terms of a tensor as large as all."""
        made = self.graph.producer(name)
        if made is None:
            return [Term((name,))]
        if made.phase != self.op.phase and made.operator not in ("multiply", "divide", "scale"):
            return [Term((name,))]
        return self._of(made) or [Term((name,))]

    def _of(self, op: Operation) -> list[Term] | None:
        """Terms of what an operation makes; None if it is no sum or product."""
        if op.operator == "scale" and isinstance(op.attrs["factor"], float):
            factor, offset = float(op.attrs["factor"]), op.attrs["offset"]
            terms = [replace(term, factor=term.factor * factor) for term in self._terms(op.inputs[0])]
            return terms if offset == 0 else None
        if op.operator in ("add", "subtract") and all(map(self._is_usable, op.inputs)):
            sign = -1.0 if op.operator == "subtract" else 1.0
            first, second = (self._summand(name) for name in op.inputs)
            return [*first, *(replace(term, factor=term.factor * sign) for term in second)]
        if op.operator == "multiply":
            return self._product(*op.inputs)
        if op.operator == "divide" and self._is_small(op.inputs[1]) and self._is_whole(op.inputs[0]):
            return [term.times(Term((), (), (op.inputs[1],))) for term in self._terms(op.inputs[0])]
        if op.operator == "broadcast_to" and self._is_small(op.inputs[0]):
            return [Term((), (op.inputs[0],))]
        return None

    def _is_whole(self, name: str) -> bool:
        return self.buffers[name].shape == self.shape

    def _is_usable(self, name: str) -> bool:
        return self._is_whole(name) or self._is_small(name)

    def _summand(self, name: str) -> list[Term]:
        return [Term((), (name,))] if self._is_small(name) else self._terms(name)

    def _product(self, a: str, b: str) -> list[Term] | None:
        for one, other in ((a, b), (b, a)):
            if self._is_small(one) and self._is_whole(other):
                return [term.times(Term((), (one,))) for term in self._terms(other)]
        if not self._is_whole(a) or not self._is_whole(b):
            return None
        factors = [self._terms(name) for name in (a, b)]
        if any(len(terms) > 1 for terms in factors):
            return [Term((a, b))]
        return [factors[0][0].times(factors[1][0])]


class _Writer:
    """The operations that stand in place of a sum."""

    def __init__(self, program: Program, op: Operation, buffers: dict[str, Buffer]) -> None:
        self.op, self.known, self.buffers = op, program.buffers, buffers
        self.source = program.buffers[op.inputs[0]]
        self.axes = axes_of(op, self.source.shape)
        self.kept = tuple(1 if i in self.axes else s for i, s in enumerate(self.source.shape))
        self.operations: list[Operation] = []

    def written(self, terms: Sequence[Term]) -> list[Operation] | None:
        """None if the result would have to be repeated."""
        total = ""
        for term in terms:
            part = self._part(term)
            total = self._add("add", total, part) if total else part
        if (self.buffers.get(total) or self.known[total]).shape != self.kept:
            return None
        shape = self.known[self.op.outputs[0]].shape
        attrs = OPERATORS["reshape"].whole({"shape": shape})
        last = replace(self.op, operator="reshape", inputs=(total,), attrs=attrs)
        return [*self.operations, last]

    def _part(self, term: Term) -> str:
        value = self._sum(term)
        for name in term.small:
            value = self._add("multiply", value, name) if value else name
        factor = term.factor
        if not term.whole and self.op.operator == "sum_to":
            sizes = [self.source.shape[axis] for axis in self.axes]
            factor *= math.prod(size for size in sizes if size is not None)
            if None in sizes:
                value = self._add(
                    "multiply", value, self._add("image_count", self.source.name, dtype="float32")
                )
        if factor != 1.0:
            value = self._add("scale", value, factor=factor)
        for name in term.below:
            value = self._add("divide", value, name)
        return value

    def _sum(self, term: Term) -> str:
        """The sum of the product of what is as large as all."""
        if not term.whole:
            return ""
        whole = term.whole[0]
        for name in term.whole[1:]:
            whole = self._add("multiply", whole, name)
        if self.op.operator == "sum_to":
            return self._add("sum_to", whole, axes=self.axes, shape=self.kept)
        return self._add("reduce_mean", whole, axes=self.axes, keepdims=True)

    def _add(self, operator: str, *inputs: str, **attrs: object) -> str:
        """An operation; the name of its result."""
        whole = OPERATORS[operator].whole(attrs)
        specs = [({**self.known, **self.buffers})[name].spec for name in inputs]
        (spec,) = OPERATORS[operator].shape_rule(*specs, **whole)
        name = f"{self.op.outputs[0]}/{operator} {len(self.operations) + 1}"
        self.buffers[name] = Buffer(name, spec.shape, spec.dtype)
        self.operations.append(
            replace(self.op, operator=operator, inputs=inputs, outputs=(name,), attrs=whole, made_by=())
        )
        return name
