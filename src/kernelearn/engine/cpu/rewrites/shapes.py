"""A rewrite that asks an input for the number of images, so that nothing is kept for its shape alone.

before  n = image_count(a);  g = broadcast_to(s, a) shape=(None, 8)
after   n = image_count(x);  g = broadcast_to(s, x) shape=(None, 8)
"""

from __future__ import annotations

from dataclasses import replace

from kernelearn.engine.program import Operation, Program

# Operator -> how many of its inputs are read; of the others only the number of images counts.
READ = {"image_count": 0, "broadcast_to": 1}


def ask_inputs(program: Program) -> Program:
    """Every operation that needs the number of images takes it from an input of the program."""
    counted = next((buffer.name for buffer in program.inputs() if buffer.shape[:1] == (None,)), None)

    def asked(op: Operation) -> Operation:
        read = READ.get(op.operator)
        if counted is None or read is None or len(op.inputs) <= read:
            return op
        return replace(op, inputs=(*op.inputs[:read], counted))

    return replace(program, operations=tuple(map(asked, program.operations)))
