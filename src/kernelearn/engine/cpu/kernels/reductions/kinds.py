"""What a reduction starts from, how two parts of it are joined, and how a type of numbers stands in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.elements import ELEMENTS
from kernelearn.engine.cpu.kernels.entrywise.functions import larger, smaller
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.reduce import butterfly, only
from kernelearn.engine.cpu.language.values import Type, Value

# Operator -> its kind.
KINDS = {
    "bias_grad": "sum",
    "sum_to": "sum",
    "reduce_mean": "mean",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "prod",
}
_NUMBERS = ("float32", "int32", "int64")
# Kind -> types of numbers that there is code for.
TYPES: Mapping[str, tuple[str, ...]] = {
    "sum": _NUMBERS,
    "mean": ("float32",),
    "max": (*_NUMBERS, "bool"),
    "min": (*_NUMBERS, "bool"),
    "prod": _NUMBERS,
}
_JOINS: Mapping[str, Callable[[Value, Value], Value]] = {
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: a + b,
    "max": larger,
    "min": smaller,
    "prod": lambda a, b: a * b,
}
_BITS = {"i32": 31, "i64": 63}


@dataclass(frozen=True)
class Reduction:
    """A kind of reduction of numbers of a type. Booleans are reduced as integers."""

    kind: str
    dtype: str

    def type_in(self, k: Kernel) -> Type:
        """Of a vector of parts."""
        return k.vector.of("i32" if self.dtype == "bool" else k.element(ELEMENTS[self.dtype]))

    def start(self, k: Kernel, type_: Type | None = None) -> Value:
        """What changes nothing when it is joined."""
        type_ = type_ or self.type_in(k)
        if self.kind in ("sum", "mean"):
            return k.zero_of(type_)
        if self.kind == "prod":
            return k.constant(1, type_)
        sign = -1 if self.kind == "max" else 1
        if type_.is_float:
            return k.constant(sign * math.inf, type_)
        largest = 2 ** _BITS[type_.element] - 1
        return k.constant(largest if sign > 0 else -largest - 1, type_)

    def join(self, a: Value, b: Value) -> Value:
        """Of two parts."""
        return _JOINS[self.kind](a, b)

    def taken(self, value: Value, mask: Value | None = None) -> Value:
        """A value as a part; lanes that do not exist do not count."""
        part = value.converted("zext", "i32") if self.dtype == "bool" else value
        return only(mask, part, self.start(value.kernel))

    def everywhere(self, parts: Value) -> Value:
        """All lanes joined, in every lane."""
        return butterfly(parts, self.join)

    def given(self, part: Value) -> Value:
        """A part as a value of the type."""
        return part.test("ne", 0) if self.dtype == "bool" else part
