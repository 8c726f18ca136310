"""Choosing by numbers on the CPU engine: sums in order, and what is said of numbers that are no entries."""

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError
from tests.engine.cpu.harness import Bench, Problem


def test_rows_are_added_in_the_order_of_the_entries():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(50, 4, 5)) * 10.0 ** rng.integers(-3, 4, (50, 4, 1))).astype("float32")
    numbers = rng.integers(0, 33, (50, 4))
    bench = Bench(Problem("scatter_add", (values, numbers), {"axis": 0, "shape": (33, 5)}, images=(0, 1)))
    expected = np.zeros((33, 5), "float32")
    for place, value in zip(numbers.ravel(), values.reshape(-1, 5)):
        expected[place] += value
    np.testing.assert_array_equal(bench.run()[0], expected)


def _table(numbers, engine):
    """Rows of a table as a program of its own."""
    graph = ProgramBuilder()
    table = Variable(np.arange(6.0, dtype="float32").reshape(3, 2), "table")
    found = graph.add("gather", graph.variable(table), graph.input("numbers", (None,), "int64"), axis=0)
    graph.outputs = {"y": found.name}
    return prepare(graph.build(), {"table": table}, engine).run({"numbers": np.asarray(numbers)})["y"]


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_a_number_that_is_no_entry_is_named(engine):
    np.testing.assert_array_equal(_table([2, -3], engine), [[4, 5], [0, 1]])
    with pytest.raises(ArgumentError, match=r"Index 3 is out of bounds for an axis of 3"):
        _table([1, 3], engine)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_a_sum_into_no_entry_is_named(engine):
    graph = ProgramBuilder()
    values, numbers = graph.input("values", (None, 2)), graph.input("numbers", (None,), "int64")
    graph.outputs = {"y": graph.add("scatter_add", values, numbers, axis=0, shape=(20, 2)).name}
    run = prepare(graph.build(), {}, engine).run
    assert run({"values": np.ones((2, 2)), "numbers": np.array([19, -1])})["y"][19, 0] == 2
    with pytest.raises(ArgumentError, match=r"Index 20 is out of bounds"):
        run({"values": np.ones((2, 2)), "numbers": np.array([0, 20])})


def test_a_computed_number_that_is_no_entry_gives_nan():
    graph = ProgramBuilder()
    x = graph.input("x", (None, 3))
    shown = graph.add("strided_slice", graph.input("numbers", (None, 2), "int64"), places=(None, (1, 2, -1)))
    graph.outputs = {"y": graph.add("gather_along", x, shown, axis=1).name}
    run = prepare(graph.build(), {}, "cpu").run
    y = run({"x": np.ones((1, 3)), "numbers": np.array([[3, 2]])})["y"]
    np.testing.assert_array_equal(y, [[1, np.nan]])
