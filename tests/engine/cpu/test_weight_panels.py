"""Kernel gradients of dense layers with large weights, alone and with the update of the weights."""

import re
from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Sequential, layers, optimizers
from kernelearn.engine.cpu.kernels.doubles import Doubles
from kernelearn.engine.cpu.kernels.products.weight_panels import LARGE_WEIGHTS, PIECE, WeightPanels
from kernelearn.engine.cpu.plan import Call
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation
from kernelearn.engine.variable import Variable
from kernelearn.errors import NonFiniteError
from kernelearn.recording import Recorder
from tests.engine.cpu.harness import (
    TARGETS,
    Bench,
    Problem,
    check,
    check_guarded,
    compare,
    expected,
    has_target,
    run_guarded,
)
from tests.engine.cpu.memory import needs_guard_pages, run_in_child
from tests.engine.cpu.random_problems import normal
from tests.engine.cpu.test_updates import VARIANTS, name
from tests.rounding import gamma
from tests.sweeps import some

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
# (images, inner, outer): tails of tiles and of strips, few rows, several pieces, few inputs or outputs.
SHAPES = ((1, 521, 509), (7, 1024, 260), (PIECE + 3, 643, 417), (5, 70, 4001), (9, 4003, 67))


def gradient(images: int, inner: int, outer: int, rows: int = 1, precision: str = "float32") -> Problem:
    rng = np.random.default_rng(images)
    between = (rows,) if rows > 1 else ()
    arrays = normal(rng, images, *between, inner), normal(rng, images, *between, outer)
    return Problem("dense_grad_kernel", arrays, {"precision": precision}, terms=images * rows)


