"""Convolutions by Winograd's method: where it is used, its borders, and that it rounds no worse than taps."""

import itertools
import platform
import re
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn import layers
from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.kernels.convolution.winograd.forward import WinogradRows
from kernelearn.engine.cpu.kernels.convolution.winograd.gradient import WinogradGradient
from kernelearn.engine.cpu.plan import Call, kernel_text
from tests.engine.cpu.harness import Bench, Problem, check, expected, lose_a_product
from tests.engine.cpu.random_problems import normal
from tests.engine.cpu.training import check_training, trained_steps
from tests.sweeps import some

PASSES = ("conv", "conv_grad_input", "conv_grad_kernel")


def problem(
    operator: str, sizes=(8, 8), channels=16, filters=32, padding=None, images=3, kernel=3, **changed
):
    """Windows of the same size along all axes; padding as for outputs as many as inputs, else as given."""
    rng, rank = np.random.default_rng(7), len(sizes)
    attrs = {"stride": (1,) * rank, "dilation": (1,) * rank, "groups": 1, **changed}
    spread = [(kernel - 1) * d for d in attrs["dilation"]]
    attrs["padding"] = padding or tuple((s // 2, s - s // 2) for s in spread)
    outputs = tuple(
        (n + sum(p) - s - 1) // step + 1
        for n, p, s, step in zip(sizes, attrs["padding"], spread, attrs["stride"])
    )
    x, grad = normal(rng, images, *sizes, channels), normal(rng, images, *outputs, filters)
    weights, taps = normal(rng, *(kernel,) * rank, channels, filters), kernel**rank
    if operator == "conv":
        return Problem(operator, (x, weights), attrs, terms=taps * channels)
    if operator == "conv_grad_input":
        return Problem(operator, (grad, weights), {**attrs, "input_size": sizes}, terms=taps * filters)
    terms = images * int(np.prod(outputs))
    return Problem(operator, (x, grad), {**attrs, "kernel_size": (kernel,) * rank}, terms=terms)


# Kinds of windows besides those of 3 x 3.
KINDS = {
    "holes": {"sizes": (13, 12), "dilation": (2, 3)},
    "steps": {"sizes": (16, 20), "stride": (2, 2), "channels": 80, "filters": 90},
    "steps along one axis": {"sizes": (8, 16), "stride": (1, 2), "channels": 64, "filters": 72},
    "volume": {"sizes": (5, 6, 7)},
    "volume with holes": {"sizes": (8, 7, 8), "dilation": (2, 1, 2)},
    "sequence": {"sizes": (70,), "channels": 48, "filters": 72},
    "long window": {"sizes": (70,), "kernel": 7, "channels": 40, "filters": 48},
    "long window with steps": {"sizes": (71,), "kernel": 7, "stride": (2,), "channels": 41, "filters": 64},
    "long window with holes": {"sizes": (70,), "kernel": 6, "dilation": (3,), "channels": 40, "filters": 40},
    "long rows": {"sizes": (501,), "kernel": 4, "channels": 48, "filters": 37},
}

# What passes of these kinds leave to taps.
ABSENT = {
    "conv_grad_kernel": ("volume", "volume with holes"),
    "conv_grad_input": ("steps", "steps along one axis"),
}


def is_used(p: Problem, target: str | None = None) -> bool:
    codes = [c.code for c in Bench(p, target).executable.calls() if isinstance(c, Call)]
    return any(isinstance(code, WinogradRows | WinogradGradient) for code in codes)


@pytest.mark.parametrize("operator", PASSES)
def test_it_is_used_for_windows_of_three_by_three(operator):
    assert is_used(problem(operator))


@pytest.mark.parametrize("operator", PASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_other_windows(kind, operator):
    p = problem(operator, **KINDS[kind])
    assert is_used(p) == (kind not in ABSENT.get(operator, ()))
    check(p)


@pytest.mark.parametrize("operator", PASSES)
def test_an_environment_variable_forbids_it(operator, monkeypatch):
    monkeypatch.setenv("KERNELEARN_WINOGRAD", "0")
    assert not is_used(problem(operator))


def test_it_is_not_used_on_shallow_stacks(monkeypatch):
    assert is_used(problem("conv"))
    monkeypatch.setattr(threading, "stack_size", lambda: 2**19)
    assert not is_used(problem("conv"))


def test_a_low_limit_of_the_stack_is_respected():
    """In a process of its own, with less stack than the tiles of a kernel need."""
    program = (
        "from kernelearn.engine.cpu.machine import stack; import sys, resource; "
        "resource.setrlimit(resource.RLIMIT_STACK, (2**20, resource.getrlimit(resource.RLIMIT_STACK)[1])); "
        "sys.exit(stack.is_deep())"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_threads_have_less_stack_where_it_is_not_limited(monkeypatch):
    """The GNU library gives them two MiB then: a kernel of float64 ended the process."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2"))
    double = replace(problem("conv"), dtype="float64")

    def is_filtered() -> bool:
        return any("Winograd" in c.note for c in Bench(double).executable.calls() if isinstance(c, Call))

    assert is_used(problem("conv"))
    assert not is_filtered()
    monkeypatch.setattr(threading, "stack_size", lambda: 2**23)
    assert is_filtered()


@pytest.mark.parametrize("operator", PASSES)
@pytest.mark.parametrize(
    "changed",
    [
        {"channels": 3},
        {"filters": 7},
        {"sizes": (3, 3)},
        {"sizes": (1, 20)},
        {"sizes": (6, 6, 6), "channels": 12},
        {"sizes": (12, 12), "kernel": 5},
        {"sizes": (12, 12), "stride": (2, 2)},
        {"sizes": (40,), "channels": 8, "kernel": 7},
        {"sizes": (90,), "channels": 64, "kernel": 37},
    ],
    ids=str,
)
def test_it_is_not_used_where_it_saves_nothing(operator, changed):
    assert not is_used(problem(operator, **changed))


def test_kernel_gradients_of_few_terms_are_summed_tap_by_tap():
    small = {"sizes": (4, 4), "padding": ((0, 0), (0, 0))}  # 2 x 2 outputs: sums of 4 products an image
    assert is_used(problem("conv", **small))
    assert not is_used(problem("conv_grad_kernel", **small))
    assert not is_used(problem("conv_grad_kernel", (3, 4)))
    assert is_used(problem("conv_grad_kernel", (4, 4)))  # those of the corners have 9


SIZES = ((8, 8), (48, 12), (16, 16), (64, 64), (160, 96))
ROUNDED = {
    **{f"{c} to {f}": {"sizes": (12, 12), "channels": c, "filters": f} for c, f in SIZES},
    **{kind: {**how, "sizes": tuple(2 * n for n in how["sizes"])} for kind, how in KINDS.items()},
}


# Each size and window in one of the three passes.
PAIRS = list(zip(itertools.cycle(PASSES), ROUNDED))


def errors_of(p: Problem, monkeypatch) -> list[float]:
    """Root mean square distances from float64, with few products and tap by tap."""
    exact = expected(p, p.arrays)[0]
    errors = []
    for allowed in "10":
        monkeypatch.setenv("KERNELEARN_WINOGRAD", allowed)
        found = Bench(p).run()[0].astype("float64")
        errors.append(float(np.sqrt(np.mean((found - exact) ** 2))))
    return errors


@pytest.mark.parametrize(("operator", "kind"), some(itertools.product(PASSES, ROUNDED), quick=PAIRS))
def test_it_rounds_no_worse_than_the_sum_tap_by_tap(operator, kind, monkeypatch):
    p = problem(operator, **ROUNDED[kind])
    filtered, taps = errors_of(p, monkeypatch)
    assert filtered < 1.3 * taps


@pytest.mark.parametrize("kind", ["3 x 3", *KINDS])
def test_an_output_depends_on_its_own_window_only(kind):
    p = problem("conv", images=1, **KINDS.get(kind, {}))
    x, kernel = p.arrays
    before = Bench(p).run()[0]
    x, place = x.copy(), (0, *(n // 2 for n in x.shape[1:-1]))
    x[place] = np.nan
    touched = np.isnan(expected(problem_like(p, x, kernel), (x, kernel))[0])
    assert 0 < touched.sum() < touched.size
    after = Bench(problem_like(p, x, kernel)).run()[0]
    np.testing.assert_array_equal(np.isnan(after), touched)
    np.testing.assert_array_equal(after[~touched], before[~touched])


@pytest.mark.parametrize("kind", ["3 x 3", *KINDS])
def test_windows_of_zeros_give_zero(kind):
    p = problem("conv", images=1, **KINDS.get(kind, {}))
    x, kernel = p.arrays
    zeros = tuple(slice(n // 8, 7 * n // 8) for n in x.shape[1:-1])
    x = x.copy()
    x[(0, *zeros)] = 0
    is_zero = expected(problem_like(p, np.abs(x), np.abs(kernel)), (np.abs(x), np.abs(kernel)))[0] == 0
    assert is_zero.any()
    assert not Bench(problem_like(p, x, kernel)).run()[0][is_zero].any()


def problem_like(p: Problem, *arrays: np.ndarray) -> Problem:
    return Problem(p.operator, arrays, p.attrs, p.terms)


@pytest.mark.parametrize("operator", PASSES)
def test_a_lost_product_is_caught(operator):
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem(operator), change=lose_a_product())


@pytest.mark.parametrize(("columns", "clears"), [(11, True), (12, False)])
def test_tiles_that_do_not_exist_are_zeros_before_they_are_multiplied(columns, clears):
    """Else they are what the stack holds: often denormal numbers, which make products slow."""
    bench = Bench(problem("conv", (2 * columns, 2 * columns), images=1), "avx2")
    calls = [call for call in bench.executable.calls() if isinstance(call, Call)]
    (call,) = [call for call in calls if isinstance(call.code, WinogradRows)]
    text, tiles = kernel_text(call, "k", bench.executable.target), call.code.p.tiles
    assert (columns % tiles > 0) == clears
    places = set(re.findall(r"(%\w+) = getelementptr float, ptr %local.tiles", text))
    zeros = re.findall(r"store <8 x float> zeroinitializer, ptr (%\w+)", text)
    assert bool(places & set(zeros)) == clears


def network(channels: int, engine: str | None = None):
    """Two convolutions that are multiplied in tiles, forward and backward."""
    kernelearn.set_random_seed(0)
    same = {"padding": "same", "activation": "tanh"}
    convolutions = layers.Conv2D(channels, 3, **same), layers.Conv2D(channels - 8, 3, **same)
    model = kernelearn.Sequential(
        [layers.Input((4, 6, channels)), *convolutions, layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    model.compile(kernelearn.optimizers.SGD(0.1), "mse", engine=engine)
    return model


def asking(channels: int) -> set[bool]:
    """Whether kernels that multiply tiles in a training step ask for what they need next."""
    model = network(channels)
    executable = prepare(model.program("train"), model.step("train").variables, "cpu")
    calls = [call for call in executable.calls() if isinstance(call, Call)]
    tiled = [call for call in calls if isinstance(call.code, WinogradRows | WinogradGradient)]
    assert {type(call.code) for call in tiled} == {WinogradRows, WinogradGradient}
    return {"@llvm.prefetch" in kernel_text(call, "k", executable.target) for call in tiled}


def test_weights_and_gradients_that_no_cache_holds_are_asked_for_ahead():
    """Those of a megabyte and more; also from behind their end, which must do no harm."""
    assert asking(40) == {False}
    assert asking(200) == {True}
    x, y = normal(np.random.default_rng(1), 7, 4, 6, 200), np.zeros((7, 2))
    check_training(lambda engine: trained_steps(network(200, engine), x, y, 2))
