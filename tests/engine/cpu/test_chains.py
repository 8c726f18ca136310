"""Chains of functions, conditions and choices: types of numbers, constants, repeated operands, one kernel."""

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.plan import Call
from kernelearn.engine.cpu.rewrites.ancestors import in_order_of_need
from kernelearn.engine.cpu.rewrites.chains import fuse_chains
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.operators.expressions import Term
from kernelearn.engine.program import Buffer, Operation, Program, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import KernelearnError
from tests.engine.cases_functions import FUNCTIONS, PAIRS
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special, problem_of
from tests.engine.cpu.memory import needs_guard_pages

RNG = np.random.default_rng(4)
SHAPE = (3, 4, 5, 19)


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    if dtype == "bool":
        return RNG.random(shape) < 0.5
    if dtype == "float32":
        return RNG.normal(size=shape).astype(dtype)
    return RNG.integers(-9, 9, shape).astype(dtype)


def typed() -> list[Problem]:
    """Booleans and integers, whole and repeated, of short and long rows."""
    found = []
    for shape in (SHAPE, (2, 70), (2, 1)):
        for dtype in ("int32", "int64", "float32"):
            x, y = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype)
            found += [Problem(name, (x, y), ulps=1) for name in ("less", "equal", "maximum", "multiply")]
            found += [
                Problem("where", (numbers(*shape, dtype="bool"), x, y), ulps=1),
                Problem("where", (numbers(*shape[:-1], 1, dtype="bool"), x, y), ulps=1),
                Problem("cast", (x,), {"dtype": "bool"}),
                Problem("abs", (x,), ulps=1),
            ]
            found += [
                Problem("cast", (x,), {"dtype": other}, ulps=1)
                for other in ("int32", "int64", "float32", "uint8")
                if not (other == "uint8" and dtype == "float32")
            ]
        truth = numbers(*shape, dtype="bool")
        found += [Problem(name, (truth, truth[::-1].copy())) for name in ("logical_xor", "equal")]
        found += [Problem("logical_not", (truth,)), Problem("cast", (truth,), {"dtype": "int64"})]
        found += [
            Problem("cast", (np.abs(numbers(*shape, dtype="int32")).astype("uint8"),), {"dtype": "float32"})
        ]
    return [problem for problem in found if Bench(problem).is_native]


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_numbers_of_all_types_stay_in_their_buffers(target):
    problems = typed()
    assert len(problems) > 80
    check_guarded(problems, target)


def test_each_function_by_itself():
    for case in FUNCTIONS:
        if case.operator != "cast" and case.inputs[0].dtype != bool:
            problem = problem_of(case)
            check(problem, native=True)


@pytest.mark.parametrize("operator", PAIRS)
def test_ends_of_functions_of_two_numbers(operator):
    """All pairs of what is special, as NumPy has them."""
    ends = np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 3, np.inf, -np.inf, np.nan, 1e-40, 3e38], "float32")
    x, y = (a.reshape(2, -1) for a in np.meshgrid(ends, ends))
    if operator == "floor_divide":  # by zero NumPy says NaN or infinity by rules of its own
        x, y = x[:, np.isfinite(x[0]) & np.isfinite(y[0])], y[:, np.isfinite(x[0]) & np.isfinite(y[0])]
        x, y = x[:, y[0] != 0], y[:, y[0] != 0]
    check_special(Problem(operator, (x, y)))


def program(shape, *operands) -> ProgramBuilder:
    """Ten operations on a tensor, with constants and with operands that are repeated."""
    graph = ProgramBuilder()
    x = Term(graph, graph.input("x", shape))
    others = [Term(graph, graph.input(f"e{i}", other)) for i, other in enumerate(operands)]
    y = x
    for other in others:
        y = y * other + 0.5
        y = y.apply("greater", y.constant(0.0)).apply("where", y.apply("sin"), y / 3.0)
    y = y.apply("maximum", y.constant(-1.0)).apply("exp")
    graph.outputs = {"y": y.buffer.name}
    return graph


