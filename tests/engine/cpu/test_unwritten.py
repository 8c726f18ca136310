"""No kernel computes with what memory or the stack held before it: numbers by chance are often denormal.

They need not show in a result: a register tile may reach beyond what is there, and what it makes of the rest
is thrown away. But some processors take a hundred times as long for each denormal number. So buffers and the
stack are filled with them, and the processor's flag "an operand was denormal" is read after each kernel.
"""

import platform
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kernelearn.engine.cpu.machine import codegen, compiler
from kernelearn.engine.cpu.machine.target import find_target
from tests.engine.cpu.harness import KERNEL, TARGETS, Bench, Problem, run_guarded
from tests.engine.cpu.memory import DENORMALS, needs_guard_pages, run_in_child
from tests.engine.cpu.random_problems import FAMILIES, normal
from tests.engine.cpu.test_convolutions import problem as convolution
from tests.engine.cpu.test_panels import problem as panels
from tests.engine.cpu.test_winograd import problem as winograd
from tests.sweeps import some

pytestmark = [
    pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system"),
    pytest.mark.skipif(
        platform.machine().lower() not in ("x86_64", "amd64"), reason="other flags than those of x86"
    ),
]

# The flags of MXCSR, and that of denormal operands among them.
FLAGS, DENORMAL = 0x3F, 0x02
# int32 numbers of the stack that are filled: more than any kernel uses.
DEPTH = 2**20
CODE = f"""
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define void @read(ptr %to, i64 %a, i64 %b) {{
  call void @llvm.x86.sse.stmxcsr(ptr %to)
  ret void
}}

define void @write(ptr %from, i64 %a, i64 %b) {{
  call void @llvm.x86.sse.ldmxcsr(ptr %from)
  ret void
}}

define void @fill(ptr %unused, i64 %value, i64 %b) {{
entry:
  %stack = alloca [{DEPTH} x i32], align 64
  %short = trunc i64 %value to i32
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %place = getelementptr i32, ptr %stack, i64 %i
  store volatile i32 %short, ptr %place
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, {DEPTH}
  br i1 %more, label %loop, label %end
end:
  ret void
}}
"""


class Watch:
    """Told before each kernel: fills the stack, and keeps the kernels that had a denormal operand."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        target = find_target("baseline")
        self.library = compiler.link([codegen.compile_object(CODE, target)], target)
        self.read, self.write, self.fill = (
            KERNEL(self.library.function(name).address) for name in ("read", "write", "fill")
        )
        self.value, self.tell = DENORMALS * 0x10001, tell
        self.flags, self.running = np.zeros(1, np.uint32), ""
        self.found: list[str] = []

    def __call__(self, key: str) -> None:
        self.read(self.flags.ctypes.data, 0, 0)
        if self.running and self.flags[0] & DENORMAL:
            self.found.append(self.running)
        self.running = key
        self.tell(key)
        self.flags &= ~np.uint32(FLAGS)
        self.write(self.flags.ctypes.data, 0, 0)
        self.fill(0, self.value, 0)


def check_unwritten(problems: list[Problem], target: str, change: Callable[[str], str] | None = None) -> None:
    """Raise AssertionError for a kernel that had a denormal operand, where the problem has none."""
    benches = [Bench(problem, target) for problem in problems]
    for bench in benches:
        if change is not None:
            bench.mutate(change)
        bench.executable.compile()

    def work(tell: Callable[[str], None]) -> None:
        for bench in benches:
            watch = Watch(tell)
            run_guarded(bench, True, watch, DENORMALS)
            assert not watch.found, (
                f"{bench.problem} {target}: computes with what nobody wrote: {watch.found}"
            )

    run_in_child(work)


PASSES = ("conv", "conv_grad_input", "conv_transpose", "conv_grad_kernel")
GROUPED = [
    convolution(operator, (5, 7), size, groups=groups, channels=groups * inner, filters=groups * outer)
    for operator in PASSES
    for size, groups, inner, outer in ((3, 5, 2, 4), (2, 9, 2, 2), (1, 3, 5, 8), (3, 11, 1, 1))
]
KINDS: dict[str, list[Problem]] = {
    "groups": GROUPED,
    "windows": [
        convolution(operator, (7, 9), 4, stride=2, padding="same", channels=5, filters=19)
        for operator in PASSES
    ],
    "pairs": [
        convolution(operator, (7, 9), 3, padding="same", channels=5, filters=19, precision="bfloat16")
        for operator in PASSES
    ],
    "pixels": [convolution("conv_grad_kernel", (7, 9), 1, channels=83, filters=131)],
    "doubles": [replace(problem, dtype="float64") for problem in GROUPED[::3]],
    "winograd": [
        winograd(operator, **how)
        for operator in ("conv", "conv_grad_input", "conv_grad_kernel")
        for how in (
            {"sizes": (9, 22), "images": 2},
            {"sizes": (13, 11), "images": 1, "dilation": (2, 3)},
            {"sizes": (517,), "images": 1, "kernel": 7, "channels": 40},
            {"sizes": (67,), "images": 2, "kernel": 7, "stride": (2,), "channels": 48, "filters": 41},
            {"sizes": (5, 6, 7), "images": 1},
        )
    ],
    "filtered rows": [
        winograd(operator, sizes=sizes, images=2, **how)
        for operator in ("conv", "conv_grad_input", "conv_grad_kernel")
        for sizes, how in (
            ((9, 11), {"kernel": 5, "channels": 32, "filters": 35}),
            ((31, 33), {"kernel": 11, "channels": 3, "filters": 48, "stride": (4, 4)}),
        )
    ],
    "panels": [
        panels(operator, *shape)
        for operator in ("dense", "dense_grad_input")
        for shape in ((7, 1024, 260), (13, 640, 417))
    ],
    "kept": [
        replace(panels(operator, *shape), weights=(1,))
        for operator in ("dense", "dense_grad_input")
        for shape in ((7, 1024, 260), (1, 640, 417))
    ],
    "matrices": [
        Problem("matmul", (normal(np.random.default_rng(1), *a), normal(np.random.default_rng(2), *b)), how)
        for a, b, how in (
            ((2, 259, 131), (2, 259, 301), {"transpose_a": True}),
            ((2, 37, 301), (2, 261, 301), {"transpose_b": True}),
            ((3, 3, 70), (3, 33, 70), {"transpose_b": True}),
        )
    ],
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", some(KINDS, quick=4))
def test_products_of_what_was_written(kind, target):
    check_unwritten(KINDS[kind], target)


# Logarithms and exponentials make denormal numbers of their own.
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"loss", "reduction"}))
def test_random_problems(family, target):
    check_unwritten([FAMILIES[family](np.random.default_rng(seed)) for seed in range(3)], target)


def test_a_tile_that_is_not_cleared_is_caught():
    """Values do not tell: nothing that is kept comes from there."""

    def leave(text: str) -> str:
        for place in re.findall(r"(%\w+) = getelementptr float, ptr %local.tiles", text):
            text = re.sub(rf"\n *store <8 x float> zeroinitializer, ptr {place}, [^\n]*", "", text)
        return text

    with pytest.raises(AssertionError, match="nobody wrote"):
        check_unwritten([winograd("conv", (22, 22), images=1)], "avx2", leave)
