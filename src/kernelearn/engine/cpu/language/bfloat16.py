"""bfloat16 in registers: rounding, and pairs of neighbours in 32 bits; `kernels.precision` says what for."""

from __future__ import annotations

from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value

PAIRS = "<32 x bfloat>"


def rounded_bits(x: Value) -> Value:
    """float32 rounded to bfloat16, ties to even, as the upper halves of int32; NaN stays NaN."""
    bits = x.bits()
    odd = bits >> 16 & 1
    raised = bits + (odd + 0x7FFF)
    quiet = bits | 0x400000
    return x.is_nan().choose(quiet, raised) & -65536


def pair(first: Value, second: Value) -> Value:
    """Pairs (first[lane], second[lane]) of two float32 vectors, as a vector of floats that can be stored."""
    low = rounded_bits(first) >> 16
    return (low | rounded_bits(second)).from_bits()


def convert(k: Kernel, first: Value, second: Value) -> Value:
    """Two float32 vectors as one of bfloat16, one behind the other."""
    name = "@llvm.x86.avx512bf16.cvtne2ps2bf16.512"
    k.declare(f"{PAIRS} {name}({k.vector}, {k.vector})")
    return k.value(f"call {PAIRS} {name}({k.vector} {second}, {k.vector} {first})", PAIRS)


def interleave(k: Kernel, both: Value) -> Value:
    """(a0 a1 .. b0 b1 ..) as pairs (a0 b0) (a1 b1) .."""
    order = ", ".join(f"i32 {lane // 2 + 16 * (lane % 2)}" for lane in range(32))
    return k.value(f"shufflevector {PAIRS} {both}, {PAIRS} poison, <32 x i32> <{order}>", PAIRS)


def as_floats(k: Kernel, pairs: Value) -> Value:
    """The same bits as a vector of 32-bit numbers, which can be stored."""
    return k.value(f"bitcast {PAIRS} {pairs} to {k.vector}", k.vector)
