"""Mixed precision on the CPU engine: products of bfloat16 pairs, and their emulation on other targets."""

from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn import Sequential, layers
from kernelearn.engine.cpu.machine import target as module
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.target import find_target
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.engine.reference.precision import round_to_bfloat16
from kernelearn.models import zoo
from tests.engine import cases
from tests.engine.cpu.harness import (
    NARROWER,
    TARGETS,
    Bench,
    Problem,
    bounds,
    check,
    check_guarded,
    check_special,
    expected,
    has_target,
    problem_of,
    some_of,
)
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import FAMILIES
from tests.sweeps import some

PAIRS = "avx512bf16"
EVERY = ("native", *TARGETS, *([PAIRS] if has_target(PAIRS) else []))
OPERATORS = (
    "conv", "conv_grad_input", "conv_grad_kernel", "conv_transpose", "dense", "dense_grad_input",
    "dense_grad_kernel",
)  # fmt: skip
needs_pairs = pytest.mark.skipif(not has_target(PAIRS), reason="no bfloat16 products on this processor")
guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")


def mixed(problem: Problem) -> Problem:
    """The same problem with rounded operands: the reference rounds them too, and sums in float64."""
    return replace(problem, attrs={**problem.attrs, "precision": "bfloat16"})


def examples(operator: str) -> list[Problem]:
    return [mixed(problem_of(case)) for case in cases.ALL if case.operator == operator]


def random_problems(seed: int, count: int) -> list[Problem]:
    rng = np.random.default_rng(seed)
    drawn = (FAMILIES["convolution" if i % 3 else "dense"](rng) for i in range(10 * count))
    return [mixed(p) for p in drawn if p.operator in OPERATORS][:count]


@pytest.mark.parametrize("target", EVERY)
@pytest.mark.parametrize("operator", OPERATORS)
def test_examples(operator, target):
    # What "native" stands for has all of them; the others are emulated, or the same once more.
    problems = examples(operator)
    for problem in problems if target == "native" else some_of(problems, NARROWER[0]):
        check(problem, target)


@pytest.mark.parametrize("target", NARROWER)
@pytest.mark.parametrize("operator", OPERATORS)
def test_all_examples(operator, target):
    for problem in examples(operator):
        check(problem, target)


# Random problems for each target.
COUNTS = pytest.mark.parametrize("count", some([6, 24], quick=[6]))


@COUNTS
@pytest.mark.parametrize("target", EVERY)
def test_random_shapes(target, count):
    for problem in random_problems(EVERY.index(target), count):
        check(problem, target)


@guarded
@COUNTS
@pytest.mark.parametrize("target", EVERY[:1] + EVERY[2:3] + EVERY[4:])
def test_random_shapes_stay_inside_of_their_buffers(target, count):
    check_guarded(random_problems(EVERY.index(target), count), target)


@COUNTS
@pytest.mark.parametrize("target", EVERY)
def test_whole_numbers_are_exact(target, count):
    rng = np.random.default_rng(3)
    for problem in random_problems(EVERY.index(target), count):
        whole = tuple(rng.integers(-8, 9, a.shape).astype("float32") for a in problem.arrays)
        problem = replace(problem, arrays=whole)
        bench = Bench(problem, target)
        for found, wanted in zip(bench.run(), expected(problem, bench.narrow)):
            np.testing.assert_array_equal(found, wanted, err_msg=f"{problem} {target}")


@needs_pairs
def test_emulation_gives_the_same_up_to_rounding():
    for problem in random_problems(5, 6):
        pairs, emulated = Bench(problem, PAIRS), Bench(problem, "avx512")
        limits = bounds(problem, pairs.narrow, expected(problem, pairs.narrow))
        for a, b, limit in zip(pairs.run(), emulated.run(), limits):
            assert (np.abs(a - b) <= 2 * limit).all(), str(problem)


@needs_pairs
@pytest.mark.parametrize("n", [1, 2, 5])
def test_denormal_numbers_may_count_as_zero(n):
    x = np.full((n, 3), 1e-39, "float32")
    x[0, 0] = 1.0
    for problem in (
        Problem("dense", (x, np.ones((3, 4), "f4"))),
        Problem("dense_grad_kernel", (x, np.ones((n, 4), "f4"))),
    ):
        bench = Bench(mixed(problem), PAIRS)
        np.testing.assert_allclose(bench.run()[0], expected(problem, bench.narrow)[0], rtol=0, atol=1e-38)


@pytest.mark.parametrize("target", EVERY)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_special_values_come_through(value, target):
    attrs = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    x = np.ones((3, 5, 4, 6), "float32")
    x[1, 2, 1, 3] = x[2, 0, 0, 5] = value
    check_special(mixed(Problem("conv", (x, np.ones((2, 2, 6, 5), "f4")), attrs)), target)
    grad = np.ones((3, 4, 3, 5), "f4")
    check_special(mixed(Problem("conv_grad_kernel", (x, grad), {**attrs, "kernel_size": (2, 2)})), target)
    kernel = np.ones((6, 4), "f4")
    kernel[2, 1] = value
    check_special(mixed(Problem("dense", (x[:, 0, 0], kernel))), target)


