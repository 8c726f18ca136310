"""Numbers in other lanes: transposed, interleaved, mirrored, gathered."""

from __future__ import annotations

from collections.abc import Iterable

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import SIZES, Value


def mirrored(k: Kernel, vector: Value, lanes: int) -> Value:
    """The first lanes in reverse order."""
    order = ", ".join(f"i32 {max(lanes - 1 - i, 0)}" for i in range(k.width))
    return k.value(
        f"shufflevector {k.vector} {vector}, {k.vector} poison, <{k.width} x i32> <{order}>", k.vector
    )


def transpose(k: Kernel, rows: list[Value]) -> list[Value]:
    """Transpose a square of vectors: interleave the halves of the list, as often as they can be halved."""
    width, half = len(rows), len(rows) // 2
    low = ", ".join(f"i32 {i // 2 + (i % 2) * width}" for i in range(width))
    high = ", ".join(f"i32 {i // 2 + half + (i % 2) * width}" for i in range(width))
    turns = width.bit_length() - 1
    for turn in range(turns):
        mixed = []
        for a, b in zip(rows[:half], rows[half:]):
            for order in (low, high):
                shuffle = f"shufflevector {k.vector} {a}, {k.vector} {b}, <{width} x i32> <{order}>"
                mixed.append(k.value(shuffle, k.vector))
        # NOTE: LLVM looks for one shuffle in place of several, through all that it sees, in vain.
        rows = [_fenced(k, row) for row in mixed] if turn % 2 and turn + 1 < turns else mixed
    return rows


def _fenced(k: Kernel, vector: Value) -> Value:
    """The same vector; LLVM does not look behind it. It makes no instruction."""
    name = f"@llvm.arithmetic.fence.{k.vector.suffix}"
    k.declare(f"{k.vector} {name}({k.vector})")
    return k.value(f"call {k.vector} {name}({k.vector} {vector})", k.vector)


def interleaved(k: Kernel, vectors: list[Value]) -> list[tuple[int, Value]]:
    """The first lanes of all vectors, then the second ones ...: (number of the first, vector of them)."""
    return [(first, _interleaved(k, vectors, first)) for first in range(0, len(vectors) * k.width, k.width)]


def _interleaved(k: Kernel, vectors: list[Value], first: int) -> Value:
    """Numbers from `first` on: number i is lane i // count of vector i % count."""
    count, wanted = len(vectors), range(first, first + k.width)
    result, places = vectors[0], [i // count for i in wanted]
    for which, vector in enumerate(vectors[1:], start=1):
        taken = [k.width + i // count if i % count == which else place for i, place in zip(wanted, places)]
        order = f"<{k.width} x i32> <{', '.join(f'i32 {lane}' for lane in taken)}>"
        result = k.value(f"shufflevector {k.vector} {result}, {k.vector} {vector}, {order}", k.vector)
        places = list(range(k.width))
    return result


def permuted(k: Kernel, vector: Value, order: Value) -> Value:
    """Lane order[i] of a vector in lane i; see `Target.permutes`."""
    name = {16: "@llvm.x86.avx512.permvar.sf.512", 8: "@llvm.x86.avx2.permps"}[k.width]
    k.declare(f"{k.vector} {name}({k.vector}, {order.type})")
    return k.value(f"call {k.vector} {name}({k.vector} {vector}, {order.type} {order})", k.vector)


def numbers(k: Kernel, values: Iterable[int]) -> Value:
    """Known whole numbers, one a lane."""
    text = ", ".join(f"i32 {value}" for value in values)
    return k.named(f"<{text}>", k.vector.of("i32"))


def gather(k: Kernel, x: Index, places: str, mask: Value | None, role: str = "x") -> Value:
    """The numbers at x + places (vector of int32) of a role; zero outside of the mask."""
    width = k.width
    pointers = k.op(f"getelementptr {k.float}, ptr {k.address(role, x)}, <{width} x i32> {places}")
    name = f"@llvm.masked.gather.{k.vector.suffix}.v{width}p0"
    every = mask or "<" + ", ".join(["i1 1"] * width) + ">"
    k.declare(f"{k.vector} {name}(<{width} x ptr>, i32, <{width} x i1>, {k.vector})")
    return k.value(
        f"call {k.vector} {name}(<{width} x ptr> {pointers}, i32 {SIZES[k.float]}, <{width} x i1> {every}, "
        f"{k.vector} zeroinitializer)",
        k.vector,
    )
