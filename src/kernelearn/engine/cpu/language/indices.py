"""Integers of a kernel: offsets and counters, folded in Python as far as sizes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelearn.engine.cpu.language.values import Value, type_of

if TYPE_CHECKING:
    from kernelearn.engine.cpu.language.kernel import Kernel


class Index:
    """An integer: an IR register (or none) plus a constant, folded as far as Python can."""

    __slots__ = ("constant", "kernel", "register")

    def __init__(self, kernel: Kernel, register: str | None, constant: int = 0) -> None:
        self.kernel, self.register, self.constant = kernel, register, constant

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.kernel, self.register, self.constant + other)
        constant = self.constant + other.constant
        if self.register is None or other.register is None:
            return Index(self.kernel, self.register or other.register, constant)
        total = self.kernel.known(f"add i64 {self.register}, {other.register}")
        return Index(self.kernel, total, constant)

    __radd__ = __add__

    def __mul__(self, other: Index | int) -> Index:
        if isinstance(other, Index):
            if other.register is None:
                return self * other.constant
            return Index(self.kernel, self.kernel.known(f"mul i64 {self}, {other}"))
        if other == 1:
            return self
        if self.register is None or other == 0:
            return Index(self.kernel, None, self.constant * other)
        product = self.kernel.known(f"mul i64 {self.register}, {other}")
        return Index(self.kernel, product, self.constant * other)

    __rmul__ = __mul__

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    def __floordiv__(self, divisor: Index | int) -> Index:
        if self.register is None and isinstance(divisor, int):
            return Index(self.kernel, None, self.constant // divisor)
        return Index(self.kernel, self.kernel.known(f"udiv i64 {self}, {divisor}"))

    def __mod__(self, divisor: int) -> Index:
        if self.register is None:
            return Index(self.kernel, None, self.constant % divisor)
        return Index(self.kernel, self.kernel.known(f"urem i64 {self}, {divisor}"))

    def to_float(self, element: str = "float") -> Value:
        """As a float."""
        element = self.kernel.element(element)
        return self.kernel.value(f"sitofp i64 {self} to {element}", type_of(element))

    def to_int(self, element: str = "i32") -> Value:
        """The low bits as an integer of another size."""
        return self.kernel.value(f"trunc i64 {self} to {element}", type_of(element))

    def __str__(self) -> str:
        """As an operand of an instruction."""
        if self.register is None:
            return str(self.constant)
        if self.constant == 0:
            return self.register
        return self.kernel.known(f"add i64 {self.register}, {self.constant}")