def test_a_nan_of_any_bits_stays_one():
    x = np.array([[0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0xFF800001]], np.uint32).view(np.float32).T.copy()
    x = np.concatenate([x, np.ones_like(x)], axis=1)
    for target in EVERY:
        for problem in (
            Problem("dense", (x, np.ones((2, 3), "f4"))),
            Problem("dense", (np.ones((3, 4), "f4"), x)),
        ):
            bench = Bench(mixed(problem), target)
            found, wanted = bench.run()[0], expected(mixed(problem), bench.narrow)[0]
            np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), err_msg=target)


def test_a_kernel_that_cuts_instead_of_rounding_is_caught():
    problem = random_problems(2, 1)[0]
    check(problem, "avx2")
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem, "avx2", change=lambda text: text.replace("i32 32767", "i32 0"))


@needs_pairs
def test_a_wrong_order_of_pairs_is_caught():
    problem = mixed(Problem("dense_grad_kernel", (np.eye(4, 5, dtype="f4"), np.ones((4, 3), "f4")), terms=4))
    check(problem, PAIRS)
    with pytest.raises(AssertionError, match="entries are off"):
        check(
            problem,
            PAIRS,
            change=lambda text: text.replace("i32 0, i32 16, i32 1", "i32 1, i32 16, i32 0"),
        )


def model_of(build, policy="mixed_bfloat16", engine=None):
    kernelearn.set_random_seed(0)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", policy=policy, engine=engine)
    return model


def lenet():
    return zoo.lenet((12, 12, 1), 10)


def calls(model, kind="train"):
    model.program(kind)
    return model.step(kind).executable.calls()


@pytest.mark.parametrize("build", [lenet, lambda: zoo.resnet20((8, 8, 3), 10)])
def test_networks_need_no_fallback(build):
    fallbacks = [c.operation.operator for c in calls(model_of(build)) if isinstance(c, Fallback)]
    plain = [c.operation.operator for c in calls(model_of(build, "float32")) if isinstance(c, Fallback)]
    assert fallbacks == plain


@needs_pairs
def test_every_product_says_how_it_is_computed(monkeypatch):
    monkeypatch.setenv("KERNELEARN_CPU_TARGET", PAIRS)
    notes = {c.note for c in calls(model_of(lenet)) if c.flops[0] and "tile" in c.note}
    assert all("bfloat16" in note for note in notes), notes
    # The first layer has one channel, which makes no pairs.
    assert sum("rounded to bfloat16" in note for note in notes) == 1
    assert not any("bfloat16" in c.note for c in calls(model_of(lenet, "float32")))


def trained(count: int, batch: int):
    threads.set_num_threads(count)
    model = model_of(lenet)
    rng = np.random.default_rng(1)
    for _ in range(2):
        model.train_on_batch(rng.normal(size=(batch, 12, 12, 1)).astype("f4"), rng.integers(0, 10, batch))
    return model.get_weights()


@pytest.mark.parametrize("batch", [1, 7, 16])
def test_the_number_of_threads_changes_nothing(batch, default_threads):
    first = trained(1, batch)
    for count in (2, 3):
        for a, b in zip(first, trained(count, batch)):
            np.testing.assert_array_equal(a, b)


def test_training_steps_agree_with_the_reference_engine():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(16, 12, 12, 1)).astype("f4"), rng.integers(0, 10, 16)
    start = model_of(lenet).get_weights()
    ends = []
    for engine in ("cpu", "reference"):
        model = model_of(lenet, engine=engine)
        for _ in range(3):
            model.train_on_batch(x, y)
        ends.append(model.get_weights())
    # NOTE: a last-bit difference can round an activation the other way, by 2^-9 of its size.
    for before, a, b in zip(start, *ends):
        assert np.sqrt(np.mean((a - b) ** 2)) <= 0.02 * np.sqrt(np.mean((b - before) ** 2))


def test_predictions_follow_weights_that_change():
    model = Sequential([layers.Input((6,)), layers.Dense(5, use_bias=False)])
    model.compile("sgd", "mse", policy="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("f4")
    for scale in (1.0, 2.0):
        kernel = np.full((6, 5), 0.3 * scale, "f4")
        model.set_weights([kernel])
        wanted = round_to_bfloat16(x) @ round_to_bfloat16(kernel)
        np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("cpu", "has_pairs"), [("znver4", True), ("znver5", True), ("sapphirerapids", False)]
)
def test_pairs_are_multiplied_where_that_is_faster(monkeypatch, cpu, has_pairs):
    features = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "avx512bf16")
    monkeypatch.setattr(module, "_host_features", lambda: dict.fromkeys(features, True))
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: cpu)
    assert module._host().has_bf16 == has_pairs and module._host().name == "avx512"


@needs_pairs
def test_a_target_with_pairs_is_one_of_its_own():
    assert find_target(PAIRS).has_bf16 and not find_target("avx512").has_bf16
    assert find_target(PAIRS).key != find_target("avx512").key
