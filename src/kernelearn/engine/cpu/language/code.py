"""The text of one function while it is written: instructions, basic blocks, variables, declarations.

Everything else of the language is made of these: `flow`, `memory` and `arithmetic` add to this class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from kernelearn.engine.cpu.language.indices import Index
from kernelearn.engine.cpu.language.values import Type, Value, as_type, type_of
from kernelearn.engine.cpu.machine.target import Target

if TYPE_CHECKING:
    from kernelearn.engine.cpu.language.kernel import Kernel


class Register:
    """A vector variable: set and get inside loops; LLVM keeps it in a machine register."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type_: Type) -> None:
        self.name, self.type = name, type_


class Code:
    """One function under construction; see `Kernel`."""

    def __init__(self, name: str, arguments: Iterable[str], target: Target) -> None:
        self.name, self.target, self.width = name, target, target.width
        self.arguments = tuple(arguments)
        # What "float" stands for in this kernel: see `use_doubles`.
        self.float = "float"
        self.vector = type_of(self.float, self.width)
        self._entry: list[str] = []
        self._lines: list[str] = []
        self._declared: set[str] = set()
        self._globals: list[str] = []
        self._count = 0
        self._block = "body"
        self._cached: dict[str, tuple[Register, Value, bool]] = {}
        self._known: dict[str, str] = {}
        # Multiply-adds of the loops that are open, each without those inside of it.
        self._products = [0]
        self._pairs: dict[tuple[str, str], str] = {}
        self._pointers: dict[str, str] = {}
        for number, argument in enumerate(self.arguments):
            slot = f"%slot.{argument}"
            self._entry.append(f"{slot} = getelementptr i64, ptr %arguments, i64 {number}")
            self._entry.append(f"%arg.{argument} = load ptr, ptr {slot}, align 8")
            self._pointers[argument] = f"%arg.{argument}"
        self.lo, self.hi = self.integer("%lo"), self.integer("%hi")

    @property
    def _kernel(self) -> Kernel:
        """Itself: nothing but a `Kernel` is ever made."""
        return cast("Kernel", self)

    def narrow(self, width: int) -> None:
        """Vectors have so many lanes from here on."""
        self.width, self.vector = width, type_of(self.float, width)

    def use_doubles(self) -> None:
        """From here on every "float" is a float64, and vectors have half as many lanes.

        So what is written for float32 serves float64 as well, but for what knows the bits or the precision of
        its numbers. To widen or to narrow such a number does nothing.
        """
        self.float = "double"
        self.narrow(self.width // 2)

    def element(self, name: str) -> str:
        """What an element is in this kernel: a "float" is of its own type."""
        return self.float if name == "float" else name

    # --- text

    def op(self, text: str) -> str:
        """Append an instruction that gives a value; returns its register."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return name

    def known(self, text: str) -> str:
        """The register of an instruction that always gives the same, made once in each basic block."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self.op(text)
        return found

    def value(self, text: str, type_: str) -> Value:
        """Append an instruction that gives a value of a type."""
        return self.named(self.op(text), type_)

    def named(self, text: str, type_: str) -> Value:
        """A register or a constant as a value."""
        made = Value(text)
        made.kernel, made.is_absent = self._kernel, False
        made.type = type_ if isinstance(type_, Type) else as_type(type_)
        return made

    def do(self, text: str) -> None:
        """Append an instruction without a value."""
        self._lines.append("  " + text)

    def declare(self, text: str) -> None:
        """Declare an outside function, once: `ptr @name(...)` with its types."""
        self._declared.add(text)

    def define(self, text: str) -> None:
        """Add a global constant or a helper function to the module, once."""
        if text not in self._globals:
            self._globals.append(text)

    def finish(self) -> str:
        """The module's text."""
        self.flush()
        declared = "\n".join(f"declare {d}" for d in sorted(self._declared))
        body = "\n".join(self._lines)
        entry = "\n  ".join(self._entry)
        return (
            f"{declared}\n" + "\n".join(self._globals) + "\n"
            f"define void @{self.name}(ptr %arguments, i64 %lo, i64 %hi) nounwind {{\n"
            f"entry:\n  {entry}\n  br label %body\nbody:\n{body}\n  ret void\n}}\n"
        )

    def label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _start(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label
        self._known = {}

    def integer(self, register: str | None, constant: int = 0) -> Index:
        """A register, or none, plus a constant as an Index."""
        return Index(self._kernel, register, constant)

    def const(self, value: int) -> Index:
        """A constant as an Index."""
        return self.integer(None, value)

    def scalar(self, argument: str) -> Index:
        """An entry of the argument table that is a number, not an address."""
        name = f"%number.{argument}"
        line = f"{name} = load i64, ptr %slot.{argument}, align 8"
        if line not in self._entry:
            self._entry.append(line)
        return self.integer(name)

    # --- registers

    def register(self, type_: str | None = None, start: str | None = None) -> Register:
        """A new variable: of this type, else of that of the start, else a float vector."""
        if type_ is None and isinstance(start, Value):
            type_ = start.type
        self._count += 1
        register = Register(f"%r{self._count}", as_type(type_) if type_ else self.vector)
        self._entry.append(f"{register.name} = alloca {register.type}")
        if start is not None:
            self.set(register, self.named(start, register.type))
        return register

    def get(self, register: Register) -> Value:
        """Current value."""
        held = self._cached.get(register.name)
        if held is None:
            value = self.value(f"load {register.type}, ptr {register.name}", register.type)
            held = self._cached[register.name] = (register, value, False)
        return held[1]

    def set(self, register: Register, value: str) -> None:
        """Assign."""
        made = value if isinstance(value, Value) else self.named(value, register.type)
        self._cached[register.name] = (register, made, True)

    def flush(self) -> None:
        """At the border of a basic block: put assigned values where the next block finds them."""
        for register, value, is_new in self._cached.values():
            if is_new:
                self.do(f"store {register.type} {value}, ptr {register.name}")
        self._cached = {}
