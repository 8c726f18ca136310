"""Numbers in float64, one at a time: the coefficients of a step that depend on its number and learning rate.

They follow the reference engine's Python floats operation by operation; only the power is by squaring.
"""

from __future__ import annotations

from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value, float_text


def number(value: float) -> str:
    """A float64 constant, exactly."""
    return float_text(value, "double")


def read(k: Kernel, role: str) -> Value:
    """A float64 of memory."""
    return k.load_one(role, 0, "double")


def add(k: Kernel, a: str, b: str) -> Value:
    return k.value(f"fadd double {a}, {b}", "double")


def subtract(k: Kernel, a: str, b: str) -> Value:
    return k.value(f"fsub double {a}, {b}", "double")


def multiply(k: Kernel, a: str, b: str) -> Value:
    return k.value(f"fmul double {a}, {b}", "double")


def divide(k: Kernel, a: str, b: str) -> Value:
    return k.value(f"fdiv double {a}, {b}", "double")


def sqrt(k: Kernel, a: str) -> Value:
    k.declare("double @llvm.sqrt.f64(double)")
    return k.value(f"call double @llvm.sqrt.f64(double {a})", "double")


def widen(k: Kernel, a: str) -> Value:
    """float32 to float64."""
    return k.value(f"fpext float {a} to double", "double")


def narrow(k: Kernel, a: str) -> Value:
    """float64 to the nearest float32."""
    return k.value(f"fptrunc double {a} to float", "float")


def in_every_lane(k: Kernel, a: str) -> Value:
    """A float64 as a vector of float32."""
    return k.splat(narrow(k, a))
