"""A rewrite that does once what is done twice.

    before  a = subtract(x, m);  ...;  b = subtract(x, m);  c = square(b)
    after   a = subtract(x, m);  ...;  c = square(a)

Of operations entry by entry, reductions and changes of shape, within a phase: what the backward pass does
again need not be kept from the forward pass on.
"""

from __future__ import annotations

from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.emitters import has_code
from kernelearn.engine.cpu.kernels.reductions.kinds import KINDS
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation, Program

OTHERS = ("reshape", "image_count", *KINDS)


def do_once(program: Program) -> Program:
    """The program without repetitions; what a run gives back keeps its name."""
    graph = Graph(program)
    names: dict[str, str] = {}
    seen: dict[tuple[object, ...], Operation] = {}
    result: list[Operation] = []
    for op in program.operations:
        inputs = tuple(names.get(name, name) for name in op.inputs)
        moved = op if inputs == op.inputs else replace(op, inputs=inputs)
        if op.phase != "update" and (op.operator in OTHERS or has_code(op, program.buffers)):
            first = seen.setdefault((op.operator, inputs, _what(op), op.phase), moved)
            if first is not moved and not any(map(graph.is_kept, op.outputs)):
                shapes = [program.buffers[each.outputs[0]].shape for each in (first, op)]
                if shapes[0] == shapes[1]:
                    names.update(zip(op.outputs, first.outputs))
                    continue
                attrs = OPERATORS["reshape"].whole({"shape": shapes[1]})
                moved = replace(op, operator="reshape", inputs=first.outputs, attrs=attrs)
        result.append(moved)
    return without_unread(replace(program, operations=tuple(result)))


def _what(op: Operation) -> str:
    """What an operation does; reductions that differ in the shape of their result alone do the same."""
    left_out = ("shape", "keepdims") if op.operator in KINDS else ()
    return repr(sorted((name, value) for name, value in op.attrs.items() if name not in left_out))


def without_unread(program: Program) -> Program:
    """The program without operations entry by entry and reductions whose results nobody reads."""
    needed = set(program.outputs.values())
    kept: list[Operation] = []
    for op in reversed(program.operations):
        is_light = op.operator in OTHERS or op.operator == "fill" or has_code(op, program.buffers)
        if op.phase == "update" or not is_light or needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    return replace(program, operations=tuple(reversed(kept)))
