"""Philox4x32-10 on vectors: the random words of `engine.reference.random`, bit by bit.

A lane holds one block of four 32-bit words. The words are kept in the low halves of 64-bit lanes, as the
products need 64 bits; the high halves hold anything until `low` clears them.
"""

from __future__ import annotations

from collections.abc import Iterable

from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.values import Value, type_of

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
        self.kind = k.vector.of("i64")
        self.key = k.load_one(seed, 0, "i64"), k.constant(stream & LOW, type_of("i64"))
        moment = k.load_one(step, 0, "i64")
        high = moment >> 32
        self.moment = moment.splat(), high.splat()

    def lanes(self, values: Iterable[int]) -> Value:
        return self.k.named("<" + ", ".join(f"i64 {value}" for value in values) + ">", self.kind)

    def numbers_from(self, first: Index) -> Value:
        """first, first + 1, ... in the lanes."""
        k = self.k
        return k.splat(str(first), "i64") + self.lanes(range(k.width))

    def words(self, blocks: Value) -> list[Value]:
        """Four words of every block; the high halves of the lanes hold anything.

        Args:
            blocks: vector of block numbers.
        """
        k = self.k
        start = [blocks, k.constant(0, self.kind), *self.moment]
        counter = [k.register(start=value) for value in start]
        keys = [k.register(start=word) for word in self.key]
        with k.loop(0, ROUNDS):
            c0, c1, c2, c3 = (k.get(c) for c in counter)
            first = _low(c0) * MULTIPLIERS[0]
            second = _low(c2) * MULTIPLIERS[1]
            self._set(counter, _mix(second, c1, k.get(keys[0])), second)
            k.set(counter[2], _mix(first, c3, k.get(keys[1])))
            k.set(counter[3], first)
            for key, step in zip(keys, WEYL):
                k.set(key, k.get(key) + step)
        return [k.get(c) for c in counter]

    def _set(self, counter: list[Register], first: Value, second: Value) -> None:
        self.k.set(counter[0], first)
        self.k.set(counter[1], second)

    def words_at(self, numbers: Value) -> Value:
        """The word of every number (four consecutive ones are a block), as vectors of int32."""
        words = self.words(numbers >> 2)
        bits = [numbers & bit for bit in (1, 2)]
        odd, upper = (bit.differs(self.k.zero_of(self.kind)) for bit in bits)
        low, high = (odd.choose(b, a) for a, b in (words[:2], words[2:]))
        return upper.choose(high, low).truncated("i32")

    def words_in_order(self, first_block: Index) -> list[Value]:
        """All words of as many blocks as there are lanes, in order: four vectors of int32."""
        k, width = self.k, self.k.width
        words = self.words(self.numbers_from(first_block))
        shifted = [w << 32 for w in (words[1], words[3])]
        pairs = [_low(w) | s for w, s in zip(words[::2], shifted)]
        order = ", ".join(f"i32 {i // 2 + (i % 2) * width}" for i in range(2 * width))
        both = k.value(
            f"shufflevector {self.kind} {pairs[0]}, {self.kind} {pairs[1]}, <{2 * width} x i32> <{order}>",
            type_of("i64", 2 * width),
        )
        halves = type_of("i32", 4 * width)
        whole = k.value(f"bitcast {both.type} {both} to {halves}", halves)
        return [self._part(whole, i) for i in range(4)]

    def _part(self, whole: Value, number: int) -> Value:
        k, width = self.k, self.k.width
        order = ", ".join(f"i32 {number * width + i}" for i in range(width))
        return k.value(
            f"shufflevector {whole.type} {whole}, {whole.type} poison, <{width} x i32> <{order}>",
            k.vector.of("i32"),
        )


def _low(word: Value) -> Value:
    """The word alone, without what stands in the high half."""
    return word & LOW


def _mix(product: Value, word: Value, key: Value) -> Value:
    """High half of the product xor word xor key."""
    high = product >> 32
    return high ^ word ^ key.splat()


def uniform(words: Value) -> Value:
    """Numbers in [0, 1) from the upper 24 bits of int32 words."""
    return (words >> 8).to_float() * 2.0**-24
