"""Types of numbers in chains: how an array's type stands in memory and in registers.

Booleans are bytes of 0 and 1 in memory, and in registers what comparisons give: one bit a lane.
"""

from __future__ import annotations

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import Type, Value

# Type of an array -> of its lanes.
ELEMENTS = {"float32": "float", "int32": "i32", "int64": "i64", "uint8": "i8", "bool": "i1"}


def lanes_of(k: Kernel, dtype: str) -> Type:
    """The type of a vector of such numbers."""
    return k.vector.of(k.element(ELEMENTS[dtype]))


def _in_memory(dtype: str) -> str:
    return "i8" if dtype == "bool" else ELEMENTS[dtype]


def _from_memory(value: Value, dtype: str) -> Value:
    return value.test("ne", 0) if dtype == "bool" else value


def load(k: Kernel, role: str, offset: Index | int, mask: Value | None, dtype: str) -> Value:
    """A vector of numbers of this type."""
    return _from_memory(k.load(role, offset, mask, _in_memory(dtype)), dtype)


def load_everywhere(k: Kernel, role: str, offset: Index | int, dtype: str) -> Value:
    """One number in every lane."""
    return _from_memory(k.splat(k.load_one(role, offset, _in_memory(dtype))), dtype)


def store(k: Kernel, value: Value, role: str, offset: Index | int, mask: Value | None) -> None:
    """Write a vector of numbers of any of the types."""
    is_bool = value.type.element == "i1"
    k.store(value.converted("zext", "i8") if is_bool else value, role, offset, mask)
