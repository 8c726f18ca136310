"""What kernels along the last axis share: loops over a row, and reductions over the lanes of a vector."""

from __future__ import annotations

from collections.abc import Callable

from kernelearn.engine.cpu.emit import Index, Kernel, Register

# Rows of at most this many vectors stay in registers; longer ones are read again in each pass.
HELD = 4
Body = Callable[[Index | int, str | None, str | None], str | None]


class Row:
    """A row of `size` numbers, in vectors.

    `each` calls body(offset, mask, held) for every vector and gives what the bodies return; a later pass over
    the row that is given these gets them as `held`. For long rows `held` is None: nothing was kept.
    """

    def __init__(self, k: Kernel, size: int) -> None:
        self.k, self.size = k, size
        self.is_short = size <= HELD * k.width

    def each(self, body: Body, held: list[str] | None = None) -> list[str] | None:
        k, width = self.k, self.k.width
        if self.is_short:
            starts = range(0, self.size, width)
            values = [body(c, k.mask(self.size - c), held[i] if held else None) for i, c in enumerate(starts)]
            return [v for v in values if v is not None] or None
        full = self.size // width * width
        with k.loop(0, full, width) as column:
            body(column, None, None)
        if full < self.size:
            body(full, k.mask(self.size - full), None)
        return None


def only(k: Kernel, mask: str | None, value: str, other: str) -> str:
    """The value in the lanes of the mask, `other` in the rest."""
    return value if mask is None else k.select(mask, value, other)


def _butterfly(k: Kernel, vector: str, join: Callable[[str, str], str]) -> str:
    """Join all lanes pairwise; the result is in every lane."""
    step = k.width // 2
    while step:
        order = ", ".join(f"i32 {lane ^ step}" for lane in range(k.width))
        kind = f"<{k.width} x i32>"
        other = k.op(f"shufflevector {k.vector} {vector}, {k.vector} poison, {kind} <{order}>")
        vector = join(vector, other)
        step //= 2
    return vector


def lane_sum(k: Kernel, vector: str) -> str:
    """The sum of the lanes, in every lane."""
    return _butterfly(k, vector, k.add)


def lane_max(k: Kernel, vector: str) -> str:
    """The largest lane, in every lane; a NaN may or may not be seen."""
    return _butterfly(k, vector, lambda a, b: k.select(k.test("ogt", a, b), a, b))


def first_lane(k: Kernel, vector: str) -> str:
    return k.op(f"extractelement {k.vector} {vector}, i32 0")


def accumulate(k: Kernel, register: Register, value: str) -> None:
    k.set(register, k.add(k.get(register), value))


class WideSum:
    """A sum in float64, of vectors and of single numbers."""

    def __init__(self, k: Kernel, vectors: bool = False) -> None:
        self.k = k
        self.kind = f"<{k.width} x double>"
        self.single = k.register("double", "0.0")
        self.lanes = k.register(self.kind, "zeroinitializer") if vectors else None

    def reset(self) -> None:
        self.k.set(self.single, "0.0")
        if self.lanes is not None:
            self.k.set(self.lanes, "zeroinitializer")

    def add(self, scalar: str) -> None:
        """Add a float64."""
        self.k.set(self.single, self.k.op(f"fadd double {self.k.get(self.single)}, {scalar}"))

    def widen(self, vector: str) -> str:
        return self.k.op(f"fpext {self.k.vector} {vector} to {self.kind}")

    def add_lanes(self, wide: str) -> None:
        """Add a vector of float64, lane by lane."""
        assert self.lanes is not None
        self.k.set(self.lanes, self.k.op(f"fadd {self.kind} {self.k.get(self.lanes)}, {wide}"))

    def total(self) -> str:
        """The sum, a float64."""
        k, value = self.k, self.k.get(self.single)
        if self.lanes is None:
            return value
        return k.op(f"fadd double {value}, {k.total(k.get(self.lanes), 'double')}")
