"""Vectors of float64."""

from __future__ import annotations

from kernelearn.engine.cpu.language.kernel import Index, Kernel, float_text


class Wide:
    """Arithmetic on vectors of float64 as long as those of float32."""

    def __init__(self, k: Kernel) -> None:
        self.k, self.type = k, f"<{k.width} x double>"

    def widen(self, x: str) -> str:
        return self.k.op(f"fpext {self.k.vector} {x} to {self.type}")

    def narrow(self, x: str) -> str:
        return self.k.op(f"fptrunc {self.type} {x} to {self.k.vector}")

    def add(self, a: str, b: str) -> str:
        return self.k.op(f"fadd {self.type} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.k.op(f"fsub {self.type} {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return self.k.op(f"fmul {self.type} {a}, {b}")

    def div(self, a: str, b: str) -> str:
        return self.k.op(f"fdiv {self.type} {a}, {b}")

    def constant(self, value: float) -> str:
        return "<" + ", ".join([f"double {float_text(value)}"] * self.k.width) + ">"

    def number(self, value: Index) -> str:
        """An integer in every lane."""
        return self.k.splat(self.k.op(f"sitofp i64 {value} to double"), "double")
