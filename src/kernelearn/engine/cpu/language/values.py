"""Values and types of the emission language: what stands in an IR register, and what may be done with it.

    x = k.load("x", at)                     # a vector of float32
    y = (x - mean) * inverse + 1.0          # instructions of x's type; numbers become constants of it
    y = (y > 0.0).choose(y, 0.1 * y)

A `Value` is the text by which LLVM knows it, with its `Type` and the kernel that it belongs to; a `Type` is
LLVM's spelling of it. So both can stand in the text of an instruction, and nowhere but in `language` they
have to. An operation on values of two types is an error when code is made.

Nothing is folded, because x + 0 is not x (of -0 it makes 0), but for the absent term `Kernel.nothing`: adding
it gives the other term, multiplying by it gives it again.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

from kernelearn.errors import KernelearnError

if TYPE_CHECKING:
    from kernelearn.engine.cpu.language.kernel import Kernel

# Bytes of the element types.
SIZES = {"float": 4, "double": 8, "i8": 1, "i32": 4, "i64": 8, "i16": 2}
FLOATS = ("float", "double")
# How intrinsics spell elements.
SHORT = {"float": "f32", "double": "f64"}
# An element of 32 bits that holds two neighbouring bfloat16; LLVM sees a float.
PAIR = "pair"


class Type(str):
    """LLVM's spelling of a type.

    Attributes:
        element: "float", "double", "i1", "i32" ..., or "pair" of bfloat16.
        lanes: of a vector; 0: a single number.
    """

    __slots__ = ("element", "lanes")
    element: str
    lanes: int

    @property
    def is_float(self) -> bool:
        return self.element in FLOATS

    def of(self, element: str) -> Type:
        """The type of as many elements of another kind."""
        return type_of(element, self.lanes)

    @property
    def one(self) -> Type:
        """The type of a single lane."""
        return type_of(self.element)

    @property
    def suffix(self) -> str:
        """As intrinsics spell it: "v16f32", "f64"."""
        short = SHORT.get(self.element, self.element)
        return f"v{self.lanes}{short}" if self.lanes else short

    def constant(self, number: float) -> str:
        """A number of this type as text, the same in every lane."""
        one = float_text(number, self.element) if self.is_float else str(int(number))
        if not self.lanes:
            return one
        return "<" + ", ".join([f"{self.element} {one}"] * self.lanes) + ">"


def type_of(element: str, lanes: int = 0) -> Type:
    """The type of so many elements; 0 lanes: a single number. The same object each time."""
    return _made(element, lanes)


@cache
def _made(element: str, lanes: int) -> Type:
    spelled = "float" if element == PAIR else element
    made = Type(f"<{lanes} x {spelled}>" if lanes else spelled)
    made.element, made.lanes = element, lanes
    return made


@cache
def as_type(spelling: str) -> Type:
    """The type that LLVM spells so."""
    if not spelling.startswith("<"):
        return type_of(spelling)
    lanes, element = spelling[1:-1].split(" x ")
    return type_of(element, int(lanes))


def float_text(number: float, element: str = "float") -> str:
    """A float constant as LLVM reads it exactly: the bits of the double that equals it.

    For float32 that is the number rounded to it; larger ones than it holds stay, and LLVM refuses them.
    """
    if element == "float" and abs(number) < 3.4e38:
        (number,) = struct.unpack("f", struct.pack("f", number))
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


_FLOAT_NAMES = {"add": "fadd", "sub": "fsub", "mul": "fmul"}
# Comparison -> how it is said of floats (false where one is NaN, but for "differs") and of integers.
_RELATIONS = {
    "above": ("ogt", "sgt"),
    "at_least": ("oge", "sge"),
    "below": ("olt", "slt"),
    "at_most": ("ole", "sle"),
    "equals": ("oeq", "eq"),
    "differs": ("une", "ne"),
}


class Value(str):
    """A number or a vector of numbers in a register, or a constant.

    Attributes:
        kernel: whose register it is.
        type: of the value.
        is_absent: whether it is the term that is not there (`Kernel.nothing`).
    """

    __slots__ = ("is_absent", "kernel", "type")
    kernel: Kernel
    type: Type
    is_absent: bool

    # --- arithmetic; numbers become constants of the other's type

    def __add__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._sum(self, self._same(other))

    def __radd__(self, other: float) -> Value:
        return self._sum(self._same(other), self)

    def __sub__(self, other: Value | float) -> Value:
        return self._difference(self, self._same(other))

    def __rsub__(self, other: float) -> Value:
        return self._difference(self._same(other), self)

    def __mul__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._product(self, self._same(other))

    def __rmul__(self, other: float) -> Value:  # type: ignore[override]
        return self._product(self._same(other), self)

    def __truediv__(self, other: Value | float) -> Value:
        return self._quotient(self, self._same(other))

    def __rtruediv__(self, other: float) -> Value:
        return self._quotient(self._same(other), self)

    def __neg__(self) -> Value:
        if not self.type.is_float:
            return 0 - self
        return self.kernel.value(f"fneg {self.type} {self}", self.type)

    def _sum(self, a: Value, b: Value) -> Value:
        if a.is_absent or b.is_absent:
            return b if a.is_absent else a
        return self._binary("add", a, b)

    def _difference(self, a: Value, b: Value) -> Value:
        if b.is_absent:
            return a
        return self._binary("sub", a, b)

    def _product(self, a: Value, b: Value) -> Value:
        if a.is_absent or b.is_absent:
            return a if a.is_absent else b
        return self._binary("mul", a, b)

    def _quotient(self, a: Value, b: Value) -> Value:
        if not a.type.is_float:
            raise KernelearnError(f"/ divides floats; {a} is a {a.type}.")
        return a if a.is_absent else self.instruction("fdiv", a, b)

    def _binary(self, name: str, a: Value, b: Value) -> Value:
        return self.instruction(_FLOAT_NAMES[name] if a.type.is_float else name, a, b)

    def instruction(self, name: str, a: Value, b: Value) -> Value:
        """An instruction of two operands of one type, which is that of the result."""
        return self.kernel.value(f"{name} {a.type} {a}, {b}", a.type)

    def _same(self, other: Value | float) -> Value:
        """Another operand; one of another type is an error."""
        if isinstance(other, Value):
            if other.type is not self.type:
                raise KernelearnError(
                    f"{self} is a {self.type}, {other} a {other.type}: convert one of them "
                    "(widened, narrowed, to_float, to_int, splat)."
                )
            return other
        if isinstance(other, str):
            raise KernelearnError(f"{other!r} is text without a type; make it by Kernel.value.")
        return self.kernel.constant(other, self.type)

    # --- comparisons: i1 in every lane

    def __gt__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._compare("above", other)

    def __ge__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._compare("at_least", other)

    def __lt__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._compare("below", other)

    def __le__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._compare("at_most", other)

    def equals(self, other: Value | float) -> Value:
        """== and != of values say whether they are the same register; this is the comparison in code."""
        return self._compare("equals", other)

    def differs(self, other: Value | float) -> Value:
        """Also where one is NaN."""
        return self._compare("differs", other)

    def is_nan(self) -> Value:
        return self.test("uno", self)

    def is_number(self) -> Value:
        return self.test("ord", self)

    def test(self, relation: str, other: Value | float) -> Value:
        """A comparison by LLVM's name of it: "ult", "one" ..."""
        operand = self._same(other)
        name = "fcmp" if self.type.is_float else "icmp"
        return self.kernel.value(f"{name} {relation} {self.type} {self}, {operand}", self.type.of("i1"))

    def _compare(self, name: str, other: Value | float) -> Value:
        of_floats, of_integers = _RELATIONS[name]
        return self.test(of_floats if self.type.is_float else of_integers, other)

    # --- conditions, and bits of integers

    def choose(self, yes: Value | float, no: Value | float) -> Value:
        """`yes` where this i1 holds, else `no`; at least one of them is a value."""
        if isinstance(yes, Value):
            a, b = yes, yes._same(no)
        elif isinstance(no, Value):
            a, b = no._same(yes), no
        else:
            raise KernelearnError(f"choose({yes}, {no}) has no type: make one of them a constant of a type.")
        return self.kernel.value(f"select {self.type} {self}, {a.type} {a}, {b.type} {b}", a.type)

    def __and__(self, other: Value | int) -> Value:
        return self.instruction("and", self, self._same(other))

    def __or__(self, other: Value | int) -> Value:
        return self.instruction("or", self, self._same(other))

    def __xor__(self, other: Value | int) -> Value:
        return self.instruction("xor", self, self._same(other))

    def __invert__(self) -> Value:
        """Where this i1 does not hold."""
        every = "true" if self.type == "i1" else self.type.constant(1)
        return self.kernel.value(f"xor {self.type} {self}, {every}", self.type)

    def __lshift__(self, other: Value | int) -> Value:
        return self.instruction("shl", self, self._same(other))

    def __rshift__(self, other: Value | int) -> Value:
        """Zeros come in from the left."""
        return self.instruction("lshr", self, self._same(other))

    def halved(self, times: int = 1) -> Value:
        """By powers of two, down; the sign comes in from the left."""
        return self.instruction("ashr", self, self._same(times))

    # --- other types

    def converted(self, instruction: str, element: str) -> Value:
        """By an instruction that changes the type: `fptosi`, `zext` ..."""
        result = self.type.of(element)
        return self.kernel.value(f"{instruction} {self.type} {self} to {result}", result)

    def widened(self) -> Value:
        """float32 as float64; a float64 as it is."""
        if self.type.element == "double":
            return self
        return self.converted("fpext", "double")

    def narrowed(self) -> Value:
        """float64 as the nearest float32; in a kernel of float64 as it is."""
        if self.kernel.float == "double":
            return self
        return self.converted("fptrunc", "float")

    def to_float(self, element: str = "float") -> Value:
        """An integer with a sign as a float."""
        return self.converted("sitofp", self.kernel.element(element))

    def to_int(self, element: str = "i32") -> Value:
        """A float without what is behind the point."""
        return self.converted("fptosi", element)

    def truncated(self, element: str) -> Value:
        """The low bits of an integer."""
        return self.converted("trunc", element)

    def bits(self) -> Value:
        """The bits of a float as an integer."""
        return self.converted("bitcast", "i64" if self.type.element == "double" else "i32")

    def from_bits(self) -> Value:
        """An integer's bits as a float."""
        return self.converted("bitcast", "double" if self.type.element == "i64" else "float")

    def lane(self, number: int = 0) -> Value:
        """One number of a vector."""
        return self.kernel.value(f"extractelement {self.type} {self}, i32 {number}", self.type.one)

    def splat(self) -> Value:
        """A single number in every lane of a vector."""
        return self.kernel.splat(self)
