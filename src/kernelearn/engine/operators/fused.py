"""The operator that stands for several: what a compiling engine does in one pass over memory.

Only rewrites make it. The reference engine runs its body one operation after another, so that a rewritten
program can be compared with the original.
"""

from dataclasses import dataclass
from typing import Any

from kernelearn.engine.arrays import Array
from kernelearn.engine.operators.table import OPERATORS, Spec, operator, required


@dataclass(frozen=True)
class Body:
    """Operations with the names of what they take from outside and what they give back.

    Attributes:
        operations: in order (`engine.program.Operation`); values are passed on by name.
        inputs, outputs: names, in the order of the inputs and outputs of the fused operation.
        specs: shapes and types of the outputs.
    """

    operations: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    specs: tuple[Spec, ...]

    def __str__(self) -> str:
        return " + ".join(op.operator for op in self.operations)


def fused(*arrays: Array, body: Body) -> tuple[Array, ...]:
    """Run the body."""
    values = dict(zip(body.inputs, arrays))
    for op in body.operations:
        results = OPERATORS[op.operator].run(*[values[n] for n in op.inputs], **op.attrs)
        values.update(zip(op.outputs, results if isinstance(results, tuple) else (results,)))
    return tuple(values[name] for name in body.outputs)


operator("fused", lambda *inputs, body: body.specs, fused, attrs=required("body"))
