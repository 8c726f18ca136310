"""Minimal filtering along one axis: m outputs of a window of r taps in fewer than m * r products.

    y = A [(G g) * (B d)]     d: inputs of a tile, g: taps, y: its outputs, * entry by entry

The blocks are F(2, 2) and F(2, 3) (Winograd 1980) and the plain products F(m, 1). Longer windows are sums of
nested ones: the outputs 2b + a of a window of 2r taps are F(2, r) of blocks of two, whose products are
F(2, 2) in turn. All factors are 0, +-1 and 1/2, so that B and A only add, and G halves exactly; points of
larger size save more and round several times worse. No output takes part in products of inputs outside of its
window, so zeros, NaN and infinity stay there. The transposed maps make the gradient of the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from kernelearn.engine.cpu.language.values import Value

# Results of a layer, each a sum of (number of the operand, factor).
Row = tuple[tuple[int, float], ...]
Layer = tuple[Row, ...]


@dataclass(frozen=True)
class Linear:
    """A linear map as sparse layers, applied one after another: what several results share is added once.

    Attributes:
        size: operands.
    """

    size: int
    layers: tuple[Layer, ...]

    @property
    def results(self) -> int:
        return len(self.layers[-1]) if self.layers else self.size

    def __call__(self, values: Sequence[Value]) -> list[Value]:
        """The results as instructions; terms that are absent stay so."""
        found = list(values)
        for layer in self.layers:
            found = [_sum(row, found) for row in layer]
        return found

    @property
    def transposed(self) -> Linear:
        """The map with rows and columns exchanged."""
        sizes = [self.size, *map(len, self.layers)]
        layers = tuple(_transposed(layer, size) for layer, size in zip(self.layers, sizes))
        return Linear(self.results, layers[::-1])

    @property
    def matrix(self) -> list[list[float]]:
        """The factor of every operand in every result."""
        rows = [[float(i == j) for j in range(self.size)] for i in range(self.size)]
        for layer in self.layers:
            rows = [[sum(f * rows[i][j] for i, f in row) for j in range(self.size)] for row in layer]
        return rows

    def then(self, other: Linear) -> Linear:
        assert other.size == self.results
        return Linear(self.size, self.layers + other.layers)

    def copies(self, count: int) -> Linear:
        """The same on `count` numbers side by side in every place."""
        layers = tuple(
            tuple(tuple((i * count + c, f) for i, f in row) for row in layer for c in range(count))
            for layer in self.layers
        )
        return Linear(self.size * count, layers)


def _sum(row: Row, values: Sequence[Value]) -> Value:
    """The sum of some values; terms with + first, so that none has to be negated."""
    total: Value = values[0].kernel.nothing
    for i, factor in sorted(row, key=lambda term: term[1] < 0):
        term = values[i] if abs(factor) == 1 else abs(factor) * values[i]
        total = total + term if factor > 0 else total - term
    return total


def _transposed(layer: Layer, size: int) -> Layer:
    rows: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for number, row in enumerate(layer):
        for i, factor in row:
            rows[i].append((number, factor))
    return tuple(map(tuple, rows))


def _map(size: int, *layers: Sequence[dict[int, float]]) -> Linear:
    return Linear(size, tuple(tuple(tuple(row.items()) for row in layer) for layer in layers))


def _picked(size: int, places: Iterable[int]) -> Linear:
    """Some of the operands."""
    return Linear(size, (tuple(((i, 1.0),) for i in places),))


def _beside(maps: Sequence[Linear]) -> Linear:
    """Several maps, each on operands of its own."""
    deepest = max(len(m.layers) for m in maps)
    layers: list[Layer] = []
    for number in range(deepest):
        rows: list[Row] = []
        start = 0
        for m in maps:
            size = len(m.layers[number - 1]) if number and number <= len(m.layers) else m.size
            size = size if number <= len(m.layers) else m.results
            layer = m.layers[number] if number < len(m.layers) else tuple(((i, 1.0),) for i in range(size))
            rows += [tuple((i + start, f) for i, f in row) for row in layer]
            start += size
        layers.append(tuple(rows))
    return Linear(sum(m.size for m in maps), tuple(layers))


@dataclass(frozen=True)
class Filter:
    """The three maps of a filtering: of the inputs, the taps, and to the outputs."""

    inputs: Linear
    taps: Linear
    outputs: Linear

    @property
    def points(self) -> int:
        """Products."""
        return self.outputs.size

    @property
    def products(self) -> int:
        """Of the sums tap by tap that it replaces."""
        return self.taps.size * self.outputs.results


@cache
def plain(outputs: int) -> Filter:
    """F(m, 1): one product for each output."""
    same = _picked(outputs, range(outputs))
    return Filter(same, _picked(1, [0] * outputs), same)


@cache
def two_taps() -> Filter:
    """F(2, 2) at the points 0, 1 and infinity: with -1 instead of 0, outputs would meet inputs of others."""
    inputs = _map(3, [{0: 1, 1: -1}, {1: 1}, {2: 1, 1: -1}])
    taps = _map(2, [{0: 1}, {0: 1, 1: 1}, {1: 1}])
    outputs = _map(3, [{0: 1, 1: 1}, {1: 1, 2: 1}])
    return Filter(inputs, taps, outputs)


@cache
def three_taps() -> Filter:
    """F(2, 3) at the points 0, 1, -1 and infinity."""
    inputs = _map(4, [{0: 1, 2: -1}, {1: 1, 2: 1}, {2: 1, 1: -1}, {1: 1, 3: -1}])
    taps = _map(
        3,
        [{0: 1}, {0: 0.5, 2: 0.5}, {1: 0.5}, {2: 1}],
        [{0: 1}, {1: 1, 2: 1}, {1: 1, 2: -1}, {3: 1}],
    )
    outputs = _map(4, [{0: 1, 1: 1, 2: 1}, {1: 1, 2: -1, 3: -1}])
    return Filter(inputs, taps, outputs)


@cache
def nested(taps: int) -> Filter:
    """F(4, r) for 4 and 6 taps: F(2, 2) or F(2, 3) of blocks of two taps, multiplied by F(2, 2) in turn."""
    outer, inner = (three_taps() if taps == 6 else two_taps()), two_taps()
    # Inputs 2A + b of the tile: the outer map over A, for each b of the three that the inner one reads.
    inputs = _picked(taps + 3, [2 * a + b for a in range(taps // 2 + 1) for b in range(3)])
    return Filter(
        inputs.then(outer.inputs.copies(3)).then(_beside([inner.inputs] * outer.points)),
        outer.taps.copies(2).then(_beside([inner.taps] * outer.points)),
        _beside([inner.outputs] * outer.points).then(outer.outputs.copies(2)),
    )


@dataclass(frozen=True)
class Piece:
    """A filtering of some taps: which inputs of the tile it reads, and which outputs it adds to."""

    filter: Filter
    inputs: tuple[int, ...]
    taps: tuple[int, ...]
    outputs: tuple[int, ...]


def summed(pieces: Sequence[Piece], inputs: int, taps: int, outputs: int) -> Filter:
    """The filtering of a window of which every tap belongs to a piece."""
    rows: list[list[int]] = [[] for _ in range(outputs)]
    numbers = [o for piece in pieces for o in piece.outputs]
    for i, output in enumerate(numbers):
        rows[output].append(i)
    total = Linear(len(numbers), (tuple(tuple((i, 1.0) for i in row) for row in rows),))
    filters = [piece.filter for piece in pieces]
    return Filter(
        _picked(inputs, [i for p in pieces for i in p.inputs]).then(_beside([f.inputs for f in filters])),
        _picked(taps, [t for p in pieces for t in p.taps]).then(_beside([f.taps for f in filters])),
        _beside([f.outputs for f in filters]).then(total),
    )
