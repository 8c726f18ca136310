"""Functions that move and choose numbers: on arrays, in programs for any and for one batch, backwards."""

import numpy as np
import pytest

from kernelearn import ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, KernelearnError, ShapeError
from kernelearn.tracing import BatchSizeNeeded, Traced, fixed, tracing
from tests.ops.example import NORMAL, Example, flat
from tests.ops.examples_choosing import CHOOSING
from tests.ops.examples_shaping import SHAPING

EXAMPLES = [*SHAPING, *CHOOSING]
STEP = 1e-4


def traced(example: Example, graph: ProgramBuilder):
    """The results in a program, and the buffers of its arrays."""
    given = []
    for array in example.arrays:
        kind = graph.dtype if array.dtype.kind == "f" else array.dtype.name
        given.append(graph.input(f"x{id(array)}", (None, *array.shape[1:]), kind))
    with tracing(graph):
        found = example.call(getattr(ops, example.name), *[Traced(graph, b) for b in given])
    return list(found) if isinstance(found, list | tuple) else [found], given


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_in_a_program_for_any_number_of_images(engine):
    """What crosses the images, or says how many there are, cannot be in one."""
    graph, numbers, left = ProgramBuilder(), [], []
    for number, example in enumerate(EXAMPLES):
        try:
            results, _ = traced(example, graph)
        except BatchSizeNeeded:
            left.append(example)
            continue
        numbers.append(number)
        graph.outputs.update({f"{number}.{i}": r.buffer.name for i, r in enumerate(results)})
    assert {e.name for e in left if e.is_batched} <= {"slice", "slice_update", "broadcast_to"}
    inputs = {f"x{id(a)}": a for example in EXAMPLES for a in example.arrays}
    found = prepare(graph.build(), graph.variables, engine).run(inputs)
    for number in numbers:
        results = [array for name, array in found.items() if name.startswith(f"{number}.")]
        EXAMPLES[number].check(results, f"in a program on {engine}")


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.dtype == "float32"], ids=str)
def test_gradients_are_differences(example):
    """Exactly, because the functions are linear in the surroundings of these numbers."""
    arrays = [a.astype("float64") if a.dtype.kind == "f" else a for a in example.arrays]
    graph = ProgramBuilder(dtype="float64")
    graph.batch = 6
    results, given = traced(example, graph)
    rng = np.random.default_rng(2)
    directions = [rng.normal(size=a.shape) * (a.dtype.kind == "f") for a in arrays]
    f = getattr(ops, example.name)
    before = flat(example.call(f, *arrays))
    after = flat(example.call(f, *[a if not d.any() else a + STEP * d for a, d in zip(arrays, directions)]))
    weights = [rng.normal(size=y.shape) for y in before]
    with tracing(graph):
        parts = [graph.add("multiply", fixed(r).buffer, graph.constant(w)) for r, w in zip(results, weights)]
        sums = [graph.add("reduce_mean", p, axes=tuple(range(len(p.shape)))) for p in parts]
        loss = sums[0]
        for one in sums[1:]:
            loss = graph.add("add", loss, one)
    grads = add_gradients(graph, loss, tuple(b for b in given if b.dtype == "float64"))
    graph.outputs = {name: grad.name for name, grad in grads.items()}
    inputs = {f"x{id(a)}": b for a, b in zip(example.arrays, arrays)}
    found = prepare(graph.build(), graph.variables, "reference").run(inputs) if grads else {}
    slopes = sum(
        float((found[f"x{id(a)}"] * d).sum())
        for a, d in zip(example.arrays, directions)
        if f"x{id(a)}" in found
    )
    change = sum(float(((b - a) * w).mean()) for a, b, w in zip(before, after, weights))
    np.testing.assert_allclose(slopes, change / STEP, rtol=1e-8, atol=1e-9)


SMOOTH = {e.name: e for e in EXAMPLES if e.dtype == "float32" and e.arrays[0].dtype == np.float32}


@pytest.mark.parametrize("name", [n for n in SMOOTH if not n.endswith("_like")])
def test_gradients_have_gradients(name):
    """Of the sum of squares: the second derivative in a direction against differences of the first."""
    example, graph = SMOOTH[name], ProgramBuilder(dtype="float64")
    graph.batch = 6
    results, given = traced(example, graph)
    x = NORMAL.astype("float64") if example.arrays[0] is NORMAL else example.arrays[0].astype("float64")
    direction = np.random.default_rng(3).normal(size=x.shape)
    with tracing(graph):
        loss = sum((ops.sum(ops.square(r)) for r in results), 0.0)
    first = add_gradients(graph, loss.buffer, (given[0],))[given[0].name]
    with tracing(graph):
        along = ops.sum(Traced(graph, first) * ops.array(direction))
    second = add_gradients(graph, along.buffer, (given[0],))[given[0].name]
    graph.outputs = {"first": first.name, "second": second.name}
    run = prepare(graph.build(), graph.variables, "reference").run
    inputs = {f"x{id(a)}": a for a in example.arrays}

    def at(step):
        return run({**inputs, given[0].name: x + step * direction})

    np.testing.assert_allclose(
        at(0)["second"], (at(STEP)["first"] - at(-STEP)["first"]) / (2 * STEP), rtol=1e-6, atol=1e-8
    )


