"""A small vector language that writes LLVM IR: index arithmetic, loops, vectors of float32, registers.

    k = Kernel("twice", ("x", "y"), target)
    with k.loop(k.lo, k.hi, k.width) as i:
        x = k.load("x", i)
        k.store(x + x, "y", i)
    text = k.finish()

Every kernel has the signature `void name(ptr arguments, i64 lo, i64 hi)`: a table of addresses and numbers,
and the range of tasks to do. Numbers in registers are `values.Value`s, which know their type. Sizes and
strides known to Python are constants in the code, and are folded here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kernelearn.engine.cpu.language.values import PAIR, SIZES, Type, Value, as_type, type_of
from kernelearn.engine.cpu.machine.target import Target

BIT = type_of("i1")
# Elements besides float32 that vectors are loaded and stored of.
INTEGERS = ("i8", "i32", "i64")

# Multiply-adds that make the body of a loop a register tile.
TILE_PRODUCTS = 8
# NOTE: LLVM shall not know that such a counter counts (an empty text makes no instruction). Else its loop
# strength reduction weighs ways to form each address of the body, which takes 40 % of the time to compile. It
# gains nothing where addresses are a pointer, a counter and a constant, one operand; but register tiles need
# pointers that move, or the scheduler of LLVM brings so many loads together that sums lose their registers.
_OPAQUE = '  {0}.was = phi i64 {1}\n  {0} = call i64 asm "", "=r,0"(i64 {0}.was)'


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


class Register:
    """A vector variable: set and get inside loops; LLVM keeps it in a machine register."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type_: Type) -> None:
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
        self.lo, self.hi = Index(self, "%lo"), Index(self, "%hi")

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
        made.kernel, made.is_absent = self, False
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
        self._known = {}

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
        self._products.append(0)
        yield Index(self, counter)
        self.flush()
        opaque = self._products.pop() < TILE_PRODUCTS
        following = self.op(f"add nsw i64 {counter}, {step}")
        again = self.op(f"icmp slt i64 {following}, {end}")
        self.do(f"br i1 {again}, label %{head}, label %{done}")
        came = f"[ {start}, %{before} ], [ {following}, %{self._block} ]"
        self._lines[place] = _OPAQUE.format(counter, came) if opaque else f"  {counter} = phi i64 {came}"
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

    def compare(self, relation: str, a: Index | int, b: Index | int) -> Value:
        """i1 of a signed comparison: "slt", "sle", "sgt", "sge", "eq", "ne"."""
        return self.value(f"icmp {relation} i64 {a}, {b}", BIT)

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

    def either(self, condition: Value, a: Index, b: Index) -> Index:
        """One of two integers: a where an i1 holds, else b."""
        return Index(self, self.op(f"select i1 {condition}, i64 {a}, i64 {b}"))

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

    # --- memory; offsets count elements of the type

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

    # --- arithmetic on float32 vectors

    def constant(self, number: float, type_: Type | None = None) -> Value:
        """A number of a type; by default a float32 in every lane."""
        type_ = type_ or self.vector
        return self.named(type_.constant(number), type_)

    @property
    def zero(self) -> Value:
        """Zeros of float32."""
        return self.zero_of(self.vector)

    def zero_of(self, type_: Type) -> Value:
        """Zeros of a vector type, as LLVM spells them shortly; a single zero is a constant."""
        return self.named("zeroinitializer", type_) if type_.lanes else self.constant(0, type_)

    @property
    def nothing(self) -> Value:
        """The term that is not there: see `values`. Stored, it is a vector of zeros."""
        made = self.zero
        made.is_absent = True
        return made

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once where the processor can, else twice."""
        self._products[-1] += 1
        if not self.has_fma:
            return a * b + c
        return self.intrinsic("fma", a, b, c)

    def can_scale(self, type_: Type) -> bool:
        """Whether `scaled` is one instruction for values of this type."""
        return self.target.name == "avx512" and (type_.element, type_.lanes) == ("float", 16)

    def scaled(self, x: Value, n: Value) -> Value:
        """x 2^n for whole n of any size, rounded once where the result is below the normal numbers."""
        name, type_ = "@llvm.x86.avx512.mask.scalef.ps.512", x.type
        self.declare(f"{type_} {name}({type_}, {type_}, {type_}, i16, i32)")
        # All lanes are computed (mask -1), rounded as everything else (4: as the register of modes says).
        return self.value(
            f"call {type_} {name}({type_} {x}, {type_} {n}, {type_} undef, i16 -1, i32 4)", type_
        )

    def multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, of float32 or, where a and b are pairs, of two bfloat16 in each of their lanes."""
        if a.type.element != PAIR:
            return self.fma(a, b, c)
        self._products[-1] += 1
        name, pairs = "@llvm.x86.avx512bf16.dpbf16ps.512", "<32 x bfloat>"
        self.declare(f"{self.vector} {name}({self.vector}, {pairs}, {pairs})")
        operands = f"{pairs} {self._as_pairs(a)}, {pairs} {self._as_pairs(b)}"
        return self.value(f"call {self.vector} {name}({self.vector} {c}, {operands})", self.vector)

    def _as_pairs(self, value: str) -> str:
        """The same bits as bfloat16, converted once in each basic block."""
        key = (self._block, value)
        if key not in self._pairs:
            self._pairs[key] = self.op(f"bitcast {self.vector} {value} to <32 x bfloat>")
        return self._pairs[key]

    @property
    def has_fma(self) -> bool:
        return self.target.name != "baseline"

    def intrinsic(self, name: str, *values: str) -> Value:
        """An LLVM intrinsic on floats of one type, such as sqrt, fabs, floor."""
        type_ = values[0].type if isinstance(values[0], Value) else self.vector
        full = f"@llvm.{name}.{type_.suffix}"
        self.declare(f"{type_} {full}({', '.join([type_] * len(values))})")
        return self.value(f"call {type_} {full}({', '.join(f'{type_} {v}' for v in values)})", type_)

    def total(self, vector: str, type_: str = "float") -> Value:
        """Sum of the lanes, pairwise: a scalar."""
        type_ = self.element(type_)
        lanes, value, kind = self.width, vector, f"<{self.width} x {type_}>"
        while lanes > 1:
            half = lanes // 2
            low = ", ".join(f"i32 {i}" for i in range(half))
            high = ", ".join(f"i32 {i + half}" for i in range(half))
            a = self.op(f"shufflevector {kind} {value}, {kind} poison, <{half} x i32> <{low}>")
            b = self.op(f"shufflevector {kind} {value}, {kind} poison, <{half} x i32> <{high}>")
            lanes, kind = half, f"<{half} x {type_}>"
            value = self.op(f"fadd {kind} {a}, {b}")
        return self.value(f"extractelement {kind} {value}, i32 0", type_)

    def largest(self, vector: str) -> Value:
        """Largest lane: a scalar; NaN if any lane is NaN."""
        name = f"@llvm.vector.reduce.fmaximum.{self.vector.suffix}"
        self.declare(f"{self.float} {name}({self.vector})")
        return self.value(f"call {self.float} {name}({self.vector} {vector})", self.vector.one)
