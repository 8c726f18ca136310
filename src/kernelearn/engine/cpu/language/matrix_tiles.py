"""Matrix tiles of the processor (AMX): eight registers of 16 rows of 64 bytes, and products of them.

    tiles = MatrixTiles(k)
    tiles.configure(rows, depth)
    tiles.zero(0)                                   # sums: rows x 16 of float32
    tiles.load(4, "x", at, step)                    # rows x depth pairs of bfloat16
    tiles.load(6, "w", at)                          # depth x 16 pairs
    tiles.multiply(0, 4, 6)                         # sum[r][lane] += x[r][d] . w[d][lane], d by d
    tiles.store(0, "y", at, step)
    tiles.release()

Tiles 0 to 3 hold sums, 4 and 5 the left operands, 6 and 7 the right ones. A product takes as long as it has
rows, whatever the depth. For tests on other processors plain code does the same on memory.

Source: Intel Architecture Instruction Set Extensions, chapter on AMX: TDPBF16PS rounds to nearest, ties to
even, and takes denormal numbers for zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.engine.cpu.language.kernel import Index, Kernel

# Rows, and lanes of a row: pairs of bfloat16, or sums of float32. Bytes of a row.
ROWS = LANES = 16
LINE = 64
SUMS, LEFT, RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)
# Numbers of a tile.
SIZE = ROWS * LANES
# Bytes of a configuration: kind, start, then of each tile the bytes of a row, and the rows.
_BYTES, _COLUMNS, _ROWS = 64, 16, 48

_EMULATION = """
define private void @tile.copy(
    ptr %to, i64 %to.step, ptr %from, i64 %from.step, i64 %rows, i64 %bytes
) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %rows
  br i1 %more, label %one, label %finish
one:
  %from.at = mul i64 %i, %from.step
  %to.at = mul i64 %i, %to.step
  %from.p = getelementptr i8, ptr %from, i64 %from.at
  %to.p = getelementptr i8, ptr %to, i64 %to.at
  call void @llvm.memcpy.p0.p0.i64(ptr %to.p, ptr %from.p, i64 %bytes, i1 false)
  %i.next = add i64 %i, 1
  br label %next
finish:
  ret void
}

define private void @tile.product(ptr %sums, ptr %left, ptr %right, i64 %rows, i64 %depth) nounwind {
entry:
  br label %row
row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.done ]
  %row.more = icmp slt i64 %r, %rows
  br i1 %row.more, label %start, label %finish
start:
  %r.at = mul i64 %r, 16
  %sum.p = getelementptr float, ptr %sums, i64 %r.at
  br label %inner
inner:
  %d = phi i64 [ 0, %start ], [ %d.next, %turn ]
  %d.more = icmp slt i64 %d, %depth
  br i1 %d.more, label %turn, label %row.done
turn:
  %left.at = add i64 %r.at, %d
  %left.p = getelementptr i32, ptr %left, i64 %left.at
  %pair = load i32, ptr %left.p
  %pair.v = insertelement <16 x i32> poison, i32 %pair, i32 0
  %a = shufflevector <16 x i32> %pair.v, <16 x i32> poison, <16 x i32> zeroinitializer
  %right.at = mul i64 %d, 16
  %right.p = getelementptr i32, ptr %right, i64 %right.at
  %b = load <16 x i32>, ptr %right.p, align 4
  %a.low = shl <16 x i32> %a, SIXTEEN
  %b.low = shl <16 x i32> %b, SIXTEEN
  %a.high = and <16 x i32> %a, UPPER
  %b.high = and <16 x i32> %b, UPPER
  %a0 = bitcast <16 x i32> %a.low to <16 x float>
  %b0 = bitcast <16 x i32> %b.low to <16 x float>
  %a1 = bitcast <16 x i32> %a.high to <16 x float>
  %b1 = bitcast <16 x i32> %b.high to <16 x float>
  %before = load <16 x float>, ptr %sum.p, align 4
  %m0 = fmul <16 x float> %a0, %b0
  %s0 = fadd <16 x float> %before, %m0
  %m1 = fmul <16 x float> %a1, %b1
  %s1 = fadd <16 x float> %s0, %m1
  store <16 x float> %s1, ptr %sum.p, align 4
  %d.next = add i64 %d, 1
  br label %inner
row.done:
  %r.next = add i64 %r, 1
  br label %row