def _symbol(batch=None):
    graph = ProgramBuilder()
    graph.batch = batch
    return Traced(graph, graph.input("x", (None, 4, 5)))


def test_the_number_of_images_may_be_passed_on_but_not_computed_with():
    x = _symbol()
    n, rows, columns = ops.shape(x)
    assert ops.reshape(x, (n, rows * columns)).shape == (None, 20)
    assert ops.broadcast_to(np.ones(3, "float32"), (n, 3)).shape == (None, 3)
    assert ops.zeros((n, 2)).shape == (None, 2)
    with tracing(x.graph):
        assert ops.broadcast_to(np.ones((1, 3), "float32"), (x.shape[0], 3)).shape == (None, 3)
    for needs in (
        lambda: n * 2,
        lambda: ops.reshape(x, (n * rows, columns)),
        lambda: range(n),
        lambda: n == 3,
    ):
        with pytest.raises(BatchSizeNeeded):
            needs()
    assert ops.shape(_symbol(6)) == (6, 4, 5)
    assert (ops.size(_symbol(6)), ops.ndim(x)) == (120, 3)


def test_the_zeros_of_a_triangle_are_zeros_beside_infinities():
    x = np.array([[-np.inf, np.nan], [np.inf, 1.0]], "float32")
    np.testing.assert_array_equal(ops.triu(x), [[-np.inf, np.nan], [0, 1]])


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "float64"])
def test_types_are_kept(dtype):
    x = (NORMAL > 0).astype(dtype)
    assert ops.concatenate([x, x]).dtype == dtype
    assert ops.flip(x, 1).dtype == ops.take(x, [1], 1).dtype == ops.pad(x, 1).dtype == dtype
    assert ops.concatenate([x, NORMAL]).dtype == ("float64" if dtype == "float64" else "float32")


def test_new_arrays_are_those_of_numpy():
    for found, expected in [
        (ops.zeros((2, 3)), np.zeros((2, 3), "float32")),
        (ops.ones(2, "int32"), np.ones(2, "int32")),
        (ops.full((2,), 7), np.full(2, 7, "float32")),
        (ops.full((2, 2), [1.0, 2.0], "float64"), np.full((2, 2), [1.0, 2.0])),
        (ops.arange(5), np.arange(5, dtype="int32")),
        (ops.arange(0, 1, 0.25), np.arange(0, 1, 0.25, "float32")),
        (ops.eye(2, 3, 1), np.eye(2, 3, 1, "float32")),
        (ops.identity(2), np.eye(2, dtype="float32")),
        (ops.tri(3, k=-1), np.tri(3, k=-1, dtype="float32")),
        (ops.linspace(0, 2, 4, endpoint=False), np.linspace(0, 2, 4, False).astype("float32")),
        (ops.logspace(0, 2, 3), np.array([1, 10, 100], "float32")),
        (ops.geomspace(1, 4, 3), np.array([1, 2, 4], "float32")),
        (ops.empty((1, 2)), np.zeros((1, 2), "float32")),
        (ops.convert_to_tensor([1, 2]), np.array([1, 2], "int32")),
        (ops.convert_to_numpy([1.5]), np.array([1.5])),
        (ops.tril(NORMAL, 1), np.tril(NORMAL, 1)),
        (ops.triu(NORMAL, -1), np.triu(NORMAL, -1)),
    ]:
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert [p.tolist() for p in ops.nonzero([[0, 1], [2, 0]])] == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: ops.nonzero(x), ArgumentError, "size depends on numbers"),
        (lambda x: x[x > 0], ArgumentError, "size that depends on numbers"),
        (lambda x: x[:, 3:3], ShapeError, "leaves nothing"),
        (lambda x: x[:, 4], ShapeError, "Index 4 is out of bounds for an axis of 4"),
        (lambda x: x[:, :, :, 0], ShapeError, "4 indices"),
        (lambda x: ops.reshape(x, (None, 7)), KernelearnError, "reshape|number of images"),
        (lambda x: ops.split(x, 3, 1), ShapeError, "4 entries .* into 3 equal parts"),
        (lambda x: ops.pad(x, 1, "linear_ramp"), ArgumentError, "must be one of constant, reflect"),
        (lambda x: ops.take(x, [0.5], 1), ArgumentError, "integer indices"),
        (lambda x: ops.segment_sum(x, x), ArgumentError, "integer indices"),
        (lambda x: ops.squeeze(x, 1), ShapeError, "another size"),
        (lambda x: ops.transpose(x, (0, 1, 1)), ArgumentError, "an axis twice"),
        (lambda x: ops.moveaxis(x, 5, 0), ShapeError, "axis=5 for 3 axes"),
        (lambda x: ops.top_k(x, 6), ArgumentError, "k from 1 to the 5 entries"),
        (lambda x: ops.slice(x, (0, 0, 3), (6, 4, 3)), ShapeError, "does not lie in"),
        (lambda x: ops.slice(x, x, (1, 1, 1)), ArgumentError, "must be plain numbers"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call(_symbol(6))
