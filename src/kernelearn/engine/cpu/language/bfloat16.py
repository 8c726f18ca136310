"""bfloat16 in registers: rounding, and pairs of neighbours in 32 bits; `kernels.precision` says what for."""

from __future__ import annotations

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel

PAIRS = "<32 x bfloat>"


def rounded_bits(k: Kernel, x: str) -> str:
    """float32 rounded to bfloat16, ties to even, as the upper halves of int32; NaN stays NaN."""
    kind = f"<{k.width} x i32>"
    bits = fn.as_bits(k, x)
    odd = k.op(f"and {kind} {k.op(f'lshr {kind} {bits}, {fn.integers(k, 16)}')}, {fn.integers(k, 1)}")
    more = k.op(f"add {kind} {odd}, {fn.integers(k, 0x7FFF)}")
    raised = k.op(f"add {kind} {bits}, {more}")
    quiet = k.op(f"or {kind} {bits}, {fn.integers(k, 0x400000)}")
    chosen = k.select(k.test("uno", x, x), quiet, raised, kind)
    return k.op(f"and {kind} {chosen}, {fn.integers(k, -65536)}")


def pair(k: Kernel, first: str, second: str) -> str:
    """Pairs (first[lane], second[lane]) of two float32 vectors."""
    kind = f"<{k.width} x i32>"
    low = k.op(f"lshr {kind} {rounded_bits(k, first)}, {fn.integers(k, 16)}")
    return fn.as_float(k, k.op(f"or {kind} {low}, {rounded_bits(k, second)}"))


def convert(k: Kernel, first: str, second: str) -> str:
    """Two float32 vectors as one of bfloat16, one behind the other."""
    name = "@llvm.x86.avx512bf16.cvtne2ps2bf16.512"
    k.declare(f"{PAIRS} {name}({k.vector}, {k.vector})")
    return k.op(f"call {PAIRS} {name}({k.vector} {second}, {k.vector} {first})")


def interleave(k: Kernel, both: str) -> str:
    """(a0 a1 .. b0 b1 ..) as pairs (a0 b0) (a1 b1) .."""
    order = ", ".join(f"i32 {lane // 2 + 16 * (lane % 2)}" for lane in range(32))
    return k.op(f"shufflevector {PAIRS} {both}, {PAIRS} poison, <32 x i32> <{order}>")


def as_floats(k: Kernel, pairs: str) -> str:
    """The same bits as a vector of 32-bit numbers, which can be stored."""
    return k.op(f"bitcast {PAIRS} {pairs} to {k.vector}")