finish:
  ret void
}
"""


def _everywhere(number: int) -> str:
    """A number in every lane."""
    return f"<{', '.join([f'i32 {number}'] * LANES)}>"


class MatrixTiles:
    """The tiles of a kernel; its target has some, see `Target.tiles`."""

    def __init__(self, k: Kernel) -> None:
        self.k, self.is_native = k, k.target.tiles == "amx"
        self._rows: Index | int = ROWS
        self._depth: Index | int = LANES
        self._lanes = LANES
        if self.is_native:
            k.local("configuration", LINE // 4)
            return
        k.local("tiles", (len(SUMS) + len(LEFT) + len(RIGHT)) * SIZE)
        k.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        k.define(_EMULATION.replace("SIXTEEN", _everywhere(16)).replace("UPPER", _everywhere(-65536)))

    def configure(self, rows: Index | int, depth: Index | int, lanes: int = LANES) -> None:
        """What tiles hold from here on: rows of sums and of left operands, pairs that are summed, and lanes.

        Their content is zero then.
        """
        self._rows, self._depth, self._lanes = rows, depth, lanes
        if self.is_native:
            self._write_configuration(rows, depth)
            self._do("ldtilecfg", "ptr", f"ptr {self.k.address('configuration')}")

    def _write_configuration(self, rows: Index | int, depth: Index | int) -> None:
        """In memory; what the code does not know is written over the rest."""
        k = self.k
        entries = {0: 1}
        for tile in (*SUMS, *LEFT, *RIGHT):
            entries[_ROWS + tile] = _known(depth if tile in RIGHT else rows)
            entries[_COLUMNS + 2 * tile] = 4 * _known(depth) if tile in LEFT else 4 * self._lanes
        text = ", ".join(f"i8 {entries.get(i, 0)}" for i in range(_BYTES))
        place = k.address("configuration")
        k.do(f"store <{_BYTES} x i8> <{text}>, ptr {place}, align {LINE}")
        for number, tiles in ((rows, (*SUMS, *LEFT)), (depth, RIGHT)):
            self._write(number, [_ROWS + tile for tile in tiles])
        if not isinstance(depth, int):
            self._write(depth * 4, [_COLUMNS + 2 * tile for tile in LEFT])

    def _write(self, number: Index | int, places: Sequence[int]) -> None:
        """A byte of the configuration that is known at run time."""
        k = self.k
        if isinstance(number, int):
            return
        byte = k.op(f"trunc i64 {number} to i8")
        for place in places:
            at = k.op(f"getelementptr i8, ptr {k.address('configuration')}, i64 {place}")
            k.do(f"store i8 {byte}, ptr {at}")

    def zero(self, tile: int) -> None:
        """Set a tile to zeros."""
        if self.is_native:
            self._do("tilezero", "i8", f"i8 {tile}")
            return
        for row in range(ROWS):
            self.k.store(self.k.zero, "tiles", tile * SIZE + row * LANES)

    def load(
        self, tile: int, argument: str, at: Index, step: Index | int = LANES, element: str = "float"
    ) -> None:
        """Load a tile.

        Args:
            step: numbers of 32 bits from row to row.
            element: what `at` counts: "float" for 32 bits, "i16" for single bfloat16.
        """
        address = self.k.address(argument, at, element)
        if self.is_native:
            self._do("tileloadd64", "i8, ptr, i64", f"i8 {tile}, ptr {address}, i64 {step * 4}")
            return
        self._copy(self._place(tile), LINE, address, step * 4, tile)

    def store(self, tile: int, argument: str, at: Index | int, step: Index | int = LANES) -> None:
        """Store a tile."""
        address = self.k.address(argument, at)
        if self.is_native:
            self._do("tilestored64", "i8, ptr, i64", f"i8 {tile}, ptr {address}, i64 {step * 4}")
            return
        self._copy(address, step * 4, self._place(tile), LINE, tile)

    def multiply(self, sums: int, left: int, right: int) -> None:
        """Add the product of two tiles to a third."""
        if self.is_native:
            self._do("tdpbf16ps", "i8, i8, i8", f"i8 {sums}, i8 {left}, i8 {right}")
            return
        operands = ", ".join(f"ptr {self._place(tile)}" for tile in (sums, left, right))
        self.k.do(f"call void @tile.product({operands}, i64 {self._rows}, i64 {self._depth})")

    def release(self) -> None:
        """Give the tiles back: the system need not save their state."""
        if self.is_native:
            self._do("tilerelease", "", "")

    def _do(self, name: str, types: str, arguments: str) -> None:
        self.k.declare(f"void @llvm.x86.{name}({types})")
        self.k.do(f"call void @llvm.x86.{name}({arguments})")

    def _place(self, tile: int) -> str:
        return self.k.address("tiles", tile * SIZE)

    def _copy(self, to: str, to_step: Index | int, source: str, source_step: Index | int, tile: int) -> None:
        rows = self._depth if tile in RIGHT else self._rows
        size = self._depth * 4 if tile in LEFT else 4 * self._lanes
        self.k.do(
            f"call void @tile.copy(ptr {to}, i64 {to_step}, ptr {source}, i64 {source_step}, i64 {rows}, "
            f"i64 {size})"
        )


def _known(number: Index | int) -> int:
    """A number that the code knows, or 0."""
    return number if isinstance(number, int) else 0
