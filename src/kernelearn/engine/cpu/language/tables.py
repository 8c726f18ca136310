"""Constant tables in the code of a kernel: weights, positions and numbers of taps that Python works out."""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import SIZES, Value, float_text

INTEGERS = ("i32", "i64")


class Table:
    """Numbers that belong to a kernel's code.

    Args:
        name: unique within the kernel.
        type_: "float", "i32" or "i64".
    """

    def __init__(self, k: Kernel, name: str, values: Sequence[float], type_: str = "float") -> None:
        self.k, self.name, self.type = k, f"@table.{name}", type_
        text = str if type_ in INTEGERS else float_text
        entries = ", ".join(f"{type_} {text(v)}" for v in values)
        k.define(f"{self.name} = private constant [{len(values)} x {type_}] [{entries}], align 64")

    def _address(self, at: Index | int) -> str:
        return self.k.op(f"getelementptr {self.type}, ptr {self.name}, i64 {at}")

    def one(self, at: Index | int) -> Value:
        """One number."""
        return self.k.value(f"load {self.type}, ptr {self._address(at)}, align {SIZES[self.type]}", self.type)

    def index(self, at: Index | int) -> Index:
        """One number of a table of i64."""
        return Index(self.k, self.one(at))

    def everywhere(self, at: Index | int) -> Value:
        """One number in every lane."""
        return self.k.splat(self.one(at), self.type)

    def vector(self, at: Index | int, mask: Value | None = None) -> Value:
        """As many numbers as there are lanes; those outside of the mask are zero and not read."""
        k = self.k
        kind = f"<{k.width} x {self.type}>"
        address, size = self._address(at), SIZES[self.type]
        if mask is None:
            return k.value(f"load {kind}, ptr {address}, align {size}", kind)
        short = {"float": "f32", "i32": "i32", "i64": "i64"}[self.type]
        name = f"@llvm.masked.load.v{k.width}{short}.p0"
        k.declare(f"{kind} {name}(ptr, i32, <{k.width} x i1>, {kind})")
        return k.value(
            f"call {kind} {name}(ptr {address}, i32 {size}, <{k.width} x i1> {mask}, {kind} zeroinitializer)",
            kind,
        )
