"""A small vector language that writes LLVM IR: index arithmetic, loops, vectors of float32, registers.

    k = Kernel("twice", ("x", "y"), target)
    with k.loop(k.lo, k.hi, k.width) as i:
        x = k.load("x", i)
        k.store(k.add(x, x), "y", i)
    text = k.finish()

Every kernel has the signature `void name(ptr arguments, i64 lo, i64 hi)`: a table of addresses and numbers,
and the range of tasks to do. Values are the names of IR registers, as strings. Sizes and strides known to
Python are constants in the code, and are folded here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kernelearn.engine.cpu.machine.target import Target

# Bytes of the element types.
SIZES = {"float": 4, "double": 8, "i8": 1, "i32": 4, "i64": 8, "i16": 2}


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
        total = self.kernel.op(f"add i64 {self.register}, {other.register}")
        return Index(self.kernel, total, constant)

    __radd__ = __add__

    def __mul__(self, other: Index | int) -> Index:
        if isinstance(other, Index):
            if other.register is None:
                return self * other.constant
            return Index(self.kernel, self.kernel.op(f"mul i64 {self}, {other}"))
        if other == 1:
            return self
        if self.register is None or other == 0:
            return Index(self.kernel, None, self.constant * other)
        product = self.kernel.op(f"mul i64 {self.register}, {other}")
        return Index(self.kernel, product, self.constant * other)

    __rmul__ = __mul__

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    def __floordiv__(self, divisor: int) -> Index:
        if self.register is None:
            return Index(self.kernel, None, self.constant // divisor)
        return Index(self.kernel, self.kernel.op(f"udiv i64 {self}, {divisor}"))

    def __mod__(self, divisor: int) -> Index:
        if self.register is None:
            return Index(self.kernel, None, self.constant % divisor)
        return Index(self.kernel, self.kernel.op(f"urem i64 {self}, {divisor}"))

    def __str__(self) -> str:
        """As an operand of an instruction."""
        if self.register is None:
            return str(self.constant)
        if self.constant == 0:
            return self.register
        return self.kernel.op(f"add i64 {self.register}, {self.constant}")


class Register:
    """A vector variable: set and get inside loops; LLVM keeps it in a machine register."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type_: str) -> None:
        self.name, self.type = name, type_


