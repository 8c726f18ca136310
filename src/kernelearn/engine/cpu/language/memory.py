"""Memory: vectors and single numbers, read and written by the name of an argument or a local.

Offsets count elements of the type.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kernelearn.engine.cpu.language.code import Code
from kernelearn.engine.cpu.language.indices import Index
from kernelearn.engine.cpu.language.values import PAIR, SIZES, Value, type_of

# Elements besides float32 that vectors are loaded and stored of.
INTEGERS = ("i8", "i32", "i64")


class Memory(Code):
    """Loads and stores of a kernel."""

    def local(self, name: str, count: int) -> None:
        """An array of floats on the stack, from now on used like an argument; its content is undefined."""
        self._entry.append(f"%local.{name} = alloca [{count} x {self.float}], align 64")
        self._pointers[name] = f"%local.{name}"

    @contextmanager
    def renamed(self, **others: str) -> Iterator[None]:
        """Within it, a name of an argument or a local stands for another one."""
        before = self._pointers
        self._pointers = {**before, **{name: before[other] for name, other in others.items()}}
        yield
        self._pointers = before

    def address(self, argument: str, offset: Index | int = 0, type_: str = "float") -> str:
        """Pointer to an element."""
        base, type_ = self._pointers[argument], self.element(type_)
        if isinstance(offset, int):
            offset = self.const(offset)
        if offset.register is not None:
            base = self.known(f"getelementptr {type_}, ptr {base}, i64 {offset.register}")
        if offset.constant:
            base = self.known(f"getelementptr {type_}, ptr {base}, i64 {offset.constant}")
        return base

    def load(
        self, argument: str, offset: Index | int = 0, mask: str | None = None, element: str = "float"
    ) -> Value:
        """A vector of float32 (or of pairs, or of another type); lanes outside of `mask` are zero and not
        read."""
        stored = self.element("float" if element == PAIR else element)
        pointer, vector = (
            self.address(argument, offset, stored),
            type_of(self.element(element), self.width),
        )
        align = SIZES[stored]
        if mask is None:
            return self.value(f"load {vector}, ptr {pointer}, align {align}", vector)
        name = f"@llvm.masked.load.{type_of(stored, self.width).suffix}.p0"
        self.declare(f"{vector} {name}(ptr, i32, <{self.width} x i1>, {vector})")
        return self.value(
            f"call {vector} {name}(ptr {pointer}, i32 {align}, <{self.width} x i1> {mask}, "
            f"{vector} zeroinitializer)",
            vector,
        )

    def store(self, value: str, argument: str, offset: Index | int = 0, mask: str | None = None) -> None:
        """Write a vector of float32, or of the type that the value says; lanes outside of `mask` are left
        alone."""
        vector = value.type if isinstance(value, Value) and value.type.element in INTEGERS else self.vector
        pointer, align = self.address(argument, offset, vector.element), SIZES[vector.element]
        if mask is None:
            self.do(f"store {vector} {value}, ptr {pointer}, align {align}")
            return
        name = f"@llvm.masked.store.{vector.suffix}.p0"
        self.declare(f"void {name}({vector}, ptr, i32, <{self.width} x i1>)")
        self.do(f"call void {name}({vector} {value}, ptr {pointer}, i32 {align}, <{self.width} x i1> {mask})")

    def forget(self) -> None:
        """From here on memory is read again. It makes no instruction.

        Without it LLVM finds loads that repeat in a basic block, keeps their values, and spills them.
        """
        self.do('call void asm sideeffect "", "~{memory}"()')

    def prefetch(
        self, argument: str, offset: Index | int = 0, locality: int = 3, is_written: bool = False
    ) -> None:
        """Ask for a cache line of float32 numbers that is needed soon; out of bounds does no harm.

        Args:
            locality: 3 for the first-level cache, 2 for the second.
            is_written: whether the line will be written, too.
        """
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        pointer = self.address(argument, offset)
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(is_written)}, i32 {locality}, i32 1)")

    def load_one(self, argument: str, offset: Index | int = 0, type_: str = "float") -> Value:
        """One number."""
        type_ = self.element(type_)
        pointer = self.address(argument, offset, type_)
        return self.value(f"load {type_}, ptr {pointer}, align {SIZES[type_]}", type_)

    def store_one(self, value: str, argument: str, offset: Index | int = 0, type_: str = "float") -> None:
        """Write one number."""
        type_ = self.element(type_)
        pointer = self.address(argument, offset, type_)
        self.do(f"store {type_} {value}, ptr {pointer}, align {SIZES[type_]}")

    def broadcast(self, argument: str, offset: Index | int = 0, element: str = "float") -> Value:
        """One float32 of memory (or one pair) in every lane."""
        one = self.load_one(argument, offset)
        one.type = type_of(self.element(element))
        return self.splat(one)

    def splat(self, scalar: str, element: str = "float") -> Value:
        """One number in every lane; `element`: its type, if it does not know it itself."""
        known = scalar.type.element if isinstance(scalar, Value) else self.element(element)
        vector = type_of(known, self.width)
        first = self.op(f"insertelement {vector} poison, {vector.one} {scalar}, i32 0")
        return self.value(
            f"shufflevector {vector} {first}, {vector} poison, <{self.width} x i32> zeroinitializer", vector
        )

    def mask(self, lanes: int) -> Value | None:
        """Constant mask of the first `lanes` lanes; None for all of them."""
        if lanes >= self.width:
            return None
        bits = ", ".join(f"i1 {1 if i < lanes else 0}" for i in range(self.width))
        return self.named(f"<{bits}>", self.vector.of("i1"))

    def mask_below(self, count: Index) -> Value:
        """Mask of the lanes whose number is below a count known at run time."""
        numbers = ", ".join(f"i64 {i}" for i in range(self.width))
        limit = self.splat(str(count), "i64")
        return self.value(f"icmp slt <{self.width} x i64> <{numbers}>, {limit}", self.vector.of("i1"))
