"""bfloat16 in registers: rounding, and pairs of neighbours in 32 bits; `kernels.precision` says what for."""

from __future__ import annotations

from kernelearn.engine.cpu.language.kernel import Index, Kernel
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


def pair_of(k: Kernel, first: Value, second: Value) -> Value:
    """As `pair`, by the processor's own rounding where it has one."""
    if k.target.rounds_to_bfloat16:
        return as_floats(k, interleave(k, convert(k, first, second)))
    return pair(first, second)


def neighbours(k: Kernel, first: Value, second: Value) -> Value:
    """The numbers of two vectors that follow each other, as pairs of neighbours."""
    if k.target.rounds_to_bfloat16:
        return as_floats(k, convert(k, first, second))
    return pair(*(_every_second(k, first, second, start) for start in (0, 1)))


def _every_second(k: Kernel, first: Value, second: Value, start: int) -> Value:
    """Every second number of two vectors."""
    order = ", ".join(f"i32 {lane}" for lane in range(start, 2 * k.width, 2))
    text = f"shufflevector {k.vector} {first}, {k.vector} {second}, <{k.width} x i32> <{order}>"
    return k.value(text, k.vector)


def store_pairs(k: Kernel, pairs: Value, argument: str, offset: Index, mask: Value | None) -> None:
    """Store a vector of pairs, wherever a single bfloat16 may stand; the offset counts these."""
    address = k.address(argument, offset, "i16")
    if mask is None:
        k.do(f"store {k.vector} {pairs}, ptr {address}, align 2")
        return
    name = f"@llvm.masked.store.{k.vector.suffix}.p0"
    k.declare(f"void {name}({k.vector}, ptr, i32, {mask.type})")
    k.do(f"call void {name}({k.vector} {pairs}, ptr {address}, i32 2, {mask.type} {mask})")