class Kernel:
    """One function under construction.

    Args:
        name: of the function.
        arguments: names of the entries of the table of addresses, in order.
        target: what it is compiled for.
    """

    def __init__(self, name: str, arguments: Iterable[str], target: Target) -> None:
        self.name, self.target, self.width = name, target, target.width
        self.arguments = tuple(arguments)
        self.vector = f"<{self.width} x float>"
        # Whether `multiply_add` multiplies pairs of bfloat16, see `kernels.bfloat16`.
        self.is_paired = False
        self._entry: list[str] = []
        self._lines: list[str] = []
        self._declared: set[str] = set()
        self._globals: list[str] = []
        self._count = 0
        self._block = "body"
        self._cached: dict[str, tuple[Register, str, bool]] = {}
        self._pairs: dict[tuple[str, str], str] = {}
        self._pointers: dict[str, str] = {}
        for number, argument in enumerate(self.arguments):
            slot = f"%slot.{argument}"
            self._entry.append(f"{slot} = getelementptr i64, ptr %arguments, i64 {number}")
            self._entry.append(f"%arg.{argument} = load ptr, ptr {slot}, align 8")
            self._pointers[argument] = f"%arg.{argument}"
        self.lo, self.hi = Index(self, "%lo"), Index(self, "%hi")

    # --- text

    def op(self, text: str) -> str:
        """Append an instruction that gives a value; returns its register."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return name

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

    # --- control

    def const(self, value: int) -> Index:
        """A constant as an Index."""
        return Index(self, None, value)

    def scalar(self, argument: str) -> Index:
        """An entry of the argument table that is a number, not an address."""
        name = f"%number.{argument}"
        line = f"{name} = load i64, ptr %slot.{argument}, align 8"
        if line not in self._entry:
            self._entry.append(line)
        return Index(self, name)

    def label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _start(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label

    @contextmanager
    def loop(self, lo: Index | int, hi: Index | int, step: int = 1, checked: bool = True) -> Iterator[Index]:
        """for (i = lo; i < hi; i += step). A static range of one step makes no loop; an empty one no code.

        Args:
            checked: whether the range may be empty; False saves the test before the first turn.
        """
        low, high = self._fold(lo), self._fold(hi)
        if isinstance(low, int) and isinstance(high, int):
            checked = False
            if low + step >= high > low:
                yield self.const(low)
                return
            if high <= low:  # the caller's body is still generated: put it where it cannot run
                checked = True
        self.flush()
        head, done = self.label(), self.label()
        start, end = str(lo), str(hi)
        if checked:
            inside = self.op(f"icmp slt i64 {start}, {end}")
            self.do(f"br i1 {inside}, label %{head}, label %{done}")
        else:
            self.do(f"br label %{head}")
        before = self._block
        self._start(head)
        self._count += 1
        counter = f"%i{self._count}"
        place = len(self._lines)
        self._lines.append("")
        yield Index(self, counter)
        self.flush()
        following = self.op(f"add nsw i64 {counter}, {step}")
        again = self.op(f"icmp slt i64 {following}, {end}")
        self.do(f"br i1 {again}, label %{head}, label %{done}")
        self._lines[place] = f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{self._block} ]"
        self._start(done)

    @staticmethod
    def _fold(value: Index | int) -> Index | int:
        if isinstance(value, Index) and value.register is None:
            return value.constant
        return value

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Run the body if an i1 is true."""
        self.flush()
        yes, after = self.label(), self.label()
        self.do(f"br i1 {condition}, label %{yes}, label %{after}")
        self._start(yes)
        yield
        self.flush()
        self.do(f"br label %{after}")
        self._start(after)

    @contextmanager
    def all_of(self, conditions: Iterable[str]) -> Iterator[None]:
        """Run the body if every i1 is true; without a test if there are none."""
        joined = None
        for condition in conditions:
            joined = condition if joined is None else self.op(f"and i1 {joined}, {condition}")
        if joined is None:
            yield
            return
        with self.when(joined):
            yield

    def compare(self, relation: str, a: Index | int, b: Index | int) -> str:
        """i1 of a signed comparison: "slt", "sle", "sgt", "sge", "eq", "ne"."""
        return self.op(f"icmp {relation} i64 {a}, {b}")

    def minimum(self, a: Index | int, b: Index | int) -> Index:
        """The smaller of two integers."""
        left, right = str(a), str(b)
        less = self.op(f"icmp slt i64 {left}, {right}")
        return Index(self, self.op(f"select i1 {less}, i64 {left}, i64 {right}"))

    def maximum(self, a: Index | int, b: Index | int) -> Index:
        """The larger of two integers."""
        left, right = str(a), str(b)
        more = self.op(f"icmp sgt i64 {left}, {right}")
        return Index(self, self.op(f"select i1 {more}, i64 {left}, i64 {right}"))

    # --- registers

    def register(self, type_: str | None = None, start: str | None = None) -> Register:
        """A new variable, float vector by default."""
        self._count += 1
        register = Register(f"%r{self._count}", type_ or self.vector)
        self._entry.append(f"{register.name} = alloca {register.type}")
        if start is not None:
            self.set(register, start)
        return register

    def get(self, register: Register) -> str:
        """Current value."""
        held = self._cached.get(register.name)
        if held is None:
            value = self.op(f"load {register.type}, ptr {register.name}")
            held = self._cached[register.name] = (register, value, False)
        return held[1]

    def set(self, register: Register, value: str) -> None:
        """Assign."""
        self._cached[register.name] = (register, value, True)

    def flush(self) -> None:
        """At the border of a basic block: put assigned values where the next block finds them."""
        for register, value, is_new in self._cached.values():
            if is_new:
                self.do(f"store {register.type} {value}, ptr {register.name}")
        self._cached = {}

    # --- memory; offsets count elements of the type

    def local(self, name: str, count: int) -> None:
        """An array of float32 on the stack, from now on used like an argument; its content is undefined."""
        self._entry.append(f"%local.{name} = alloca [{count} x float], align 64")
        self._pointers[name] = f"%local.{name}"

    def address(self, argument: str, offset: Index | int = 0, type_: str = "float") -> str:
        """Pointer to an element."""
        base = self._pointers[argument]
        if isinstance(offset, int):
            offset = self.const(offset)
        if offset.register is not None:
            base = self.op(f"getelementptr {type_}, ptr {base}, i64 {offset.register}")
        if offset.constant:
            base = self.op(f"getelementptr {type_}, ptr {base}, i64 {offset.constant}")
        return base

    def load(self, argument: str, offset: Index | int = 0, mask: str | None = None) -> str:
        """A vector of float32; lanes outside of `mask` are zero and not read."""
        pointer = self.address(argument, offset)
        if mask is None:
            return self.op(f"load {self.vector}, ptr {pointer}, align 4")
        name = f"@llvm.masked.load.v{self.width}f32.p0"
        self.declare(f"{self.vector} {name}(ptr, i32, <{self.width} x i1>, {self.vector})")
        return self.op(
            f"call {self.vector} {name}(ptr {pointer}, i32 4, <{self.width} x i1> {mask}, "
            f"{self.vector} zeroinitializer)"
        )

    def store(self, value: str, argument: str, offset: Index | int = 0, mask: str | None = None) -> None:
        """Write a vector of float32; lanes outside of `mask` are left alone."""
        pointer = self.address(argument, offset)
        if mask is None:
            self.do(f"store {self.vector} {value}, ptr {pointer}, align 4")
            return
        name = f"@llvm.masked.store.v{self.width}f32.p0"
        self.declare(f"void {name}({self.vector}, ptr, i32, <{self.width} x i1>)")
        self.do(f"call void {name}({self.vector} {value}, ptr {pointer}, i32 4, <{self.width} x i1> {mask})")

    def prefetch(self, argument: str, offset: Index | int = 0) -> None:
        """Ask for a cache line of float32 numbers that is needed soon; out of bounds does no harm."""
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        pointer = self.address(argument, offset)
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)")

    def load_one(self, argument: str, offset: Index | int = 0, type_: str = "float") -> str:
        """One number."""
        pointer = self.address(argument, offset, type_)
        return self.op(f"load {type_}, ptr {pointer}, align {SIZES[type_]}")

    def store_one(self, value: str, argument: str, offset: Index | int = 0, type_: str = "float") -> None:
        """Write one number."""
        pointer = self.address(argument, offset, type_)
        self.do(f"store {type_} {value}, ptr {pointer}, align {SIZES[type_]}")

    def broadcast(self, argument: str, offset: Index | int = 0) -> str:
        """One number of memory in every lane."""
        return self.splat(self.load_one(argument, offset))

    def splat(self, scalar: str, type_: str = "float") -> str:
        """One number in every lane."""
        vector = f"<{self.width} x {type_}>"
        first = self.op(f"insertelement {vector} poison, {type_} {scalar}, i32 0")
        return self.op(
            f"shufflevector {vector} {first}, {vector} poison, <{self.width} x i32> zeroinitializer"
        )

    def mask(self, lanes: int) -> str | None:
        """Constant mask of the first `lanes` lanes; None for all of them."""
        if lanes >= self.width:
            return None
        bits = ", ".join(f"i1 {1 if i < lanes else 0}" for i in range(self.width))
        return f"<{bits}>"

    def mask_below(self, count: Index) -> str:
        """Mask of the lanes whose number is below a count known at run time."""
        numbers = ", ".join(f"i64 {i}" for i in range(self.width))
        limit = self.splat(str(count), "i64")
        return self.op(f"icmp slt <{self.width} x i64> <{numbers}>, {limit}")

    # --- arithmetic on float32 vectors

    def constant(self, value: float) -> str:
        """The same number in every lane."""
        return "<" + ", ".join([f"float {float_text(value)}"] * self.width) + ">"

    @property
    def zero(self) -> str:
        return "zeroinitializer"

    def binary(self, instruction: str, a: str, b: str) -> str:
        return self.op(f"{instruction} {self.vector} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self.binary("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self.binary("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.binary("fmul", a, b)

    def div(self, a: str, b: str) -> str:
        return self.binary("fdiv", a, b)

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, rounded once where the processor can, else twice."""
        if not self.has_fma:
            return self.add(self.mul(a, b), c)
        return self.intrinsic("fma", a, b, c)

    def multiply_add(self, a: str, b: str, c: str) -> str:
        """a * b + c, of numbers or, in a kernel of pairs, of two bfloat16 in each lane of a and b."""
        if not self.is_paired:
            return self.fma(a, b, c)
        name, pairs = "@llvm.x86.avx512bf16.dpbf16ps.512", "<32 x bfloat>"
        self.declare(f"{self.vector} {name}({self.vector}, {pairs}, {pairs})")
        operands = f"{pairs} {self._as_pairs(a)}, {pairs} {self._as_pairs(b)}"
        return self.op(f"call {self.vector} {name}({self.vector} {c}, {operands})")

    def _as_pairs(self, value: str) -> str:
        """The same bits as bfloat16, converted once in each basic block."""
        key = (self._block, value)
        if key not in self._pairs:
            self._pairs[key] = self.op(f"bitcast {self.vector} {value} to <32 x bfloat>")
        return self._pairs[key]

    @property
    def has_fma(self) -> bool:
        return self.target.name != "baseline"

    def intrinsic(self, name: str, *values: str) -> str:
        """An LLVM intrinsic on float32 vectors, such as sqrt, fabs, floor."""
        full = f"@llvm.{name}.v{self.width}f32"
        self.declare(f"{self.vector} {full}({', '.join([self.vector] * len(values))})")
        return self.op(f"call {self.vector} {full}({', '.join(f'{self.vector} {v}' for v in values)})")

    def test(self, relation: str, a: str, b: str) -> str:
        """Lane by lane comparison: "ogt", "olt", "oeq", "une", "uno" ..."""
        return self.op(f"fcmp {relation} {self.vector} {a}, {b}")

    def select(self, condition: str, a: str, b: str, type_: str | None = None) -> str:
        """a where the condition holds, else b."""
        vector = type_ or self.vector
        return self.op(f"select <{self.width} x i1> {condition}, {vector} {a}, {vector} {b}")

    def larger(self, a: str, b: str) -> str:
        """max(a, b); a NaN in `a` is kept."""
        return self.select(self.test("olt", a, b), b, a)

    def smaller(self, a: str, b: str) -> str:
        """min(a, b); a NaN in `a` is kept."""
        return self.select(self.test("ogt", a, b), b, a)

    def total(self, vector: str, type_: str = "float") -> str:
        """Sum of the lanes, pairwise: a scalar."""
        lanes, value, kind = self.width, vector, f"<{self.width} x {type_}>"
        while lanes > 1:
            half = lanes // 2
            low = ", ".join(f"i32 {i}" for i in range(half))
            high = ", ".join(f"i32 {i + half}" for i in range(half))
            a = self.op(f"shufflevector {kind} {value}, {kind} poison, <{half} x i32> <{low}>")
            b = self.op(f"shufflevector {kind} {value}, {kind} poison, <{half} x i32> <{high}>")
            lanes, kind = half, f"<{half} x {type_}>"
            value = self.op(f"fadd {kind} {a}, {b}")
        return self.op(f"extractelement {kind} {value}, i32 0")

    def largest(self, vector: str) -> str:
        """Largest lane: a scalar; NaN if any lane is NaN."""
        name = f"@llvm.vector.reduce.fmaximum.v{self.width}f32"
        self.declare(f"float {name}({self.vector})")
        return self.op(f"call float {name}({self.vector} {vector})")


def float_text(value: float) -> str:
    """A float32 constant as LLVM reads it exactly: the bits of the double that equals it."""
    import struct

    (rounded,) = struct.unpack("f", struct.pack("f", value)) if abs(value) < 3.4e38 else (value,)
    return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
