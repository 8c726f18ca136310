"""What traced code wants done behind a run: metrics updated with the numbers that the run gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn import tracing
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.tracing import Traced
from kernelearn.training.own.forms import Form, put_together

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Output:
    """Where a value comes from: a label of a program's output, or a thing that the code gave as it is."""

    label: str | None
    value: Any = None

    def of(self, arrays: Arrays) -> Any:
        """The value behind a run."""
        if self.label is not None:
            return arrays[self.label]
        return self.value.result() if isinstance(self.value, tracing.Later) else self.value


@dataclass(frozen=True)
class Afterwards:
    """A call of a method behind every run.

    Attributes:
        owner, method: of a metric.
        outputs, form: the arguments, (args, keywords).
    """

    owner: Any
    method: str
    outputs: Sequence[Output]
    form: Form

    def do(self, arrays: Arrays) -> None:
        """Call it with what the run gave."""
        args, keywords = put_together([output.of(arrays) for output in self.outputs], self.form)
        getattr(self.owner, self.method)(*args, **keywords)


def labelled(graph: ProgramBuilder) -> list[Afterwards]:
    """The calls that traced code has asked for; the values that they want become outputs of the program."""
    return [
        Afterwards(
            owner, method, [output(graph, leaf, f"after_{i}_{j}") for j, leaf in enumerate(leaves)], form
        )
        for i, (owner, method, leaves, form) in enumerate(graph.afterwards)
    ]


def output(graph: ProgramBuilder, leaf: Any, label: str) -> Output:
    """A value under a label of the program; weights are read as they are at this place of the code."""
    if isinstance(leaf, Variable):
        leaf = tracing.lifted(graph, leaf)
    if not isinstance(leaf, Traced):
        return Output(None, leaf)
    buffer: Buffer = leaf.buffer
    if buffer.role != "value":
        is_float = buffer.dtype.startswith("float")
        buffer = graph.add("scale", buffer) if is_float else graph.add("reshape", buffer, shape=buffer.shape)
    graph.outputs[label] = buffer.name
    return Output(label)
