"""Products of operands rounded to bfloat16: the rounding itself, the reference operators, the rewrite."""

import numpy as np
import pytest

from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.reference.precision import round_to_bfloat16
from kernelearn.engine.rewrites import PRODUCTS, with_products_in
from kernelearn.engine.variable import Variable
from kernelearn.errors import UnknownNameError

ATTRS = {"stride": (1, 1), "padding": ((1, 1), (0, 1)), "dilation": (1, 1), "groups": 1}


def nearest(x: float) -> float:
    """The bfloat16 next to x by search among its two neighbours, the even one in a tie: an oracle."""
    low = np.array([x], np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    pair = np.concatenate([low, low + np.uint32(0x10000)])
    values = pair.view(np.float32).astype("float64")
    distances = np.abs(values - np.float64(np.float32(x)))
    if distances[0] == distances[1]:
        return float(values[int(pair[0] >> 16) & 1])
    return float(values[np.argmin(distances)])


def test_rounds_to_the_nearest_and_ties_to_even():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=400) * 10.0 ** rng.integers(-30, 30, 400)).astype("float32")
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 2.0**-130, 0.0, -0.0], "float32")
    x = np.concatenate([x, ties])
    np.testing.assert_array_equal(round_to_bfloat16(x), [nearest(v) for v in x])


def test_special_values():
    x = np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38], "float32")
    np.testing.assert_array_equal(round_to_bfloat16(x), [np.nan, np.inf, -np.inf, np.inf, -np.inf])
    strange = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    assert np.isnan(round_to_bfloat16(strange)).all()


def test_shapes_and_types_stay():
    for dtype in ("float32", "float64"):
        for shape in ((), (0,), (3, 1, 2)):
            y = round_to_bfloat16(np.ones(shape, dtype))
            assert (y.shape, y.dtype) == (shape, np.dtype(dtype))
    strided = np.arange(12, dtype="float32").reshape(3, 4).T * 1.001
    np.testing.assert_array_equal(round_to_bfloat16(strided), round_to_bfloat16(strided.copy()))


OPERANDS = {
    "conv": ((2, 5, 4, 3), (3, 2, 3, 4), ATTRS),
    "conv_grad_input": ((2, 5, 4, 4), (3, 2, 3, 4), {**ATTRS, "input_size": (5, 4)}),
    "conv_grad_kernel": ((2, 5, 4, 3), (2, 5, 4, 4), {**ATTRS, "kernel_size": (3, 2)}),
    "conv_transpose": ((2, 5, 4, 4), (3, 2, 3, 4), {**ATTRS, "output_size": (5, 4)}),
    "dense": ((2, 3), (3, 4), {}),
    "dense_grad_input": ((2, 4), (3, 4), {}),
    "dense_grad_kernel": ((2, 3), (2, 4), {}),
    "matmul": ((2, 4, 3), (2, 5, 3), {"transpose_b": True}),
}


@pytest.mark.parametrize("operator", PRODUCTS)
def test_operators_round_their_operands(operator):
    rng = np.random.default_rng(1)
    first, second, attrs = OPERANDS[operator]
    x, w = (rng.normal(size=shape).astype("float32") for shape in (first, second))
    run = OPERATORS[operator].run
    expected = run(round_to_bfloat16(x), round_to_bfloat16(w), **attrs)
    np.testing.assert_array_equal(run(x, w, precision="bfloat16", **attrs), expected)
    assert not np.array_equal(expected, run(x, w, **attrs))
    with pytest.raises(UnknownNameError, match="Unknown precision 'bfloat17'"):
        run(x, w, precision="bfloat17", **attrs)


def small_program():
    graph = ProgramBuilder(training=True)
    kernel, matrix = (
        Variable(np.ones((3, 3, 2, 4), "f4"), "kernel"),
        Variable(np.ones((4, 3), "f4"), "matrix"),
    )
    x = graph.input("x", (None, 6, 6, 2))
    y = graph.add(
        "conv", x, graph.variable(kernel), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1
    )
    y = graph.add("dense", graph.add("reduce_mean", y, axes=(1, 2), keepdims=False), graph.variable(matrix))
    target, weights = graph.input("target", (None, 3)), graph.input("weights", (None,))
    loss, _ = graph.add("loss", y, target, weights, kind="mean_squared_error", reduction="sum")
    graph.outputs = {"loss": loss.name}
    return graph, loss


def test_the_rewrite_marks_products_and_nothing_else():
    graph, loss = small_program()
    grads = add_gradients(graph, loss)
    graph.outputs.update({f"g{i}": b.name for i, b in enumerate(grads.values())})
    plain = graph.build()
    assert with_products_in(plain, "float32") is plain
    assert "precision" not in str(plain)
    marked = with_products_in(plain, "bfloat16")
    assert {op.operator for op in marked.operations if op.attrs.get("precision") == "bfloat16"} == {
        "conv", "conv_grad_kernel", "dense", "dense_grad_input", "dense_grad_kernel"
    }  # fmt: skip
    assert all(op.operator in PRODUCTS for op in marked.operations if "precision" in op.attrs)
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("f4")
    inputs = {"x": x, "target": np.zeros((3, 3), "f4"), "weights": np.ones(3, "f4")}
    results = [ReferenceExecutable(p, graph.variables).run(inputs) for p in (plain, marked)]
    assert results[0]["loss"] != results[1]["loss"]
    np.testing.assert_allclose(results[0]["loss"], results[1]["loss"], rtol=0.05)


def test_gradient_rules_hand_the_precision_on():
    graph, loss = small_program()
    graph.operations = [
        type(op)(
            op.operator, op.inputs, op.outputs, {**op.attrs, "precision": "bfloat16"}, op.layer, op.phase
        )
        if op.operator in PRODUCTS
        else op
        for op in graph.operations
    ]
    add_gradients(graph, loss)
    products = [op for op in graph.operations if op.operator in PRODUCTS]
    assert len(products) == 5
    assert all(op.attrs["precision"] == "bfloat16" for op in products)
