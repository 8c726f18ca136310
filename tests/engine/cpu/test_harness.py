"""The tests of the kernel tests: a wrong kernel, or one that leaves its buffers, must be caught by them."""

import re

import numpy as np
import pytest

from kernelearn.engine.cpu.plan import Call
from tests.engine.cases import normal
from tests.engine.cpu.harness import Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import CAUGHT, needs_guard_pages, run_in_child

CHAIN = Problem("bias_add", (normal(3, 2, 5), normal(5)), {})
FLAT = Problem("add", (normal(3, 131), normal(3, 131, seed=1)), {})

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")


def into_body(*lines: str):
    """A change that adds instructions at the start of a kernel."""
    return lambda text: text.replace("\nbody:\n", "\nbody:\n  " + "\n  ".join(lines) + "\n", 1)


def reading(argument: str, entry: int):
    return into_body(
        f"%bad.p = getelementptr float, ptr %arg.{argument}, i64 {entry}",
        "%bad = load volatile float, ptr %bad.p",
    )


def writing(argument: str, entry: int):
    return into_body(
        f"%bad.p = getelementptr float, ptr %arg.{argument}, i64 {entry}",
        "store volatile float 1.0, ptr %bad.p",
    )


def roles(problem: Problem) -> dict[str, str]:
    """Role -> buffer of the problem's only kernel."""
    (call,) = [c for c in Bench(problem).executable.calls() if isinstance(c, Call)]
    return {buffer: role for role, buffer in call.roles.items()}


def test_right_kernels_pass():
    for problem in (CHAIN, FLAT):
        assert check(problem) <= 1


@guarded
def test_right_kernels_stay_inside():
    check_guarded([CHAIN, FLAT])


@guarded
@pytest.mark.parametrize("access", [reading, writing])
@pytest.mark.parametrize(("buffer", "size"), [("x0", 3 * 131), ("x1", 3 * 131), ("add", 3 * 131)])
@pytest.mark.parametrize("side", ["before", "behind"])
def test_leaving_a_buffer_by_one_number_is_caught(access, buffer, size, side):
    change = access(roles(FLAT)[buffer], -1 if side == "before" else size)
    with pytest.raises(AssertionError, match=f"{CAUGHT}(.|\n)*kernel kernels|wrote {CAUGHT}"):
        check_guarded([FLAT], change=change)


@guarded
@pytest.mark.parametrize("buffer", ["x0", "x1"])
def test_writing_into_an_input_is_caught(buffer):
    with pytest.raises(AssertionError, match=CAUGHT):
        check_guarded([CHAIN], change=writing(roles(CHAIN)[buffer], 0))


@guarded
def test_an_error_in_the_child_fails_the_test():
    def work(tell):
        raise ValueError("what went wrong")

    with pytest.raises(AssertionError, match="what went wrong"):
        run_in_child(work)


def first(pattern: str, replacement: str, number: int = 0):
    """A change of the match number `number` (counted from 0, or from the end if negative) of a pattern."""

    def change(text: str) -> str:
        found = list(re.finditer(pattern, text))
        if not found:
            return text
        match = found[number]
        return text[: match.start()] + match.expand(replacement) + text[match.end() :]

    return change


MUTANTS = {
    "addition-to-subtraction": first(r"fadd (<\d+ x float>)", r"fsub \1"),
    "tail-left-out": first(
        r"br i1 (%\w+), label %(\w+), label %(\w+)", r"br i1 false, label %\2, label %\3", -1
    ),
    "pointer-one-off": first(
        r"getelementptr float, ptr (%arg\.e0), i64 (%\w+)", r"getelementptr i16, ptr \1, i64 \2"
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("target", ["avx512", "avx2", "baseline"])
def test_a_wrong_chain_is_caught(name, target):
    with pytest.raises(AssertionError, match=r"entries are off|at once differ"):
        check(FLAT, target, change=MUTANTS[name])


def test_a_kernel_whose_tasks_overlap_is_caught():
    """A kernel that does all images whatever its range: right as a whole, wrong when the work is cut."""
    problem = Problem("sgd_update", (normal(20000), normal(20000, seed=1), np.array(0.1), np.array(1)))
    bench = Bench(problem)
    if not bench.is_native:
        pytest.skip("no kernel for sgd_update yet")
    whole = first(r"%lo(?=[,\s)])", "0", 1)
    with pytest.raises(AssertionError):
        check(problem, change=whole)


@pytest.mark.parametrize("dropped", [0, 4, -1])
@pytest.mark.parametrize("operator", ["conv", "conv_grad_input", "conv_grad_kernel"])
def test_a_convolution_without_one_product_is_caught(operator, dropped):
    """One multiply-add of the emitted code keeps its old sum: a tap, a channel or an image is missing."""
    problem = convolution(operator)
    if not Bench(problem, "avx2").is_native:
        pytest.skip(f"no kernel for {operator} yet")
    pattern = r"call (<\d+ x float>) @llvm\.fma\.v\d+f32\(<[^>]*> %?\w+, <[^>]*> %?\w+, <[^>]*> (%?\w+)\)"
    change = first(pattern, r"fadd \1 \2, zeroinitializer", dropped)
    with pytest.raises(AssertionError, match=r"entries are off|at once differ"):
        check(problem, "avx2", change=change)


WRONG_GEOMETRY = {
    "tile-steps-too-far": (r"add nsw i64 (%i\d+), (\d+)\n", r"add nsw i64 \1, 1\2\n"),
    "row-or-column-off": (r"(getelementptr float, ptr %v\d+, i64 )(\d+)", r"\g<1>1\2"),
}


@guarded
@pytest.mark.parametrize("number", [1, -1])
@pytest.mark.parametrize("mutant", WRONG_GEOMETRY)
@pytest.mark.parametrize("operator", ["conv", "conv_grad_input", "conv_grad_kernel"])
def test_a_convolution_of_wrong_geometry_is_caught(operator, mutant, number):
    """A step or an offset of the emitted code is another one; the child may crash, this process not."""
    change = first(*WRONG_GEOMETRY[mutant], number)
    with pytest.raises(AssertionError, match=rf"entries are off|{CAUGHT}"):
        check_guarded([convolution(operator)], "avx2", change=change)


def convolution(operator: str) -> Problem:
    """A 3x3 convolution of 2 images of 6x6, 3 to 8 channels, without padding."""
    attrs = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1}
    x, kernel, grad = normal(2, 6, 6, 3), normal(3, 3, 3, 8), normal(2, 4, 4, 8)
    return {
        "conv": Problem("conv", (x, kernel), attrs, terms=27),
        "conv_grad_input": Problem(
            "conv_grad_input", (grad, kernel), {"input_size": (6, 6), **attrs}, terms=72
        ),
        "conv_grad_kernel": Problem(
            "conv_grad_kernel", (x, grad), {"kernel_size": (3, 3), **attrs}, terms=32
        ),
    }[operator]
