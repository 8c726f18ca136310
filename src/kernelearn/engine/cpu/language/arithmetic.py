"""Arithmetic on vectors that is more than an operator of `values`: constants, fused sums, totals."""

from __future__ import annotations

from kernelearn.engine.cpu.language.code import Code
from kernelearn.engine.cpu.language.values import PAIR, Type, Value


class Arithmetic(Code):
    """What a kernel does with vectors of floats."""

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
