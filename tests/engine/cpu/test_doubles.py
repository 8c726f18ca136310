"""float64 on the CPU engine: kernels of float32 with numbers of twice the size, and what is left to NumPy."""

from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn import layers
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.kernels import doubles
from kernelearn.engine.cpu.plan import Call, kernel_text
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.reference.activations import ACTIVATIONS
from tests.engine import cases
from tests.engine.cpu.harness import (
    NARROWER,
    TARGETS,
    Bench,
    Problem,
    check,
    check_guarded,
    lose_a_product,
    problem_of,
    some_of,
)
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import FAMILIES

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
# Operators that come only from rewrites of programs in float32, or that have no case of their own.
REWRITTEN = {"batch_norm_sums", "batch_norm_coefficients", "affine_coefficients", "batch_norm_grad_input"}
OPERATORS = sorted({case.operator for case in cases.ALL} & doubles.OPERATORS)
RANDOM = ("convolution", "minimal_filtering", "filtered_rows", "dense", "product", "pooling", "update")


def in_doubles(problem: Problem) -> Problem:
    return replace(problem, dtype="float64")


def native(problems: list[Problem], target: str) -> list[Problem]:
    return [p for p in map(in_doubles, problems) if Bench(p, target).is_native]


def examples(operator: str) -> list[Problem]:
    return [problem_of(case) for case in cases.ALL if case.operator == operator]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_examples(operator, target):
    """Every operator of the list has kernels, and they are right."""
    problems = some_of(native(examples(operator), target), target)
    assert problems
    for problem in problems:
        check(problem, target)


@pytest.mark.parametrize("target", NARROWER)
@pytest.mark.parametrize("operator", OPERATORS)
def test_all_examples(operator, target):
    for problem in native(examples(operator), target):
        check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_examples_stay_inside_of_their_buffers(target):
    check_guarded([p for operator in OPERATORS for p in native(examples(operator), target)[:6]], target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", RANDOM)
def test_random_shapes(family, target):
    rng = np.random.default_rng((11, TARGETS.index(target)))
    for problem in native([FAMILIES[family](rng) for _ in range(6)], target):
        check(problem, target)


def test_every_listed_operator_is_tested():
    assert set(OPERATORS) | REWRITTEN == doubles.OPERATORS


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_activations(kind):
    """Those with exponentials are left to the reference engine."""
    found = [c for c in cases.ALL if c.operator.startswith("activation") and c.attrs.get("kind") == kind]
    for problem in map(in_doubles, map(problem_of, found)):
        assert Bench(problem).is_native == (kind in doubles.ACTIVATIONS), problem
        check(problem, native=False)


@pytest.mark.parametrize("operator", ["conv", "conv_grad_input", "conv_grad_kernel", "dense", "sgd_update"])
def test_code_of_doubles_has_no_floats(operator):
    """But for the names of what is asked for, such as pair types."""
    problem = native(examples(operator), "avx2")[0]
    executable = Bench(problem, "avx2").executable
    for call in executable.calls():
        text = kernel_text(call, "k", executable.target)
        assert "x double>" in text and " float" not in text


def test_a_lost_product_is_caught():
    with pytest.raises(AssertionError, match="entries are off"):
        check(native(examples("conv"), "avx2")[0], "avx2", change=lose_a_product())


def network() -> kernelearn.Sequential:
    """Convolutions by taps and by Winograd, pooling, normalisation, an exponential, dense layers."""
    kernelearn.utils.set_random_seed(0)
    model = kernelearn.Sequential(
        [
            layers.Conv2D(9, 5, strides=2, activation="relu", input_shape=(13, 12, 3)),
            layers.Conv2D(17, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(20, activation="leaky_relu"),
            layers.Dense(4),
        ]
    )
    optimizer = kernelearn.optimizers.Adam(0.01)
    model.compile(optimizer, kernelearn.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture
def float64():
    kernelearn.config.set_floatx("float64")
    yield
    kernelearn.config.set_floatx("float32")
    kernelearn.set_num_threads(None)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 13, 12, 3)), rng.integers(0, 4, 24)


def trained(engine: str, threads: int = 1) -> list[np.ndarray]:
    kernelearn.set_num_threads(threads)
    x, y = data()
    model = network()
    model.compile(model.optimizer, model.loss, engine=engine)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def test_a_network_is_trained_as_on_the_reference_engine(float64):
    for found, expected in zip(trained("cpu"), trained("reference")):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_every_number_of_threads_gives_the_same_bits(float64):
    first = trained("cpu")
    for threads in (2, 3):
        for found, expected in zip(trained("cpu", threads), first):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("scale", "is_kept"), [(1e200, True), (1.0, False), (1e-150, False)])
def test_a_loss_that_is_no_number_leaves_the_weights(float64, scale, is_kept):
    x, y = data()
    model = kernelearn.Sequential([layers.Flatten(input_shape=(13, 12, 3)), layers.Dense(4)])
    model.compile(kernelearn.optimizers.SGD(0.1), "mean_squared_error", engine="cpu")
    before = model.get_weights()
    with np.errstate(all="ignore"):
        model.train_on_batch(x * scale, np.eye(4)[y])
    assert is_kept == all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before))


def test_a_program_of_one_product_is_native():
    g = ProgramBuilder(dtype="float64")
    x = g.input("x", (None, 8), "float64")
    y = g.add("multiply", x, x)
    g.outputs = {"y": y.name}
    executable = CpuExecutable(g.build(), {})
    assert all(isinstance(call, Call) for call in executable.calls())
    values = np.random.default_rng(0).normal(size=(5, 8))
    np.testing.assert_array_equal(executable.run({"x": values})["y"], values * values)