@pytest.mark.parametrize("shape", [(None, 4, 5, 19), (3, 4, 5, 19)], ids=str)
def test_ten_operations_are_one_kernel(shape):
    lead = shape[0]
    graph = program(shape, (lead, 4, 5, 1), (lead, 1, 1, 19), (19,), (1, 4, 1, 1))
    inputs = {b.name: numbers(*(3 if s is None else s for s in b.shape)) for b in graph.build().inputs()}
    executable = CpuExecutable(graph.build(), {})
    calls = executable.calls()
    assert len(calls) == 1 and isinstance(calls[0], Call)
    expected = prepare(graph.build(), {}, "reference").run(inputs)["y"]
    np.testing.assert_allclose(executable.run(inputs)["y"], expected, rtol=1e-5, atol=1e-6)


def test_what_only_a_chain_needs_is_computed_in_it():
    """b comes after a, and is needed by c: all three are one pass."""
    graph = ProgramBuilder()
    x, y = (Term(graph, graph.input(name, (None, 8))) for name in "xy")
    a = x.apply("exp")
    b = y.apply("sin")
    graph.outputs = {"c": (a * b).buffer.name}
    (only,) = fuse_chains(graph.build()).operations
    assert str(only.attrs["body"]) == "exp + sin + multiply"


def test_a_group_does_not_close_a_circle():
    """c needs the sum of a: it cannot be done in the pass that makes a."""
    graph = ProgramBuilder()
    x = Term(graph, graph.input("x", (None, 8)))
    a = x.apply("exp")
    total = a.apply("sum_to", axes=(1,), shape=(None, 1))
    graph.outputs = {"c": (a / total).buffer.name}
    first, second = fuse_chains(graph.build()).operations
    assert str(first.attrs["body"]) == "exp + sum_to" and second.operator == "divide"


def test_a_pass_of_the_gradient_is_not_done_ahead():
    """What only the backward pass reads would have to be kept until then."""
    graph = ProgramBuilder()
    x = graph.input("x", (None, 8))
    y = Term(graph, x).apply("exp")
    graph.phase = "backward"
    later = (Term(graph, x).apply("cos") * y).buffer
    graph.outputs = {"y": y.buffer.name, "g": later.name}
    found = fuse_chains(graph.build()).operations
    assert [(op.operator, op.phase) for op in found] == [("exp", "forward"), ("fused", "backward")]


