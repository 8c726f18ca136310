"""A program as a graph: producers, readers, what is kept, and other operations in place of some."""

from dataclasses import replace

import numpy as np

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Program, ProgramBuilder
from kernelearn.engine.variable import Variable


def chain() -> Program:
    """x -> scale -> scale_2 (kept), and a state that takes the first up."""
    graph = ProgramBuilder()
    x = graph.input("x", (None, 3))
    first = graph.add("scale", x, factor=2.0)
    second = graph.add("scale", first, factor=3.0)
    state = graph.state("state", Variable(np.zeros(3, "float32"), "state"))
    graph.update("moving_average", (state, first), (state,), momentum=0.5)
    graph.outputs = {"y": second.name}
    return graph.build()


def test_who_makes_and_reads_a_buffer():
    program = chain()
    first, second, update = program.operations
    graph = Graph(program)
    assert graph.producer("scale") is first and graph.producer("scale_2") is second
    assert graph.producer("x") is None and graph.producer("state") is None  # a weight, though it is written
    assert list(graph.readers("scale")) == [second, update] and list(graph.readers("scale_2")) == []
    assert (graph.place(update), graph.place_of("scale_2"), graph.place_of("x")) == (2, 1, -1)


def test_what_only_one_operation_needs():
    graph = Graph(chain())
    assert graph.is_kept("scale_2") and not graph.is_kept("scale")
    assert graph.only_reader("x") is graph.program.operations[0]
    assert graph.only_reader("scale") is None  # two readers
    kept = Graph(replace(graph.program, outputs={"x": "x"}))
    assert kept.only_reader("x") is None  # one, and the caller


def test_other_operations_in_place_of_some():
    program = chain()
    first, second, update = program.operations
    more = replace(first, outputs=("more",))
    buffers = {"more": replace(program.buffers["scale"], name="more")}
    changed = Graph(program).replaced([(first, [first, more]), (second, [])], buffers)
    assert changed.operations == (first, more, update)
    assert changed.buffers["more"].shape == (None, 3) and "more" not in program.buffers
