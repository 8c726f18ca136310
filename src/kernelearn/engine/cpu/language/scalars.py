"""Numbers in float64, one at a time: the coefficients of a step that depend on its number and learning rate.

They follow the reference engine's Python floats operation by operation; only the power is by squaring.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kernelearn.engine.cpu.language.kernel import Index, Kernel


def number(value: float) -> str:
    """A float64 constant, exactly."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def read(k: Kernel, role: str) -> str:
    """A float64 of memory."""
    return k.load_one(role, 0, "double")


def add(k: Kernel, a: str, b: str) -> str:
    return k.op(f"fadd double {a}, {b}")


def subtract(k: Kernel, a: str, b: str) -> str:
    return k.op(f"fsub double {a}, {b}")


def multiply(k: Kernel, a: str, b: str) -> str:
    return k.op(f"fmul double {a}, {b}")


def divide(k: Kernel, a: str, b: str) -> str:
    return k.op(f"fdiv double {a}, {b}")


def one_minus(k: Kernel, a: str) -> str:
    return subtract(k, number(1.0), a)


def sqrt(k: Kernel, a: str) -> str:
    k.declare("double @llvm.sqrt.f64(double)")
    return k.op(f"call double @llvm.sqrt.f64(double {a})")


def widen(k: Kernel, a: str) -> str:
    """float32 to float64."""
    return k.op(f"fpext float {a} to double")


def narrow(k: Kernel, a: str) -> str:
    """float64 to the nearest float32."""
    return k.op(f"fptrunc double {a} to float")


def in_every_lane(k: Kernel, a: str) -> str:
    """A float64 as a vector of float32."""
    return k.splat(narrow(k, a))


def powers(k: Kernel, bases: Sequence[float], exponent: Index) -> list[str]:
    """base^exponent for an exponent of at least 0, by repeated squaring."""
    results = [k.register("double", number(1.0)) for _ in bases]
    squares = [k.register("double", number(base)) for base in bases]
    k.declare("i64 @llvm.ctlz.i64(i64, i1)")
    unused = Index(k, k.op(f"call i64 @llvm.ctlz.i64(i64 {exponent}, i1 false)"))
    with k.loop(0, unused * -1 + 64) as bit:
        shifted = k.op(f"lshr i64 {exponent}, {bit}")
        odd = k.op(f"trunc i64 {shifted} to i1")
        for result, square in zip(results, squares):
            factor = k.op(f"select i1 {odd}, double {k.get(square)}, double {number(1.0)}")
            k.set(result, multiply(k, k.get(result), factor))
            k.set(square, multiply(k, k.get(square), k.get(square)))
    return [k.get(result) for result in results]