def test_reductions_over_the_same_axes_are_one_pass():
    """Of what is read and of what is made from it; one that a later operation needs is not done with it."""
    graph = ProgramBuilder()
    x, g = (Term(graph, graph.input(name, (None, 6, 6, 8))) for name in "xg")
    axes = {"axes": (0, 1, 2)}
    mean = x.apply("reduce_mean", keepdims=True, **axes)
    centred = x - mean
    graph.outputs = {
        "mean": mean.buffer.name,
        "variance": centred.apply("square").apply("reduce_mean", **axes).buffer.name,
        "along": (g * centred).apply("sum_to", shape=(8,), **axes).buffer.name,
        "total": g.apply("sum_to", shape=(8,), **axes).buffer.name,
    }
    found = fuse_chains(graph.build()).operations
    assert [str(op.attrs.get("body", op.operator)) for op in found] == [
        "reduce_mean",
        "subtract + square + multiply + reduce_mean + sum_to + sum_to",
    ]
    inputs = {name: numbers(5, 6, 6, 8) for name in "xg"}
    expected = prepare(graph.build(), {}, "reference").run(inputs)
    for name, value in CpuExecutable(graph.build(), {}).run(inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_factors_leave_sums_only_where_whole_tensors_remain():
    """m / r is as large as neither of them; the sum of what is the same everywhere is a multiple of it."""
    graph = ProgramBuilder()
    m, r = Term(graph, graph.input("m", (3, 1, 7))), Term(graph, graph.input("r", (3, 4, 1)))
    x = Term(graph, graph.input("x", (3, 4, 7)))
    one = Term(graph, graph.input("one", (1, 1, 1)))
    for number, y in enumerate(
        (m / r, (x + one) * r, (m * r) - x * 2.0, one.apply("broadcast_to", shape=(3, 4, 7)))
    ):
        for axes, shape in (((2,), (3, 4)), ((0, 1), (7,)), ((0, 1, 2), ())):
            graph.outputs[f"{number} {axes}"] = y.apply("sum_to", axes=axes, shape=shape).buffer.name
            graph.outputs[f"mean {number} {axes}"] = y.apply("reduce_mean", axes=axes).buffer.name
    inputs = {b.name: numbers(*b.shape) for b in graph.build().inputs()}
    expected = prepare(graph.build(), {}, "reference").run(inputs)
    for name, value in CpuExecutable(graph.build(), {}).run(inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_groups_do_not_depend_on_names():
    """Else rounding would depend on how often a layer has been made before."""
    found = set()
    for name in ("a", "b_7", "layer", "own_bn_12", "x" * 9, "dense_3", "q", "norm", "z_1", "kernel"):
        graph = ProgramBuilder()
        with graph.scope(name):
            x, g = (Term(graph, graph.input(f"{name}/{n}", (None, 6, 6, 8))) for n in "xg")
            parts = [x.apply("exp")]
            for _ in range(6):
                parts.append(parts[-1] * g + parts[-1])
            axes = {"axes": (0, 1, 2), "shape": (1, 1, 1, 8)}
            sums = [part.apply("sum_to", **axes) for part in parts]
            total = sums[0]
            for one in sums[1:]:
                total = total + one
        graph.outputs = {"y": total.buffer.name}
        found.add(
            " | ".join(str(op.attrs.get("body", op.operator)) for op in fuse_chains(graph.build()).operations)
        )
    assert len(found) == 1


def test_no_group_needs_itself_by_way_of_another():
    """Sums of a and of what products of a go into read one tensor, but cannot be made in one pass."""
    builder = ProgramBuilder()
    g, h = (builder.input(name, (None, 12, 8)) for name in "gh")
    kernel = builder.variable(Variable(np.eye(8, dtype="float32"), "kernel"))
    a = builder.add("add", g, h)
    product = builder.add("multiply", builder.add("dense", a, kernel), h)
    late = builder.add("add", builder.add("scale", g, factor=2.0), product)
    sums = [builder.add("bias_grad", part) for part in (g, a, late)]
    builder.outputs = {str(i): total.name for i, total in enumerate(sums)}
    program, arrays = builder.build(), {"g": numbers(3, 12, 8), "h": numbers(3, 12, 8)}
    got = CpuExecutable(program, builder.variables).run(arrays)
    for label, expected in prepare(program, builder.variables, "reference").run(arrays).items():
        np.testing.assert_allclose(got[label], expected, rtol=1e-4, atol=1e-4)


def test_values_that_are_computed_again_stand_behind_what_they_are_made_from():
    """A gate squared: the backward pass computes the gate and its sigmoid again, one of the other."""
    builder = ProgramBuilder(training=True)
    x, target, weight = (
        builder.input("x", (None, 8)),
        builder.input("t", (None, 4)),
        builder.input("w", (None,)),
    )
    kernels = [
        builder.variable(Variable(numbers(*shape), name)) for name, shape in (("a", (8, 8)), ("b", (8, 4)))
    ]
    y = builder.add("dense", x, kernels[0])
    gate = builder.add("activation", builder.add("scale", y, factor=1.7), kind="sigmoid")
    squared = builder.add("square", builder.add("multiply", y, gate))
    z = builder.add("dense", squared, kernels[1])
    loss, _ = builder.add("loss", z, target, weight, kind="mean_squared_error")
    gradients = add_gradients(builder, loss)
    builder.outputs = {name: buffer.name for name, buffer in gradients.items()}
    program = builder.build()
    arrays = {"x": numbers(5, 8), "t": numbers(5, 4), "w": np.ones(5, "float32")}
    got = CpuExecutable(program, builder.variables).run(arrays)
    for label, expected in prepare(program, builder.variables, "reference").run(arrays).items():
        np.testing.assert_allclose(got[label], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_operations_in_a_circle_are_told_and_not_waited_for():
    buffers = {name: Buffer(name, (None, 4), "float32") for name in "xab"}
    circle = (Operation("add", ("x", "b"), ("a",)), Operation("add", ("a", "x"), ("b",)))
    with pytest.raises(KernelearnError, match="circle"):
        in_order_of_need(Program(buffers, circle, {"y": "b"}), {}, set())