def panels(executable) -> list[WeightPanels]:
    return [c.code for c in executable.calls() if isinstance(c, Call) and isinstance(c.code, WeightPanels)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_of_large_weights(shape, target):
    assert panels(Bench(gradient(*shape), target).executable)
    check(gradient(*shape), target)


@pytest.mark.parametrize("target", TARGETS)
def test_rows_of_images(target):
    check(gradient(3, 530, 500, rows=5), target)


@pytest.mark.parametrize("target", ["avx512bf16", "avx512", "avx2"])
def test_bfloat16(target):
    if not has_target(target):
        pytest.skip("no bfloat16 products on this processor")
    for images in (6, 7):
        problem = gradient(images, 530, 500, precision="bfloat16")
        (code,) = panels(Bench(problem, target).executable)
        assert code.is_paired == (target == "avx512bf16")
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
def test_float64(target):
    problem = replace(gradient(7, 530, 500), dtype="float64")
    codes = [c.code for c in Bench(problem, target).executable.calls() if isinstance(c, Call)]
    assert any(isinstance(c, Doubles) and isinstance(c.code, WeightPanels) for c in codes)
    check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_gradients_stay_inside_of_their_buffers(target):
    check_guarded([gradient(*shape) for shape in SHAPES], target)


def test_small_weights_and_many_rows_of_an_image_are_left_to_others():
    assert not panels(Bench(gradient(8, 100, 100)).executable)
    assert panels(Bench(gradient(8, 512, LARGE_WEIGHTS // 2048)).executable)
    assert not panels(Bench(gradient(2, 512, LARGE_WEIGHTS // 2048, rows=32)).executable)


def test_a_lost_piece_is_caught():
    def shorter(text: str) -> str:
        return re.sub(rf"(add nsw i64 %i\d+), {PIECE}$", rf"\1, {2 * PIECE}", text, flags=re.MULTILINE)

    with pytest.raises(AssertionError, match="entries are off"):
        check(gradient(4 * PIECE, 521, 509), change=shorter)


def test_pieces_round_less_than_a_long_sum():
    shape = (16 * PIECE, 520, 510)
    problem = gradient(*shape)
    exact, found = expected(problem, problem.arrays)[0], Bench(problem).run()[0]
    x, g = (a.astype("float32") for a in problem.arrays)
    long = np.zeros((520, 510), np.float32)
    for m in range(shape[0]):
        long += x[m, :, None] * g[m]
    errors = [np.sqrt(np.mean((y - exact) ** 2)) for y in (found, long)]
    assert errors[0] < 0.6 * errors[1]


# --- with the update


class StepBench(Bench):
    """A kernel gradient and the update of the weights, which alone reads it.

    Args:
        is_kept: give the gradient back as well, so that both are kernels of their own.
    """

    def __init__(
        self, shape, variant, target=None, is_kept=False, precision="float32", dtype="float32"
    ) -> None:
        self.kind, slots, self.attrs = variant
        self.is_kept, self.precision = is_kept, precision
        x, g = gradient(*shape).arrays
        rng = np.random.default_rng(3)
        weights = shape[1:]
        carried = [1.5 + np.abs(normal(rng, *weights)) for _ in range(slots)]
        if self.attrs.get("centered"):
            carried[-1] = 0.1 * normal(rng, *weights)
        if self.kind == "nadam_update":
            carried.append(np.array(0.75))
        arrays = (x, g, normal(rng, *weights), np.array(2.0**-6), np.array(3), *carried)
        numbers = (2, *range(5, len(arrays)))
        attrs = {"body": self.body(len(arrays))}
        problem = Problem("fused", arrays, attrs, images=(0, 1), weights=numbers, dtype=dtype)
        super().__init__(problem, target)

    def body(self, count: int) -> Body:
        slots = tuple(f"x{i}" for i in range(5, count))
        attrs = OPERATORS[self.kind].whole(self.attrs)
        made = Operation("dense_grad_kernel", ("x0", "x1"), ("dw",), {"precision": self.precision}, "", "")
        moved = Operation(self.kind, ("x2", "dw", "x3", "x4", *slots), ("x2", *slots), attrs, "", "")
        inputs = tuple(f"x{i}" for i in range(count))
        return Body((made, moved), inputs, ("x2", *slots), ())

    def _build(self, graph) -> list[str]:
        self.narrow[3] = np.asarray(self.narrow[3], "float64")
        buffers = []
        for i, array in enumerate(self.narrow):
            if i in self.problem.weights:
                variable = self.variables[f"x{i}"] = Variable(array, f"x{i}")
                buffers.append(graph.variable(variable))
            else:
                self.inputs[f"x{i}"] = array
                shape = (None, *array.shape[1:]) if i < 2 else array.shape
                buffers.append(graph.input(f"x{i}", shape, array.dtype.name))
        x, g, param, rate, step, *slots = buffers
        grad = graph.add("dense_grad_kernel", x, g, precision=self.precision)
        graph.update(self.kind, (param, grad, rate, step, *slots), (param, *slots), **self.attrs)
        if self.is_kept:
            graph.outputs = {"gradient": grad.name}
        return [b.name for b in (param, *slots)]


SGD = ("sgd_update", 1, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01})
ONE_PASS = [v for v in VARIANTS if v[0] != "lamb_update" and v[2].get("every", 1) == 1]


def moved(executable) -> bool:
    return any(code.step is not None for code in panels(executable))


def sgd_bounds(bench: StepBench) -> list[np.ndarray]:
    """Of the weights and the velocity: twice the learning rate's part of the gradient's, and rounding."""
    x, g, param, rate, _, velocity = (np.abs(np.asarray(a, "float64")) for a in bench.narrow)
    error = 2 * rate * gamma(len(x) + 2) * (x.T @ g) + 2.0**-21 * (param + velocity + rate * (x.T @ g))
    return [error, error]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_update_on_the_way_against_the_reference(shape, target):
    bench = StepBench(shape, SGD, target)
    assert moved(bench.executable) and len(bench.executable.calls()) == 3
    object.__setattr__(bench.problem, "bound", lambda *_: sgd_bounds(bench))
    found = bench.run()
    compare(bench.problem, bench.narrow, found, target)
    for chunk, backwards in ((0, False), (1, True), (3, False)):
        for a, b in zip(found, bench.run_cut(chunk, backwards)):
            np.testing.assert_array_equal(a, b)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_an_update_on_the_way_stays_inside_of_its_buffers(target):
    benches = [StepBench(shape, SGD, target) for shape in SHAPES]
    for bench in benches:
        object.__setattr__(bench.problem, "bound", lambda *_, bench=bench: sgd_bounds(bench))
        bench.executable.compile()

    def work(tell) -> None:
        for bench in benches:
            for at_end in (True, False):
                run_guarded(bench, at_end, lambda key, shape=bench.problem: tell(f"{shape}\n  kernel {key}"))

    run_in_child(work)


@pytest.mark.parametrize(
    "number", some(range(len(ONE_PASS)), quick=6), ids=lambda number: name(ONE_PASS[number])
)
def test_every_optimiser_gives_the_same_bits_on_the_way_and_in_a_pass_of_its_own(number):
    variant = ONE_PASS[number]
    for target in ("avx512", "avx2"):
        one, two = (StepBench((6, 521, 509), variant, target, kept) for kept in (False, True))
        assert moved(one.executable) and not moved(two.executable)
        together, apart = one.run(), two.run()
        for a, b in zip(together, apart):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(together[0], one.narrow[2])


@pytest.mark.parametrize("variant", [("lamb_update", 2, {}), ("adam_update", 2, {"every": 2})], ids=name)
def test_steps_that_are_no_single_pass_stay_apart(variant):
    assert not moved(StepBench((6, 521, 509), variant).executable)


def test_float64_on_the_way():
    one, two = (StepBench((7, 521, 509), SGD, None, kept, dtype="float64") for kept in (False, True))
    assert len(one.executable.calls()) == 3 and len(two.executable.calls()) == 4
    for a, b in zip(one.run(), two.run()):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_on_the_way():
    one, two = (StepBench((7, 521, 509), SGD, None, kept, "bfloat16") for kept in (False, True))
    assert moved(one.executable)
    for a, b in zip(one.run(), two.run()):
        np.testing.assert_array_equal(a, b)


# --- in models

WIDE = (600, 500)


def network(optimizer="sgd", regularizer=None, **options) -> Sequential:
    kernelearn.utils.set_random_seed(0)
    wide = layers.Dense(WIDE[1], activation="relu", name="wide", kernel_regularizer=regularizer)
    model = Sequential([Input(WIDE[:1]), wide, layers.Dense(3, name="last")])
    model.compile(optimizer, "mse", engine="cpu", **options)
    return model


@pytest.mark.parametrize(
    ("options", "is_moved"),
    [
        ({}, True),
        ({"optimizer": optimizers.Adam(use_ema=True)}, True),
        ({"optimizer": optimizers.SGD(0.1, clipnorm=1.0)}, False),
        ({"optimizer": optimizers.SGD(0.1, global_clipnorm=1.0)}, False),
        ({"optimizer": optimizers.SGD(0.1, gradient_accumulation_steps=2)}, False),
        ({"regularizer": "l2"}, False),
    ],
    ids=str,
)
def test_gradients_that_others_read_are_kept(options, is_moved):
    assert moved(network(**options).step("train").executable) == is_moved


def test_a_frozen_layer_has_no_gradient():
    model = network()
    model.get_layer("wide").trainable = False
    model.compile("sgd", "mse", engine="cpu")
    assert not panels(model.step("train").executable)


def data(images: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return normal(rng, images, WIDE[0]).astype("float32"), normal(rng, images, 3).astype("float32")


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_training_is_that_of_the_reference_for_any_number_of_threads(kind):
    found = []
    try:
        for count in (1, 2, 3):
            kernelearn.set_num_threads(count)
            model = network(kind)
            for _ in range(3):
                model.train_on_batch(*data())
            found.append(model.get_weights())
    finally:
        kernelearn.set_num_threads(None)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)
    reference = network(kind)
    reference.compile(kind, "mse", engine="reference")
    for _ in range(3):
        reference.train_on_batch(*data())
    for a, b in zip(found[0], reference.get_weights()):
        np.testing.assert_allclose(a, b, atol=2e-5 if kind == "sgd" else 2e-4)


def test_a_loss_that_is_no_number_moves_nothing():
    model = network("adam")
    x, y = data()
    before = model.get_weights()
    with pytest.raises(NonFiniteError, match="loss"):
        model.fit(x, 1e30 * y, batch_size=10, epochs=1, verbose=0)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_a_recorded_step_gives_the_same_bits(tmp_path):
    weights = []
    for recorded in (False, True):
        model = network("adam")
        callbacks = [Recorder(tmp_path / "run", ledger_every=1)] if recorded else []
        model.fit(*data(), batch_size=5, epochs=2, verbose=0, callbacks=callbacks)
        weights.append(model.get_weights())
    for a, b in zip(*weights):
        np.testing.assert_array_equal(a, b)
