"""What runs when: loops, conditions, and comparisons of the integers that they ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kernelearn.engine.cpu.language.code import Code
from kernelearn.engine.cpu.language.indices import Index
from kernelearn.engine.cpu.language.values import Value, type_of

BIT = type_of("i1")

# Multiply-adds that make the body of a loop a register tile.
TILE_PRODUCTS = 8
# NOTE: LLVM shall not know that such a counter counts (an empty text makes no instruction). Else its loop
# strength reduction weighs ways to form each address of the body, which takes 40 % of the time to compile. It
# gains nothing where addresses are a pointer, a counter and a constant, one operand; but register tiles need
# pointers that move, or the scheduler of LLVM brings so many loads together that sums lose their registers.
_OPAQUE = '  {0}.was = phi i64 {1}\n  {0} = call i64 asm "", "=r,0"(i64 {0}.was)'


class Flow(Code):
    """Loops and conditions of a kernel."""

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
        yield self.integer(counter)
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
        return self.integer(self.op(f"select i1 {less}, i64 {left}, i64 {right}"))

    def maximum(self, a: Index | int, b: Index | int) -> Index:
        """The larger of two integers."""
        left, right = str(a), str(b)
        more = self.op(f"icmp sgt i64 {left}, {right}")
        return self.integer(self.op(f"select i1 {more}, i64 {left}, i64 {right}"))

    def either(self, condition: Value, a: Index, b: Index) -> Index:
        """One of two integers: a where an i1 holds, else b."""
        return self.integer(self.op(f"select i1 {condition}, i64 {a}, i64 {b}"))
