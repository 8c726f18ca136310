"""Compiled products of matrices where sizes take another path: chunks, units, few rows, chains, threads."""

import numpy as np
import pytest

import kernelearn
from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.gathering import SMALL_WEIGHTS
from kernelearn.engine.cpu.kernels.products import product
from kernelearn.engine.cpu.kernels.products.matrices import Stored, find_matrices
from kernelearn.engine.cpu.rewrites.turned_products import take_orders
from kernelearn.engine.gradients import add_gradients, gradients_of
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages

LONG = 2 * product.CHUNK + 37
MANY = product.UNIT_ROWS + 9


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype("float32")


def matmul(a, b, turned=(False, False), images=None) -> Problem:
    """A problem of matrices that are multiplied as (..., m, k) and (..., k, n)."""
    arrays = [np.ascontiguousarray(np.swapaxes(x, -1, -2)) if t else x for x, t in zip((a, b), turned)]
    attrs = dict(zip(("transpose_a", "transpose_b"), turned))
    return Problem("matmul", tuple(arrays), attrs, terms=a.shape[-1], images=images)


def problems() -> list[Problem]:
    """Several chunks, several units, blocks that are copied, and none of them; with and without images."""
    return [
        matmul(normal(11, LONG), normal(LONG, 35), images=()),
        matmul(normal(2, 3, LONG), normal(2, LONG, 18), (True, True)),
        matmul(normal(1, MANY, 70), normal(1, 70, 3 * product.UNIT_COLUMNS // 2), (False, True)),
        matmul(normal(MANY, 40), normal(40, 300), images=()),
        matmul(normal(product.UNIT_ROWS + 1, 41), normal(41, 300), images=()),
        matmul(normal(2, 3, 100), normal(100, 600), (False, True), images=()),
        matmul(normal(2, 2, 3, 1, 20), normal(2, 2, 3, 20, 1)),
        matmul(normal(3, 45, 33), normal(3, 33, 1), (True, False)),
        matmul(normal(2, 4, 3, 5), normal(1, 1, 5, 40), images=(0,)),
        matmul(normal(1, 1, 3, 5), normal(2, 4, 5, 40), images=(1,)),
        matmul(normal(1, MANY, LONG), normal(1, LONG, 140), (True, False)),
        *(kernel_gradient(*sizes) for sizes in ((9, 33, 17, 40), (2, 300, 20, 37), (1, 2 * 21, MANY, 300))),
    ]


def kernel_gradient(images: int, rows: int, inner: int, outer: int) -> Problem:
    """Of a dense layer on many rows an image; more shards than images among them."""
    arrays = normal(images, rows, inner), normal(images, rows, outer, seed=1)
    return Problem("dense_grad_kernel", arrays, terms=images * rows)


@pytest.mark.parametrize("target", TARGETS)
def test_products_of_all_sizes(target):
    for problem in problems():
        check(problem, target)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_product_leaves_its_buffers(target):
    check_guarded(problems(), target)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_come_through(bad):
    a, b = normal(2, 6, 300), normal(2, 300, 17)
    a[1, 2, 270] = bad
    check_special(matmul(a, b))


def test_leading_axes_become_rows_and_columns_of_one_are_turned():
    same = find_matrices(*map(Stored, ((None, 4, 3, 5), (5, 7), (None, 4, 3, 7))))
    assert (same.counts, same.m, same.n) == ((1,), 12, 7)
    heads = find_matrices(*map(Stored, ((None, 4, 3, 5), (None, 4, 5, 7), (None, 4, 3, 7))))
    assert (heads.counts, heads.m, heads.a.image) == ((4,), 3, 60)
    column = find_matrices(*map(Stored, ((None, 6, 5), (None, 5, 1), (None, 6, 1))))
    assert (column.m, column.n, column.b.row, column.b.column) == (1, 6, 1, 5)


def test_bfloat16_rounds_the_operands():
    a, b = normal(2, 5, 40), normal(2, 40, 9)
    attrs = {"precision": "bfloat16"}
    check(Problem("matmul", (a, b), attrs, terms=40))
    check(Problem("dense_grad_kernel", (normal(2, 40, 16), normal(2, 40, 9)), attrs, terms=80))


def test_a_dense_layer_on_many_rows_packs_its_weights():
    problem = Problem("dense", (normal(2, 40, 130), normal(130, 150)), terms=130)
    assert [call.note for call in Bench(problem).executable.plan.prologue] == ["pack weights"]
    check(problem)


def attention_step() -> tuple[CpuExecutable, dict[str, np.ndarray]]:
    """A loss over products with chains behind them, and its gradients; the second operand is broadcast."""
    g = ProgramBuilder(training=True)
    x, w = g.input("x", (None, 2, 9, 20)), g.variable(Variable(normal(2, 20, 9, seed=2), "w"))
    y = g.add("activation", g.add("scale", g.add("matmul", x, w), factor=0.5), kind="tanh")
    z = g.add("matmul", y, x, transpose_a=True)
    loss, _ = g.add("loss", z, g.input("t", z.shape), g.input("v", z.shape[:-1]), kind="mean_squared_error")
    grads = add_gradients(g, loss, also=(x,))
    g.outputs = {"loss": loss.name, "z": z.name, "gx": grads["x"].name, "gw": grads["w"].name}
    program = g.build()
    inputs = {"x": normal(5, 2, 9, 20), "t": normal(5, 2, 9, 20, seed=1), "v": np.ones((5, 2, 9), "f")}
    return CpuExecutable(program, g.variables), inputs


def test_a_chain_joins_its_product():
    executable, inputs = attention_step()
    products = [row for row in executable.work() if "matmul" in row.operators]
    assert all(row.is_native for row in products)
    assert ("matmul", "scale", "activation") in [row.operators for row in products]
    expected = prepare(executable.program, executable.variables, "reference").run(inputs)
    for name, value in executable.run(inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=2e-5, atol=2e-6)


def test_products_take_axes_in_another_order_themselves():
    """Heads of attention and gradients; a transposition that others read, and one between two products."""
    g = ProgramBuilder(training=True)
    x, w = g.input("x", (None, 9, 2, 20)), g.variable(Variable(normal(1, 20, 9, seed=2), "w"))
    heads = g.add("transpose", x, axes=(0, 2, 1, 3))
    columns = g.add("transpose", heads, axes=(0, 1, 3, 2))
    y = g.add("activation", g.add("matmul", heads, columns), kind="tanh")
    z = g.add("transpose", g.add("matmul", y, heads), axes=(0, 2, 1, 3))
    u = g.add("matmul", g.add("transpose", g.add("matmul", z, w), axes=(0, 2, 1, 3)), heads)
    loss, _ = g.add("loss", u, g.input("t", u.shape), g.input("v", u.shape[:-1]), kind="mean_squared_error")
    grads = add_gradients(g, loss, also=(x,))
    g.outputs = {"loss": loss.name, "z": z.name, "gx": grads["x"].name, "gw": grads["w"].name}
    executable = CpuExecutable(g.build(), g.variables)
    rewritten = take_orders(executable.program)
    left = [op for op in rewritten.operations if op.operator == "transpose"]
    assert len(left) < 2 and sum(op.operator == "turned_matmul" for op in rewritten.operations) > 6
    inputs = {"x": 0.3 * normal(5, 9, 2, 20)}
    inputs |= {"t": normal(5, *map(int, u.shape[1:])), "v": np.ones((5, *map(int, u.shape[1:-1])), "f")}
    expected = prepare(executable.program, g.variables, "reference").run(inputs)
    for found in (prepare(rewritten, g.variables, "reference").run(inputs), executable.run(inputs)):
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=2e-5, atol=2e-6, err_msg=name)
    elsewhere = [name for row in executable.work() if not row.is_native for name in row.operators]
    assert not [name for name in elsewhere if not name.startswith("loss")]


def test_every_number_of_threads_gives_the_same_bits():
    executable, inputs = attention_step()
    found = []
    try:
        for count in (1, 2, 3):
            kernelearn.set_num_threads(count)
            found.append(executable.run(inputs))
    finally:
        kernelearn.set_num_threads(None)
    for name, value in found[0].items():
        for other in found[1:]:
            np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_a_product_of_one_image_is_cut_into_units():
    bench = Bench(matmul(normal(1, MANY, 20), normal(1, 20, 30)))
    (call,) = bench.executable.calls()
    assert call.alternative.tasks.count(1) == 2
    kernelearn.set_num_threads(3)
    try:
        few = bench.run()[0]
    finally:
        kernelearn.set_num_threads(None)
    np.testing.assert_array_equal(few, bench.run_cut()[0])


def test_large_products_of_an_image_are_done_one_after_another():
    """A thread works on as many images as its cache holds, unless they are rows for large weights."""

    def bytes_of(*shapes, dense=0) -> int:
        g = ProgramBuilder()
        a, b = (g.input(name, (None, *shape)) for name, shape in zip("ab", shapes))
        y = g.add("softmax", g.add("matmul", a, b))
        if dense:
            y = g.add("reshape", y, shape=(None, 48))
            y = g.add("dense", y, g.input("w", (48, dense)))
        g.outputs = {"y": y.name}
        (stretch,) = CpuExecutable(g.build(), {}).stretches
        return stretch.groups[0].image_bytes

    assert bytes_of((6, 5), (5, 8)) == 4 * (30 + 40 + 48 + 48)
    assert bytes_of((6, 5), (5, 8), dense=3) == 4 * (30 + 40 + 48 + 48 + 3)
    assert bytes_of((6, 5), (5, 8), dense=SMALL_WEIGHTS // 4 // 48 + 1) == 0


def test_one_matrix_for_a_known_number_of_rows_has_a_compiled_gradient():
    g = ProgramBuilder()
    a, b = g.input("a", (3, 5, 20)), g.input("b", (20, 9))
    y = g.add("matmul", a, b)
    grads = gradients_of(g, y, ("a", "b"), g.input("r", y.shape))
    g.outputs = {"a": grads["a"].name, "b": grads["b"].name}
    executable = CpuExecutable(g.build(), {})
    assert all(row.is_native for row in executable.work())
    inputs = {"a": normal(3, 5, 20), "b": normal(20, 9), "r": normal(3, 5, 9)}
    found = executable.run(inputs)
    np.testing.assert_allclose(found["a"], inputs["r"] @ inputs["b"].T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["b"], np.einsum("abc,abf->cf", inputs["a"], inputs["r"]), rtol=1e-4, atol=1e-5
    )
