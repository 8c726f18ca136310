"""Philox4x32-10 on vectors: the random words of `engine.reference.random`, bit by bit.

A lane holds one block of four 32-bit words. The words are kept in the low halves of 64-bit lanes, as the
products need 64 bits; the high halves hold anything until `low` clears them.
"""

from __future__ import annotations

from collections.abc import Iterable

from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.values import Value

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF
ROUNDS = 10


class Philox:
    """The generator of one stream at one step.

    Args:
        seed, step: roles of the int64 inputs.
        stream: number of the source of randomness in its network.
    """

    def __init__(self, k: Kernel, stream: int, seed: str = "seed", step: str = "step") -> None:
        self.k = k
        self.kind = f"<{k.width} x i64>"
        self.key = k.load_one(seed, 0, "i64"), str(stream & LOW)
        moment = k.load_one(step, 0, "i64")
        high = k.op(f"lshr i64 {moment}, 32")
        self.moment = k.splat(moment, "i64"), k.splat(high, "i64")

    def constant(self, value: int) -> str:
        return "<" + ", ".join([f"i64 {value}"] * self.k.width) + ">"

    def lanes(self, values: Iterable[int]) -> str:
        return "<" + ", ".join(f"i64 {value}" for value in values) + ">"

    def numbers_from(self, first: Index | str) -> str:
        """first, first + 1, ... in the lanes."""
        k = self.k
        return k.op(f"add {self.kind} {k.splat(str(first), 'i64')}, {self.lanes(range(k.width))}")

    def op(self, instruction: str, a: str, b: str) -> str:
        return self.k.op(f"{instruction} {self.kind} {a}, {b}")

    def low(self, word: str) -> str:
        """The word alone, without what stands in the high half."""
        return self.op("and", word, self.constant(LOW))

    def words(self, blocks: str) -> list[str]:
        """Four words of every block; the high halves of the lanes hold anything.

        Args:
            blocks: vector of block numbers.
        """
        k = self.k
        start = [blocks, self.constant(0), *self.moment]
        counter = [k.register(self.kind, value) for value in start]
        keys = [k.register("i64", word) for word in self.key]
        with k.loop(0, ROUNDS):
            c0, c1, c2, c3 = (k.get(c) for c in counter)
            first = self.op("mul", self.low(c0), self.constant(MULTIPLIERS[0]))
            second = self.op("mul", self.low(c2), self.constant(MULTIPLIERS[1]))
            self._set(counter, self._mix(second, c1, k.get(keys[0])), second)
            k.set(counter[2], self._mix(first, c3, k.get(keys[1])))
            k.set(counter[3], first)
            for key, step in zip(keys, WEYL):
                k.set(key, k.op(f"add i64 {k.get(key)}, {step}"))
        return [k.get(c) for c in counter]

    def _set(self, counter: list[Register], first: str, second: str) -> None:
        self.k.set(counter[0], first)
        self.k.set(counter[1], second)

    def _mix(self, product: str, word: str, key: str) -> str:
        """High half of the product xor word xor key."""
        high = self.op("lshr", product, self.constant(32))
        return self.op("xor", self.op("xor", high, word), self.k.splat(key, "i64"))

    def words_at(self, numbers: str) -> Value:
        """The word of every number (four consecutive ones are a block), as vectors of int32."""
        k = self.k
        words = self.words(self.op("lshr", numbers, self.constant(2)))
        bits = [self.op("and", numbers, self.constant(bit)) for bit in (1, 2)]
        odd, upper = (k.op(f"icmp ne {self.kind} {bit}, zeroinitializer") for bit in bits)
        low, high = (k.select(odd, b, a, self.kind) for a, b in (words[:2], words[2:]))
        return self.narrow(k.select(upper, high, low, self.kind))

    def words_in_order(self, first_block: Index | str) -> list[Value]:
        """All words of as many blocks as there are lanes, in order: four vectors of int32."""
        k, width = self.k, self.k.width
        words = self.words(self.numbers_from(first_block))
        shifted = [self.op("shl", w, self.constant(32)) for w in (words[1], words[3])]
        pairs = [self.op("or", self.low(w), s) for w, s in zip(words[::2], shifted)]
        order = ", ".join(f"i32 {i // 2 + (i % 2) * width}" for i in range(2 * width))
        both = k.op(
            f"shufflevector {self.kind} {pairs[0]}, {self.kind} {pairs[1]}, <{2 * width} x i32> <{order}>"
        )
        whole = k.op(f"bitcast <{2 * width} x i64> {both} to <{4 * width} x i32>")
        return [self._part(whole, i) for i in range(4)]

    def _part(self, whole: str, number: int) -> Value:
        k, width = self.k, self.k.width
        order = ", ".join(f"i32 {number * width + i}" for i in range(width))
        kind = f"<{4 * width} x i32>"
        return k.value(
            f"shufflevector {kind} {whole}, {kind} poison, <{width} x i32> <{order}>", k.vector.of("i32")
        )

    def narrow(self, words: str) -> Value:
        """int32 lanes of the low halves."""
        return self.k.value(f"trunc {self.kind} {words} to <{self.k.width} x i32>", self.k.vector.of("i32"))

    def uniform(self, words: str) -> Value:
        """Numbers in [0, 1) from the upper 24 bits of int32 words."""
        k = self.k
        kind = f"<{k.width} x i32>"
        eight = "<" + ", ".join(["i32 8"] * k.width) + ">"
        number = k.op(f"sitofp {kind} {k.op(f'lshr {kind} {words}, {eight}')} to {k.vector}")
        return k.mul(number, k.constant(2.0**-24))
